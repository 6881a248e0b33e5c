//! What EXPLAIN ALARM answers: what, and how it is; a line each.

use super::evidence::ROWS_SHOWN_MAX;
use super::{Found, refused, verdict_of};
use crate::alarms::{Transition, Verdict, transition_rows};
use crate::deliver::event::rfc3339;
use crate::runtime::runner::Recomputed;
use crate::sql::SqlError;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use serde_json::Value;
use std::sync::Arc;

/// Relative difference of two numbers that are the same: sums may be taken in another order.
const SAME_WITHIN: f64 = 1e-9;

pub(super) struct Answer(Vec<(&'static str, String)>);

impl Answer {
    pub(super) fn new(transition: &Transition, found: &Found) -> Self {
        let mut lines = Self(Vec::new());
        lines.say("alarm", transition.alarm_id.clone().unwrap_or_else(|| transition.id.clone()));
        lines.say("rule", format!("{}, version {}", transition.rule, transition.rule_version));
        lines.say("key", transition.key.to_json());
        let reason = transition.reason.as_ref().map(|r| format!(", {r}")).unwrap_or_default();
        let at = rfc3339(transition.event_time);
        lines.say("what", format!("{} at {at}{reason}", transition.kind));
        if let Some(window) = transition.window {
            let (start, end) = (rfc3339(window.start), rfc3339(window.end));
            lines.say("window", format!("from {start} up to {end}"));
        }
        lines.say("evidence", evidence(found));
        let recorded = verdict_of(transition.kind).filter(|_| transition.receipt.is_some());
        if let Some(recorded) = recorded {
            lines.say("recorded", format!("{} {}", word(recorded), transition.values));
        }
        let seen = match found {
            Found::Complete { recomputed, rows } | Found::Again { recomputed, rows } => {
                Some((recomputed, rows))
            }
            Found::Expired | Found::RuleGone | Found::NotAgain(_) | Found::NoRows => None,
        };
        if let (Some(recorded), Some((recomputed, _))) = (recorded, seen) {
            lines.recomputed(recorded, &transition.values, recomputed.as_ref());
        }
        lines.receipt(transition);
        if let Some((_, rows)) = seen {
            let all = rows.used + rows.late;
            let first = match all > ROWS_SHOWN_MAX as u64 {
                true => format!("; the first {ROWS_SHOWN_MAX} follow"),
                false => String::new(),
            };
            let late = match rows.late {
                0 => String::new(),
                late => format!(", {late} more came late"),
            };
            let of = if rows.inner { " of the windows below" } else { "" };
            lines.say("rows", format!("{}{of} took part{late}{first}", rows.used));
            rows.shown.iter().for_each(|row| lines.say("row", row.clone()));
        }
        if let Some(receipt) = transition_rows::receipt_json(transition) {
            lines.say("receipt", receipt);
        }
        lines
    }

    fn say(&mut self, what: &'static str, how: String) {
        self.0.push((what, how));
    }

    fn recomputed(&mut self, recorded: Verdict, values: &str, now: Option<&Recomputed>) {
        let Some(now) = now else {
            self.say("recomputed", "the rule says nothing of this key over these rows".to_owned());
            self.say("agrees", "no".to_owned());
            return;
        };
        self.say("recomputed", format!("{} {}", word(now.verdict), now.values));
        let same = now.verdict == recorded && same(values, &now.values);
        self.say("agrees", if same { "yes" } else { "no" }.to_owned());
    }

    fn receipt(&mut self, transition: &Transition) {
        let Some(receipt) = &transition.receipt else { return };
        let expected = match receipt.sensors_expected {
            Some(expected) => format!(" of {expected} expected"),
            None => String::new(),
        };
        let incomplete = match receipt.incomplete {
            true => "; incomplete: a partition was out, or its log has a gap",
            false => "",
        };
        self.say("sensors", format!("{} used{expected}{incomplete}", receipt.sensors_used));
        self.say(
            "late",
            match receipt.late {
                0 if transition.late => {
                    "it rests on a reading that came behind newer ones".to_owned()
                }
                0 => "none".to_owned(),
                late => format!("{late} came too late and did not count"),
            },
        );
    }

    pub(super) fn table(&self) -> Result<RecordBatch, SqlError> {
        let column = |of: &dyn Fn(&(&'static str, String)) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(self.0.iter().map(of)))
        };
        let columns = [
            ("what", column(&|(what, _)| (*what).to_owned())),
            ("how", column(&|(_, how)| how.clone())),
        ];
        RecordBatch::try_from_iter(columns).map_err(refused)
    }
}

fn evidence(found: &Found) -> String {
    let said = match found {
        Found::Complete { .. } => "complete: every row was read again",
        Found::Expired => {
            "expired: not all rows are there any more, so nothing is computed again; this is the receipt"
        }
        Found::RuleGone => {
            "rule gone: a stream or table it reads is gone or has changed, so nobody can judge the \
             rows; this is the receipt"
        }
        Found::Again { .. } => {
            "complete: the rule looks at more than these rows, so it read its input again from where it began"
        }
        Found::NotAgain(why) => {
            return format!(
                "receipt: the rule looks at more than the rows it names, and cannot read its input again \
                 from where it began: {why}"
            );
        }
        Found::NoRows => "none: no reading stands behind it, but a silence or what somebody said",
    };
    said.to_owned()
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Raise => "raise",
        Verdict::Clear => "clear",
        Verdict::Band => "band",
        Verdict::Unknown => "unknown",
    }
}

/// Whether two JSON objects say the same.
fn same(recorded: &str, now: &str) -> bool {
    match (serde_json::from_str(recorded), serde_json::from_str(now)) {
        (Ok(recorded), Ok(now)) => same_value(&recorded, &now),
        _ => recorded == now,
    }
}

fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same_value(a, b)))
        }
        (Value::Number(x), Value::Number(y)) => match (x.as_f64(), y.as_f64()) {
            (Some(x), Some(y)) => (x - y).abs() <= SAME_WITHIN * x.abs().max(y.abs()),
            _ => x == y,
        },
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_agree_when_only_the_order_of_a_sum_differs() {
        assert!(same(r#"{"c":0.30000000000000004,"n":3}"#, r#"{"c":0.3,"n":3}"#));
        assert!(!same(r#"{"c":0.31,"n":3}"#, r#"{"c":0.3,"n":3}"#));
        assert!(!same(r#"{"c":0.3}"#, r#"{"c":0.3,"n":3}"#));
    }
}
