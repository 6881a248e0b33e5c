//! Rules against batch engines and the hand-written loop, on the same batches in the same run; and what
//! stands beside them: latest values under load, topics against subscriptions, checkpoints, memory.
//!
//! Promise: every figure is the median of its runs, which alternate with those it is compared with; the
//! answers are checked against each other first; the last lines are `figure NAME VALUE UNIT`.
//! Run by `cargo bench --bench rules`; names behind `--` choose.

#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]

mod batch;
mod building;
mod checkpoints;
mod hand;
mod latest;
mod memory;
mod race;
mod rule;
mod topics;
mod windows;
mod workload;

use batch::Batch;
use std::cell::OnceCell;
use workload::Workload;

/// The program's own allocator, for all that is compared.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROWS: usize = 10_000_000;

/// A name, a value and its unit.
type Figure = (&'static str, f64, &'static str);

fn main() {
    let rows = std::env::var("WEIR_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok());
    let (made, read) = (OnceCell::new(), OnceCell::new());
    let workload = || made.get_or_init(|| Workload::new(rows.unwrap_or(ROWS)));
    let batch = || read.get_or_init(|| Batch::new(workload()));
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    // First of all: the memory of the others would be counted.
    let benches: [(&str, &dyn Fn() -> Vec<Figure>); 7] = [
        ("memory", &memory::memory),
        ("q1", &|| windows::q1(workload(), batch())),
        ("q2", &|| windows::q2(workload(), batch())),
        ("general", &|| windows::general(workload(), batch())),
        ("q3", &latest::q3),
        ("q4", &|| topics::q4(workload())),
        ("checkpoints", &|| checkpoints::checkpoints(workload())),
    ];
    let mut figures = Vec::new();
    for (name, measure) in benches {
        if named.is_empty() || named.iter().any(|named| named == name) {
            figures.extend(measure());
        }
    }
    for (name, value, unit) in figures {
        println!("figure {name} {value:.2} {unit}");
    }
}
