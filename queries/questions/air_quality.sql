-- question: How is the air quality on the floor?
-- parameters: building (required), floor (required)
-- One row a room. 'good' is up to 800 ppm CO2, 'fair' up to 1000, 'poor' above; age is in seconds.
SELECT org, site, building, floor, unit, room, co2, temperature, humidity,
       CASE WHEN co2 IS NULL THEN 'unknown'
            WHEN co2 <= 800 THEN 'good'
            WHEN co2 <= 1000 THEN 'fair'
            ELSE 'poor' END AS air,
       time AS last_reading,
       age
FROM latest.climate
WHERE building = CAST($building AS VARCHAR) AND floor = CAST($floor AS VARCHAR)
ORDER BY org, site, unit, room;
