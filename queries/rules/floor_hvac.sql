-- Adjust a floor's HVAC when its average temperature is more than 2 °C away from 20 °C for three
-- minutes; done when it has been within 1.5 °C for five.
CREATE RULE floor_hvac SEVERITY high KEY (org, site, building, floor)
  RAISE WHEN abs(avg_temp - 20) > 2   FOR INTERVAL '3' MINUTE
  CLEAR WHEN abs(avg_temp - 20) < 1.5 FOR INTERVAL '5' MINUTE
  ON NO DATA FOR INTERVAL '15' MINUTE HOLD
AS SELECT org, site, building, floor, window_end, avg(temperature) AS avg_temp
   FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
   GROUP BY org, site, building, floor, window_start, window_end;
