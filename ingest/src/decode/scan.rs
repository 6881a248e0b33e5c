//! A strict JSON scanner (RFC 8259) over text that is known to be UTF-8.
//!
//! Promise: what it accepts is JSON, what it refuses is named with its byte; it allocates nothing,
//! nests at most `Limits::JSON_DEPTH_MAX` deep and hands out spans, not copies.
//! Elsewhere: which keys mean what is `layout`'s business; numbers become values in `number`.

use super::number::{self, Number};
use crate::model::Limits;
use std::borrow::Cow;

/// Bytes of the scanned text, from `start` to `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    /// # Panics
    /// If the text has 4 GiB or more: bodies are limited far below.
    #[inline]
    pub(super) fn new(start: usize, end: usize) -> Self {
        let narrow = |at| u32::try_from(at).expect("a body is smaller than 4 GiB");
        Self { start: narrow(start), end: narrow(end) }
    }

    #[inline]
    pub(super) fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }

    /// The same bytes of the text from `from` on.
    #[inline]
    pub(super) fn behind(self, from: usize) -> Self {
        Self::new(self.start as usize - from, self.end as usize - from)
    }

    /// The same bytes of a text that this one stands in at `from`.
    #[inline]
    pub(super) fn after(self, from: usize) -> Self {
        Self::new(self.start as usize + from, self.end as usize + from)
    }
}

/// The inside of a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) span: Span,
    pub(super) escaped: bool,
}

impl Text {
    /// The string meant. The escapes were checked when it was scanned.
    #[inline]
    pub(super) fn of(self, text: &str) -> Cow<'_, str> {
        let raw = self.span.of(text);
        if self.escaped { Cow::Owned(unescape(raw)) } else { Cow::Borrowed(raw) }
    }
}

/// One scanned value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    Null,
    Boolean(bool),
    Number(Number),
    Text(Text),
    /// With its brackets.
    Array(Span),
    /// With its braces.
    Object(Span),
}

impl Value {
    /// What it is, for a sentence: `the number 1.5`.
    pub(super) fn describe(&self, text: &str) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Boolean(value) => value.to_string(),
            Self::Number(number) => format!("the number {}", cut(number.span.of(text))),
            Self::Text(raw) => format!("the text \"{}\"", cut(raw.span.of(text))),
            Self::Array(_) => "an array".to_owned(),
            Self::Object(_) => "an object".to_owned(),
        }
    }
}

/// At most 40 characters of `text`.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(40) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
    }
}

/// Why a text is not JSON that is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ScanError {
    /// The byte where it stopped being JSON, and what is wrong there.
    Syntax { at: usize, what: &'static str },
    /// Nested too deep.
    TooDeep,
}

type Scan<T> = Result<T, ScanError>;

/// A position in a text.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

impl<'t> Scanner<'t> {
    #[inline]
    pub(super) fn new(text: &'t str, at: usize) -> Self {
        Self { text, at }
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn fail<T>(&self, what: &'static str) -> Scan<T> {
        let what = if self.at >= self.text.len() { "it ends too early" } else { what };
        Err(ScanError::Syntax { at: self.at, what })
    }

    pub(super) fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Takes `byte` if it stands here.
    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let here = self.peek() == Some(byte);
        self.at += usize::from(here);
        here
    }

    /// As [`Self::value`], written where it is wanted; quick for what most values are, strings without
    /// escapes and numbers. (To hand a value on is to copy it in other pieces than it was written in,
    /// for which a processor waits: it was half of the time that decoding takes.)
    #[inline]
    pub(super) fn value_into(&mut self, value: &mut Value, depth: usize) -> Scan<()> {
        let bytes = self.text.as_bytes();
        match bytes.get(self.at) {
            Some(b'"') => {
                let start = self.at + 1;
                let end = plain_until(bytes, start);
                if bytes.get(end) == Some(&b'"') {
                    self.at = end + 1;
                    *value = Value::Text(Text { span: Span::new(start, end), escaped: false });
                    return Ok(());
                }
            }
            Some(digit @ b'0'..=b'9') if matches!(bytes.get(self.at + 1), Some(b',' | b'}')) => {
                *value = Value::Number(Number::digit(*digit - b'0', self.at));
                self.at += 1;
                return Ok(());
            }
            Some(b't') if bytes[self.at..].starts_with(b"true") => {
                self.at += 4;
                *value = Value::Boolean(true);
                return Ok(());
            }
            Some(b'f') if bytes[self.at..].starts_with(b"false") => {
                self.at += 5;
                *value = Value::Boolean(false);
                return Ok(());
            }
            Some(b'-' | b'0'..=b'9') => {
                if let Ok(number) = number::scan(self.text, self.at) {
                    self.at = number.span.end as usize;
                    *value = Value::Number(number);
                    return Ok(());
                }
            }
            _ => {}
        }
        *value = self.value(depth)?;
        Ok(())
    }

