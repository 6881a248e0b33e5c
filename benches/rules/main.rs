//! Rules against batch engines and the hand-written loop, on the same batches in the same run.
//!
//! Promise: every figure is the median of its runs, which alternate with those it is compared with; the
//! answers are checked against each other first; the last lines are `figure NAME VALUE UNIT`.
//! Run by `cargo bench --bench rules`.

#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]

mod batch;
mod hand;
mod rule;
mod workload;

use batch::Batch;
use rule::Rule;
use std::time::Instant;
use workload::Workload;

const ROWS: usize = 10_000_000;
const RUNS: usize = 5;

const Q1: &str = "CREATE RULE q1 AS SELECT site, building, floor, window_end, avg(temperature) AS average \
     FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE) \
     GROUP BY site, building, floor, window_start, window_end HAVING abs(avg(temperature) - 20) > 2";
const Q1_BATCH: &str = "SELECT avg(temperature) AS average, site, building, floor, \
     date_bin(INTERVAL '1 minute', time) AS window_start FROM climate \
     GROUP BY site, building, floor, window_start HAVING abs(avg(temperature) - 20) > 2";
const Q1_BEST: &str = "SELECT avg(temperature) AS average, floor, minute FROM plain \
     GROUP BY floor, minute HAVING abs(avg(temperature) - 20) > 2";
const Q2: &str = "CREATE RULE q2 AS SELECT site, building, floor, unit, room, window_end, \
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

/// What a run gives: rows and the sum of a column.
type Answer = (usize, f64);

/// Something that is measured.
struct Contender<'a> {
    name: &'a str,
    run: Box<dyn Fn() -> Answer + 'a>,
}

fn contender<'a>(name: &'a str, run: impl Fn() -> Answer + 'a) -> Contender<'a> {
    Contender { name, run: Box::new(run) }
}

/// Rows a second of each, medians of runs that alternate; the first run warms up and is checked.
fn race(title: &str, rows: usize, contenders: &[Contender<'_>]) -> Vec<f64> {
    println!("{title}: {rows} rows, median of {RUNS} runs in turn");
    for Contender { name, run } in contenders {
        let (answer, sum) = run();
        println!("  {name}: {answer} rows out, sum {sum:.3}");
    }
    let mut seconds = vec![Vec::new(); contenders.len()];
    for _ in 0..RUNS {
        for (contender, seconds) in contenders.iter().zip(&mut seconds) {
            let start = Instant::now();
            std::hint::black_box((contender.run)());
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let rates = seconds.into_iter().map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        rows as f64 / seconds[RUNS / 2]
    });
    let rates: Vec<f64> = rates.collect();
    for (Contender { name, .. }, rate) in contenders.iter().zip(&rates) {
        println!("  {name}: {:.1} M rows/s", rate / 1e6);
    }
    rates
}

fn main() {
    let rows = std::env::var("WEIR_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let workload = Workload::new(rows.unwrap_or(ROWS));
    let batch = Batch::new(&workload);
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|n| n == name);
    let mut figures = Vec::new();
    if wanted("q1") {
        figures.extend(q1(&workload, &batch));
    }
    if wanted("q2") {
        figures.extend(q2(&workload, &batch));
    }
    if wanted("general") {
        figures.extend(general(&workload, &batch));
    }
    for (name, value, unit) in figures {
        println!("figure {name} {value:.2} {unit}");
    }
}

type Figure = (&'static str, f64, &'static str);

fn q1(workload: &Workload, batch: &Batch) -> Vec<Figure> {
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

fn q2(workload: &Workload, batch: &Batch) -> Vec<Figure> {
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

fn general(workload: &Workload, batch: &Batch) -> Vec<Figure> {
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
