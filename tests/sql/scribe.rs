//! Reads what the internal logs gained and writes it down as lines.

use crate::line::{Fields, Line, quoted, value};
use crate::span;
use arrow::array::{AsArray, RecordBatch};
use chrono::DateTime;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_engine::alarms::{
    AlarmBook, Annunciation, KeyValue, Severity, Transition, TransitionKind, transition_rows,
};
use weir_engine::runtime::downtime::WAS_DOWN;
use weir_ingest::log::{EntryBody, InternalLog, Log};
use weir_ingest::model::reading::{DEDUPE, table_batch};
use weir_ingest::model::{FedBy, Offset};

const LOGS: [InternalLog; 4] =
    [InternalLog::Late, InternalLog::RuleErrors, InternalLog::Alarms, InternalLog::Rows];

/// What has come out so far.
#[derive(Debug)]
pub(crate) struct Scribe {
    start: i64,
    read: [Offset; 4],
    /// By partition of a stream that a rule writes, the next offset.
    derived: BTreeMap<String, u64>,
    pub(crate) lines: Vec<Line>,
    /// In full, to compare byte for byte.
    pub(crate) transitions: Vec<Transition>,
    pub(crate) book: AlarmBook,
    /// How often a (rule, key) has been raised, and the name of each occurrence by its id.
    raised: BTreeMap<(String, String), usize>,
    occurrences: BTreeMap<String, String>,
}

impl Scribe {
    pub(crate) fn new(start: i64) -> Self {
        Self {
            start,
            read: [Offset(0); 4],
            derived: BTreeMap::new(),
            lines: Vec::new(),
            transitions: Vec::new(),
            book: AlarmBook::new(),
            raised: BTreeMap::new(),
            occurrences: BTreeMap::new(),
        }
    }

