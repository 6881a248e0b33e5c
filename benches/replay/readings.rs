//! The readings that are replayed: 10,000 climate sensors, each every ten seconds.
//!
//! Promise: the same file each time; about 270 bytes a row, event times up to 2 s behind, ten of the
//! hundred floors 2.5 to 4 degrees off.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

const ROOMS: usize = 10_000;
const START_MS: i64 = 1_767_225_602_000;
const ROUND_MS: i64 = 10_000;

/// Writes `rows` readings as NDJSON.
pub(crate) fn write(file: &Path, rows: usize) {
    let mut random = StdRng::seed_from_u64(42);
    let mut order: Vec<usize> = (0..ROOMS).collect();
    order.shuffle(&mut random);
    let drift = |floor: usize| if floor % 10 == 3 { 2.5 + (floor / 10) as f64 / 6.0 } else { 0.0 };
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file).expect("it can be written"));
    for row in 0..rows {
        let (round, place) = ((row / ROOMS) as i64, row % ROOMS);
        let room = order[place];
        let (building, floor, unit) = (room / 1000, room / 100 % 10, room / 10 % 10);
        let nominal = START_MS + round * ROUND_MS + place as i64 * ROUND_MS / ROOMS as i64;
        let time = chrono::DateTime::from_timestamp_millis(nominal - random.random_range(0..=2000))
            .expect("a time")
            .format("%Y-%m-%dT%H:%M:%S%.3fZ");
        let temperature = 20.0 + drift(room / 100) + random.random_range(-1.5..1.5);
        let humidity = random.random_range(35.0..55.0);
        let co2 = random.random_range(400..900);
        let occupied = (room + row / ROOMS / 30) % 5 < 2;
        writeln!(
            out,
            "{{\"org\":\"contoso\",\"site\":\"berlin\",\"building\":{building},\"floor\":{floor},\"unit\":{unit},\"room\":{},\"sensor\":\"climate\",\"topic\":\"/org/contoso/site/berlin/building/{building}/floor/{floor}/unit/{unit}/room/{}/sensors/climate\",\"ts\":\"{time}\",\"temperature\":{temperature:.2},\"humidity\":{humidity:.1},\"co2\":{co2}.0,\"occupied\":{occupied}}}",
            room % 10,
            room % 10,
        )
        .expect("the disk takes it");
    }
    out.flush().expect("the disk takes it");
}
