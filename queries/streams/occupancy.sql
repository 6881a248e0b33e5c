-- How many people are in a room: one sensor a room, one reading a minute.
CREATE STREAM occupancy (
  people   BIGINT,
  occupied BOOLEAN
) TOPIC '/org/{org}/site/{site}/building/{building}/floor/{floor}/unit/{unit}/room/{room}/sensors/occupancy'
  WITH (interval = '1 minute');
