//! What a person sees: calm colours on a terminal, plain text elsewhere, tables by arrow.

use anyhow::{Context, Result};
use arrow::array::{AsArray, RecordBatch};
use arrow::util::display::FormatOptions;
use arrow::util::pretty::pretty_format_batches_with_options;
use std::io::IsTerminal;

/// Whether to colour. Off where the stream is no terminal, under CI, and where NO_COLOR is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    colour: Colour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colour {
    On,
    Off,
}

impl Style {
    /// For standard output.
    pub fn for_stdout() -> Self {
        Self::when(std::io::stdout().is_terminal())
    }

    /// For standard error.
    pub fn for_stderr() -> Self {
        Self::when(std::io::stderr().is_terminal())
    }

    /// Never.
    pub fn plain() -> Self {
        Self { colour: Colour::Off }
    }

    fn when(terminal: bool) -> Self {
        let wanted = terminal
            && std::env::var_os("NO_COLOR").is_none()
            && std::env::var_os("CI").is_none()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { colour: if wanted { Colour::On } else { Colour::Off } }
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self.colour {
            Colour::On => format!("\x1b[{code}m{text}\x1b[0m"),
            Colour::Off => text.to_owned(),
        }
    }

    /// Headings.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What may be skipped.
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Raised, refused, failed.
    pub fn red(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// Cleared, done.
    pub fn green(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Worth a look.
    pub fn yellow(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// What can be typed.
    pub fn cyan(self, text: &str) -> String {
        self.paint("36", text)
    }
}

/// The batches as one table; a line instead where there are no rows.
/// # Errors
/// A column that arrow cannot show.
pub fn table(batches: &[RecordBatch]) -> Result<String> {
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        return Ok("(no rows)".to_owned());
    }
    let options = FormatOptions::default()
        .with_null("-")
        .with_timestamp_tz_format(Some("%Y-%m-%d %H:%M:%S%.fZ"))
        .with_display_error(true);
    let shown: Vec<RecordBatch> =
        batches.iter().filter(|batch| batch.num_rows() > 0).cloned().collect();
    Ok(pretty_format_batches_with_options(&shown, &options)
        .context("the answer cannot be shown as a table; try --format json")?
        .to_string())
}

/// The sentences of an answer that has nothing else: one text column `message`.
pub fn messages(batches: &[RecordBatch]) -> Option<Vec<String>> {
    let mut messages = Vec::new();
    for batch in batches {
        let schema = batch.schema_ref();
        if schema.fields().len() != 1 || schema.field(0).name() != "message" {
            return None;
        }
        let column = batch.column(0).as_string_opt::<i32>()?;
        messages.extend(column.iter().flatten().map(str::to_owned));
    }
    (!batches.is_empty()).then_some(messages)
}

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(thousands(7), "7");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(386_233), "386,233");
    }

    #[test]
    fn an_empty_answer_says_so() {
        assert_eq!(table(&[]).expect("nothing to show"), "(no rows)");
    }
}