    /// Takes in what the internal logs gained; seen at `now`.
    /// # Errors
    /// An internal log cannot be read.
    pub(crate) fn collect(&mut self, log: &Log, now: i64) -> Result<(), String> {
        let mut transitions = Vec::new();
        for (n, which) in LOGS.into_iter().enumerate() {
            let partition = log.internal(which);
            let mut reader = partition.reader(self.read[n]);
            while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
                let EntryBody::Rows(batch) = &entry.body else { continue };
                match which {
                    InternalLog::Late => self.late(batch, now),
                    InternalLog::RuleErrors => self.errors(batch, now),
                    _ => transitions
                        .extend(transition_rows::decode(batch).map_err(|e| e.to_string())?),
                }
                self.read[n] = partition.ends().durable_end;
            }
        }
        self.derived(log, now)?;
        transitions.sort_by_key(|t| (t.append_time, t.rule_uid, t.ordinal));
        for transition in transitions {
            self.transition(transition, now);
        }
        Ok(())
    }

    /// What rules wrote into streams, in the order of the log.
    fn derived(&mut self, log: &Log, now: i64) -> Result<(), String> {
        let mut rows = Vec::new();
        for stream in log.streams().all() {
            let definition = stream.definition();
            if definition.fed_by() == FedBy::Doors {
                continue;
            }
            for partition in stream.partitions() {
                let read = self.derived.entry(partition.name().to_owned()).or_default();
                let mut reader = partition.reader(Offset(*read));
                while let Some(entry) = reader.next().map_err(|e| e.to_string())? {
                    let EntryBody::Rows(batch) = &entry.body else { continue };
                    *read = entry.end_offset().0;
                    let series = stream.series().snapshot();
                    let table = table_batch(&definition, batch, entry.position(), &series, None);
                    let ids = batch.column_by_name(DEDUPE).expect("its rule's ordinals");
                    let ids = ids.as_fixed_size_binary();
                    rows.extend(json(&table).into_iter().enumerate().map(|(row, fields)| {
                        let ordinal = ids.value(row)[8..].to_vec();
                        (definition.name().to_owned(), ordinal, fields, Arc::clone(&definition))
                    }));
                }
            }
        }
        rows.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        for (rule, _, fields, definition) in rows {
            let shown: Vec<&str> = definition.columns().iter().map(|c| c.name.as_str()).collect();
            let mut line = self.of_reading("row", &fields, &shown, now);
            line.rule = rule;
            self.lines.push(line);
        }
        Ok(())
    }

    /// Writes down something that is in no internal log.
    pub(crate) fn say(&mut self, now: i64, what: &str, about: &str, sentence: &str) {
        let mut sentence = sentence.to_owned();
        for (id, name) in &self.occurrences {
            sentence = sentence.replace(id, name);
        }
        let values = vec![(String::new(), sentence)];
        self.lines.push(Line::plain(now - self.start, what, about, values));
    }

    /// Writes down the rows of an answer.
    pub(crate) fn answer(&mut self, batches: &[RecordBatch], now: i64) {
        let rows: Vec<Fields> = batches.iter().flat_map(json).collect();
        if rows.is_empty() {
            self.say(now, "answer", "-", "no rows");
        }
        for fields in rows {
            let values = fields.0.iter().map(|(n, v)| (n.clone(), self.named(v))).collect();
            self.lines.push(Line::plain(now - self.start, "answer", "-", values));
        }
    }

    /// The id of an occurrence that a case calls `hot room=a` (the newest) or `hot room=a #1`.
    pub(crate) fn occurrence(&self, name: &str) -> Option<&str> {
        let newest = |known: &&String| match name.contains('#') {
            true => known.as_str() == name,
            false => {
                let (key, number) = known.split_once(" #").unwrap_or((known, ""));
                key == name && self.count(key).to_string() == number
            }
        };
        let (id, _) = self.occurrences.iter().find(|(_, known)| newest(known))?;
        Some(id)
    }

    fn count(&self, name: &str) -> usize {
        let (rule, key) = name.split_once(' ').unwrap_or((name, ""));
        self.raised.get(&(rule.to_owned(), key.to_owned())).copied().unwrap_or(0)
    }

    /// As [`value`], with ids of occurrences as their names.
    fn named(&self, of: &Value) -> String {
        let known = of.as_str().and_then(|id| self.occurrences.get(id));
        known.map_or_else(|| value(of, self.start), |name| quoted(name))
    }

    fn time(&self, us: i64) -> String {
        span::write(us - self.start)
    }

    fn late(&mut self, batch: &RecordBatch, now: i64) {
        for fields in json(batch) {
            let line = self.of_reading("late", &fields, &["watermark", "window_end"], now);
            self.lines.push(line);
        }
    }

    fn errors(&mut self, batch: &RecordBatch, now: i64) {
        for fields in json(batch) {
            let mut line = self.of_reading("error", &fields, &["error"], now);
            line.values.iter_mut().for_each(|(name, _)| name.clear());
            self.lines.push(line);
        }
    }

    fn of_reading(&self, what: &str, fields: &Fields, shown: &[&str], now: i64) -> Line {
        let get = |name: &str| fields.0.iter().find(|(n, _)| n == name).map(|(_, v)| v);
        let text = |name| get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
        let values = shown.iter().filter_map(|name| {
            let value = get(name).filter(|v| !v.is_null())?;
            Some(((*name).to_owned(), self.named(value)))
        });
        Line {
            at: now - self.start,
            what: what.to_owned(),
            rule: text("rule"),
            about: text("topic"),
            when: get("time").map_or_else(|| "-".to_owned(), |t| value(t, self.start)),
            values: values.collect(),
        }
    }

    fn transition(&mut self, t: Transition, now: i64) {
        let key = key_text(&t);
        if t.kind == TransitionKind::Raised {
            let count = self.raised.entry((t.rule.clone(), key.clone())).or_default();
            *count += 1;
            let name = joined(&[&t.rule, &key, &format!("#{count}")]);
            self.occurrences.insert(t.id.clone(), name);
        }
        let number = t.alarm_id.as_ref().and_then(|id| self.occurrences.get(id)?.rsplit_once(' '));
        let about = match number {
            Some((_, number)) => joined(&[&key, number]),
            None if key.is_empty() => "-".to_owned(),
            None => key,
        };
        let when = match t.window {
            Some(window) => {
                format!("{}..{}", self.time(window.start.0), self.time(window.end.0))
            }
            None => self.time(t.event_time.0),
        };
        self.lines.push(Line {
            at: now - self.start,
            what: t.kind.as_str().to_owned(),
            rule: t.rule.clone(),
            about,
            when,
            values: self.values(&t),
        });
        self.book.apply(&t);
        self.transitions.push(t);
    }

    /// The output columns that the line does not show already, then what is out of the ordinary.
    fn values(&self, t: &Transition) -> Vec<(String, String)> {
        let shown = |name: &str| {
            t.key.0.iter().any(|(column, _)| column == name)
                || (t.window.is_some() && (name == "window_start" || name == "window_end"))
        };
        let mut fields = Fields::parse(&t.values).0;
        if t.rule == WAS_DOWN {
            fields.iter_mut().for_each(|(_, value)| *value = to_milliseconds(value));
        }
        let mut values: Vec<(String, String)> = fields
            .iter()
            .filter(|(name, _)| !shown(name))
            .map(|(name, v)| (name.clone(), self.named(v)))
            .collect();
        let mut add = |name: &str, value: String| values.push((name.to_owned(), value));
        if t.severity != Severity::Medium {
            add("severity", t.severity.to_string());
        }
        if let Some(until) = t.state.annunciation.until() {
            add("until", self.time(milliseconds(until.0)));
        }
        let only: Vec<&String> = t.topic.iter().collect();
        let members: Vec<&String> = t.members.iter().collect();
        if !members.is_empty() && members != only {
            add("members", t.members.join(","));
        }
        for (name, text) in [("by", &t.operator), ("comment", &t.comment), ("reason", &t.reason)] {
            if let Some(text) = text {
                add(name, quoted(text));
            }
        }
        let suppressed = t.state.annunciation == Annunciation::Suppressed;
        let incomplete = t.receipt.as_ref().is_some_and(|receipt| receipt.incomplete);
        let flags = [
            (incomplete, "incomplete"),
            (suppressed, "suppressed"),
            (t.late, "late"),
            (t.historical, "historical"),
        ];
        for (flag, word) in flags {
            if flag {
                add("", word.to_owned());
            }
        }
        values
    }
}

