-- Gas and biohazard. As with fire, a wrong clock never silences a detector.
CREATE STREAM gasbio (
  alert BOOLEAN,
  gas   DOUBLE UNIT 'ppm',
  agent TEXT
) TOPIC '/org/{org}/site/{site}/building/{building}/floor/{floor}/unit/{unit}/room/{room}/sensors/gasbio'
  WITH (future = 'stamp');
