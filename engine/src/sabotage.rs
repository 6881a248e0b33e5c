//! Deliberate faults of rules, so that tests can show that they would find them.
//!
//! Promise: a release build has none of this; how one is chosen is `weir_ingest::sabotage`'s.
//! Elsewhere: each fault stands in one line at its place; `tests/sql/sabotage.rs` lists what finds it.

/// What can be done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The catalog names a checkpoint whose file was not synced.
    CheckpointUnsynced,
    /// A checkpoint's offsets lie behind an input that was read and not yet taken.
    OffsetsAhead,
    /// Watermarks are not part of what is restored.
    WatermarksForgotten,
    /// As above, how far a partition was taken to be when it came back.
    ReturnsForgotten,
    /// What was written before a restart is written again.
    DoubleAfterRestore,
    /// An id is made of the time of arrival.
    AppendTimeInId,
    /// An older reading takes the watermark back.
    WatermarkBack,
    /// All rows of a batch are judged by the watermark before it.
    WatermarkPerBatch,
    /// A partition's sealed partial takes rows until the last partition has sealed its own.
    SealedTouched,
    /// A late row goes into its pane as if it were in time, and is not listed.
    LateMerged,
    /// The alarms of a window come in the order of a hash.
    HashOrder,
    /// Ticks are not read.
    LostTick,
    /// Commands are read before readings that came before them.
    CommandsFirst,
    /// Partitions are read one after another, not merged by append time.
    PartitionByPartition,
    /// A late reading clears an alarm.
    LateClears,
    /// A verdict that is NULL is taken for false.
    NullIsFalse,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::CheckpointUnsynced,
        Self::OffsetsAhead,
        Self::WatermarksForgotten,
        Self::ReturnsForgotten,
        Self::DoubleAfterRestore,
        Self::AppendTimeInId,
        Self::WatermarkBack,
        Self::WatermarkPerBatch,
        Self::SealedTouched,
        Self::LateMerged,
        Self::HashOrder,
        Self::LostTick,
        Self::CommandsFirst,
        Self::PartitionByPartition,
        Self::LateClears,
        Self::NullIsFalse,
    ];
}

pub(crate) use weir_ingest::sabotage::is;
#[cfg(debug_assertions)]
pub use weir_ingest::sabotage::{Sabotaged, commit};