/// `room=a floor=3`; a key that is the topic path alone is just that.
fn key_text(t: &Transition) -> String {
    match t.key.0.as_slice() {
        [(name, Some(topic))] if name == "topic" => topic.clone(),
        columns => {
            let value = |value: &KeyValue| value.as_deref().map_or("null".to_owned(), quoted);
            let text = |(name, of): &(String, KeyValue)| format!("{name}={}", value(of));
            columns.iter().map(text).collect::<Vec<_>>().join(" ")
        }
    }
}

/// What hangs on append times, of which no two are the same, is shown without the microseconds that
/// keep them apart.
fn milliseconds(us: i64) -> i64 {
    us.div_euclid(1000) * 1000
}

fn to_milliseconds(value: &Value) -> Value {
    let instant = value.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    let cut = instant.and_then(|instant| {
        DateTime::from_timestamp_micros(milliseconds(instant.timestamp_micros()))
    });
    cut.map_or(Value::Null, |instant| Value::from(instant.to_rfc3339()))
}

fn joined(words: &[&str]) -> String {
    words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

fn json(batch: &RecordBatch) -> Vec<Fields> {
    let mut bytes = Vec::new();
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(&mut bytes);
    let written = writer.write(batch).and_then(|()| writer.finish());
    drop(writer);
    written.expect("the columns can be written as JSON");
    String::from_utf8_lossy(&bytes).lines().map(Fields::parse).collect()
}
