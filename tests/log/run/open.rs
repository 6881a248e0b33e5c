//! Power cuts, stops and starts; and everything that must hold after a start.

use super::World;
use crate::climate::{kept_values, with_stream};
use rand::RngExt;
use std::sync::Arc;
use weir_ingest::io::{Clock, Image};
use weir_ingest::log::{Log, LogConfig, PartitionState, RoomMarks};
use weir_ingest::model::Offset;

impl World<'_> {
    pub(super) fn cut_now(&mut self) -> Result<(), String> {
        self.collect()?;
        self.lose_power();
        self.open()
    }

    fn lose_power(&mut self) {
        self.outcome.cuts += 1;
        self.outcome.unconfirmed += self.waiting.len() as u64;
        self.waiting.clear();
        self.forget_answers();
        self.readers.clear();
        // The process is gone with the power: nothing it still does reaches the disk.
        self.power.cut_power_in(0);
        self.log = None;
        self.power_back();
    }

    fn power_back(&mut self) {
        self.power.restart_with(Image::ALL[self.rng.random_range(0..Image::ALL.len())]);
        self.behave();
    }

    /// The disk does nothing wrong from here on.
    fn behave(&mut self) {
        self.power.behave();
        self.power.set_capacity(1 << 40);
        self.failing = false;
    }

    pub(super) fn stop_and_open(&mut self) -> Result<(), String> {
        self.log()?.stop();
        self.collect()?;
        self.waiting.clear();
        self.forget_answers();
        self.readers.clear();
        self.log = None;
        if self.power.is_off() {
            return self.cut_now();
        }
        self.open()
    }

    /// Opens the log, now and then with a power cut or a failure on the way, and checks all of it.
    pub(super) fn open(&mut self) -> Result<(), String> {
        while self.log.is_none() {
            self.behave();
            match self.rng.random_range(0..100) {
                0..25 => self.power.cut_power_in(self.rng.random_range(0..200)),
                25..30 => self.fail_in_recovery(),
                _ => {}
            }
            // What a full disk does below the marks is what is to be seen.
            let small = self.rng.random_bool(0.5);
            let config = LogConfig {
                segment_bytes_max: 16 * 1024,
                // So small that several wait: the next is planned while one is synced.
                group_bytes_max: if small { 512 } else { 1024 * 1024 },
                ahead_bytes_min: 1,
                room: RoomMarks::NONE,
                ..LogConfig::new("/data")
            };
            let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
            let opened = Log::open_manual(Arc::clone(&self.disk), clock, config)
                .map_err(|e| e.to_string())
                .and_then(with_stream);
            match opened {
                Ok(log) if !self.is_excused() => self.log = Some(log),
                Err(error) if !self.is_excused() => return Err(format!("cannot open: {error}")),
                opened => {
                    self.outcome.cuts += 1;
                    self.outcome.cuts_in_recovery += 1;
                    self.power.cut_power_in(0);
                    drop(opened);
                    self.power_back();
                }
            }
        }
        self.behave();
        self.check()
    }

    fn fail_in_recovery(&mut self) {
        self.plan_failure("");
        self.outcome.failures_in_recovery += 1;
    }

    fn check(&mut self) -> Result<(), String> {
        let (log, stream) = (self.log()?, self.stream()?);
        if log.append_clock().draw() <= self.last_append {
            return Err("an append time on disk is above the clock".to_owned());
        }
        for (key, value) in &self.notes {
            if log.catalog().get("test", key).map_err(|e| e.to_string())?.as_ref() != Some(value) {
                return Err(format!("the catalog lost {key}"));
            }
        }
        self.readers.clear();
        for (partition, model) in stream.partitions().iter().zip(&mut self.models) {
            if partition.state() != PartitionState::Ready {
                return Err(format!("{:?} after a power cut", partition.state()));
            }
            let (start, rows) = kept_values(partition)?;
            let end = Offset(start + rows.len() as u64);
            if partition.ends().durable_end != end {
                return Err("the durable end is not the end of the rows".to_owned());
            }
            model.check_all(start, &rows)?;
            self.readers.push(partition.reader(end));
        }
        Ok(())
    }
}
