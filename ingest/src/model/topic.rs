//! Topic paths, the templates streams are declared with, and the patterns people ask with.
//!
//! Promise: one set of rules (MQTT's) at every door; paths are compared byte by byte, never decoded.

mod index;
mod interest;

pub use index::PatternIndex;
pub use interest::{InStream, Interest};

use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Longest topic path in bytes of UTF-8.
pub const TOPIC_BYTES_MAX: usize = 512;
/// Most levels a topic path may have.
pub const TOPIC_LEVELS_MAX: usize = 32;

/// Why a topic path, template or pattern is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TopicError {
    /// Nothing between the quotes.
    #[error("the topic is empty")]
    Empty,
    /// Over [`TOPIC_BYTES_MAX`].
    #[error("the topic is {bytes} bytes long; at most {TOPIC_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Over [`TOPIC_LEVELS_MAX`].
    #[error("the topic has {levels} levels; at most {TOPIC_LEVELS_MAX} are allowed")]
    TooDeep {
        /// Its levels.
        levels: usize,
    },
    /// `\0` in it.
    #[error("the topic contains a NUL character")]
    Nul,
    /// `+` or `#` in a published path.
    #[error("the topic contains the wildcard '{0}'; publish to one concrete topic")]
    Wildcard(char),
    /// `$` at its start, where that is the server's own.
    #[error("the topic begins with '$', which only the server publishes under; use another one")]
    Reserved,
    /// A template level that is neither text nor one `{name}`.
    #[error("'{0}' is not a level of a topic template: write plain text or one {{name}}")]
    BadCapture(String),
    /// `{name}` twice.
    #[error("the level name '{0}' stands twice in the template")]
    DuplicateCapture(String),
    /// No `{name}` at all.
    #[error(
        "the template names no level value: write at least one {{name}}, for example '/plant/{{device}}/climate'"
    )]
    NoCapture,
    /// `#` or `**` before the end.
    #[error("'{0}' stands for the rest of a topic and may only be the last level")]
    RestNotLast(String),
}

/// Checks a published topic path.
/// # Errors
/// The first rule it breaks.
pub fn check_topic(path: &str) -> Result<(), TopicError> {
    check_shape(path)?;
    match path.bytes().find(|b| matches!(b, b'+' | b'#' | 0)) {
        None => Ok(()),
        Some(0) => Err(TopicError::Nul),
        Some(wildcard) => Err(TopicError::Wildcard(char::from(wildcard))),
    }
}

fn check_shape(path: &str) -> Result<(), TopicError> {
    if path.is_empty() {
        return Err(TopicError::Empty);
    }
    if path.len() > TOPIC_BYTES_MAX {
        return Err(TopicError::TooLong { bytes: path.len() });
    }
    let levels = memchr::memchr_iter(b'/', path.as_bytes()).count() + 1;
    if levels > TOPIC_LEVELS_MAX {
        return Err(TopicError::TooDeep { levels });
    }
    Ok(())
}

/// The partition a topic path lives in: murmur2 as Kafka's Java client, made positive, modulo `n`.
/// Source: org.apache.kafka.common.utils.Utils.murmur2 (seed 0x9747b28c).
pub fn partition_of(path: &str, n: u32) -> u32 {
    (murmur2(path.as_bytes()) & 0x7fff_ffff) % n
}

fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ u32::try_from(data.len()).unwrap_or(u32::MAX);
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        h = h.wrapping_mul(M) ^ k;
    }
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 13)).wrapping_mul(M);
    h ^ (h >> 15)
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum TemplateLevel {
    Text(String),
    Capture(String),
}

/// A stream's topic template: `/org/{org}/.../sensors/climate`; each `{name}` becomes a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicTemplate {
    text: String,
    levels: Vec<TemplateLevel>,
    captures: Vec<String>,
}

