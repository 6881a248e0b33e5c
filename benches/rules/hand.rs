//! The limit: Q1 as a loop written by hand over decoded columns.

use crate::workload::{FLOORS, ROOMS, Workload, floor_of};
use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, TimestampMicrosecondType, UInt32Type};

const WINDOW_US: i64 = 60_000_000;
const LATENESS_US: i64 = 5_000_000;
const RING: usize = 4;

/// Runs Q1; the number of rows beyond 2 degrees, and the sum of their averages.
pub(crate) fn q1(workload: &Workload) -> (usize, f64) {
    let floors: Vec<u32> = (0..ROOMS).map(|room| floor_of(room) as u32).collect();
    let mut sums = [0.0_f64; RING * FLOORS];
    let mut counts = [0_u64; RING * FLOORS];
    let (mut newest, mut open) = (i64::MIN / 2, i64::MIN);
    let (mut rows, mut total) = (0, 0.0);
    for batch in &workload.batches {
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>().values();
        let series = batch.column(1).as_primitive::<UInt32Type>().values();
        let values = batch.column(2).as_primitive::<Float64Type>().values();
        if open == i64::MIN {
            open = times.iter().min().expect("no batch is empty") / WINDOW_US;
        }
        for ((time, series), value) in times.iter().zip(series).zip(values) {
            let slot =
                (*time / WINDOW_US) as usize % RING * FLOORS + floors[*series as usize] as usize;
            sums[slot] += value;
            counts[slot] += 1;
            newest = newest.max(*time);
        }
        while (open + 1) * WINDOW_US <= newest - LATENESS_US {
            let first = open as usize % RING * FLOORS;
            for slot in first..first + FLOORS {
                let average = sums[slot] / counts[slot] as f64;
                if (average - 20.0).abs() > 2.0 {
                    rows += 1;
                    total += average;
                }
                sums[slot] = 0.0;
                counts[slot] = 0;
            }
            open += 1;
        }
    }
    (rows, total)
}
