//! The promises of a log, each as a test of whatever it is given.

use crate::readings::{self, Seen, offsets, values};
use crate::subject::{Removes, Subject, read_to};
use crate::vec_model;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use weir_ingest::log::TickKind;
use weir_ingest::model::{AppendTime, Offset};

pub(crate) fn rows_come_back_as_they_were_appended(subject: &Subject) {
    let appended = readings::rows(subject, 0..50);
    let base = subject.append(0..50);
    let seen = subject.read(Offset(0));
    assert_eq!(seen.len(), 50);
    for (row, seen) in seen.iter().enumerate() {
        let offset = base.plus(row as u64);
        assert_eq!(*seen, Seen::Row(offset, appended.slice(row, 1)), "row {row}");
    }
}

pub(crate) fn a_receipt_names_the_offset_of_the_first_row(subject: &Subject) {
    let bases: Vec<Offset> = (0..5).map(|n| subject.append(n * 10..n * 10 + 3)).collect();
    assert!(bases.is_sorted_by(|a, b| a < b), "offsets grow: {bases:?}");
    let seen = subject.read(Offset(0));
    for (n, base) in (0..).zip(bases) {
        let row = offsets(&seen).iter().position(|offset| *offset == base).expect("it is there");
        assert_eq!(values(&seen)[row], n * 10);
    }
}

pub(crate) fn appends_that_wait_together_keep_their_order(subject: &Subject) {
    let waiting: Vec<_> =
        (0..40).map(|n| subject.log.append(readings::rows(subject, n * 5..n * 5 + 5))).collect();
    for receipt in waiting {
        receipt.wait().expect("the log takes rows");
    }
    assert_eq!(subject.values(), (0..200).collect::<Vec<_>>());
}

pub(crate) fn a_reader_begins_where_it_is_told_to(subject: &Subject) {
    subject.append(0..10);
    subject.append(10..20);
    let all = subject.read(Offset(0));
    for first in [0, 1, 9, 10, 11, 19] {
        assert_eq!(subject.read(offsets(&all)[first]), all[first..], "from row {first}");
    }
}

pub(crate) fn a_reader_at_the_end_goes_on_when_there_is_more(subject: &Subject) {
    subject.append(0..3);
    let mut reader = subject.reader(Offset(0));
    assert_eq!(values(&read_to(&mut *reader, Offset(0), subject.end())), [0, 1, 2]);
    assert!(reader.next().expect("the log can be read").is_none(), "nothing came meanwhile");
    let base = subject.append(3..6);
    assert_eq!(values(&read_to(&mut *reader, base, subject.end())), [3, 4, 5]);
    assert_eq!(reader.position(), subject.end());
    let mut late = subject.reader(subject.end());
    assert!(late.next().expect("the log can be read").is_none(), "it began at the end");
    let base = subject.append(6..8);
    assert_eq!(values(&read_to(&mut *late, base, subject.end())), [6, 7]);
}

pub(crate) fn two_readers_do_not_disturb_each_other(subject: &Subject) {
    subject.append(0..20);
    let mut one = subject.reader(Offset(0));
    let begun = one.next().expect("the log can be read");
    let whole = subject.read(Offset(0));
    let mut rest = begun.iter().flat_map(|e| readings::seen(e, Offset(0))).collect::<Vec<_>>();
    rest.extend(read_to(&mut *one, Offset(0), subject.end()));
    assert_eq!(rest, whole);
}

pub(crate) fn a_tick_stands_between_the_rows_before_and_after_it(subject: &Subject) {
    subject.append(0..3);
    subject.tick(77, TickKind::Idle);
    let second = subject.append(3..5);
    subject.tick(88, TickKind::Flush);
    subject.tick(99, TickKind::Idle);
    let third = subject.append(5..6);
    let seen = subject.read(Offset(0));
    let ticks = [
        Seen::Tick(second, 77, TickKind::Idle),
        Seen::Tick(third, 88, TickKind::Flush),
        Seen::Tick(third, 99, TickKind::Idle),
    ];
    assert_eq!((&seen[3], &seen[6], &seen[7]), (&ticks[0], &ticks[1], &ticks[2]));
    assert_eq!(values(&seen), (0..6).collect::<Vec<_>>());
    assert_eq!(subject.read(second)[..2], seen[3..5], "who begins behind a row reads its tick");
    assert_eq!(subject.read(third), seen[6..], "who begins later reads the later ones only");
}

pub(crate) fn append_times_never_go_back(subject: &Subject) {
    for n in 0..5 {
        subject.append(n * 2..n * 2 + 2);
        subject.tick(n, TickKind::Idle);
    }
    subject.append(10..11);
    let mut reader = subject.reader(Offset(0));
    let mut last = AppendTime(i64::MIN);
    while reader.position() < subject.end() {
        if let Some(entry) = reader.next().expect("the log can be read") {
            assert!(entry.append_time >= last, "{} after {last}", entry.append_time);
            last = entry.append_time;
        }
    }
}

