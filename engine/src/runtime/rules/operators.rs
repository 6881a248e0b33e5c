//! What operators say to the alarms of all rules.

use super::{Rules, refused};
use crate::alarms::{
    AlarmBook, Command, CurrentAlarm, Key, Target, Transition, TransitionKind, command_rows,
    transition_rows,
};
use crate::sql::SqlError;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use weir_ingest::log::{EntryBody, Hold, InternalLog, Log, Partition, PartitionReader};
use weir_ingest::model::{EventTime, Offset};

/// The alarms as they are, to find the occurrence that a command names. What they rest on is kept in
/// internal/alarms as long as they are listed.
#[derive(Debug)]
pub(super) struct Book {
    alarms: AlarmBook,
    reader: PartitionReader,
    partition: Arc<Partition>,
    hold: Hold,
    /// From where on each alarm that is listed can be told, by rule and key.
    told_from: HashMap<(u64, Key), Offset>,
}

impl Rules {
    /// Writes an operator's command down; returns when it is durable and the rules have taken it.
    /// # Errors
    /// The log did not take it.
    pub fn command(&self, command: Command) -> Result<(), SqlError> {
        let at = EventTime(self.log.append_clock().floor().0);
        let batch = command_rows::encode(&[(at, command)]);
        let written = self.log.internal(InternalLog::Commands).append(batch).wait();
        self.settle(written.map_err(refused)?.append_time);
        Ok(())
    }

    /// The occurrence `alarm_id`, for a command about it.
    /// # Errors
    /// There is none.
    pub fn target(&self, alarm_id: &str) -> Result<Target, SqlError> {
        let mut book = self.book.lock();
        book.catch_up().map_err(refused)?;
        book.alarms.find(alarm_id).and_then(|alarm| alarm.target()).ok_or_else(|| {
            SqlError::new(format!("there is no open alarm '{alarm_id}'"))
                .with_hint("SELECT alarm_id, rule, key FROM alarms lists the open ones")
        })
    }
}

impl Book {
    pub(super) fn new(log: &Log, hold_bytes_max: u64) -> Self {
        let partition = Arc::clone(log.internal(InternalLog::Alarms));
        let hold = log.hold("open alarms", hold_bytes_max);
        let start = partition.hold(&hold, Offset(0));
        let reader = partition.reader(start);
        let told_from = HashMap::new();
        Self { alarms: AlarmBook::new(), reader, partition, hold, told_from }
    }

    /// The alarms of a rule that are listed.
    pub(super) fn of_rule(&self, uid: u64) -> impl Iterator<Item = &CurrentAlarm> {
        self.alarms.alarms().filter(move |alarm| alarm.rule_uid == uid)
    }

    pub(super) fn catch_up(&mut self) -> Result<(), String> {
        let mut read = false;
        while let Some(entry) = self.reader.next().map_err(|e| e.to_string())? {
            read = true;
            let EntryBody::Rows(batch) = &entry.body else { continue };
            let all = transition_rows::decode(batch).map_err(|e| e.to_string())?;
            for (transition, row) in all.into_iter().zip(0..) {
                self.note(&transition, entry.base_offset.plus(row));
                self.alarms.apply(&transition);
            }
        }
        if read {
            self.keep_listed();
        }
        Ok(())
    }

    /// An alarm that is raised needs nothing that came before.
    fn note(&mut self, transition: &Transition, at: Offset) {
        let key = (transition.rule_uid, transition.key.clone());
        let from = self.told_from.entry(key).or_insert(at);
        if transition.kind == TransitionKind::Raised {
            *from = at;
        }
    }

    fn keep_listed(&mut self) {
        let listed: HashSet<(u64, Key)> =
            self.alarms.alarms().map(|alarm| (alarm.rule_uid, alarm.key.clone())).collect();
        self.told_from.retain(|key, _| listed.contains(key));
        let oldest = self.told_from.values().min().copied();
        self.hold.keep(self.partition.uid(), oldest.unwrap_or(self.reader.position()));
    }
}
