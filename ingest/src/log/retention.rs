//! Which segments may go: pure.
//!
//! Promise (L3): never one with a row that is held, never the newest.

use super::entry::SegmentInfo;
use crate::model::{AppendTime, Offset, Retention};

/// How many of the oldest segments the policy does not keep at `now`. `parts` is the number of
/// partitions that share its bytes.
pub(super) fn expired(
    segments: &[SegmentInfo],
    policy: Retention,
    parts: u32,
    now: AppendTime,
) -> usize {
    let oldest_kept = policy.age.map(|age| {
        let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        AppendTime(now.0.saturating_sub(age_us))
    });
    let bytes_max = policy.bytes.map(|bytes| bytes / u64::from(parts.max(1)));
    let mut bytes: u64 = segments.iter().map(|s| s.bytes).sum();
    let older = segments.split_last().map_or(&[][..], |(_, older)| older);
    let mut expired = 0;
    for segment in older {
        let too_old = oldest_kept.is_some_and(|oldest| segment.max_append_time < oldest);
        let too_much = bytes_max.is_some_and(|max| bytes > max);
        if !segment.sealed || !(too_old || too_much) {
            break;
        }
        bytes -= segment.bytes;
        expired += 1;
    }
    expired
}

/// How many of the first `expired` segments end at or before `held`: what may go now.
pub(super) fn free(segments: &[SegmentInfo], expired: usize, held: Option<Offset>) -> usize {
    let Some(held) = held else { return expired };
    segments.iter().take(expired).take_while(|s| s.end_offset <= held).count()
}

#[cfg(test)]
mod tests;
