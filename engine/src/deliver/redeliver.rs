//! Finding an event again by its id: the transition, and who was sent it.

use super::subscription::SubscriptionError;
use crate::alarms::{Transition, transition_rows};
use arrow::array::{Array, AsArray, RecordBatch};
use std::collections::BTreeSet;
use weir_ingest::log::{EntryBody, InternalLog, Log, ReadError};

/// Why an event is not sent again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RedeliverError {
    /// Not in internal/alarms nor internal/rows.
    #[error("there is no event '{0}'; see the tables deliveries and dead_letters")]
    UnknownEvent(String),
    /// Nobody tried it, or they were dropped.
    #[error("no subscription that exists has tried to deliver the event '{0}'")]
    NoSubscription(String),
    /// The log.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The server is stopping.
    #[error("deliveries are stopped")]
    Stopped,
}

impl From<SubscriptionError> for RedeliverError {
    fn from(_: SubscriptionError) -> Self {
        Self::Stopped
    }
}

/// What was found.
#[derive(Debug)]
pub(super) struct FoundAgain {
    pub(super) transition: Transition,
    /// By name.
    pub(super) subscriptions: BTreeSet<String>,
}

/// Reads the logs for it; blocks.
pub(super) fn search(log: &Log, id: &str) -> Result<FoundAgain, RedeliverError> {
    let transition = match transition(log, InternalLog::Alarms, id)? {
        Some(found) => Some(found),
        None => transition(log, InternalLog::Rows, id)?,
    };
    let transition = transition.ok_or_else(|| RedeliverError::UnknownEvent(id.to_owned()))?;
    let mut subscriptions = BTreeSet::new();
    each_batch(log, InternalLog::Deliveries, |batch| {
        for row in rows_where(batch, "event_id", id) {
            if let Some(names) = batch.column_by_name("subscription") {
                subscriptions.insert(names.as_string::<i32>().value(row).to_owned());
            }
        }
    })?;
    Ok(FoundAgain { transition, subscriptions })
}

fn transition(
    log: &Log,
    which: InternalLog,
    id: &str,
) -> Result<Option<Transition>, RedeliverError> {
    let mut found = None;
    each_batch(log, which, |batch| {
        for row in rows_where(batch, "id", id) {
            let read = transition_rows::decode(&batch.slice(row, 1));
            found = read.ok().and_then(|mut rows| rows.pop()).or(found.take());
        }
    })?;
    Ok(found)
}

fn each_batch(
    log: &Log,
    which: InternalLog,
    mut each: impl FnMut(&RecordBatch),
) -> Result<(), ReadError> {
    let partition = log.internal(which);
    let mut reader = partition.reader(partition.ends().log_start);
    while let Some(entry) = reader.next()? {
        if let EntryBody::Rows(batch) = &entry.body {
            each(batch);
        }
    }
    Ok(())
}

fn rows_where(batch: &RecordBatch, column: &str, value: &str) -> Vec<usize> {
    let Some(texts) = batch.column_by_name(column).and_then(|c| c.as_string_opt::<i32>()) else {
        return Vec::new();
    };
    (0..texts.len()).filter(|row| texts.is_valid(*row) && texts.value(*row) == value).collect()
}
