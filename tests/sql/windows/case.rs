//! Random readings and a windowed SELECT over them, told by a seed.
//!
//! Promise: the windows are worked out here one after another as they are defined, by other means than
//! weir's.

use super::text;
use chrono::{DateTime, TimeZone};
use chrono_tz::Tz;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;
use weir_engine::sql::{Statement, parse_statements};
use weir_engine::stream::input::Flush;
use weir_ingest::model::{SeriesDirectory, SeriesId, StreamDefinition, partition_of};

pub(super) const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const KEYS: [&str; 6] = ["floor, ", "floor, room, ", "topic, ", "status, ", "people, floor, ", ""];
const WHERE: [&str; 5] =
    ["", "", "WHERE room <> '2'", "WHERE temperature > 10", "WHERE status = 'on'"];
const AGGREGATES: [&str; 13] = [
    "count(*)",
    "count(temperature)",
    "sum(temperature)",
    "avg(temperature)",
    "min(temperature)",
    "max(temperature)",
    "count(people)",
    "sum(people)",
    "avg(people)",
    "min(people)",
    "max(people)",
    "count(DISTINCT status)",
    "sum(people) FILTER (WHERE status = 'on')",
];

/// The windows of a rule, and how they are written.
pub(super) struct Grid {
    pub(super) slide: i64,
    pub(super) size: i64,
    pub(super) offset: i64,
    pub(super) zone: Option<Tz>,
}

pub(super) struct Reading {
    pub(super) partition: u32,
    pub(super) offset: u64,
    pub(super) series: u32,
    pub(super) time: i64,
    pub(super) temperature: Option<f64>,
    pub(super) people: Option<i64>,
    pub(super) status: Option<&'static str>,
}

pub(super) enum Step {
    Rows(Vec<Reading>),
    Tick { partition: u32, time: i64, flush: Flush },
}

pub(super) struct Case {
    pub(super) rule: String,
    pub(super) batch: String,
    pub(super) conditions: &'static str,
    pub(super) lateness: i64,
    pub(super) grid: Grid,
    pub(super) definition: Arc<StreamDefinition>,
    pub(super) series: SeriesDirectory,
    pub(super) topics: Vec<String>,
    pub(super) steps: Vec<Step>,
}

/// Readings up to a few windows out of order, and the rule over them.
pub(super) fn case(seed: u64) -> Result<Case, String> {
    let mut random = StdRng::seed_from_u64(seed ^ 0x9e37);
    let grid = grid(&mut random);
    let partitions = [1, 1, 2, 4][random.random_range(0..4)];
    let lateness = random.random_range(0..30) * grid.slide / SECOND / 10 * SECOND;
    let seconds = lateness / SECOND;
    let stream = format!(
        "CREATE STREAM climate (temperature DOUBLE, people BIGINT, status VARCHAR) \
         TOPIC '/floor/{{floor}}/room/{{room}}' \
         WITH (partitions = {partitions}, lateness = '{seconds} seconds')"
    );
    let Some(Statement::CreateStream { definition, .. }) =
        parse_statements(&stream).map_err(text)?.pop()
    else {
        return Err("it is no stream".to_owned());
    };
    let definition = Arc::new(definition);
    let keys = KEYS[random.random_range(0..KEYS.len())];
    let conditions = WHERE[random.random_range(0..WHERE.len())];
    let few = if random.random_bool(0.7) { 11 } else { 13 };
    let aggregates: Vec<String> = (0..random.random_range(1..5))
        .map(|n| format!("{} AS a{n}", AGGREGATES[random.random_range(0..few)]))
        .collect();
    let select = |from: &str| {
        format!(
            "SELECT {keys}window_start, window_end, {} FROM {from} {conditions} \
             GROUP BY {keys}window_start, window_end",
            aggregates.join(", ")
        )
    };
    let mut case = Case {
        rule: format!("CREATE RULE r START FROM EARLIEST AS {}", select(&grid.sql())),
        batch: format!("{} ORDER BY window_end, window_start", select("pairs")),
        conditions,
        lateness,
        grid,
        series: SeriesDirectory::new(definition.template().clone()),
        definition,
        topics: Vec::new(),
        steps: Vec::new(),
    };
    for column in keys.split(", ").filter(|column| !column.is_empty()) {
        case.batch.push_str(&format!(", {column} NULLS FIRST"));
    }
    case.happen(&mut random);
    Ok(case)
}

fn grid(random: &mut StdRng) -> Grid {
    let zoned = random.random_bool(0.25);
    let zone: Option<Tz> = zoned.then(|| "Europe/Berlin".parse().expect("there is that zone"));
    let size = match zoned {
        true => [30 * MINUTE, HOUR, 6 * HOUR, 24 * HOUR][random.random_range(0..4)],
        false => [SECOND, 10 * SECOND, MINUTE, 7 * MINUTE][random.random_range(0..4)],
    };
    let slide = match random.random_range(0..4) {
        0 => size / 2,
        1 => size / 5,
        2 if size % 15 == 0 => size / 15 * 4,
        _ => size,
    };
    let offset = [0, 0, size / 4, 3 * size][random.random_range(0..4)];
    Grid { slide, size, offset, zone }
}

