//! What a rule would have raised: its operators over the log, before it is armed.
//!
//! Promise: exactly the operators that run the rule, ticks and lateness included, over a part of the log
//! by the time of arrival; nothing is written, neither to the log nor to the catalog. It is not the
//! batch query: a window that nothing has closed by the end is not judged.

mod report;

pub use report::{KeyReport, TestReport};

use super::definition::{Planned, RULES, StoredRule, parse_rule, planned, relations};
use super::feed::{Feed, Next};
use super::holds::RuleHold;
use super::runner::Runner;
use super::versions::Version;
use crate::sql::{RuleStatement, SqlError, StartFrom, TestOver, TestStatement, TestedRule};
use crate::tables::reference::ReferenceTables;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::log::{InternalLog, Log};
use weir_ingest::model::{AppendTime, EventTime};

/// How long it waits for a commit that was under way when it began.
const COMMIT_WAIT_US: u64 = 2_000_000;

/// The part of the log that a test judges: appended after `after`, up to `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    start: StartFrom,
    until: AppendTime,
}

/// Tests what `statement` says, over an open log; a rule is named as the catalog has it. `halted` is
/// asked between inputs: a sentence ends the test.
/// # Errors
/// There is no such rule, it is refused, it fails over these readings, or the test was halted.
pub fn test(
    log: &Arc<Log>,
    references: &ReferenceTables,
    statement: TestStatement,
    halted: &dyn Fn() -> Option<SqlError>,
) -> Result<TestReport, SqlError> {
    let rule = match statement.rule {
        TestedRule::Named(name) => stored(log, &name)?,
        TestedRule::Written(rule) => *rule,
    };
    let span = span(log, &rule, statement.over);
    let rule = RuleStatement { start: Some(span.start), ..rule };
    run(log, &planned(rule, &relations(log, references))?, span, halted)
}

fn stored(log: &Log, name: &str) -> Result<RuleStatement, SqlError> {
    let refused = |error: &dyn std::fmt::Display| SqlError::new(error.to_string());
    let all = log.catalog().list(RULES).map_err(|e| refused(&e))?;
    let Some((_, value)) = all.iter().find(|(known, _)| known == name) else {
        let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        let near = crate::sql::did_you_mean(name, &names);
        return Err(SqlError::new(format!("there is no rule '{name}'")).with_hint(match near {
            Some(near) => format!("did you mean {near}?"),
            None => {
                "SHOW RULES lists the rules; one that is not there yet is tested with its text: \
                     TEST RULE (CREATE RULE ... AS SELECT ...)"
                    .to_owned()
            }
        }));
    };
    let stored: StoredRule = serde_json::from_slice(value).map_err(|e| refused(&e))?;
    parse_rule(&stored.text)
}

/// What OVER says; without it, what START FROM says where that is a time, else all there is.
fn span(log: &Log, rule: &RuleStatement, over: Option<TestOver>) -> Span {
    let now = log.append_clock().floor();
    let micros = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX / 4);
    match over {
        Some(TestOver::Last(last)) => {
            let from = EventTime(now.0.saturating_sub(micros(last)));
            Span { start: StartFrom::Timestamp(from), until: now }
        }
        Some(TestOver::Between { from, to }) => {
            let until = to.map_or(now, |to| AppendTime(to.0 - 1).min(now));
            Span { start: StartFrom::Timestamp(from), until }
        }
        None => {
            let start = match rule.start {
                Some(StartFrom::Timestamp(from)) => StartFrom::Timestamp(from),
                Some(StartFrom::Now | StartFrom::Earliest) | None => StartFrom::Earliest,
            };
            Span { start, until: now }
        }
    }
}

fn run(
    log: &Arc<Log>,
    planned: &Planned,
    span: Span,
    halted: &dyn Fn() -> Option<SqlError>,
) -> Result<TestReport, SqlError> {
    // What is read stays until the test is over.
    let _hold = RuleHold::of_all(log, planned, u64::MAX);
    // No stored rule has this uid: what operators said to the alarms of others is not for this one.
    let stored = StoredRule {
        commands: log.internal(InternalLog::Commands).ends().log_start,
        out: BTreeSet::new(),
        ..StoredRule::starting(log, planned, 0, span.start)
    };
    let Version { mut runner, mut feed } = stored.open(log, planned)?;
    runner.count_unknowns();
    let mut report = TestReport::new(planned);
    let clock = log.clock();
    let wait_until = clock.monotonic_us() + COMMIT_WAIT_US;
    loop {
        if let Some(why) = halted() {
            return Err(why);
        }
        match feed.next_input().map_err(|e| SqlError::new(e.to_string()))? {
            Next::Input(input) if input.appended() > span.until => break,
            Next::Input(input) => {
                let outputs = runner.step(&input).map_err(|e| failed(&runner, &e))?;
                report.take(&input, outputs);
            }
            Next::Wait if is_over(&feed, span) || clock.monotonic_us() > wait_until => break,
            Next::Wait => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    report.end(&runner);
    Ok(report)
}

fn is_over(feed: &Feed, span: Span) -> bool {
    feed.safe_time() >= span.until
}

fn failed(runner: &Runner, error: &super::runner::RunnerError) -> SqlError {
    let rule = &runner.identity().name;
    SqlError::new(format!("the rule '{rule}' would fail over these readings: {error}"))
        .with_hint("change the rule as the sentence says, or test it over a shorter time")
}

#[cfg(test)]
mod tests;
