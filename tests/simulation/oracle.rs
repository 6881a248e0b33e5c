//! What a run that was never cut says, and what the logs hold of the one that was.
//!
//! Promise: it reads the final log alone, through the same code that follows it, without checkpoints.

use super::rules::{RULE_UID, relations, text};
use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use std::sync::Arc;
use weir_engine::alarms::{Transition, transition_rows};
use weir_engine::runtime::definition::StoredRule;
use weir_engine::runtime::derived::Derived;
use weir_engine::runtime::runner::RunnerState;
use weir_engine::runtime::sink::ordinals;
use weir_engine::runtime::versions::Step;
use weir_engine::tables::reference::ReferenceTables;
use weir_ingest::log::{EntryBody, InternalLog, Log};

/// What the log holds of a rule.
pub(crate) fn written(log: &Log, rule: &str) -> Result<Vec<Transition>, String> {
    let mut written = Vec::new();
    for which in [InternalLog::Alarms, InternalLog::Rows] {
        let partition = log.internal(which);
        let mut reader = partition.reader(partition.ends().log_start);
        while let Some(entry) = reader.next().map_err(text)? {
            if let EntryBody::Rows(batch) = &entry.body {
                let all = transition_rows::decode(batch).map_err(text)?;
                written.extend(all.into_iter().filter(|t| t.rule == rule));
            }
        }
    }
    Ok(written)
}

/// What a run that was never cut gives over the final log: its transitions, its state, and what it wrote into a stream.
pub(crate) type Reference = (Vec<Transition>, Option<RunnerState>, Vec<Derived>);

/// See [`Reference`].
pub(crate) fn reference(log: &Arc<Log>, rule: &str) -> Result<Reference, String> {
    let references = ReferenceTables::open(Arc::clone(log)).map_err(text)?;
    let value = log.catalog().get("rules", rule).map_err(text)?.ok_or("the rule is gone")?;
    let stored: StoredRule = serde_json::from_slice(&value).map_err(text)?;
    let planned = stored.planned(&relations(log, &references)).map_err(text)?;
    let mut versions = stored.open_all(log, &planned).map_err(text)?;
    let (mut transitions, mut derived) = (Vec::new(), Vec::new());
    while let Step::Taken { mut outputs, .. } = versions.step(None)? {
        derived.append(&mut outputs.derived);
        transitions.extend(outputs.told());
    }
    Ok((transitions, versions.state().map(|(state, ..)| state), derived))
}

/// Whether the stream that a rule writes holds each of its rows once, partition by partition in the
/// order of their ordinals, with the ticks in between.
pub(crate) fn same_readings(log: &Log, rule: &str, derived: &[Derived]) -> Result<(), String> {
    let Some(stream) = log.streams().get(rule) else { return Ok(()) };
    let (mut written, mut told, mut ticks) = (Vec::new(), Vec::new(), i64::MIN);
    for partition in stream.partitions() {
        let mut reader = partition.reader(partition.ends().log_start);
        let (mut last, mut ticked) = (None, i64::MIN);
        while let Some(entry) = reader.next().map_err(text)? {
            if let EntryBody::Tick { event_time, .. } = entry.body {
                if event_time.0 <= ticked {
                    return Err(format!("P6: {rule} said a tick twice"));
                }
                (ticked, ticks) = (event_time.0, ticks.max(event_time.0));
            }
            let EntryBody::Rows(batch) = &entry.body else { continue };
            let (times, values) = (batch.column(0), batch.column(2));
            for (row, ordinal) in ordinals(batch, RULE_UID).enumerate() {
                if ordinal <= last {
                    return Err(format!("P6: {rule} wrote {ordinal:?} after {last:?}"));
                }
                last = ordinal;
                let time = times.as_primitive::<TimestampMicrosecondType>().value(row);
                written.push((ordinal, time, values.as_primitive::<Float64Type>().value(row)));
            }
        }
    }
    written.sort_by_key(|(ordinal, ..)| *ordinal);
    for one in derived {
        let Derived::Rows(rows) = one else { continue };
        let values = rows.fields.column(0).as_primitive::<Float64Type>().values();
        let of = rows.times.iter().zip(values).zip(rows.first_ordinal..);
        told.extend(of.map(|((time, value), ordinal)| (Some(ordinal), *time, *value)));
    }
    let newest = derived.iter().filter_map(|one| match one {
        Derived::Tick(tick) => Some(tick.event_time.0),
        Derived::Rows(_) => None,
    });
    match written == told && newest.max().unwrap_or(i64::MIN) == ticks {
        true => Ok(()),
        false => Err(format!("P6: {rule} wrote {written:?}, the reference says {told:?}")),
    }
}

/// Where two texts begin to differ, and what stands there.
pub(crate) fn first_difference(is: &str, expected: &str) -> String {
    let same = is.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| {
        let (from, to) = (same.saturating_sub(120), (same + 200).min(text.len()));
        text.get(from..to).unwrap_or(text).to_owned()
    };
    format!("is ...{}..., the reference is ...{}...", around(is), around(expected))
}
