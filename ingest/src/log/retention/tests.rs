use super::*;
use crate::model::EventTime;
use std::time::Duration;

/// Segments of ten rows and 100 bytes, one a second; the last is being written.
fn segments(n: u64) -> Vec<SegmentInfo> {
    let segment = |i: u64| SegmentInfo {
        base_offset: Offset(i * 10),
        end_offset: Offset(i * 10 + 10),
        bytes: 100,
        min_time: EventTime(0),
        max_time: EventTime(0),
        min_append_time: AppendTime(i.cast_signed() * 1_000_000),
        max_append_time: AppendTime(i.cast_signed() * 1_000_000 + 999_999),
        sealed: i + 1 < n,
    };
    (0..n).map(segment).collect()
}

fn check(age_s: Option<u64>, bytes: Option<u64>, now_s: i64) -> usize {
    let policy = Retention { age: age_s.map(Duration::from_secs), bytes };
    expired(&segments(10), policy, 1, AppendTime(now_s * 1_000_000))
}

#[test]
fn a_segment_goes_when_its_newest_row_is_too_old() {
    assert_eq!(check(Some(5), None, 10), 5);
    assert_eq!(check(Some(100), None, 10), 0);
    assert_eq!(check(Some(0), None, 1_000), 9, "the newest stays");
    assert_eq!(check(None, None, 1_000), 0);
    assert_eq!(check(Some(u64::MAX), None, 1_000), 0);
}

#[test]
fn segments_go_until_the_rest_is_small_enough() {
    assert_eq!(check(None, Some(500), 10), 5);
    assert_eq!(check(None, Some(501), 10), 5);
    assert_eq!(check(None, Some(499), 10), 6);
    assert_eq!(check(None, Some(0), 10), 9, "the newest stays");
    assert_eq!(check(Some(2), Some(500), 10), 8, "whichever asks for more");
    let policy = Retention { age: None, bytes: Some(1_000) };
    assert_eq!(expired(&segments(10), policy, 2, AppendTime(0)), 5, "partitions share the bytes");
}

#[test]
fn what_is_held_stays() {
    let segments = segments(10);
    assert_eq!(free(&segments, 5, None), 5);
    assert_eq!(free(&segments, 5, Some(Offset(30))), 3);
    assert_eq!(free(&segments, 5, Some(Offset(39))), 3, "a row of the segment is needed");
    assert_eq!(free(&segments, 5, Some(Offset(0))), 0);
}
