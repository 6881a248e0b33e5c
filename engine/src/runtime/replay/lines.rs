//! Outputs as NDJSON lines, in one order: by the append time that caused them, then by rule.

use crate::alarms::{Transition, TransitionKind};
use crate::deliver::event::rfc3339;
use crate::runtime::derived::Derived;
use crate::runtime::outputs::{Outputs, WindowRows, json_lines, json_objects};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::io::{self, Write};
use weir_ingest::model::{AppendTime, EventTime};

/// What a replay counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Always `summary`.
    pub kind: &'static str,
    /// Readings taken.
    pub readings: u64,
    /// Rows of rules without RAISE WHEN.
    pub rows: u64,
    /// Alarm transitions.
    pub transitions: u64,
    /// (rule, reading) pairs that were late.
    pub late: u64,
    /// (rule, reading) pairs on which an expression failed.
    pub errors: u64,
    /// Readings whose id was seen before.
    pub duplicates: u64,
    /// Lines that were refused.
    pub dead_letters: u64,
    /// Time taken.
    pub seconds: f64,
}

/// Rows of a window that are made into lines at once: so many stay in the processor's cache.
const ROWS_AT_ONCE: usize = 512;

/// What is told.
enum Said {
    Line(Vec<u8>),
    /// The rows of a closed window of this rule.
    Window(String, Box<WindowRows>),
}

pub(super) struct Lines<'o> {
    out: &'o mut dyn Write,
    /// (append time, rule) of what may still be preceded by something.
    waiting: Vec<(AppendTime, usize, Said)>,
    /// Lines on their way out.
    buffer: Vec<u8>,
    counts: Summary,
}

impl<'o> Lines<'o> {
    pub(super) fn new(out: &'o mut dyn Write) -> Self {
        let counts = Summary { kind: "summary", ..Summary::default() };
        Self { out, waiting: Vec::new(), buffer: Vec::new(), counts }
    }

    pub(super) fn counts(&self) -> Summary {
        self.counts.clone()
    }

    pub(super) fn outputs(&mut self, number: usize, rule: &str, mut outputs: Outputs) {
        for rows in std::mem::take(&mut outputs.rows) {
            self.counts.rows += rows.len() as u64;
            let appended = rows.appended;
            self.waiting.push((appended, number, Said::Window(rule.to_owned(), Box::new(rows))));
        }
        for transition in &outputs.told() {
            let line = match transition.kind {
                TransitionKind::Row => {
                    self.counts.rows += 1;
                    row_line(transition)
                }
                _ => {
                    self.counts.transitions += 1;
                    transition_line(transition)
                }
            };
            self.waiting.push((transition.append_time, number, Said::Line(line)));
        }
        for derived in &outputs.derived {
            let Derived::Rows(rows) = derived else { continue };
            self.counts.rows += rows.times.len() as u64;
            for (row, values) in json_objects(&rows.fields).into_iter().enumerate() {
                let mut line = Object::new("row");
                line.text("rule", rule);
                line.text("topic", &rows.topics[row]);
                line.text("time", &rfc3339(EventTime(rows.times[row])));
                let line = Said::Line(line.end(&values));
                self.waiting.push((rows.appended, number, line));
            }
        }
        for late in &outputs.late {
            self.counts.late += 1;
            let mut line = Object::new("late");
            line.text("rule", rule);
            line.text("topic", &late.reading.topic);
            line.text("time", &rfc3339(late.reading.time));
            line.text("watermark", &rfc3339(late.watermark));
            if let Some(missed) = late.missed {
                line.text("window_end", &rfc3339(missed.last_end));
                line.raw("windows_missed", &missed.count.to_string());
            }
            self.waiting.push((late.appended, number, Said::Line(line.end(""))));
        }
        for error in &outputs.errors {
            self.counts.errors += 1;
            let mut line = Object::new("error");
            line.text("rule", rule);
            if let Some(reading) = &error.reading {
                line.text("topic", &reading.topic);
            }
            line.text("time", &rfc3339(error.time));
            line.text("error", &error.error);
            self.waiting.push((error.appended, number, Said::Line(line.end(""))));
        }
    }

    /// A refused line, told after everything up to `after`.
    pub(super) fn dead_letter(&mut self, after: AppendTime, number: u64, reason: &str) {
        self.counts.dead_letters += 1;
        let mut line = Object::new("dead_letter");
        line.raw("line", &number.to_string());
        line.text("reason", reason);
        self.waiting.push((after, usize::MAX, Said::Line(line.end(""))));
    }

    pub(super) fn open(&mut self, rule: &str, start: EventTime, end: EventTime, values: &str) {
        let mut line = Object::new("open");
        line.text("rule", rule);
        line.window(start, end, values);
        let line = Said::Line(line.end(values));
        self.waiting.push((AppendTime(i64::MAX), usize::MAX, line));
    }

