//! Readings as lines of a table become JSON, as a device would send them.

use crate::case::What;
use crate::span;
use chrono::DateTime;
use serde_json::Value;

/// The columns behind `at`.
#[derive(Debug)]
pub(crate) struct Columns(Vec<String>);

impl Columns {
    /// Reads the heading of a table.
    /// # Errors
    /// It has no topic.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let columns: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if columns.iter().any(|column| column == "topic") {
            Ok(Self(columns))
        } else {
            Err("a heading has at least 'at' and 'topic'".to_owned())
        }
    }

    /// One line of the table as a reading that arrives at `at`; `raw` and JSON is sent as it is.
    /// # Errors
    /// It has another number of values than the heading.
    pub(crate) fn reading(&self, line: &str, at: i64, start: i64) -> Result<What, String> {
        if let Some(raw) = line.strip_prefix("raw ") {
            return Ok(What::Reading { json: raw.trim().to_owned(), time: None });
        }
        let values = words(line)?;
        if values.len() != self.0.len() {
            return Err(format!(
                "{} values for the {} columns of the heading; write - for one that is not sent",
                values.len(),
                self.0.len()
            ));
        }
        let mut fields = Vec::new();
        let mut time = None;
        if !self.0.iter().any(|column| column == "time") {
            time = Some(at);
            fields.push(format!("\"time\":{}", instant(at, start)));
        }
        for (column, value) in self.0.iter().zip(&values) {
            let Some(json) = json(value, start) else { continue };
            if column == "time" {
                time = span::parse(value);
            }
            fields.push(format!("{}:{json}", Value::from(column.as_str())));
        }
        Ok(What::Reading { json: format!("{{{}}}", fields.join(",")), time })
    }
}

/// What a value is in JSON; `-` is not sent.
fn json(value: &str, start: i64) -> Option<String> {
    if value == "-" {
        return None;
    }
    if let Some(text) = value.strip_prefix('"') {
        return Some(Value::from(text.strip_suffix('"').unwrap_or(text)).to_string());
    }
    if let Some(time) = span::parse(value) {
        return Some(instant(time, start));
    }
    match serde_json::from_str::<Value>(value) {
        Ok(Value::Null | Value::Bool(_) | Value::Number(_)) => Some(value.to_owned()),
        _ => Some(Value::from(value).to_string()),
    }
}

fn instant(us: i64, start: i64) -> String {
    let instant = DateTime::from_timestamp_micros(start + us).unwrap_or_default();
    format!("\"{}\"", instant.format("%Y-%m-%dT%H:%M:%S%.6fZ"))
}

/// Words between blanks; `"..."` is one word, quotes included.
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let end = match rest.strip_prefix('"') {
            Some(inner) => inner.find('"').map(|end| end + 2).ok_or("a \" is not closed")?,
            None => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        words.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    Ok(words)
}
