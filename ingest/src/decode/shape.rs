//! The order of keys, learned from one row and expected of the next.
//!
//! Promise: a row whose bytes between the values equal those of a checked row is well formed too, and
//! its keys need not be looked at; every other row is scanned in full. Senders repeat themselves, so
//! the second way is rare (270-byte rows decode about twice as fast for it).

use super::scan::{ScanError, Scanner, Value, check_depth};
use crate::model::{Limits, RefusalReason};
use std::collections::HashSet;

/// Keys and bytes of a shape that is remembered beyond the row it was learned from, and the values of a row.
pub(super) const KEYS_MAX: usize = 1000;
const PIECES_BYTES_MAX: usize = 64 * 1024;

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Level {
    /// In the row's object itself.
    Row,
    /// In the object under `data`.
    Data,
}

/// How a row's `data` is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A reading: an object under `data` holds the fields.
    Reading,
    /// A flat object: `data` is a key like any other.
    Flat,
}

/// A key of a row; the value stands in the slot of the same number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) level: Level,
    pub(super) name: String,
}

/// Why a text is not a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RowError {
    /// Not JSON; nothing behind it can be trusted.
    Scan(ScanError),
    /// JSON up to `end`, but not to be taken.
    Refused { reason: RefusalReason, end: usize },
}

impl From<ScanError> for RowError {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}

/// Keys in order and all bytes between the values.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Before, between and behind the values: one more than there are values.
    pieces: Vec<Piece>,
    pub(super) keys: Vec<Key>,
    /// An object stood under `data`.
    pub(super) has_data: bool,
    /// Slot of a `data` that was no object.
    pub(super) plain_data: Option<usize>,
    /// `data` stood twice.
    data_again: bool,
}

/// Bytes between two values.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Box<[u8]>,
    /// The first sixteen, and which bits of them there are: most pieces are no longer, and are
    /// compared as one number.
    first: [u64; 2],
    mask: [u64; 2],
}

impl Piece {
    fn new(bytes: &[u8]) -> Self {
        let mut first = [0; 16];
        let len = bytes.len().min(16);
        first[..len].copy_from_slice(&bytes[..len]);
        let mut mask = [0; 16];
        mask[..len].fill(u8::MAX);
        Self { bytes: bytes.into(), first: words(&first), mask: words(&mask) }
    }

    /// Where what follows it begins, if it stands at `at`.
    #[inline]
    pub(super) fn behind(&self, text: &[u8], at: usize) -> Option<usize> {
        self.stands_at(text, at).then(|| at + self.bytes.len())
    }

    #[inline]
    fn stands_at(&self, text: &[u8], at: usize) -> bool {
        let Some(text) = text.get(at..) else { return false };
        match text.first_chunk() {
            Some(first) if self.bytes.len() <= 16 => {
                let [low, high] = words(first);
                let differ = (low & self.mask[0]) ^ self.first[0];
                differ | ((high & self.mask[1]) ^ self.first[1]) == 0
            }
            _ => text.starts_with(&self.bytes),
        }
    }
}

