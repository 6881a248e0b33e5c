//! The log against the disk it is on, and decoding against arrow-json.
//!
//! Promise: each figure is the median of rounds in which what is measured and what it is held against
//! take turns; the last lines are `figure NAME VALUE UNIT`. Run by `cargo bench -p weir-ingest --bench
//! log`; names of parts behind `--` choose.

#![allow(clippy::disallowed_methods, reason = "measures the machine's own time and disk")]

mod ahead;
mod append;
mod bytes;
#[path = "../connection.rs"]
mod connection;
mod decode;
mod disk;
mod http;
mod recovery;
mod replay;
mod single;
#[path = "../syncs.rs"]
mod syncs;
mod workload;

/// The allocator of the program: columns are made on one thread and freed on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A name, a value and its unit.
type Figure = (&'static str, f64, &'static str);

/// What a part is called, and what measures it.
type Part = (&'static str, fn() -> Vec<Figure>);

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let parts: [Part; 8] = [
        ("append", append::measure),
        ("ahead", ahead::measure),
        ("single", single::measure),
        ("replay", replay::measure),
        ("recovery", recovery::measure),
        ("http", http::measure),
        ("decode", decode::measure),
        ("bytes", bytes::measure),
    ];
    let mut figures = Vec::new();
    for (name, measure) in parts {
        if named.is_empty() || named.iter().any(|named| named == name) {
            figures.extend(measure());
        }
    }
    for (name, value, unit) in figures {
        println!("figure {name} {value:.3} {unit}");
    }
}

/// A size from the environment.
fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// How often each comparison is made.
fn rounds() -> usize {
    setting("WEIR_BENCH_ROUNDS", 5).max(1)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Rows a second in millions, for people.
fn millions(rate: f64) -> f64 {
    rate / 1e6
}
