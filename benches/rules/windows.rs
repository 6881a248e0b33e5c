//! Windowed rules beside batch engines and the loop written by hand.

use crate::Figure;
use crate::batch::Batch;
use crate::hand;
use crate::race::{contender, race};
use crate::rule::Rule;
use crate::workload::Workload;

pub(crate) const Q1: &str = "CREATE RULE q1 AS SELECT site, building, floor, window_end, avg(temperature) AS average \
     FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
     GROUP BY site, building, floor, window_start, window_end HAVING abs(avg(temperature) - 20) > 2";
const Q1_BATCH: &str = "SELECT avg(temperature) AS average, site, building, floor, \
     date_bin(INTERVAL '1 minute', time) AS window_start FROM climate \
     GROUP BY site, building, floor, window_start HAVING abs(avg(temperature) - 20) > 2";
const Q1_BEST: &str = "SELECT avg(temperature) AS average, floor, minute FROM plain \
     GROUP BY floor, minute HAVING abs(avg(temperature) - 20) > 2";
pub(crate) const Q2: &str = "CREATE RULE q2 AS SELECT site, building, floor, unit, room, window_end, \
     avg(temperature) AS average, min(temperature) AS least, max(temperature) AS greatest, count(*) AS readings \
     FROM HOP(climate, DESCRIPTOR(time), slide => INTERVAL '1' MINUTE, size => INTERVAL '5' MINUTE) \
     GROUP BY site, building, floor, unit, room, window_start, window_end";
const Q2_BEST: &str = "SELECT sum(c) AS readings, sum(s) / sum(c) AS average, min(l) AS least, \
     max(g) AS greatest, room, minute + k AS w FROM \
     (SELECT room, minute, sum(temperature) AS s, count(temperature) AS c, min(temperature) AS l, \
      max(temperature) AS g FROM plain GROUP BY room, minute) AS minutes \
     CROSS JOIN (VALUES (0), (1), (2), (3), (4)) AS five(k) GROUP BY room, w";
const GENERAL: &str = "CREATE RULE general AS SELECT site, building, floor, window_end, \
     approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY temperature) AS p90, count(DISTINCT room) AS rooms \
     FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
     GROUP BY site, building, floor, window_start, window_end";
const GENERAL_BATCH: &str = "SELECT approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY temperature) AS p90, \
     count(DISTINCT room) AS rooms, site, building, floor, \
     date_bin(INTERVAL '1 minute', time) AS window_start FROM climate \
     GROUP BY site, building, floor, window_start";

pub(crate) fn q1(workload: &Workload, batch: &Batch) -> Vec<Figure> {
    let q1 = Rule::new(workload, Q1);
    let rates = race(
        "Q1, floor average",
        workload.rows,
        &[
            contender("rule", || q1.run(workload, "average")),
            contender("DataFusion, dictionary keys", || batch.run(Q1_BATCH)),
            contender("DataFusion, Int32 keys", || batch.run(Q1_BEST)),
            contender("hand-written loop", || hand::q1(workload)),
        ],
    );
    vec![
        ("q1_rows_per_s", rates[0], "rows/s"),
        ("q1_vs_datafusion", rates[0] / rates[1], "x"),
        ("q1_vs_datafusion_best", rates[0] / rates[2], "x"),
        ("q1_vs_loop", rates[0] / rates[3], "x"),
    ]
}

pub(crate) fn q2(workload: &Workload, batch: &Batch) -> Vec<Figure> {
    let q2 = Rule::new(workload, Q2);
    let rates = race(
        "Q2, five minutes by one per room",
        workload.rows,
        &[
            contender("rule", || q2.run(workload, "readings")),
            contender("DataFusion, per-minute partials", || batch.run(Q2_BEST)),
        ],
    );
    vec![("q2_rows_per_s", rates[0], "rows/s"), ("q2_vs_datafusion_best", rates[0] / rates[1], "x")]
}

pub(crate) fn general(workload: &Workload, batch: &Batch) -> Vec<Figure> {
    let general = Rule::new(workload, GENERAL);
    let rates = race(
        "general path, a percentile and a DISTINCT",
        workload.rows,
        &[
            contender("rule", || general.run(workload, "p90")),
            contender("DataFusion", || batch.run(GENERAL_BATCH)),
        ],
    );
    vec![("general_vs_datafusion", rates[0] / rates[1], "x")]
}
