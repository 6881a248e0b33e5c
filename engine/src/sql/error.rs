//! What is wrong with a text, where, and what would be right.
//!
//! Promise: an error has one primary sentence and, where it helps, a detail and a hint; it points at
//! the place in the text when that is known.

use super::suggest::did_you_mean;
use datafusion::common::{Column, DataFusionError, Diagnostic, SchemaError};
use std::fmt;

/// A refused statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlError {
    /// The primary sentence.
    pub message: String,
    /// What else is known about it.
    pub detail: Option<String>,
    /// What to write instead.
    pub hint: Option<String>,
    /// Where in the text.
    pub position: Option<Position>,
    /// The line of the text at `position`.
    pub line: Option<String>,
}

/// A place in a text; both count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column.
    pub column: u64,
}

impl SqlError {
    /// An error that is only its primary sentence so far.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), detail: None, hint: None, position: None, line: None }
    }

    /// With a detail.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// With what to write instead.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What is served by a later version, and what to do meanwhile.
    pub(crate) fn not_yet(what: &str, meanwhile: impl Into<String>) -> Self {
        Self::new(format!("not yet: {what}")).with_hint(meanwhile)
    }

    /// With its place.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// With the line of `text` that it points at, for the caret.
    #[must_use]
    pub fn within(mut self, text: &str) -> Self {
        if let Some(at) = self.position {
            let line = usize::try_from(at.line - 1).ok().and_then(|n| text.lines().nth(n));
            self.line = line.map(str::to_owned);
        }
        self
    }

    /// What DataFusion found wrong with `text` while planning or running it.
    pub fn from_datafusion(error: &DataFusionError, text: &str) -> Self {
        let found = from_datafusion(error);
        let found = if found.position.is_none() { found.find_word(text) } else { found };
        found.within(text)
    }

    /// Points at the first quoted name of the message, where the text has that name once.
    fn find_word(self, text: &str) -> Self {
        let Some(word) = self.message.split('\'').nth(1).map(str::to_owned) else { return self };
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        let mut places = text.match_indices(word.as_str()).filter(|(at, found)| {
            !text[..*at].ends_with(is_part) && !text[at + found.len()..].starts_with(is_part)
        });
        match (places.next(), places.next()) {
            (Some((at, _)), None) if !word.is_empty() => self.at(Position::of_offset(text, at)),
            _ => self,
        }
    }
}

