//! The rules of a data directory over its own log, from their starts: what an uninterrupted run would
//! have given (P6).

use super::lines::Lines;
use super::{ReplayError, Summary, drain};
use crate::runtime::definition::{RULES, StoredRule, relations};
use crate::tables::reference::ReferenceTables;
use std::io::Write;
use std::sync::Arc;
use weir_ingest::log::Log;

/// Runs every stored rule, or only `rule`, over an open log; writes the lines of a file's replay.
/// # Errors
/// The log cannot be read, or a rule cannot be planned or fails.
pub fn replay_data(
    log: &Arc<Log>,
    rule: Option<&str>,
    out: &mut dyn Write,
) -> Result<Summary, ReplayError> {
    let failed = |e: &dyn std::fmt::Display| ReplayError::Log(e.to_string());
    let references = ReferenceTables::open(Arc::clone(log)).map_err(|e| failed(&e))?;
    let stored = log.catalog().list(RULES).map_err(|e| failed(&e))?;
    let mut lines = Lines::new(out);
    for (name, value) in stored {
        if rule.is_some_and(|wanted| wanted != name) {
            continue;
        }
        let stored: StoredRule = serde_json::from_slice(&value).map_err(|e| failed(&e))?;
        let planned = stored.planned(&relations(log, &references)).map_err(ReplayError::Sql)?;
        let mut versions = stored.open_all(log, &planned).map_err(ReplayError::Sql)?;
        drain(&name, &mut versions, stored.dropped_at, &mut lines)?;
    }
    let summary = lines.counts();
    lines.summary(&summary)?;
    Ok(summary)
}
