//! What a window rested on, as its transitions and rows tell it.
//!
//! Promise: the ranges are those of the rule's streams, also where its windows are over other windows.

use super::Runner;
use crate::alarms::{PartitionReceipt, Receipt};
use crate::stream::watermark::{NEVER, Progress};
use crate::stream::window::{Closed, LaneEvidence};
use weir_ingest::model::EventTime;

/// Of a closed window.
pub(super) struct Receipts<'c> {
    streams: Vec<String>,
    progress: Progress,
    closed: &'c Closed,
    evidence: Vec<LaneEvidence>,
    late: u64,
}

impl Receipts<'_> {
    pub(super) fn of(&self, sensors: u32, watermark: i64) -> Receipt {
        let known = |time: i64| (time > NEVER).then_some(EventTime(time));
        let partitions = self.evidence.iter().map(|lane| {
            let (stream, partition) = self.progress.partition_of(lane.lane);
            PartitionReceipt {
                stream: self.streams[stream].clone(),
                partition,
                first_offset: lane.first,
                last_offset: lane.last,
                watermark_before: known(lane.watermark_before),
            }
        });
        Receipt {
            watermark: known(watermark),
            sensors_used: u64::from(sensors),
            sensors_expected: None,
            late: self.late,
            incomplete: self.progress.is_incomplete(self.closed.start, self.closed.end),
            partitions: partitions.collect(),
        }
    }
}

impl Runner {
    pub(super) fn receipts<'c>(&self, closed: &'c Closed) -> Receipts<'c> {
        let (evidence, late) = self.evidence_of(closed);
        let reader = self.reader();
        Receipts {
            streams: reader.plan.streams.iter().map(|s| s.name().to_owned()).collect(),
            progress: reader.progress.clone(),
            closed,
            evidence,
            late,
        }
    }
}
