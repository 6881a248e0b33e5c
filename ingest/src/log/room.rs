//! Room on the disk: what may still be written when it becomes little.
//!
//! Promise: weir stops taking rows while there is room left for what must not stop: its own logs,
//! ticks, checkpoints, the catalog; and goes on by itself when there is room again.
//! Elsewhere: a disk that is full all the same is `writer`'s and `catalog`'s.

use super::internal::InternalLog;
use crate::io::{Disk, Space};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tracing::{info, warn};

/// Where it becomes too little: the larger of a part of the disk and a number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RoomMarks {
    /// Below this people are told, in thousandths of the disk.
    pub soft_permille: u64,
    /// The same in bytes.
    pub soft_bytes: u64,
    /// Below this no rows are taken, in thousandths of the disk.
    pub hard_permille: u64,
    /// The same in bytes.
    pub hard_bytes: u64,
}

impl Default for RoomMarks {
    fn default() -> Self {
        let gib = 1024 * 1024 * 1024;
        Self { soft_permille: 50, soft_bytes: 2 * gib, hard_permille: 20, hard_bytes: gib }
    }
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Room {
    /// Enough.
    #[default]
    Plenty,
    /// Below the soft mark: somebody should look.
    Little,
    /// Below the hard mark: no rows of senders and of streams that rules write.
    OwnOnly,
    /// Below half of it: no dead letters and no checkpoints either.
    Last,
}

impl RoomMarks {
    /// None: rows are taken until the disk itself refuses them.
    pub const NONE: Self =
        Self { soft_permille: 0, soft_bytes: 0, hard_permille: 0, hard_bytes: 0 };

    /// What `space` is.
    pub fn judge(&self, space: Space) -> Room {
        let mark = |permille: u64, bytes: u64| bytes.max(space.total_bytes / 1000 * permille);
        let hard = mark(self.hard_permille, self.hard_bytes);
        match space.available_bytes {
            left if left < hard / 2 => Room::Last,
            left if left < hard => Room::OwnOnly,
            left if left < mark(self.soft_permille, self.soft_bytes) => Room::Little,
            _ => Room::Plenty,
        }
    }
}

/// What somebody wants to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Rows of a stream.
    Rows,
    /// Ticks and the word of a restart.
    Ticks,
    /// Rows of one of weir's own logs.
    Own(InternalLog),
    /// A checkpoint of a rule.
    Checkpoint,
}

impl Room {
    /// Whether there is room for it.
    pub(super) fn admits(self, purpose: Purpose) -> bool {
        match purpose {
            Purpose::Rows => self < Self::OwnOnly,
            Purpose::Checkpoint | Purpose::Own(InternalLog::DeadLetters) => self < Self::Last,
            Purpose::Ticks | Purpose::Own(_) => true,
        }
    }
}

/// What was last seen of the disk.
#[derive(Debug, Default)]
pub(super) struct RoomWatch {
    seen: Mutex<Room>,
}

impl RoomWatch {
    pub(super) fn now(&self) -> Room {
        *self.seen.lock()
    }

    /// Looks at the disk that holds `directory`; whether something changed.
    pub(super) fn look(&self, disk: &dyn Disk, directory: &Path, marks: &RoomMarks) -> bool {
        let space = match disk.space(directory) {
            Ok(space) => space,
            Err(error) => {
                warn!(directory = %directory.display(), %error, "cannot see how full the disk is");
                return false;
            }
        };
        let room = marks.judge(space);
        let before = std::mem::replace(&mut *self.seen.lock(), room);
        let left_bytes = space.available_bytes;
        if room > before {
            warn!(?room, left_bytes, "the disk is filling up");
        } else if room < before {
            info!(?room, left_bytes, "there is room on the disk again");
        }
        room != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_mark_counts() {
        let gib = 1024 * 1024 * 1024;
        let marks = RoomMarks::default();
        let judge =
            |total, left| marks.judge(Space { total_bytes: total * gib, available_bytes: left });
        // Of a small disk the bytes, of a large one the part.
        assert_eq!(judge(10, 2 * gib), Room::Plenty);
        assert_eq!(judge(10, 2 * gib - 1), Room::Little);
        assert_eq!(judge(10, gib - 1), Room::OwnOnly);
        assert_eq!(judge(10, gib / 2 - 1), Room::Last);
        assert_eq!(judge(1000, 51 * gib), Room::Plenty);
        assert_eq!(judge(1000, 49 * gib), Room::Little);
        assert_eq!(judge(1000, 19 * gib), Room::OwnOnly);
        assert_eq!(judge(1000, 9 * gib), Room::Last);
    }

    #[test]
    fn rows_stop_first_then_dead_letters_and_checkpoints_and_alarms_never() {
        let purposes = [
            Purpose::Rows,
            Purpose::Checkpoint,
            Purpose::Own(InternalLog::DeadLetters),
            Purpose::Own(InternalLog::Alarms),
            Purpose::Ticks,
        ];
        let admitted = |room: Room| purposes.map(|purpose| room.admits(purpose));
        assert_eq!(admitted(Room::Little), [true; 5]);
        assert_eq!(admitted(Room::OwnOnly), [false, true, true, true, true]);
        assert_eq!(admitted(Room::Last), [false, false, false, true, true]);
    }
}
