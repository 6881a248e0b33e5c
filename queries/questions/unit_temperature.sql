-- question: What is the temperature in the tenant unit?
-- parameters: building (required), unit (required)
-- The unit is written 'j' or, with its floor, '3J'. One row a unit; age is that of its oldest reading, in seconds.
SELECT org, site, building, floor, unit,
       avg(temperature) AS temperature,
       min(temperature) AS coldest_room,
       max(temperature) AS warmest_room,
       count(temperature) AS rooms,
       max(time) AS last_reading,
       max(age) AS age
FROM latest.climate
WHERE building = CAST($building AS VARCHAR)
  AND lower(CAST($unit AS VARCHAR))
      IN (lower(CAST(unit AS VARCHAR)), lower(concat(CAST(floor AS VARCHAR), CAST(unit AS VARCHAR))))
GROUP BY org, site, building, floor, unit
ORDER BY org, site, floor, unit;