pub(crate) fn the_ends_are_those_of_the_rows(subject: &Subject) {
    let empty = subject.log.ends().expect("the log says how far it is");
    assert_eq!(empty.log_start, empty.durable_end);
    let base = subject.append(0..7);
    let ends = subject.log.ends().expect("the log says how far it is");
    assert_eq!((ends.log_start, ends.durable_end), (base, base.plus(7)));
}

pub(crate) fn a_group_finds_the_position_it_said_last(subject: &Subject) {
    subject.append(0..9);
    let position = |group: &str| subject.log.group(group).expect("the log knows its groups");
    assert_eq!(position("dashboard"), None);
    for next in [Offset(3), Offset(8), Offset(2)] {
        subject.log.commit_group("dashboard", next).expect("the log keeps it");
        assert_eq!(position("dashboard"), Some(next), "also further back than before");
    }
    assert_eq!(position("report"), None, "each group has its own");
    subject.log.commit_group("report", Offset(9)).expect("the log keeps it");
    assert_eq!((position("dashboard"), position("report")), (Some(Offset(2)), Some(Offset(9))));
}

pub(crate) fn the_oldest_rows_can_be_removed_up_to_an_offset(subject: &Subject) {
    fill(subject);
    let before = subject.read(Offset(0));
    let asked = Offset(80);
    let Some(start) = trim(subject, asked) else { return };
    assert!(start > Offset(0) && start <= asked, "{start}");
    assert!(subject.removes != Removes::Rows || start == asked, "{start}");
    let ends = subject.log.ends().expect("the log says how far it is");
    assert_eq!((ends.log_start, ends.durable_end), (start, Offset(120)));
    let left: Vec<Seen> =
        before.into_iter().filter(|s| matches!(s, Seen::Row(o, _) if *o >= start)).collect();
    assert_eq!(subject.read(Offset(0)), left, "from 0 is wherever it starts");
    assert_eq!(trim(subject, Offset(1)), Some(start), "nothing comes back");
}

pub(crate) fn a_reader_of_removed_rows_is_told_of_the_gap(subject: &Subject) {
    fill(subject);
    let Some(start) = trim(subject, Offset(80)) else { return };
    let seen = subject.read(Offset(2));
    assert_eq!(seen[0], Seen::Gap(Offset(2), start));
    assert_eq!(offsets(&seen[1..]), (start.0..120).map(Offset).collect::<Vec<_>>());
}

fn fill(subject: &Subject) {
    for n in 0..12 {
        subject.append(n * 10..n * 10 + 10);
    }
}

/// The new start; nothing where the log says that it cannot remove rows.
fn trim(subject: &Subject, before: Offset) -> Option<Offset> {
    let trimmed = subject.log.trim(before);
    match subject.removes {
        Removes::Rows | Removes::Segments => Some(trimmed.expect("the log removes rows")),
        Removes::Nothing => {
            let error = trimmed.expect_err("it cannot").to_string();
            assert!(error.contains("partition 0 were not removed: "), "{error}");
            None
        }
    }
}

pub(crate) fn whatever_is_done_reads_as_the_model_does(subject: &Subject) {
    let model = vec_model::subject().expect("it needs nothing");
    let mut rng = StdRng::seed_from_u64(4711);
    let mut next = 0;
    let mut groups = 0;
    for _ in 0..60 {
        match rng.random_range(0..10) {
            0..6 => {
                let until = next + rng.random_range(1..30);
                let base = subject.append(next..until);
                assert_eq!(base, model.append(next..until));
                next = until;
            }
            6..8 => {
                let kind = [TickKind::Idle, TickKind::Flush][rng.random_range(0..2)];
                subject.tick(next, kind);
                model.tick(next, kind);
            }
            8 => {
                groups += 1;
                let position = Offset(rng.random_range(0..=subject.end().0));
                for log in [&subject.log, &model.log] {
                    log.commit_group("g", position).expect("the log keeps it");
                }
            }
            _ => {
                let from = Offset(rng.random_range(0..=subject.end().0));
                assert_eq!(rows_only(subject.read(from)), rows_only(model.read(from)));
            }
        }
    }
    subject.append(next..next + 1);
    model.append(next..next + 1);
    assert_eq!(subject.read(Offset(0)), model.read(Offset(0)));
    assert!(groups > 0);
    let position = |log: &Subject| log.log.group("g").expect("the log knows its groups");
    assert_eq!(position(subject), position(&model));
}

/// Ticks at the very end need not have come yet when the last row has.
fn rows_only(seen: Vec<Seen>) -> Vec<Seen> {
    seen.into_iter().filter(|seen| matches!(seen, Seen::Row(..))).collect()
}
