//! Lengths and counts of a request, before anything is decoded.
//!
//! Promise: what passes lies within its bytes, to the last one, and has at most
//! `KafkaLimits::ELEMENTS_MAX` elements: whoever makes room by its counts makes room for what is there. The
//! library that decodes requests believes every count.

use super::limits::KafkaLimits;

/// A field of a request.
#[derive(Debug)]
pub(super) enum Field {
    /// So many bytes.
    Fixed(usize),
    /// Behind a length of 16 bits.
    Text,
    /// Behind a length of 32 bits.
    Bytes,
    /// Behind a count of 32 bits: structures of these parts.
    Many(&'static [Part]),
    /// Behind a count of 32 bits: one field each.
    Each(&'static Field),
}

/// A field, and the versions that have it.
#[derive(Debug)]
pub(super) struct Part {
    from: i16,
    to: i16,
    field: Field,
}

/// In every version.
pub(super) const fn part(field: Field) -> Part {
    Part { from: 0, to: i16::MAX, field }
}

/// From that version on.
pub(super) const fn since(from: i16, field: Field) -> Part {
    Part { from, to: i16::MAX, field }
}

/// In those versions.
pub(super) const fn between(from: i16, to: i16, field: Field) -> Part {
    Part { from, to, field }
}

/// A request that is served.
#[derive(Debug)]
pub(super) struct Shape {
    /// The number of the request.
    pub(super) key: i16,
    /// Versions that are said to be served.
    pub(super) said: (i16, i16),
    /// The first one that is.
    pub(super) min: i16,
    /// From this one on lengths are varints and structures end with tagged fields.
    pub(super) flexible: i16,
    pub(super) parts: &'static [Part],
}

/// Why bytes are no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    #[error("it ends before it should")]
    Short,
    #[error("it has {0} bytes more than it says")]
    Long(usize),
    #[error("a length of {0}")]
    Length(i64),
    #[error("{0} elements where at most {1} bytes follow")]
    Count(i64, usize),
    #[error("more than {} elements", KafkaLimits::ELEMENTS_MAX)]
    Elements,
    #[error("a number that does not end")]
    Number,
    #[error("it does not decode")]
    Undecoded,
}

/// The bytes that are not looked at yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'b> {
    rest: &'b [u8],
    version: i16,
    flexible: bool,
    elements: usize,
}

impl Shape {
    /// Whether requests of this version are spelled with varints.
    pub(super) fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }

    /// Whether the version is served.
    pub(super) fn serves(&self, version: i16) -> bool {
        (self.min..=self.said.1).contains(&version)
    }

    /// Holds the body of a request against what it should be.
    /// # Errors
    /// It is not.
    pub(super) fn check(&self, body: &[u8], version: i16) -> Result<(), Malformed> {
        let mut walk = Walk::new(body, version, self.is_flexible(version));
        walk.structure(self.parts)?;
        match walk.rest.len() {
            0 => Ok(()),
            more => Err(Malformed::Long(more)),
        }
    }
}

impl<'b> Walk<'b> {
    pub(super) fn new(rest: &'b [u8], version: i16, flexible: bool) -> Self {
        Self { rest, version, flexible, elements: 0 }
    }

    /// What is not looked at yet.
    pub(super) fn rest(&self) -> &'b [u8] {
        self.rest
    }

    fn skip(&mut self, bytes: usize) -> Result<(), Malformed> {
        self.rest = self.rest.get(bytes..).ok_or(Malformed::Short)?;
        Ok(())
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (number, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*number)
    }

    fn varint(&mut self) -> Result<i64, Malformed> {
        let mut value = 0_i64;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.number::<1>()?;
            value |= i64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                let fits = u32::try_from(value).is_ok();
                return if fits { Ok(value) } else { Err(Malformed::Length(value)) };
            }
        }
        Err(Malformed::Number)
    }

    /// A length or count; -1 for nothing.
    fn length<const N: usize>(&mut self, read: fn([u8; N]) -> i64) -> Result<i64, Malformed> {
        let length = if self.flexible { self.varint()? - 1 } else { read(self.number::<N>()?) };
        if length < -1 { Err(Malformed::Length(length)) } else { Ok(length) }
    }

    fn structure(&mut self, parts: &[Part]) -> Result<(), Malformed> {
        let version = self.version;
        for part in parts.iter().filter(|part| (part.from..=part.to).contains(&version)) {
            self.field(&part.field)?;
        }
        if self.flexible { self.tags() } else { Ok(()) }
    }

    fn field(&mut self, field: &Field) -> Result<(), Malformed> {
        match field {
            Field::Fixed(bytes) => self.skip(*bytes),
            Field::Text => self.text(),
            Field::Bytes => {
                let length = self.length(|bytes| i64::from(i32::from_be_bytes(bytes)))?;
                self.skip(usize::try_from(length).unwrap_or(0))
            }
            Field::Many(parts) => self.elements(|walk| walk.structure(parts)),
            Field::Each(field) => self.elements(|walk| walk.field(field)),
        }
    }

    /// A text behind its length.
    pub(super) fn text(&mut self) -> Result<(), Malformed> {
        let length = self.length(|bytes| i64::from(i16::from_be_bytes(bytes)))?;
        self.skip(usize::try_from(length).unwrap_or(0))
    }

    fn elements(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let count = self.length(|bytes| i64::from(i32::from_be_bytes(bytes)))?;
        let fits = usize::try_from(count.max(0)).ok().filter(|n| *n <= self.rest.len());
        let fits = fits.ok_or(Malformed::Count(count, self.rest.len()))?;
        self.count(fits)?;
        (0..fits).try_for_each(|_| element(self))
    }

    /// Fields that a later version added.
    pub(super) fn tags(&mut self) -> Result<(), Malformed> {
        let count = self.varint()?;
        let tags = usize::try_from(count).unwrap_or(usize::MAX);
        if tags > self.rest.len() {
            return Err(Malformed::Count(count, self.rest.len()));
        }
        self.count(tags)?;
        for _ in 0..tags {
            self.varint()?;
            let length = self.varint()?;
            self.skip(usize::try_from(length).unwrap_or(usize::MAX))?;
        }
        Ok(())
    }

    fn count(&mut self, elements: usize) -> Result<(), Malformed> {
        self.elements += elements;
        if self.elements > KafkaLimits::ELEMENTS_MAX { Err(Malformed::Elements) } else { Ok(()) }
    }
}