impl Grid {
    fn sql(&self) -> String {
        let interval = |us: i64| format!("INTERVAL '{}' MILLISECOND", us / 1000);
        let mut more = format!("size => {}", interval(self.size));
        if self.offset != 0 {
            more.push_str(&format!(", offset => {}", interval(self.offset)));
        }
        if let Some(zone) = self.zone {
            more.push_str(&format!(", timezone => '{zone}'"));
        }
        match self.slide == self.size {
            true => format!("TUMBLE(climate, DESCRIPTOR(time), {more})"),
            false => {
                let slide = interval(self.slide);
                format!("HOP(climate, DESCRIPTOR(time), slide => {slide}, {more})")
            }
        }
    }

    /// Every window that may hold an instant from `from` to `to`: one after another, as they are defined.
    pub(super) fn windows(&self, from: i64, to: i64) -> Vec<(i64, i64)> {
        let day = 24 * HOUR;
        let first = (from - self.size - day - self.offset).div_euclid(self.slide);
        let last = (to + day - self.offset).div_euclid(self.slide);
        (first..=last)
            .map(|k| k * self.slide + self.offset)
            .map(|start| (self.instant(start), self.instant(start + self.size)))
            .collect()
    }

    /// When the wall clock first shows `wall` or later.
    fn instant(&self, wall: i64) -> i64 {
        let Some(zone) = self.zone else { return wall };
        (0..)
            .map(|seconds| DateTime::from_timestamp_micros(wall + seconds * SECOND))
            .find_map(|wall| zone.from_local_datetime(&wall?.naive_utc()).earliest())
            .expect("clocks go forward by an hour")
            .timestamp_micros()
    }
}

impl Case {
    fn happen(&mut self, random: &mut StdRng) {
        let partitions = self.definition.options().partitions;
        // Around the night the clocks go back or forward.
        let start = [1_774_738_800, 1_792_879_200][random.random_range(0..2)] * SECOND;
        let (edges, mut now) = (self.grid.slide.min(self.grid.size), start);
        let mut newest = i64::MIN;
        let mut offsets = vec![0_u64; partitions as usize];
        for _ in 0..random.random_range(1..25) {
            let mut rows = Vec::new();
            for _ in 0..random.random_range(1..8) {
                now += random.random_range(0..=self.grid.slide / 3);
                let back = [0, 0, self.grid.slide, 3 * self.grid.size][random.random_range(0..4)];
                let mut time = now - random.random_range(0..=back);
                match random.random_range(0..6) {
                    0 => time = time.div_euclid(edges) * edges,
                    1 => time = time.div_euclid(edges) * edges - 1,
                    _ => {}
                }
                newest = newest.max(time);
                rows.push(self.reading(random, time, &mut offsets));
            }
            if random.random_bool(0.5) {
                rows.sort_by_key(|reading| reading.partition);
                while let Some(first) = rows.first().map(|reading| reading.partition) {
                    let rest = rows.partition_point(|reading| reading.partition == first);
                    let rest = rows.split_off(rest);
                    self.steps.push(Step::Rows(std::mem::replace(&mut rows, rest)));
                }
            } else {
                self.steps.push(Step::Rows(rows));
            }
            if random.random_bool(0.2) {
                let partition = random.random_range(0..partitions);
                self.steps.push(Step::Tick { partition, time: newest, flush: Flush::No });
            }
        }
        if random.random_bool(0.5) {
            let flush = |partition| Step::Tick { partition, time: newest, flush: Flush::Yes };
            self.steps.extend((0..partitions).map(flush));
        }
    }

    fn reading(&mut self, random: &mut StdRng, time: i64, offsets: &mut [u64]) -> Reading {
        let (floor, room) = (random.random_range(0..2), random.random_range(0..4));
        let topic = format!("/floor/{floor}/room/{room}");
        let series = self.topics.iter().position(|known| *known == topic).unwrap_or_else(|| {
            let id = u32::try_from(self.topics.len()).expect("a few");
            self.series.push(SeriesId(id), topic.as_str().into());
            self.topics.push(topic.clone());
            id as usize
        });
        let partition = partition_of(&topic, u32::try_from(offsets.len()).expect("a few"));
        let next = &mut offsets[partition as usize];
        *next += 1;
        let known = |random: &mut StdRng| random.random_range(0..6) > 0;
        Reading {
            partition,
            offset: *next - 1,
            series: u32::try_from(series).expect("a few"),
            time,
            temperature: known(random).then(|| f64::from(random.random_range(0..210)) / 7.0),
            people: known(random).then(|| random.random_range(-3..4)),
            status: [None, Some("on"), Some("off"), Some("")][random.random_range(0..4)],
        }
    }
}
