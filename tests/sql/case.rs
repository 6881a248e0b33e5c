//! One `.rule` file, taken apart. README.md beside this says what it may hold.
//!
//! Promise: what is not known is refused with its line and a sentence, never passed over.

use crate::header::{Header, Ways};
use crate::span;
use crate::table::Columns;
use chrono::DateTime;
use weir_engine::alarms::{Command, PartitionPlace};
use weir_ingest::model::PartitionId;

/// A case that can be run.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) ways: Ways,
    /// The instant that times count from, in microseconds.
    pub(crate) start: i64,
    /// Streams, tables and rules, one second before the start.
    pub(crate) define: String,
    pub(crate) steps: Vec<Step>,
    /// What stands below `----`.
    pub(crate) expected: String,
    /// Everything above it, `----` included.
    pub(crate) above: String,
}

/// Something that happens at an instant.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Microseconds from the start.
    pub(crate) at: i64,
    pub(crate) what: What,
}

/// What happens.
#[derive(Debug, Clone)]
pub(crate) enum What {
    /// A JSON reading arrives; its event time where it has a good one.
    Reading { json: String, time: Option<i64> },
    /// Nothing: time has passed.
    Silence,
    /// The power is cut and comes back.
    Down { until: i64 },
    /// A partition takes no rows, or does again.
    Partition(Command),
    /// Somebody says something.
    Statement(String),
}

impl Case {
    /// Takes a file apart.
    /// # Errors
    /// The line and what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().collect();
        let of_header = lines.iter().take_while(|line| line.starts_with('#')).count();
        let ways = Header::parse(&lines[..of_header])?.ways();
        let separators: Vec<usize> =
            (of_header..lines.len()).filter(|n| lines[*n].starts_with("----")).collect();
        let [timeline, result] = separators[..] else {
            return Err(format!(
                "{} lines start with ----; write one '---- from <instant>' before what happens and \
                 one '----' before what is expected",
                separators.len()
            ));
        };
        if lines[result] != "----" {
            return Err(at(result, "write just ---- before what is expected"));
        }
        let start = lines[timeline].strip_prefix("---- from ");
        let start = start.and_then(|text| DateTime::parse_from_rfc3339(text.trim()).ok());
        let start = start.ok_or_else(|| {
            at(timeline, "write '---- from ' and an instant such as 2026-01-05T08:00:00Z")
        })?;
        let start = start.timestamp_micros();
        let above = lines[..=result].iter().map(|line| format!("{line}\n")).collect();
        Ok(Self {
            ways,
            start,
            define: lines[of_header..timeline].join("\n"),
            steps: steps(&lines[timeline + 1..result], timeline + 1, start)?,
            expected: lines[result + 1..].iter().map(|line| format!("{line}\n")).collect(),
            above,
        })
    }
}

fn at(line: usize, what: &str) -> String {
    format!("line {}: {what}", line + 1)
}

fn steps(lines: &[&str], first: usize, start: i64) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    let mut columns: Option<Columns> = None;
    let mut lines = (first..).zip(lines.iter().map(|line| without_comment(line)));
    while let Some((number, line)) = lines.next() {
        let wrong = |what: String| at(number, &what);
        let Some((word, rest)) = first_word(line) else { continue };
        if word == "at" {
            columns = Some(Columns::parse(rest).map_err(wrong)?);
            continue;
        }
        let when = span::parse(word)
            .ok_or_else(|| wrong(format!("'{word}' is no time; write one such as 12s or 1m30s")))?;
        if steps.last().is_some_and(|before| before.at > when) {
            return Err(wrong(format!("{word} is before the line above; time does not go back")));
        }
        let what = if rest == "silence" {
            What::Silence
        } else if let Some(place) = rest.strip_prefix("partition ") {
            What::Partition(partition(place).ok_or_else(|| {
                wrong("write 'partition <stream> <number> out' or '... in'".to_owned())
            })?)
        } else if let Some(until) = rest.strip_prefix("down until ") {
            let until = span::parse(until.trim()).filter(|until| *until > when);
            What::Down { until: until.ok_or_else(|| wrong("down until when?".to_owned()))? }
        } else if is_statement(rest) {
            let mut text = rest.to_owned();
            while !text.ends_with(';') {
                let Some((_, more)) = lines.next() else {
                    return Err(wrong("the statement has no ';' at its end".to_owned()));
                };
                text = format!("{text}\n{more}");
            }
            What::Statement(text)
        } else {
            let columns = columns.as_ref().ok_or_else(|| {
                wrong("readings need a line 'at topic <fields>' above them".to_owned())
            })?;
            columns.reading(rest, when, start).map_err(wrong)?
        };
        steps.push(Step { at: when, what });
    }
    Ok(steps)
}

/// The line up to ` -- `.
fn without_comment(line: &str) -> &str {
    let line = if line.trim_start().starts_with("-- ") { "" } else { line };
    line.split(" -- ").next().unwrap_or("").trim()
}

fn first_word(line: &str) -> Option<(&str, &str)> {
    let word = line.split_whitespace().next()?;
    Some((word, line[word.len()..].trim()))
}

/// Statements begin with a word in capitals.
fn is_statement(text: &str) -> bool {
    let word = text.split_whitespace().next().unwrap_or("");
    word.len() > 2 && word.chars().all(|c| c.is_ascii_uppercase())
}

/// `climate 1 out`
fn partition(text: &str) -> Option<Command> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [stream, partition, how] = words[..] else { return None };
    let partition = PartitionId(partition.parse().ok()?);
    let place = PartitionPlace { stream: stream.to_owned(), partition };
    match how {
        "out" => Some(Command::PartitionOut { place, why: "failed".to_owned() }),
        "in" => Some(Command::PartitionIn { place }),
        _ => None,
    }
}