    /// One value; `depth` is how many arrays and objects stand around it.
    pub(super) fn value(&mut self, depth: usize) -> Scan<Value> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::Text),
            Some(b'-' | b'0'..=b'9') => match number::scan(self.text, self.at) {
                Ok(number) => {
                    self.at = number.span.end as usize;
                    Ok(Value::Number(number))
                }
                Err(at) => {
                    self.at = at;
                    self.fail("this is not a JSON number")
                }
            },
            Some(b'{') => {
                let start = self.at;
                self.skip_object(depth + 1)?;
                Ok(Value::Object(Span::new(start, self.at)))
            }
            Some(b'[') => {
                let start = self.at;
                self.skip_array(depth + 1)?;
                Ok(Value::Array(Span::new(start, self.at)))
            }
            Some(b't') => self.word("true", Value::Boolean(true)),
            Some(b'f') => self.word("false", Value::Boolean(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => self.fail("a value is expected (NaN and Infinity are not JSON; send null)"),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Scan<Value> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            self.fail("a value is expected (NaN and Infinity are not JSON; send null)")
        }
    }

    /// A string, from its opening quote on.
    #[inline]
    pub(super) fn string(&mut self) -> Scan<Text> {
        if !self.eat(b'"') {
            return self.fail("a string is expected");
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = plain_until(self.text.as_bytes(), self.at);
            match self.peek() {
                Some(b'"') => {
                    let span = Span::new(start, self.at);
                    self.at += 1;
                    return Ok(Text { span, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return self.fail("a control character in a string must be escaped"),
            }
        }
    }

    fn escape(&mut self) -> Scan<()> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => {
                self.at += 1;
                match self.hex4()? {
                    0xdc00..=0xdfff => self.fail("half of a surrogate pair"),
                    0xd800..=0xdbff => {
                        let low = self.eat(b'\\') && self.eat(b'u');
                        if low && (0xdc00..=0xdfff).contains(&self.hex4()?) {
                            return Ok(());
                        }
                        self.fail("half of a surrogate pair")
                    }
                    _ => Ok(()),
                }
            }
            _ => self.fail("no such escape"),
        }
    }

    fn hex4(&mut self) -> Scan<u32> {
        let Some(digits) = self.text.as_bytes().get(self.at..self.at + 4) else {
            self.at = self.text.len();
            return self.fail("four hexadecimal digits are expected");
        };
        match hex(digits) {
            Some(code) => {
                self.at += 4;
                Ok(code)
            }
            None => self.fail("four hexadecimal digits are expected"),
        }
    }

    fn skip_object(&mut self, depth: usize) -> Scan<()> {
        check_depth(depth)?;
        self.at += 1;
        self.skip_space();
        if self.eat(b'}') {
            return Ok(());
        }
        loop {
            self.key()?;
            self.value(depth)?;
            self.skip_space();
            if self.eat(b'}') {
                return Ok(());
            }
            self.comma()?;
        }
    }

    fn skip_array(&mut self, depth: usize) -> Scan<()> {
        check_depth(depth)?;
        self.at += 1;
        self.skip_space();
        if self.eat(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.skip_space();
            if self.eat(b']') {
                return Ok(());
            }
            self.comma_in_array()?;
        }
    }

    /// A comma between elements, and the space behind it.
    pub(super) fn comma_in_array(&mut self) -> Scan<()> {
        if !self.eat(b',') {
            return self.fail("',' or ']' is expected");
        }
        self.skip_space();
        Ok(())
    }

    /// A key and its colon, up to the value.
    pub(super) fn key(&mut self) -> Scan<Text> {
        if self.peek() != Some(b'"') {
            return self.fail("a key in double quotes is expected");
        }
        let key = self.string()?;
        self.skip_space();
        if !self.eat(b':') {
            return self.fail("':' is expected");
        }
        self.skip_space();
        Ok(key)
    }

    /// A comma between members, and the space behind it.
    pub(super) fn comma(&mut self) -> Scan<()> {
        if !self.eat(b',') {
            return self.fail("',' or '}' is expected");
        }
        self.skip_space();
        Ok(())
    }
}

pub(super) fn check_depth(depth: usize) -> Scan<()> {
    if depth > Limits::JSON_DEPTH_MAX { Err(ScanError::TooDeep) } else { Ok(()) }
}

/// The first position from `at` on that a string does not simply run over: a quote, a backslash,
/// a control character or the end. Eight bytes at a time.
#[inline]
pub(super) fn plain_until(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES * 0x80;
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let zero_where = |byte: u8| {
            let x = word ^ (ONES * u64::from(byte));
            x.wrapping_sub(ONES) & !x
        };
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        // The lowest marked byte is exact; higher ones may be marked by a borrow, which is no harm.
        let stops = (zero_where(b'"') | zero_where(b'\\') | control) & HIGHS;
        if stops != 0 {
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while at < bytes.len() && !matches!(bytes[at], b'"' | b'\\' | 0..0x20) {
        at += 1;
    }
    at
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |code, digit| Some(code * 16 + char::from(*digit).to_digit(16)?))
}

/// The text behind checked escapes.
fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (meant, length) = one_escape(&rest.as_bytes()[at..]);
        out.push(meant);
        rest = &rest[at + length..];
    }
    out.push_str(rest);
    out
}

/// The character meant by the escape at the start of `raw`, and the escape's length.
fn one_escape(raw: &[u8]) -> (char, usize) {
    let unit = |at: usize| raw.get(at..at + 4).and_then(hex).unwrap_or(0xfffd);
    match raw.get(1) {
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b't') => ('\t', 2),
        Some(b'u') => {
            let high = unit(2);
            let (code, length) = if (0xd800..0xdc00).contains(&high) {
                (0x10000 + ((high - 0xd800) << 10) + (unit(8) & 0x3ff), 12)
            } else {
                (high, 6)
            };
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), length)
        }
        Some(same) => (char::from(*same), 2),
        None => ('\\', 1),
    }
}
