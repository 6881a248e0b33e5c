//! What must be true of a partition, whatever happened.

use std::collections::{BTreeMap, HashMap, HashSet};

/// One partition as the outside world knows it. A row is known by its value, which is unique.
#[derive(Debug, Default, Clone)]
pub(crate) struct Model {
    /// Rows by offset, as far as they were ever visible.
    visible: Vec<u64>,
    /// Confirmed rows: offset by value.
    confirmed: BTreeMap<u64, u64>,
    /// The batches that were sent: first value to all values.
    batches: HashMap<u64, Vec<u64>>,
    /// Up to here somebody wanted rows gone whom nobody held back.
    unwanted: u64,
    /// Rows before this one are known to be gone.
    start: u64,
}

impl Model {
    pub(crate) fn sent(&mut self, values: Vec<u64>) {
        self.batches.insert(values[0], values);
    }

    pub(crate) fn confirmed(&mut self, values: &[u64], base_offset: u64) -> Result<(), String> {
        for (offset, value) in (base_offset..).zip(values) {
            if self.confirmed.insert(*value, offset).is_some() {
                return Err(format!("row {value} was confirmed twice"));
            }
            if let Some(other) = self.visible.get(usize::try_from(offset).expect("small"))
                && other != value
            {
                return Err(format!("L2: offset {offset} of row {value} already is row {other}'s"));
            }
        }
        Ok(())
    }

    /// Rows that were just seen by a reader, from `offset` on.
    pub(crate) fn seen(&mut self, offset: u64, values: &[u64]) -> Result<(), String> {
        for (offset, value) in (offset..).zip(values) {
            let index = usize::try_from(offset).expect("small");
            match self.visible.get(index) {
                Some(before) if before != value => {
                    return Err(format!("P2: offset {offset} was row {before}, now {value}"));
                }
                Some(_) => {}
                None if index == self.visible.len() => self.visible.push(*value),
                None => return Err(format!("L2: offset {offset} after {}", self.visible.len())),
            }
        }
        Ok(())
    }

    /// Up to where rows were seen.
    pub(crate) fn seen_to(&self) -> u64 {
        self.visible.len() as u64
    }

    /// Rows before `offset` may go from now on.
    pub(crate) fn may_go(&mut self, offset: u64) {
        self.unwanted = self.unwanted.max(offset);
    }

    /// The partition starts at `start` now, and says that it does so for good.
    pub(crate) fn starts_at(&mut self, start: u64) -> Result<(), String> {
        if start > self.unwanted {
            return Err(format!("L3: it starts at {start}, wanted from {} on", self.unwanted));
        }
        if start < self.start {
            return Err(format!("L3: it starts at {start}, and did at {}", self.start));
        }
        self.start = start;
        Ok(())
    }

    /// Checks everything a reader got from the offset `start`, the first there is, to the durable end.
    pub(crate) fn check_all(&mut self, start: u64, rows: &[u64]) -> Result<(), String> {
        self.starts_at(start)?;
        let (end, before) = (start + rows.len() as u64, self.seen_to());
        if end < before {
            return Err(format!("P2: {before} rows were visible, {end} are left"));
        }
        self.seen(start, rows)?;
        for (value, offset) in self.confirmed.iter().filter(|(_, offset)| **offset >= start) {
            if rows.get(usize::try_from(*offset - start).expect("small")) != Some(value) {
                return Err(format!("P1: confirmed row {value} is not at offset {offset}"));
            }
        }
        let mut once = HashSet::new();
        if let Some(twice) = rows.iter().find(|value| !once.insert(**value)) {
            return Err(format!("row {twice} is there twice"));
        }
        self.check_whole(rows)
    }

    fn check_whole(&self, rows: &[u64]) -> Result<(), String> {
        let mut at = 0;
        while at < rows.len() {
            let batch = self.batches.get(&rows[at]).ok_or_else(|| {
                format!("offset {at} holds row {}, which starts no batch: half of one", rows[at])
            })?;
            if rows.get(at..at + batch.len()) != Some(batch.as_slice()) {
                return Err(format!("the batch of row {} is there in part", rows[at]));
            }
            at += batch.len();
        }
        Ok(())
    }
}