impl Position {
    /// The place of a byte offset (on a character) of `text`.
    fn of_offset(text: &str, offset: usize) -> Self {
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Self {
            line: count(before.matches('\n').count()) + 1,
            column: count(before[line_start..].chars().count()) + 1,
        }
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(at) = self.position {
            write!(f, "\n  at line {}, column {}", at.line, at.column)?;
            if let Some(line) = &self.line {
                // Tabs stay tabs before the caret, so that it stands under its column.
                let indent: String = line
                    .chars()
                    .take(usize::try_from(at.column - 1).unwrap_or(usize::MAX))
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                write!(f, "\n  | {line}\n  | {indent}^")?;
            }
        }
        for (word, text) in [("detail", &self.detail), ("hint", &self.hint)] {
            if let Some(text) = text {
                write!(f, "\n{word}: {text}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for SqlError {}

/// Takes " at Line: 3, Column: 14" off the end of a sentence.
pub(super) fn split_location(sentence: &str) -> (&str, Option<Position>) {
    let Some((said, place)) = sentence.rsplit_once(" at Line: ") else { return (sentence, None) };
    let position = place.split_once(", Column: ").and_then(|(line, column)| {
        let (line, column) = (line.trim().parse().ok()?, column.trim().parse().ok()?);
        (line > 0 && column > 0).then_some(Position { line, column })
    });
    if position.is_some() { (said, position) } else { (sentence, None) }
}

fn from_datafusion(error: &DataFusionError) -> SqlError {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => {
            with_place(from_datafusion(inner), diagnostic)
        }
        DataFusionError::Context(_, inner) => from_datafusion(inner),
        DataFusionError::Shared(inner) => from_datafusion(inner),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => from_datafusion(first),
            None => SqlError::new("the statement cannot be planned"),
        },
        DataFusionError::External(inner) => match inner.downcast_ref::<SqlError>() {
            Some(ours) => ours.clone(),
            None => SqlError::new(inner.to_string()),
        },
        DataFusionError::SchemaError(inner, _) => from_schema(inner),
        DataFusionError::SQL(inner, _) => {
            super::tokens::from_parser(inner, Position { line: 1, column: 1 })
        }
        DataFusionError::Plan(sentence) => from_plan(sentence),
        DataFusionError::NotImplemented(sentence) => {
            SqlError::new(format!("not supported: {}", first_line(sentence)))
        }
        DataFusionError::ResourcesExhausted(sentence) => {
            SqlError::new("the query needs more memory than it may take")
                .with_detail(first_line(sentence))
                .with_hint("ask for less time, fewer groups, or fewer columns at once")
        }
        other => SqlError::new(other.strip_backtrace()),
    }
}

fn with_place(error: SqlError, diagnostic: &Diagnostic) -> SqlError {
    match &diagnostic.span {
        Some(span) if error.position.is_none() && span.start.line > 0 => {
            error.at(Position { line: span.start.line, column: span.start.column.max(1) })
        }
        _ => error,
    }
}

fn from_schema(error: &SchemaError) -> SqlError {
    match error {
        SchemaError::FieldNotFound { field, valid_fields } => unknown_column(field, valid_fields),
        SchemaError::AmbiguousReference { field } => {
            SqlError::new(format!("the column '{}' stands in more than one table", field.name))
                .with_hint(format!("say which: write table.{}", field.name))
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => {
            SqlError::new(format!("two columns are called '{name}'"))
                .with_hint("give one of them another name with AS")
        }
    }
}

fn unknown_column(field: &Column, valid: &[Column]) -> SqlError {
    let mut names: Vec<&str> = valid.iter().map(|column| column.name.as_str()).collect();
    names.dedup();
    let error = SqlError::new(format!("there is no column '{}'", field.name));
    let error = match did_you_mean(&field.name, &names) {
        Some(near) => error.with_hint(format!("did you mean '{near}'?")),
        None => error,
    };
    if names.is_empty() {
        error
    } else {
        error.with_detail(format!("there are: {}", names.join(", ")))
    }
}

/// DataFusion says these with a sentence only.
fn from_plan(sentence: &str) -> SqlError {
    let quoted = sentence.split('\'').nth(1).unwrap_or_default();
    let said = first_line(sentence);
    if said.starts_with("table function '") {
        let error = SqlError::new(format!("there is no table function '{quoted}'"));
        return error.with_hint(match did_you_mean(quoted, ["TUMBLE"]) {
            Some(near) => format!("did you mean {near}?"),
            None => "the window is TUMBLE(stream, DESCRIPTOR(time), size => INTERVAL '1' MINUTE)"
                .to_owned(),
        });
    }
    if said.starts_with("table '") && said.ends_with("not found") {
        let name = quoted.strip_prefix("datafusion.").unwrap_or(quoted);
        let name = name.strip_prefix("weir.").unwrap_or(name);
        let name = name.strip_prefix("public.").unwrap_or(name);
        return SqlError::new(format!("there is no stream or table '{name}'"))
            .with_hint("SHOW STREAMS and SHOW TABLES list what there is");
    }
    if said.starts_with("Invalid function '") {
        let near =
            sentence.split_once("Did you mean '").and_then(|(_, rest)| rest.split('\'').next());
        let error = SqlError::new(format!("there is no function '{quoted}'"));
        return match near.and_then(|near| did_you_mean(quoted, [near])) {
            Some(near) => error.with_hint(format!("did you mean '{near}'?")),
            None => error,
        };
    }
    SqlError::new(said)
}

fn first_line(sentence: &str) -> &str {
    sentence.lines().next().unwrap_or_default().trim_end_matches('.')
}
