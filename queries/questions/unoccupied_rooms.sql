-- question: Which rooms of the building are unoccupied?
-- parameters: building (required), hold (default 3 intervals of occupancy)
-- Rooms whose sensor has been silent for longer than hold (seconds) are listed too, as 'unknown' with since when.
WITH sensors AS (
  SELECT org, site, building, floor, unit, room, time,
         CASE WHEN age <= CAST($hold AS DOUBLE) THEN coalesce(occupied, people > 0) END AS is_occupied
  FROM latest.occupancy
  WHERE building = CAST($building AS VARCHAR)
)
SELECT org, site, building, floor, unit, room,
       CASE WHEN is_occupied IS NULL THEN 'unknown' ELSE 'unoccupied' END AS occupancy,
       CASE WHEN is_occupied IS NULL THEN time END AS unknown_since,
       time AS last_reading
FROM sensors
WHERE is_occupied IS NULL OR NOT is_occupied
ORDER BY org, site, floor, unit, room;
