//! REPLAY RULE and RESET RULE: a rule that cannot go on from its checkpoint, because its plan changed, reads
//! its log again or begins anew.
//!
//! Promise: REPLAY gives out nothing twice: what is written already is compared, and a difference stops the
//! rule. RESET closes the open alarms before the new version is there, so none is left open without a rule.

use super::super::checkpoint;
use super::super::definition::{
    Planned, StoredRule, parse_rule, planned, relations, remember_texts,
};
use super::super::holds::{RuleHold, check_from_start};
use super::super::versions::Versions;
use super::listing::describe;
use super::{Rule, Rules, derived, refused};
use crate::alarms::transition_rows;
use crate::sql::SqlError;
use std::sync::Arc;
use weir_ingest::log::InternalLog;
use weir_ingest::model::EventTime;

impl Rules {
    /// REPLAY RULE: its state is built again from where it began; one sentence about it.
    /// # Errors
    /// There is no such rule, or it cannot run.
    pub fn replay(&self, name: &str) -> Result<String, SqlError> {
        let _one = self.changing.lock();
        let rule = self.get(name)?;
        // While its checkpoints are still there.
        check_from_start(&self.log, name, &rule.stored)?;
        stop(&rule);
        let forgotten = checkpoint::forget(&self.log, rule.stored.uid);
        let again = self.begin_again(name, &rule)?;
        forgotten.map_err(refused)?;
        match &again.running {
            Ok(_) => Ok(format!(
                "rule '{name}' reads its log again from where it began; what it gave out before is not \
                 given out twice, and where something differs now it stops"
            )),
            Err(reason) => Err(SqlError::new(format!("the rule '{name}' cannot run: {reason}"))),
        }
    }

    /// RESET RULE: its open alarms are closed, and it begins anew; one sentence about it.
    /// # Errors
    /// There is no such rule, it cannot be planned any more, or what closes its alarms cannot be written.
    pub fn reset(&self, name: &str) -> Result<String, SqlError> {
        let _one = self.changing.lock();
        let rule = self.get(name)?;
        if self.stream_of(name).is_some() {
            return Err(derived::no_rule_alone(name));
        }
        let statement = parse_rule(&rule.stored.text)?;
        let planned = planned(statement, &relations(&self.log, &self.references))?;
        stop(&rule);
        // What cannot be written leaves the rule as it was.
        let written = self.write_anew(name, &rule.stored, &planned);
        let (stored, versions, closed, hold) =
            written.inspect_err(|_| drop(self.begin_again(name, &rule)))?;
        checkpoint::forget(&self.log, stored.uid).map_err(refused)?;
        let hold = Arc::new(hold);
        hold.keep().map_err(refused)?;
        let task = self.start(&stored, stored.from_start(versions), &hold)?;
        let (version, how) = (stored.version, describe(&planned));
        let rule = Rule { stored, versions: vec![planned], running: Ok(task), hold };
        self.running.lock().insert(name.to_owned(), Arc::new(rule));
        Ok(format!(
            "rule '{name}' begins anew as version {version}: {how}; open alarms that were closed \
             (rule_dropped): {closed}"
        ))
    }

    /// Starts what is stored of a rule that was stopped.
    fn begin_again(&self, name: &str, rule: &Rule) -> Result<Arc<Rule>, SqlError> {
        let again = Arc::new(self.restart(name, rule.stored.clone())?);
        self.running.lock().insert(name.to_owned(), Arc::clone(&again));
        Ok(again)
    }

    /// Closes the alarms and stores the next version; with how many they were, and what it needs held.
    fn write_anew(
        &self,
        name: &str,
        old: &StoredRule,
        planned: &Planned,
    ) -> Result<(StoredRule, Versions, usize, RuleHold), SqlError> {
        let closed = self.close_alarms(old)?;
        remember_texts(&self.log, old).map_err(refused)?;
        let hold = RuleHold::of_all(&self.log, planned, self.bounds.hold_bytes_max);
        let stored = StoredRule::anew(old, &self.log, planned);
        hold.follow(&stored).map_err(refused)?;
        let versions = Versions::new(stored.open(&self.log, planned)?);
        self.store(name, &stored)?;
        Ok((stored, versions, closed, hold))
    }

    /// Writes down that the open alarms of a rule that rests are closed; how many there were.
    fn close_alarms(&self, stored: &StoredRule) -> Result<usize, SqlError> {
        let mut book = self.book.lock();
        book.catch_up().map_err(refused)?;
        let at = self.log.append_clock().draw();
        let open: Vec<_> = book.of_rule(stored.uid).collect();
        let first = open.iter().map(|alarm| alarm.ordinal + 1).max().unwrap_or(0);
        let closing: Vec<_> = open
            .into_iter()
            .zip(first..)
            .filter_map(|(alarm, ordinal)| {
                alarm.closed(stored.version, ordinal, (EventTime(at.0), at), "reset")
            })
            .collect();
        if closing.is_empty() {
            return Ok(0);
        }
        let alarms = self.log.internal(InternalLog::Alarms);
        alarms.append(transition_rows::encode(&closing)).wait().map_err(refused)?;
        Ok(closing.len())
    }
}

fn stop(rule: &Rule) {
    if let Ok(task) = &rule.running {
        task.stop();
    }
}
