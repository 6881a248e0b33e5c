-- question: Are there people in the room?
-- parameters: building (required), floor (required), unit (required), room (required), hold (default 3 intervals of occupancy)
-- Always one row. A sensor silent for longer than hold (seconds), or none at all, is 'unknown', never 'unoccupied'.
WITH sensors AS (
  SELECT people, time,
         CASE WHEN age <= CAST($hold AS DOUBLE) THEN coalesce(occupied, people > 0) END AS is_occupied
  FROM latest.occupancy
  WHERE building = CAST($building AS VARCHAR)
    AND floor = CAST($floor AS VARCHAR)
    AND lower(CAST(unit AS VARCHAR)) = lower(CAST($unit AS VARCHAR))
    AND room = CAST($room AS VARCHAR)
)
SELECT CAST($building AS VARCHAR) AS building,
       CAST($floor AS VARCHAR) AS floor,
       CAST($unit AS VARCHAR) AS unit,
       CAST($room AS VARCHAR) AS room,
       CASE WHEN bool_or(is_occupied) THEN 'occupied'
            WHEN count(*) > 0 AND count(*) = count(is_occupied) THEN 'unoccupied'
            ELSE 'unknown' END AS occupancy,
       max(CASE WHEN is_occupied IS NOT NULL THEN people END) AS people,
       CASE WHEN bool_or(is_occupied) THEN NULL
            ELSE min(CASE WHEN is_occupied IS NULL THEN time END) END AS unknown_since,
       max(time) AS last_reading
FROM sensors;