    /// Nothing that precedes what was given so far will come any more.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.waiting.sort_by_key(|(appended, number, _)| (*appended, *number));
        for (_, _, said) in self.waiting.drain(..) {
            match said {
                Said::Line(line) => self.out.write_all(&line)?,
                Said::Window(rule, rows) => {
                    write_window(self.out, &mut self.buffer, &rule, &rows)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        self.settle()?;
        writeln!(self.out, "{}", serde_json::to_string(summary)?)?;
        self.out.flush()
    }
}

/// A line for each row of a closed window; what they have in common is made once.
fn write_window(
    out: &mut dyn Write,
    buffer: &mut Vec<u8>,
    rule: &str,
    rows: &WindowRows,
) -> io::Result<()> {
    let mut common = Object::new("row");
    common.text("rule", rule);
    let schema = rows.batch.schema();
    for (name, time) in [("window_start", rows.window.start), ("window_end", rows.window.end)] {
        if schema.column_with_name(name).is_none() {
            common.text(name, &rfc3339(time));
        }
    }
    for from in (0..rows.len()).step_by(ROWS_AT_ONCE) {
        let some = rows.batch.slice(from, ROWS_AT_ONCE.min(rows.len() - from));
        for values in json_lines(&some).lines() {
            buffer.extend_from_slice(common.0.as_bytes());
            end(values, buffer);
        }
        out.write_all(buffer)?;
        buffer.clear();
    }
    Ok(())
}

fn row_line(row: &Transition) -> Vec<u8> {
    let mut line = Object::new("row");
    line.text("rule", &row.rule);
    line.unless("time", &rfc3339(row.event_time), &row.values);
    line.end(&row.values)
}

fn transition_line(transition: &Transition) -> Vec<u8> {
    let mut line = Object::new("transition");
    line.text("rule", &transition.rule);
    line.raw("key", &transition.key.to_json());
    line.text("state", transition.kind.as_str());
    line.text("time", &rfc3339(transition.event_time));
    line.text("id", &transition.id);
    if transition.late {
        line.raw("late", "true");
    }
    if let Some(reason) = &transition.reason {
        line.text("reason", reason);
    }
    let values = without(&transition.values, &["kind", "rule", "key", "state", "time", "id"]);
    line.end(&values)
}

/// One JSON object, written in order.
struct Object(String);

impl Object {
    fn new(kind: &str) -> Self {
        let mut object = Self(String::from("{"));
        object.text("kind", kind);
        object
    }

    fn text(&mut self, name: &str, value: &str) {
        self.raw(name, &serde_json::Value::from(value).to_string());
    }

    fn raw(&mut self, name: &str, value: &str) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        self.0.push_str(&format!("{comma}\"{name}\":{value}"));
    }

    /// The fields of a window, where `values` does not have them.
    fn window(&mut self, start: EventTime, end: EventTime, values: &str) {
        self.unless("window_start", &rfc3339(start), values);
        self.unless("window_end", &rfc3339(end), values);
    }

    fn unless(&mut self, name: &str, value: &str, values: &str) {
        let known: HashMap<String, &RawValue> = serde_json::from_str(values).unwrap_or_default();
        if !known.contains_key(name) {
            self.text(name, value);
        }
    }

    /// The line with the fields of `values`, a JSON object or nothing.
    fn end(self, values: &str) -> Vec<u8> {
        let mut line = self.0.into_bytes();
        end(values, &mut line);
        line
    }
}

/// Ends a line with the fields of `values`, a JSON object or nothing.
fn end(values: &str, line: &mut Vec<u8>) {
    let inner = values.strip_prefix('{').and_then(|values| values.strip_suffix('}'));
    if let Some(inner) = inner.filter(|inner| !inner.is_empty()) {
        line.push(b',');
        line.extend_from_slice(inner.as_bytes());
    }
    line.extend_from_slice(b"}\n");
}

/// `values`, a flat JSON object, without these names.
fn without(values: &str, names: &[&str]) -> String {
    let Ok(known) = serde_json::from_str::<HashMap<String, &RawValue>>(values) else {
        return values.to_owned();
    };
    if !names.iter().any(|name| known.contains_key(*name)) {
        return values.to_owned();
    }
    // The order of the columns is that of their places in the text.
    let mut fields: Vec<(usize, String)> = known
        .iter()
        .filter(|(name, _)| !names.contains(&name.as_str()))
        .map(|(name, value)| {
            let place = value.get().as_ptr() as usize;
            (place, format!("{}:{}", serde_json::Value::from(name.as_str()), value.get()))
        })
        .collect();
    fields.sort();
    let fields: Vec<String> = fields.into_iter().map(|(_, field)| field).collect();
    format!("{{{}}}", fields.join(","))
}
