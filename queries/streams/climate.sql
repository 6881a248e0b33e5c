-- Air in a room: one reading every ten seconds.
CREATE STREAM climate (
  temperature DOUBLE UNIT '°C',
  humidity    DOUBLE UNIT '%',
  co2         DOUBLE UNIT 'ppm'
) TOPIC '/org/{org}/site/{site}/building/{building}/floor/{floor}/unit/{unit}/room/{room}/sensors/climate'
  WITH (interval = '10 seconds');
