//! What the demo tells: aligned columns, calm colours on a terminal, plain text elsewhere.

use super::clock::EveningClock;
use crate::duration;
use crate::output::{self, Style};
use anyhow::Result;
use arrow::array::RecordBatch;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use weir_ingest::io::Clock;

const QUESTION_ROWS_SHOWN: usize = 12;

/// Tells the evening on standard output.
#[derive(Debug)]
pub(super) struct Narrator {
    style: Style,
    clock: Arc<EveningClock>,
    speed: u32,
}

impl Narrator {
    pub(super) fn new(clock: Arc<EveningClock>, speed: u32) -> Self {
        Self { style: Style::for_stdout(), clock, speed }
    }

    pub(super) fn opening(&self, address: &str, (rooms, sensors): (usize, usize), start_us: i64) {
        let style = self.style;
        println!();
        println!("  {}", style.bold("weir demo: an evening in building 41, Berlin"));
        println!(
            "  5 floors, {rooms} rooms, {sensors} sensors; {} of their seconds pass in one of yours",
            self.speed
        );
        println!(
            "  {}",
            style.dim(&format!("it is {} there; the server listens on {address}", local(start_us)))
        );
        println!();
        println!(
            "  {}",
            style.dim("time      what           severity  rule                   where and why")
        );
    }

    pub(super) fn incident(&self, now_us: i64, text: &str) {
        println!("  {}  {}", self.style.dim(&local(now_us)), self.style.dim(&format!("· {text}")));
    }

    pub(super) fn refused(&self, reason: &str) {
        let now = local(self.clock.wall_us());
        let what = self.style.yellow(&format!("{:<13}", "refused"));
        println!("  {}  {what}  {}", self.style.dim(&now), clip(reason, 100));
    }

    /// One alarm event, as the live stream sends it.
    pub(super) fn transition(&self, event: &Value) {
        let Some(data) = event.get("data") else { return };
        let word = |name: &str| data.get(name).and_then(Value::as_str).unwrap_or_default();
        let kind = word("state");
        let shown = format!("{:<13}", kind.replace('_', " "));
        let shown = match kind {
            "raised" => self.style.red(&self.style.bold(&shown)),
            "member_added" => self.style.red(&shown),
            "cleared" => self.style.green(&shown),
            _ => self.style.yellow(&shown),
        };
        let subject = event.get("subject").and_then(Value::as_str).unwrap_or_default();
        println!(
            "  {}  {shown}  {:<8}  {:<21}  {}",
            self.style.dim(&local(self.clock.wall_us())),
            word("severity"),
            word("rule"),
            clip(&format!("{}{}", place(subject), why(data)), 70),
        );
        if kind == "raised"
            && let Some(after) = self.after(data)
        {
            println!("  {:8}  {:13}  {}", "", "", self.style.dim(&after));
        }
    }

    /// How long after the reading, or after the end of the window, this is told; in real time.
    fn after(&self, data: &Value) -> Option<String> {
        let time = data.get("time")?.as_str()?;
        let time_us = time.parse::<chrono::DateTime<chrono::Utc>>().ok()?.timestamp_micros();
        let waited_us = u64::try_from(self.clock.wall_us() - time_us).ok()?;
        let real = Duration::from_micros(waited_us / u64::from(self.speed));
        let windowed = data.get("window").is_some_and(|window| !window.is_null());
        Some(match windowed {
            true => format!("{} after its window ended", duration::show(real)),
            false => format!("{} after the reading", duration::show(real)),
        })
    }

    pub(super) fn summary(&self, counts: &str) {
        println!();
        println!("  {counts}");
    }

    pub(super) fn question(
        &self,
        question: &str,
        name: &str,
        given: &[(String, String)],
        sql: &str,
        answer: &[RecordBatch],
    ) -> Result<()> {
        println!();
        println!("  {}", self.style.bold(question));
        let given: String =
            given.iter().map(|(name, value)| format!(" --{name} {value}")).collect();
        println!("  {}", self.style.cyan(&format!("weir ask {name}{given}")));
        println!();
        for line in sql.lines().filter(|line| !line.starts_with("--")) {
            println!("    {}", self.style.dim(line));
        }
        println!();
        let rows: usize = answer.iter().map(RecordBatch::num_rows).sum();
        for line in output::table(&first(answer, QUESTION_ROWS_SHOWN))?.lines() {
            println!("  {line}");
        }
        if rows > QUESTION_ROWS_SHOWN {
            let more = format!("and {} rows more", rows - QUESTION_ROWS_SHOWN);
            println!("  {}", self.style.dim(&more));
        }
        Ok(())
    }

    pub(super) fn where_to_go_on(&self) {
        let style = self.style;
        let command = |text: &str| style.cyan(&format!("{text:<34}"));
        println!();
        println!("  {}", style.bold("Where to go on"));
        println!("  {} a server of your own, on 127.0.0.1:8520", command("weir serve"));
        println!(
            "  {} streams and rules in SQL; these are in queries/",
            command("weir run FILE.sql")
        );
        println!("  {} your readings, one JSON object a line", command("weir publish FILE.ndjson"));
        println!("  {} what is wrong now, and then as it happens", command("weir alarms --follow"));
        println!("  README.md leads from nothing to an alarm of your own in five commands.");
        println!();
    }
}

/// Wall time in Berlin.
fn local(time_us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(time_us)
        .map(|time| time.with_timezone(&chrono_tz::Europe::Berlin).format("%H:%M:%S").to_string())
        .unwrap_or_default()
}

/// `/org/contoso/site/berlin/building/41/floor/2` as `berlin 41 floor 2`.
fn place(subject: &str) -> String {
    let levels: Vec<&str> = subject.split('/').skip(1).collect();
    let mut words = Vec::new();
    for pair in levels.chunks(2) {
        match pair {
            ["org", _] => {}
            ["site" | "building", value] => words.push((*value).to_owned()),
            [name, value] => words.push(format!("{name} {value}")),
            other => words.extend(other.iter().map(|level| (*level).to_owned())),
        }
    }
    words.join(" ")
}

/// The values behind a transition that a person wants to see.
fn why(data: &Value) -> String {
    let values = match data.get("values") {
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(other) => other.clone(),
        None => data.clone(),
    };
    if let Some(temperature) = values.get("avg_temp").and_then(Value::as_f64) {
        return format!(": {temperature:.1} °C on average");
    }
    if let Some(people) = values.get("people").and_then(Value::as_i64).filter(|n| *n > 0) {
        return format!(": {people} in room {}", text(&values, "room"));
    }
    if let Some(hazard) = values.get("hazard").and_then(Value::as_str) {
        let (floor, unit, room) =
            (text(&values, "floor"), text(&values, "unit"), text(&values, "room"));
        return format!(": {hazard}, {floor}{}/{room}", unit.to_uppercase());
    }
    String::new()
}

fn text<'a>(values: &'a Value, name: &str) -> &'a str {
    values.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn clip(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn first(batches: &[RecordBatch], mut rows: usize) -> Vec<RecordBatch> {
    let mut kept = Vec::new();
    for batch in batches {
        let take = rows.min(batch.num_rows());
        rows -= take;
        kept.push(batch.slice(0, take));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_named_as_people_say_it() {
        assert_eq!(place("/org/contoso/site/berlin/building/41/floor/2"), "berlin 41 floor 2");
        assert_eq!(place("/org/contoso/site/berlin"), "berlin");
    }

    #[test]
    fn the_reason_is_in_the_values() {
        let data = serde_json::json!({ "values": "{\"avg_temp\":17.46}" });
        assert_eq!(why(&data), ": 17.5 °C on average");
    }
}
