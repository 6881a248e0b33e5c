-- Smoke and heat. A detector whose clock is years ahead still counts: its reading is kept with the
-- arrival time instead of being refused.
CREATE STREAM fire (
  alert BOOLEAN,
  smoke DOUBLE UNIT '%/m',
  heat  DOUBLE UNIT '°C'
) TOPIC '/org/{org}/site/{site}/building/{building}/floor/{floor}/unit/{unit}/room/{room}/sensors/fire'
  WITH (future = 'stamp');