impl TopicTemplate {
    /// Parses a template.
    /// # Errors
    /// The rule it breaks; a template without any `{name}` is refused.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        check_topic(text)?;
        let levels = text.split('/').map(parse_level).collect::<Result<Vec<_>, _>>()?;
        let mut captures = Vec::new();
        let mut seen = HashSet::new();
        for level in &levels {
            if let TemplateLevel::Capture(name) = level {
                if !seen.insert(name.clone()) {
                    return Err(TopicError::DuplicateCapture(name.clone()));
                }
                captures.push(name.clone());
            }
        }
        if captures.is_empty() {
            return Err(TopicError::NoCapture);
        }
        Ok(Self { text: text.to_owned(), levels, captures })
    }

    /// The template as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names of the captures, in template order.
    pub fn captures(&self) -> &[String] {
        &self.captures
    }

    /// The level values of `path`, in the order of [`Self::captures`]; `None` where it does not match.
    pub fn match_path<'p>(&self, path: &'p str) -> Option<Vec<&'p str>> {
        let mut values = Vec::with_capacity(self.captures.len());
        let mut parts = path.split('/');
        for level in &self.levels {
            let part = parts.next()?;
            match level {
                TemplateLevel::Text(text) if text == part => {}
                TemplateLevel::Text(_) => return None,
                TemplateLevel::Capture(_) => values.push(part),
            }
        }
        parts.next().is_none().then_some(values)
    }

    /// Whether some path matches both templates.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.levels.len() == other.levels.len()
            && self.levels.iter().zip(&other.levels).all(|(a, b)| match (a, b) {
                (TemplateLevel::Text(a), TemplateLevel::Text(b)) => a == b,
                _ => true,
            })
    }

    /// The template filled in, up to and including the last capture before the first one `value`
    /// does not know; the whole path if it knows all. `None` if it does not know the first.
    pub fn fill<'v>(&self, value: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
        let mut filled: Vec<&str> = Vec::new();
        let mut until = None;
        for level in &self.levels {
            match level {
                TemplateLevel::Text(text) => filled.push(text),
                TemplateLevel::Capture(name) => match value(name) {
                    Some(text) => {
                        filled.push(text);
                        until = Some(filled.len());
                    }
                    None => return until.map(|n| filled[..n].join("/")),
                },
            }
        }
        Some(filled.join("/"))
    }
}

fn parse_level(level: &str) -> Result<TemplateLevel, TopicError> {
    if !level.contains(['{', '}']) {
        return Ok(TemplateLevel::Text(level.to_owned()));
    }
    let name = level.strip_prefix('{').and_then(|l| l.strip_suffix('}')).unwrap_or_default();
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if plain && starts_well {
        Ok(TemplateLevel::Capture(name.to_ascii_lowercase()))
    } else {
        Err(TopicError::BadCapture(level.to_owned()))
    }
}

impl TryFrom<String> for TopicTemplate {
    type Error = TopicError;
    fn try_from(text: String) -> Result<Self, TopicError> {
        Self::parse(&text)
    }
}

impl From<TopicTemplate> for String {
    fn from(template: TopicTemplate) -> Self {
        template.text
    }
}

/// A filter over topic paths: `+` or `*` for one level, `#` or `**` as the last for the rest
/// (which also matches the parent itself, as in MQTT).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicPattern {
    text: String,
    levels: Vec<PatternLevel>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum PatternLevel {
    Text(String),
    One,
    Rest,
}

impl TopicPattern {
    /// Parses a pattern.
    /// # Errors
    /// Empty, too long, too deep, a NUL, a wildcard inside a level, or a rest wildcard before the end.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        Self::with_words(text, &["+", "*"], &["#", "**"])
    }

    /// As [`Self::parse`], where `*` is a character like others: an MQTT filter.
    /// # Errors
    /// As [`Self::parse`].
    pub fn of_filter(text: &str) -> Result<Self, TopicError> {
        Self::with_words(text, &["+"], &["#"])
    }

    fn with_words(text: &str, one: &[&str], rest: &[&str]) -> Result<Self, TopicError> {
        check_shape(text)?;
        if text.contains('\0') {
            return Err(TopicError::Nul);
        }
        let mut levels = Vec::new();
        let mut parts = text.split('/').peekable();
        while let Some(part) = parts.next() {
            levels.push(match part {
                _ if one.contains(&part) => PatternLevel::One,
                _ if rest.contains(&part) => match parts.peek() {
                    None => PatternLevel::Rest,
                    Some(_) => return Err(TopicError::RestNotLast(part.to_owned())),
                },
                _ => match part.chars().find(|c| matches!(c, '+' | '#')) {
                    Some(wildcard) => return Err(TopicError::Wildcard(wildcard)),
                    None => PatternLevel::Text(part.to_owned()),
                },
            });
        }
        Ok(Self { text: text.to_owned(), levels })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `path` matches.
    pub fn matches(&self, path: &str) -> bool {
        let mut parts = path.split('/');
        for level in &self.levels {
            match level {
                PatternLevel::Rest => return true,
                PatternLevel::One if parts.next().is_some() => {}
                PatternLevel::Text(text) if parts.next() == Some(text) => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }

    /// Whether some path matches it and a template.
    pub fn overlaps(&self, template: &TopicTemplate) -> bool {
        let mut parts = template.levels.iter();
        for level in &self.levels {
            match (level, parts.next()) {
                (PatternLevel::Rest, _) => return true,
                (_, None) => return false,
                (PatternLevel::Text(a), Some(TemplateLevel::Text(b))) if a != b => return false,
                _ => {}
            }
        }
        parts.next().is_none()
    }
}

impl TryFrom<String> for TopicPattern {
    type Error = TopicError;
    fn try_from(text: String) -> Result<Self, TopicError> {
        Self::parse(&text)
    }
}

impl From<TopicPattern> for String {
    fn from(pattern: TopicPattern) -> Self {
        pattern.text
    }
}

#[cfg(test)]
mod tests;
