//! One line of what is expected: when it was seen, what, of which rule, about what, at what time.
//!
//! Promise: lines are laid out by their own content alone, so a diff shows what changed and nothing else.

use crate::span;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// One output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// When it could first be seen, in microseconds from the start.
    pub(crate) at: i64,
    /// `row`, `raised`, `late`, `dead_letter` ...
    pub(crate) what: String,
    pub(crate) rule: String,
    /// The key, or the topic path.
    pub(crate) about: String,
    /// The event time, or the window.
    pub(crate) when: String,
    /// Named values; a text without a name is a sentence.
    pub(crate) values: Vec<(String, String)>,
}

impl Line {
    /// A line about no rule in particular.
    pub(crate) fn plain(at: i64, what: &str, about: &str, values: Vec<(String, String)>) -> Self {
        let blank = || "-".to_owned();
        let (what, about) = (what.to_owned(), about.to_owned());
        Self { at, what, rule: blank(), about, when: blank(), values }
    }

    fn values_text(&self) -> String {
        let text = |(name, value): &(String, String)| match name.is_empty() {
            true => value.clone(),
            false => format!("{name}={value}"),
        };
        self.values.iter().map(text).collect::<Vec<_>>().join(" ")
    }

    fn cells(&self) -> [String; 6] {
        // Ticks hang on append times, of which no two are the same: a microsecond says nothing here.
        let at = span::write((self.at + 500).div_euclid(1000) * 1000);
        let (what, rule) = (self.what.clone(), self.rule.clone());
        [at, what, rule, self.about.clone(), self.when.clone(), self.values_text()]
    }

    fn order(&self) -> (String, String, String, String, String) {
        let values = self.values_text();
        (self.what.clone(), self.rule.clone(), self.about.clone(), self.when.clone(), values)
    }
}

/// Lines in aligned columns below a heading; `nothing` for none.
pub(crate) fn layout(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "nothing\n".to_owned();
    }
    let heading = ["at", "what", "rule", "about", "when", "values"].map(str::to_owned);
    let rows: Vec<[String; 6]> =
        std::iter::once(heading).chain(lines.iter().map(Line::cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let mut text = String::new();
    for row in &rows {
        let mut laid = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = width(column).filter(|_| column < 5).unwrap_or(0);
            laid.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(laid.trim_end());
        text.push('\n');
    }
    text
}

/// The same outputs, whatever their order and when they could be seen (and whether that was long
/// after): for the ways in which both may differ.
pub(crate) fn sorted(lines: &[Line]) -> Vec<Line> {
    let timeless = |line: &Line| {
        let mut line = Line { at: 0, ..line.clone() };
        line.values.retain(|(name, value)| !(name.is_empty() && value == "historical"));
        line
    };
    let mut lines: Vec<Line> = lines.iter().map(timeless).collect();
    lines.sort_by_key(Line::order);
    lines
}

/// Whether two sorted lists say the same; numbers within 1e-9 of each other are the same (P7).
pub(crate) fn same(a: &[Line], b: &[Line]) -> bool {
    let bare = |line: &Line| Line { values: Vec::new(), ..line.clone() };
    a.len() == b.len()
        && a.iter().zip(b).all(|(a, b)| {
            bare(a) == bare(b)
                && a.values.len() == b.values.len()
                && a.values
                    .iter()
                    .zip(&b.values)
                    .all(|((an, av), (bn, bv))| an == bn && (av == bv || close(av, bv)))
        })
}

fn close(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()),
        _ => false,
    }
}

/// A JSON object whose fields keep their order.
#[derive(Debug, Default)]
pub(crate) struct Fields(pub(crate) Vec<(String, Value)>);

impl Fields {
    /// Reads one object.
    pub(crate) fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Fields(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// A value as a person reads it; instants are times from `start`.
pub(crate) fn value(value: &Value, start: i64) -> String {
    match value {
        Value::String(text) => match chrono::DateTime::parse_from_rfc3339(text) {
            Ok(instant) => span::write(instant.timestamp_micros() - start),
            Err(_) => quoted(text),
        },
        other => other.to_string(),
    }
}

/// A text; in quotes where it would not read as one word.
pub(crate) fn quoted(text: &str) -> String {
    if text.is_empty() || text == "null" || text.contains(char::is_whitespace) {
        format!("\"{text}\"")
    } else {
        text.to_owned()
    }
}
