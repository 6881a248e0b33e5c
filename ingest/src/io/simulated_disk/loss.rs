//! What a power cut leaves of what was not synced.
//!
//! Promise: a sector of 512 bytes is old or new; only one that never held anything may hold garbage.

use super::content::{Change, put};
use super::state::State;
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeSet;

const SECTOR_BYTES: usize = 512;

/// What survives of the writes, lengths and names that were not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Image {
    /// All of it: the cut was felt by the process alone.
    KeepAll,
    /// Nothing.
    None,
    /// Any subset, by sector.
    Random,
    /// Of each file a beginning in the order of its writes, the last one by sector.
    Torn,
    /// Any subset, by sector; of the others those that held nothing may hold anything.
    Garbage,
}

impl Image {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::KeepAll, Self::None, Self::Random, Self::Torn, Self::Garbage];
}

impl State {
    pub(super) fn lose(&mut self, image: Image) {
        let rng = &mut self.rng;
        self.names.lose(|| match image {
            Image::KeepAll => true,
            Image::None => false,
            Image::Random | Image::Torn | Image::Garbage => rng.random_bool(0.5),
        });
        for content in self.files.values_mut() {
            content.sync_some(|waiting, durable| survive(image, &waiting, durable, rng));
            content.show_durable();
        }
        let kept: BTreeSet<u64> = self.names.files().copied().collect();
        self.files.retain(|file, _| kept.contains(file));
    }
}

/// Applies to `durable` what survives of `waiting`.
pub(super) fn survive(image: Image, waiting: &[Change], durable: &mut Vec<u8>, rng: &mut StdRng) {
    match image {
        Image::None => {}
        Image::KeepAll => waiting.iter().for_each(|change| change.apply(durable)),
        Image::Random | Image::Garbage => {
            for change in waiting {
                apply_some(change, durable, rng, image);
            }
        }
        Image::Torn => {
            let whole = rng.random_range(0..=waiting.len());
            waiting[..whole].iter().for_each(|change| change.apply(durable));
            if let Some(Change::Write { at, bytes }) = waiting.get(whole) {
                let sectors = bytes.len() / SECTOR_BYTES;
                let end = (at / SECTOR_BYTES + rng.random_range(0..=sectors)) * SECTOR_BYTES;
                put(durable, *at, &bytes[..end.saturating_sub(*at).min(bytes.len())]);
            }
        }
    }
}

fn apply_some(change: &Change, durable: &mut Vec<u8>, rng: &mut StdRng, image: Image) {
    let Change::Write { at, bytes } = change else {
        if rng.random_bool(0.5) {
            change.apply(durable);
        }
        return;
    };
    let mut from = 0;
    while from < bytes.len() {
        let sector_end = (at + from) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - at;
        let to = sector_end.min(bytes.len());
        if rng.random_bool(0.5) {
            put(durable, at + from, &bytes[from..to]);
        } else if image == Image::Garbage
            && held_nothing(durable, at + from)
            && rng.random_bool(0.5)
        {
            let mut garbage = vec![0; to - from];
            rng.fill(garbage.as_mut_slice());
            put(durable, at + from, &garbage);
        }
        from = to;
    }
}

/// Whether the sector of a byte is all zeros or not there.
fn held_nothing(durable: &[u8], at: usize) -> bool {
    let start = (at / SECTOR_BYTES * SECTOR_BYTES).min(durable.len());
    let end = (start + SECTOR_BYTES).min(durable.len());
    durable[start..end].iter().all(|byte| *byte == 0)
}
