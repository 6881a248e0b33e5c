-- Evacuate a site on any fire or gas/biohazard alert: one alarm a site, raised by the reading itself,
-- with every sensor in alert as its member; cleared when each of them has said that it is over.
CREATE RULE evacuation SEVERITY critical KEY (org, site)
  RAISE WHEN alert
AS SELECT org, site, building, floor, unit, room, topic, time, 'fire' AS hazard, alert
   FROM fire
   UNION ALL
   SELECT org, site, building, floor, unit, room, topic, time, 'gasbio' AS hazard, alert
   FROM gasbio;
