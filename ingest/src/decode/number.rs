//! JSON numbers: scanned once, turned into what a column wants.
//!
//! Promise: an integer is exact or refused; a DOUBLE is the nearest one, or refused if not finite.

use super::scan::Span;

/// A number that follows JSON's grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Number {
    pub(super) span: Span,
    /// All digits as one integer, meaningful while `exact`.
    digits: u64,
    /// Power of ten that `digits` is to be multiplied by.
    exponent: i32,
    negative: bool,
    /// Neither a fraction nor an exponent.
    pub(super) integer: bool,
    /// `digits` did not overflow, nor did the exponent.
    exact: bool,
}

/// Powers of ten a DOUBLE holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Eight digits zero.
const ZEROS: u64 = 0x3030_3030_3030_3030;

pub(super) const POWERS: [u64; 9] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

impl Number {
    /// One digit.
    #[inline]
    pub(super) fn digit(digit: u8, at: usize) -> Self {
        let span = Span::new(at, at + 1);
        let digits = u64::from(digit);
        Self { span, digits, exponent: 0, negative: false, integer: true, exact: true }
    }

    /// As DOUBLE; `None` if that is not finite.
    #[inline]
    pub(super) fn double(&self, text: &str) -> Option<f64> {
        // Clinger's fast path: both factors are exact, so one rounding gives the nearest DOUBLE.
        if self.exact && self.digits < 1 << 53 && self.exponent.unsigned_abs() <= 22 {
            #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
            let digits = self.digits as f64;
            let power = EXACT_POWERS[self.exponent.unsigned_abs() as usize];
            let value = if self.exponent < 0 { digits / power } else { digits * power };
            return Some(if self.negative { -value } else { value });
        }
        self.span.of(text).parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// As BIGINT; `None` if it has a fraction or an exponent, or does not fit.
    #[inline]
    pub(super) fn bigint(&self) -> Option<i64> {
        if !self.integer || !self.exact {
            return None;
        }
        if self.negative {
            0_i64.checked_sub_unsigned(self.digits)
        } else {
            i64::try_from(self.digits).ok()
        }
    }
}

/// The number at `start`; the byte where the grammar breaks otherwise.
#[expect(
    clippy::inline_always,
    reason = "a number handed on through memory takes longer than its digits"
)]
#[inline(always)]
pub(super) fn scan(text: &str, start: usize) -> Result<Number, usize> {
    let bytes = text.as_bytes();
    let negative = bytes.get(start) == Some(&b'-');
    let whole = start + usize::from(negative);
    let (mut digits, mut at) = run(bytes, whole, 0);
    let mut count = at - whole;
    if count == 0 {
        return Err(at);
    }
    if bytes[whole] == b'0' && count > 1 {
        return Err(whole + 1); // no leading zeros
    }
    let mut integer = true;
    let mut fraction_digits = 0;
    if bytes.get(at) == Some(&b'.') {
        integer = false;
        let fraction = at + 1;
        (digits, at) = run(bytes, fraction, digits);
        fraction_digits = at - fraction;
        count += fraction_digits;
        if fraction_digits == 0 {
            return Err(at);
        }
    }
    // 19 digits fit 64 bits; for more the text itself is parsed.
    let mut exact = count <= 19;
    let mut exponent = -i32::try_from(fraction_digits).unwrap_or(i32::MAX);
    if let Some(b'e' | b'E') = bytes.get(at) {
        integer = false;
        let power;
        (power, at) = exponent_of(bytes, at + 1)?;
        exact &= power.is_some();
        exponent = exponent.saturating_add(power.unwrap_or(0));
    }
    Ok(Number { span: Span::new(start, at), digits, exponent, negative, integer, exact })
}

/// What stands behind the `e`, if it is small enough to reckon with, and where it ends.
fn exponent_of(bytes: &[u8], at: usize) -> Result<(Option<i32>, usize), usize> {
    let minus = bytes.get(at) == Some(&b'-');
    let first = at + usize::from(minus || bytes.get(at) == Some(&b'+'));
    let (power, end) = run(bytes, first, 0);
    if end == first {
        return Err(end);
    }
    let power = i32::try_from(power).ok().filter(|p| *p < 10_000 && end - first <= 9);
    Ok((power.map(|p| if minus { -p } else { p }), end))
}

/// `value` with the digits from `at` on appended, and where they end. Wraps; the caller counts.
#[inline]
pub(super) fn run(bytes: &[u8], mut at: usize, mut value: u64) -> (u64, usize) {
    // Eight at a time: how many digits a number has is then no branch that is guessed wrong.
    while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk()) {
        let word = u64::from_le_bytes(*chunk) ^ ZEROS;
        // Where a byte is more than nine; the lowest such mark is exact.
        let others = (word.wrapping_add(0x7676_7676_7676_7676) | word) & 0x8080_8080_8080_8080;
        let count = others.trailing_zeros() / 8;
        if count == 0 {
            return (value, at);
        }
        let digits = eight(word << (64 - 8 * count));
        value = value.wrapping_mul(POWERS[count as usize]).wrapping_add(digits);
        at += count as usize;
        if count < 8 {
            return (value, at);
        }
    }
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        at += 1;
    }
    (value, at)
}

/// Eight digits, the first in the lowest byte, as a number: neighbours are joined three times.
#[inline]
fn eight(digits: u64) -> u64 {
    let pairs = digits.wrapping_mul(10 * 256 + 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100 * 65_536 + 1) >> 16 & 0x0000_ffff_0000_ffff;
    fours.wrapping_mul(10_000 * 4_294_967_296 + 1) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_length_are_what_the_standard_library_reads() {
        let digits = "98765432109876543210987";
        for whole in 1..=digits.len() {
            for fraction in 0..=digits.len() {
                let number = match fraction {
                    0 => digits[..whole].to_owned(),
                    _ => format!("{}.{}", &digits[..whole], &digits[..fraction]),
                };
                for around in ["", ",", "}", " and a text behind it", "\u{ff}:;<>/"] {
                    let text = format!("{number}{around}");
                    let scanned = scan(&text, 0).expect("a number");
                    assert_eq!(scanned.span.of(&text), number);
                    assert_eq!(scanned.double(&text), number.parse().ok(), "{text}");
                    assert_eq!(scanned.bigint(), number.parse().ok(), "{text}");
                }
            }
        }
    }
}
