-- The devices themselves, on the same paths: power, wear, firmware.
CREATE STREAM device_health (
  battery     DOUBLE UNIT '%',
  temperature DOUBLE UNIT '°C',
  vibration   DOUBLE UNIT 'mm/s',
  firmware    TEXT,
  uptime      BIGINT UNIT 's'
) TOPIC '/org/{org}/site/{site}/building/{building}/floor/{floor}/unit/{unit}/room/{room}/sensors/device_health';
