//! Which series are behind each group.

use std::collections::{BTreeMap, HashSet};

/// A group and a series, in a set.
pub(super) const SEEN_BYTES: usize = 24;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Members {
    /// By stream and series, the first group a series was seen in.
    first: BTreeMap<u64, Vec<Option<usize>>>,
    /// Series that are in further groups.
    more: HashSet<(usize, u64)>,
}

impl Members {
    pub(super) fn bytes(&self) -> usize {
        let first: usize = self.first.values().map(Vec::capacity).sum();
        size_of::<Option<usize>>() * first + SEEN_BYTES * self.more.capacity()
    }

    pub(super) fn add(&mut self, group: usize, series: u64) {
        let of_stream = self.first.entry(series >> 32).or_default();
        let id = (series & u64::from(u32::MAX)) as usize;
        if of_stream.len() <= id {
            of_stream.resize(id + 1, None);
        }
        match of_stream[id] {
            None => of_stream[id] = Some(group),
            Some(first) if first == group => {}
            Some(_) => {
                self.more.insert((group, series));
            }
        }
    }

    fn each(&self, mut take: impl FnMut(usize, u64)) {
        for (stream, of_stream) in &self.first {
            for (id, group) in of_stream.iter().enumerate() {
                if let Some(group) = group {
                    take(*group, stream << 32 | id as u64);
                }
            }
        }
        self.more.iter().for_each(|(group, series)| take(*group, *series));
    }

    /// By group, then series.
    pub(super) fn sorted(&self) -> Vec<(usize, u64)> {
        let mut all = Vec::new();
        self.each(|group, series| all.push((group, series)));
        all.sort_unstable();
        all
    }

    /// How many are behind each of `groups` groups.
    pub(super) fn sensors(&self, groups: usize) -> Vec<u32> {
        let mut sensors = vec![0_u32; groups];
        self.each(|group, _| sensors[group] += 1);
        sensors
    }
}