#[inline]
fn words(bytes: &[u8; 16]) -> [u64; 2] {
    let (words, _) = bytes.as_chunks::<8>();
    [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
}

impl Shape {
    /// Scans a row at `at` in full and learns its shape; where it ends.
    /// # Errors
    /// Not a row; the shape is then not to be used.
    pub(super) fn learn(
        &mut self,
        text: &str,
        at: usize,
        form: Form,
        values: &mut Vec<Value>,
    ) -> Result<usize, RowError> {
        self.clear();
        values.clear();
        let longest = if form == Form::Reading { Limits::ROW_BYTES_MAX } else { usize::MAX };
        let end_max = at.saturating_add(longest);
        let mut learning = Learning { shape: self, values, form, from: at, end_max };
        let mut scanner = Scanner::new(text, at);
        if scanner.peek() != Some(b'{') {
            let value = scanner.value(0)?;
            let reason = RefusalReason::NotAnObject(noun(&value));
            return Err(RowError::Refused { reason, end: scanner.at });
        }
        learning.object(&mut scanner, Level::Row, 1)?;
        if scanner.at > end_max {
            self.clear();
            let reason = RefusalReason::TooLarge { bytes: scanner.at - at, limit: longest };
            return Err(RowError::Refused { reason, end: scanner.at });
        }
        learning.piece(text, scanner.at, scanner.at);
        match self.repeated_key() {
            None => Ok(scanner.at),
            Some(name) => {
                let reason = RefusalReason::DuplicateKey(name);
                Err(RowError::Refused { reason, end: scanner.at })
            }
        }
    }

    /// Reads what is left of a row from `at` on, the piece before the value of slot `from` first (0: all of
    /// the row), if it has this shape; where it ends. Values of earlier slots stay as they are.
    #[inline]
    pub(super) fn read(
        &self,
        from: usize,
        text: &str,
        at: usize,
        values: &mut Vec<Value>,
    ) -> Option<usize> {
        let bytes = text.as_bytes();
        let mut scanner = Scanner::new(text, at);
        values.resize(self.keys.len(), Value::Null);
        let (last, before) = self.pieces.split_last()?;
        let slots = before.get(from..)?.iter().zip(&self.keys[from..]);
        for ((piece, key), value) in slots.zip(&mut values[from..]) {
            scanner.at = piece.behind(bytes, scanner.at)?;
            let depth = if key.level == Level::Data { 2 } else { 1 };
            scanner.value_into(value, depth).ok()?;
        }
        let end = last.behind(bytes, scanner.at)?;
        match self.plain_data {
            Some(slot) if matches!(values[slot], Value::Object(_)) => None,
            _ => Some(end),
        }
    }

    /// The piece behind the last value, and those before each of the last `values`.
    #[inline]
    pub(super) fn pieces_behind(&self, values: usize) -> Option<(&Piece, &[Piece])> {
        let (last, before) = self.pieces.split_last()?;
        Some((last, &before[before.len().checked_sub(values)?..]))
    }

    /// The slot of a key.
    pub(super) fn slot(&self, level: Level, name: &str) -> Option<usize> {
        self.keys.iter().position(|key| key.level == level && key.name == name)
    }

    /// Whether nothing was learned yet.
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Slot of the topic.
    pub(super) fn topic(&self, form: Form) -> Option<usize> {
        (form == Form::Reading).then(|| self.slot(Level::Row, "topic")).flatten()
    }

    /// Whether it takes more memory than what is remembered may.
    pub(super) fn is_large(&self) -> bool {
        let bytes = || self.pieces.iter().map(|piece| piece.bytes.len()).sum::<usize>();
        self.keys.len() > KEYS_MAX || bytes() > PIECES_BYTES_MAX
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.keys.clear();
        self.has_data = false;
        self.plain_data = None;
        self.data_again = false;
    }

    fn repeated_key(&self) -> Option<String> {
        if self.data_again {
            return Some("data".to_owned());
        }
        let keys = &self.keys;
        let twice = if keys.len() <= 32 {
            (1..keys.len()).find(|i| keys[..*i].contains(&keys[*i]))
        } else {
            let mut seen = HashSet::with_capacity(keys.len());
            keys.iter().position(|key| !seen.insert(key))
        };
        twice.map(|slot| keys[slot].name.clone())
    }
}

struct Learning<'l> {
    shape: &'l mut Shape,
    values: &'l mut Vec<Value>,
    form: Form,
    /// Where the piece that is being gathered starts.
    from: usize,
    /// What stands behind is scanned and not kept: the row is too long to be taken.
    end_max: usize,
}

impl Learning<'_> {
    fn object(
        &mut self,
        scanner: &mut Scanner<'_>,
        level: Level,
        depth: usize,
    ) -> Result<(), RowError> {
        check_depth(depth)?;
        scanner.at += 1;
        scanner.skip_space();
        if scanner.eat(b'}') {
            return Ok(());
        }
        loop {
            self.member(scanner, level, depth)?;
            scanner.skip_space();
            if scanner.eat(b'}') {
                return Ok(());
            }
            scanner.comma()?;
        }
    }

    fn member(
        &mut self,
        scanner: &mut Scanner<'_>,
        level: Level,
        depth: usize,
    ) -> Result<(), RowError> {
        let key = scanner.key()?;
        let name = key.of(scanner.text);
        if level == Level::Row && self.form == Form::Reading && name == "data" {
            let again = self.shape.has_data || self.shape.plain_data.is_some();
            if scanner.peek() == Some(b'{') && !again {
                self.shape.has_data = true;
                return self.object(scanner, Level::Data, depth + 1);
            }
            self.shape.data_again |= again;
            self.shape.plain_data = Some(self.shape.keys.len());
        }
        let start = scanner.at;
        let value = scanner.value(depth)?;
        if scanner.at > self.end_max {
            return Ok(());
        }
        self.shape.keys.push(Key { level, name: name.into_owned() });
        self.values.push(value);
        self.piece(scanner.text, start, scanner.at);
        Ok(())
    }

    /// Ends a piece where a value starts; the next one begins where the value ends.
    fn piece(&mut self, text: &str, value_start: usize, value_end: usize) {
        self.shape.pieces.push(Piece::new(&text.as_bytes()[self.from..value_start]));
        self.from = value_end;
    }
}

fn noun(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::Text(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
