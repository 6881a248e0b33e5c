//! What is wrong with a text, where, and what would be right.
//!
//! Promise: an error has one primary sentence and, where it helps, a detail and a hint; it points at
//! the place in the text when that is known.

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

    /// With its place.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(at) = self.position {
            write!(f, "\n  at line {}, column {}", at.line, at.column)?;
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
