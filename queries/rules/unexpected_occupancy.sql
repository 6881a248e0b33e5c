-- Alert security when somebody is in unit 41 3J outside its opening hours, in the site's local time.
-- One row a weekday (1 = Monday .. 7 = Sunday), in minutes since midnight; a day with
-- opens = closes is closed. A later INSERT with the same key takes the row's place.
CREATE TABLE IF NOT EXISTS opening_hours (
  site    TEXT,
  unit    TEXT,
  tz      TEXT NOT NULL,
  weekday BIGINT,
  opens   BIGINT NOT NULL,
  closes  BIGINT NOT NULL,
  PRIMARY KEY (site, unit, weekday)
);

INSERT INTO opening_hours VALUES
  ('berlin', 'j', 'Europe/Berlin', 1, 420, 1140),
  ('berlin', 'j', 'Europe/Berlin', 2, 420, 1140),
  ('berlin', 'j', 'Europe/Berlin', 3, 420, 1140),
  ('berlin', 'j', 'Europe/Berlin', 4, 420, 1140),
  ('berlin', 'j', 'Europe/Berlin', 5, 420, 1140),
  ('berlin', 'j', 'Europe/Berlin', 6, 0, 0),
  ('berlin', 'j', 'Europe/Berlin', 7, 0, 0);

CREATE RULE unexpected_occupancy SEVERITY high KEY (org, site, building, floor, unit)
  RAISE WHEN unexpected
AS SELECT occupancy.org, occupancy.site, occupancy.building, occupancy.floor, occupancy.unit,
          occupancy.room, occupancy.topic, occupancy.time, occupancy.people,
          coalesce(occupancy.occupied, occupancy.people > 0)
            AND (local_minute(occupancy.time, o.tz) < o.opens
                 OR local_minute(occupancy.time, o.tz) >= o.closes) AS unexpected
   FROM occupancy
   JOIN opening_hours o ON o.site = occupancy.site AND o.unit = occupancy.unit
   WHERE occupancy.building = '41' AND occupancy.floor = '3' AND occupancy.unit = 'j'
     AND o.weekday = local_weekday(occupancy.time, o.tz);
