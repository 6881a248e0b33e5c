//! The same case through `weir replay`: what can be written as a file of readings must come out of it
//! as it does from the server's log.

use crate::case::{Case, What};
use crate::diff::diff;
use crate::line::Fields;
use chrono::{DateTime, SecondsFormat};
use serde_json::Value;
use weir_engine::alarms::{Transition, TransitionKind};
use weir_engine::deliver::event::rfc3339;
use weir_engine::runtime::replay::{ReplayOptions, replay_file};
use weir_engine::sql::{Statement, parse_statements};
use weir_ingest::model::UnknownFields;

/// The field that says when a reading arrived.
const ARRIVED: &str = "arrived";

/// Whether nothing but readings happens, over what a replay takes, with rules that start where it
/// starts them.
fn can_be_a_file(case: &Case) -> bool {
    let Ok(statements) = parse_statements(&case.define) else { return false };
    let definitions = statements.iter().all(|statement| match statement {
        Statement::CreateStream { definition, .. } => {
            definition.options().unknown_fields == UnknownFields::Ignore
        }
        Statement::CreateRule(rule) => rule.start.is_none(),
        Statement::CreateTable(_) | Statement::Insert(_) => true,
        _ => false,
    });
    let readings = case.steps.iter().all(|step| match &step.what {
        What::Reading { json, .. } => json.starts_with('{') && json.ends_with('}'),
        _ => false,
    });
    definitions && readings
}

/// Holds the transitions and rows of the straight run against those of a replay.
/// # Errors
/// The replay fails, or says something else.
pub(crate) fn check(case: &Case, straight: &[Transition]) -> Result<(), String> {
    if !can_be_a_file(case) {
        return Ok(());
    }
    let options = ReplayOptions { arrival: Some(ARRIVED.to_owned()), ..ReplayOptions::default() };
    let mut out = Vec::new();
    replay_file(&case.define, file(case).as_bytes(), &options, &mut out)
        .map_err(|error| error.to_string())?;
    let out = String::from_utf8_lossy(&out);
    let told = |text: &&str| !streams(case).iter().any(|rule| text.contains(rule));
    let replayed: String =
        out.lines().filter(told).filter_map(line).map(|line| line + "\n").collect();
    let expected: String = straight.iter().map(|t| of(t) + "\n").collect();
    if replayed == expected { Ok(()) } else { Err(format!("\n{}", diff(&expected, &replayed))) }
}

/// How lines name the rules that write streams, whose rows are no transitions.
fn streams(case: &Case) -> Vec<String> {
    let statements = parse_statements(&case.define).unwrap_or_default();
    let name = |statement: &Statement| match statement {
        Statement::CreateRule(rule) if rule.into.is_some() => {
            Some(format!("\"rule\":\"{}\"", rule.name))
        }
        _ => None,
    };
    statements.iter().filter_map(name).collect()
}

fn file(case: &Case) -> String {
    let mut file = String::new();
    for step in &case.steps {
        let What::Reading { json, .. } = &step.what else { continue };
        let arrived = DateTime::from_timestamp_micros(case.start + step.at).unwrap_or_default();
        let arrived = arrived.to_rfc3339_opts(SecondsFormat::Micros, true);
        file.push_str(&format!("{{\"{ARRIVED}\":\"{arrived}\",{}\n", &json[1..]));
    }
    file
}

/// A row or transition of a replay without its id, which hangs on where the rule stands.
fn line(text: &str) -> Option<String> {
    let fields = Fields::parse(text).0;
    let kind = fields.first().and_then(|(_, kind)| kind.as_str())?;
    let fields = fields.iter().filter(|(name, _)| name != "id");
    matches!(kind, "row" | "transition").then(|| written(fields))
}

/// A transition as a replay writes it, without its id.
fn of(t: &Transition) -> String {
    let mut fields = vec![("rule".to_owned(), Value::from(t.rule.as_str()))];
    let values = Fields::parse(&t.values).0;
    let known = |name: &str| values.iter().any(|(n, _)| n == name);
    let mut add = |name: &str, value: Value| fields.push((name.to_owned(), value));
    if t.kind == TransitionKind::Row {
        let times = match t.window {
            Some(w) => vec![("window_start", w.start), ("window_end", w.end)],
            None => vec![("time", t.event_time)],
        };
        for (name, time) in times.into_iter().filter(|(name, _)| !known(name)) {
            add(name, Value::from(rfc3339(time)));
        }
        fields.extend(values);
        fields.insert(0, ("kind".to_owned(), Value::from("row")));
        return written(fields.iter());
    }
    add("key", serde_json::from_str(&t.key.to_json()).unwrap_or_default());
    add("state", Value::from(t.kind.as_str()));
    add("time", Value::from(rfc3339(t.event_time)));
    if t.late {
        add("late", Value::from(true));
    }
    if let Some(reason) = &t.reason {
        add("reason", Value::from(reason.as_str()));
    }
    let taken = ["kind", "rule", "key", "state", "time", "id"];
    fields.extend(values.into_iter().filter(|(name, _)| !taken.contains(&name.as_str())));
    fields.insert(0, ("kind".to_owned(), Value::from("transition")));
    written(fields.iter())
}

fn written<'f>(fields: impl Iterator<Item = &'f (String, Value)>) -> String {
    fields.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
