//! What operators say to the alarms of all rules.

use super::{Rules, refused};
use crate::alarms::{AlarmBook, Command, CurrentAlarm, Target, command_rows, transition_rows};
use crate::sql::SqlError;
use weir_ingest::log::{EntryBody, InternalLog, Log, PartitionReader};
use weir_ingest::model::EventTime;

/// The alarms as they are, to find the occurrence that a command names.
#[derive(Debug)]
pub(super) struct Book {
    alarms: AlarmBook,
    reader: PartitionReader,
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
    pub(super) fn new(log: &Log) -> Self {
        let alarms = log.internal(InternalLog::Alarms);
        let reader = alarms.reader(alarms.ends().log_start);
        Self { alarms: AlarmBook::new(), reader }
    }

    /// The alarms of a rule that are listed.
    pub(super) fn of_rule(&self, uid: u64) -> impl Iterator<Item = &CurrentAlarm> {
        self.alarms.alarms().filter(move |alarm| alarm.rule_uid == uid)
    }

    pub(super) fn catch_up(&mut self) -> Result<(), String> {
        while let Some(entry) = self.reader.next().map_err(|e| e.to_string())? {
            let EntryBody::Rows(batch) = &entry.body else { continue };
            for transition in transition_rows::decode(batch).map_err(|e| e.to_string())? {
                self.alarms.apply(&transition);
            }
        }
        Ok(())
    }
}
