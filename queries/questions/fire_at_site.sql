-- question: Is there a fire alarm at the site?
-- parameters: site (required)
-- Always one row. Without any reading of a fire sensor of the site the answer is 'unknown'.
SELECT CAST($site AS VARCHAR) AS site,
       CASE WHEN bool_or(alert) THEN 'fire'
            WHEN count(alert) = 0 THEN 'unknown'
            ELSE 'no fire' END AS fire,
       count(*) FILTER (WHERE alert) AS sensors_in_alert,
       count(*) AS sensors,
       min(time) FILTER (WHERE alert) AS earliest_alert,
       string_agg(CAST(topic AS VARCHAR), ', ') FILTER (WHERE alert) AS topics_in_alert,
       max(time) AS last_reading
FROM latest.fire
WHERE site = CAST($site AS VARCHAR);
