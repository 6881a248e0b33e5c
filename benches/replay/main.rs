//! `weir replay` of a file of readings, the whole process: rows a second, peak memory, and whether a row
//! costs the same in a long file as in a short one.
//!
//! Promise: the file is written first and read from the page cache by everything that is compared; the
//! last lines are `figure NAME VALUE UNIT`. Run by `cargo bench --bench replay`.

#![allow(clippy::disallowed_methods, reason = "measures the machine's own time and disk")]

mod readings;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
/// The short file has one row for so many of the long one.
const SHORTER: usize = 10;

const STREAM: &str = "CREATE STREAM climate (temperature DOUBLE, humidity DOUBLE, co2 DOUBLE, occupied BOOLEAN)
  TOPIC '/org/{org}/site/{site}/building/{building}/floor/{floor}/unit/{unit}/room/{room}/sensors/climate'
  WITH (time_field = 'ts', lateness = '5 seconds');";

/// Figure, and rule.
const RULES: [(&str, &str); 2] = [
    (
        "q1",
        "CREATE RULE q1 AS SELECT site, building, floor, avg(temperature) AS average
           FROM TUMBLE(climate, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)
           GROUP BY site, building, floor, window_start, window_end
           HAVING abs(avg(temperature) - 20) > 2;",
    ),
    (
        "q2",
        "CREATE RULE q2 AS SELECT building, floor, unit, room, avg(temperature) AS average,
             min(temperature) AS least, max(temperature) AS greatest, count(*) AS readings
           FROM HOP(climate, DESCRIPTOR(time), slide => INTERVAL '1' MINUTE, size => INTERVAL '5' MINUTE)
           GROUP BY building, floor, unit, room, window_start, window_end;",
    ),
];

/// One replay.
struct Replayed {
    rows_per_s: f64,
    peak_memory_mib: f64,
}

fn replay(define: &Path, input: &Path, output: &Path, rows: usize) -> Replayed {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("replay")
        .arg("--flush")
        .arg("--define")
        .arg(define)
        .arg("--input")
        .arg(input)
        .arg("--output")
        .arg(output)
        .stdout(Stdio::null())
        .spawn()
        .expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0.0_f64;
    while child.try_wait().expect("it is our child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|text| text.trim().split(' ').next()?.parse().ok());
        peak_kib = peak_kib.max(kib.unwrap_or_default());
        std::thread::sleep(Duration::from_millis(5));
    }
    let rows_per_s = rows as f64 / started.elapsed().as_secs_f64();
    assert!(child.wait().expect("it ended").success(), "the replay succeeds");
    Replayed { rows_per_s, peak_memory_mib: peak_kib / 1024.0 }
}

/// What any reader of the file has to do: read it and find its lines, on one core.
fn lines_per_s(input: &Path, rows: usize) -> f64 {
    let started = Instant::now();
    let mut file = File::open(input).expect("it was written");
    let mut buffer = vec![0; 1 << 20];
    let mut lines = 0;
    loop {
        let read = file.read(&mut buffer).expect("it can be read");
        if read == 0 {
            break;
        }
        lines += memchr::memchr_iter(b'\n', &buffer[..read]).count();
    }
    assert_eq!(lines, rows);
    rows as f64 / started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let rows = std::env::var("WEIR_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let rows: usize = rows.unwrap_or(5_000_000);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| directory.path().join(name);
    let (long, short, output) = (at("long.ndjson"), at("short.ndjson"), at("output.ndjson"));
    readings::write(&long, rows);
    readings::write(&short, rows / SHORTER);
    let mut figures: Vec<(String, f64, &str)> = Vec::new();
    let mut peak = 0.0_f64;
    for (name, rule) in RULES {
        let define = at(&format!("{name}.sql"));
        std::fs::write(&define, format!("{STREAM}\n{rule}")).expect("the directory is writable");
        let (mut rates, mut of_lines, mut growth) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let limit = lines_per_s(&long, rows);
            let whole = replay(&define, &long, &output, rows);
            let part = replay(&define, &short, &output, rows / SHORTER);
            peak = peak.max(whole.peak_memory_mib);
            rates.push(whole.rows_per_s);
            of_lines.push(whole.rows_per_s / limit);
            growth.push(part.rows_per_s / whole.rows_per_s);
        }
        println!(
            "{name}: {:.2} M rows/s; {:.2} of reading the file and finding its lines; a row costs {:.2} times what it does in a file of a tenth",
            median(rates.clone()) / 1e6,
            median(of_lines),
            median(growth.clone())
        );
        figures.push((format!("replay_{name}_rows_per_s"), median(rates), "rows/s"));
        figures.push((format!("replay_{name}_cost_growth"), median(growth), "times"));
    }
    figures.push(("replay_peak_memory_mib".to_owned(), peak, "MiB"));
    for (name, value, unit) in figures {
        println!("figure {name} {value:.3} {unit}");
    }
}
