//! Times as senders write them, as microseconds UTC.
//!
//! Promise: RFC 3339 with a zone or an integer epoch, from 1970 on; everything else is refused with
//! what is wrong. Digits beyond microseconds are cut. Elsewhere: whether a time lies in the future is
//! judged where the clock is known, in `json` and `arrow`.

use super::number;
use super::scan::plain_until;
use crate::model::{EventTime, TimeUnit};
use chrono::{DateTime, SecondsFormat};

/// RFC 3339 to microseconds since 1970.
/// # Errors
/// What is wrong, for the sentence of `RefusalReason::BadTime`.
#[inline]
pub(super) fn rfc3339(text: &str) -> Result<EventTime, String> {
    let Some(micros) = parse(text.as_bytes()) else {
        return Err(why_not(text));
    };
    if micros < 0 { Err(format!("{text} is before 1970")) } else { Ok(EventTime(micros)) }
}

/// The minute of the time that was read last: those that follow are mostly of the same one.
#[derive(Debug)]
pub(super) struct Minute {
    /// As it was written, `yyyy-mm-ddThh:mm`.
    written: [u8; MINUTE_BYTES],
    /// Its first microsecond, in UTC.
    micros: i64,
}

const MINUTE_BYTES: usize = 16;

impl Default for Minute {
    fn default() -> Self {
        Self { written: *b"1970-01-01T00:00", micros: 0 }
    }
}

impl Minute {
    /// The time that a JSON string holds whose inside begins at `at`, and where what follows the string
    /// begins. `None` if it is not one that [`rfc3339`] takes, or is not written plainly.
    #[inline]
    pub(super) fn read(&mut self, text: &str, at: usize) -> Option<(EventTime, usize)> {
        self.of_this_minute(text.as_bytes(), at).or_else(|| self.of_any(text, at))
    }

    /// `:ss[.f]Z"` behind this minute.
    #[inline]
    fn of_this_minute(&self, bytes: &[u8], at: usize) -> Option<(EventTime, usize)> {
        let (minute, rest) = bytes.get(at..)?.split_first_chunk::<MINUTE_BYTES>()?;
        let (second, rest) = rest.split_first_chunk::<4>()?;
        let seconds = digits(&second[1..3])?;
        if *minute != self.written || second[0] != b':' || seconds > 60 {
            return None;
        }
        let (fraction, end) = match second[3] {
            b'Z' => (0, 0),
            b'.' => {
                let (value, end) = number::run(rest, 0, 0);
                let factor = number::POWERS[6_usize.checked_sub(end)?];
                if end == 0 || rest.get(end) != Some(&b'Z') {
                    return None;
                }
                (i64::try_from(value * factor).ok()?, end + 1)
            }
            _ => return None,
        };
        let behind = at + MINUTE_BYTES + second.len() + end + 1;
        let time = EventTime(self.micros + seconds * 1_000_000 + fraction);
        (rest.get(end) == Some(&b'"')).then_some((time, behind))
    }

    #[cold]
    fn of_any(&mut self, text: &str, at: usize) -> Option<(EventTime, usize)> {
        let end = plain_until(text.as_bytes(), at);
        if text.as_bytes().get(end) != Some(&b'"') {
            return None;
        }
        let written = text.as_bytes().get(at..end)?;
        let time = rfc3339(&text[at..end]).ok()?;
        if let Some(minute) = written.first_chunk::<MINUTE_BYTES>()
            && let Some(micros) = parse(&[minute, b":00Z".as_slice()].concat())
            && micros >= 0
        {
            *self = Self { written: *minute, micros };
        }
        Some((time, end + 1))
    }
}

/// An integer time by its size, microseconds; `None` for one that cannot be a time.
pub fn epoch_us(number: i64) -> Option<i64> {
    epoch(number, None).ok().map(|time| time.0)
}

/// An integer epoch to microseconds since 1970: in `unit`, or by its size.
/// # Errors
/// As [`rfc3339`].
pub(super) fn epoch(number: i64, unit: Option<TimeUnit>) -> Result<EventTime, String> {
    if number < 0 {
        return Err(format!("{number} is before 1970"));
    }
    let micros = match unit.unwrap_or_else(|| by_size(number)) {
        TimeUnit::Seconds => number.checked_mul(1_000_000),
        TimeUnit::Milliseconds => number.checked_mul(1_000),
        TimeUnit::Microseconds => Some(number),
        TimeUnit::Nanoseconds => Some(number / 1_000),
    };
    micros.map(EventTime).ok_or_else(|| format!("{number} is beyond what a time can be"))
}

fn by_size(number: i64) -> TimeUnit {
    match number {
        ..100_000_000_000 => TimeUnit::Seconds,
        100_000_000_000..100_000_000_000_000 => TimeUnit::Milliseconds,
        100_000_000_000_000..100_000_000_000_000_000 => TimeUnit::Microseconds,
        100_000_000_000_000_000.. => TimeUnit::Nanoseconds,
    }
}

/// For people.
pub(super) fn show(micros: i64) -> String {
    match DateTime::from_timestamp_micros(micros) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{micros} us after 1970"),
    }
}

fn why_not(text: &str) -> String {
    if text.len() >= 19 && parse(format!("{text}Z").as_bytes()).is_some() {
        return format!("'{text}' has no zone");
    }
    format!("'{}' is not RFC 3339", super::scan::cut(text))
}

/// `yyyy-mm-ddThh:mm:ss[.f]` and `Z` or `±hh:mm`, strictly.
#[inline]
fn parse(text: &[u8]) -> Option<i64> {
    let (head, rest) = text.split_first_chunk::<19>()?;
    let two = |at: usize| digits(&head[at..at + 2]);
    let (year, month, day) = (digits(&head[..4])?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    let marks = [head[4], head[7], head[13], head[16]] == *b"--::";
    if !marks || !matches!(head[10], b'T' | b't' | b' ') {
        return None;
    }
    // 60 is a leap second; it is the first moment of the next minute, as in POSIX time.
    if hour > 23 || minute > 59 || second > 60 || !is_date(year, month, day) {
        return None;
    }
    let (fraction, zone) = fraction(rest)?;
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some((seconds - offset(zone)?) * 1_000_000 + fraction)
}

#[inline]
fn digits(text: &[u8]) -> Option<i64> {
    let mut value = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(value)
}

/// The fraction in microseconds, and what stands behind it.
#[inline]
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', rest)) = rest.split_first() else {
        return Some((0, rest));
    };
    let length = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
    if length == 0 {
        return None;
    }
    let kept = length.min(6);
    let mut micros = digits(&rest[..kept])?;
    for _ in kept..6 {
        micros *= 10;
    }
    Some((micros, &rest[length..]))
}

/// Seconds east of UTC.
#[inline]
fn offset(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3_600 + minutes * 60;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

#[inline]
fn is_date(year: i64, month: i64, day: i64) -> bool {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return false,
    };
    (1..=last).contains(&day)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant's `days_from_civil`).
#[inline]
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Result<i64, String> {
        rfc3339(text).map(|t| t.0)
    }

    #[test]
    fn rfc_3339_is_read_to_the_microsecond() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-01-31T12:00:00Z",
            "2024-02-29T23:59:59.999999Z",
            "2022-10-06T00:00:00+02:00",
            "2000-12-31t23:30:00.5-05:30",
            "9999-12-31T23:59:59.123Z",
        ] {
            let expected = DateTime::parse_from_rfc3339(text).expect(text).timestamp_micros();
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        assert_eq!(seconds("2016-12-31T23:59:60Z"), seconds("2017-01-01T00:00:00Z"));
        assert_eq!(seconds("1970-01-01T00:00:00.1234567Z"), Ok(123_456));
    }

    #[test]
    fn every_day_of_eight_centuries_agrees_with_chrono() {
        let mut day = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).expect("a date");
        for n in 0..292_000 {
            let text = format!("{day}T00:00:00Z");
            assert_eq!(seconds(&text), Ok(n * 86_400_000_000), "{text}");
            day = day.succ_opt().expect("not the end of time");
        }
    }

    #[test]
    fn what_is_not_a_time_says_why() {
        for (text, why) in [
            ("2026-01-31T12:00:00", "has no zone"),
            ("2026-01-31T12:00:00.25", "has no zone"),
            ("2026-01-31", "is not RFC 3339"),
            ("2026-02-29T12:00:00Z", "is not RFC 3339"),
            ("2026-01-31T24:00:00Z", "is not RFC 3339"),
            ("2026-01-31T12:00:00+0200", "is not RFC 3339"),
            ("2026-01-31T12:00:00.Z", "is not RFC 3339"),
            ("1700000000", "is not RFC 3339"),
            ("", "is not RFC 3339"),
            ("1969-12-31T23:59:59Z", "is before 1970"),
            ("1970-01-01T00:00:00+01:00", "is before 1970"),
        ] {
            let error = rfc3339(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn an_epoch_is_read_in_its_unit_or_by_its_size() {
        for (number, unit, expected) in [
            (1_700_000_000, None, 1_700_000_000_000_000),
            (1_700_000_000_123, None, 1_700_000_000_123_000),
            (1_700_000_000_123_456, None, 1_700_000_000_123_456),
            (1_700_000_000_123_456_789, None, 1_700_000_000_123_456),
            (5, Some(TimeUnit::Nanoseconds), 0),
            (1_700_000_000, Some(TimeUnit::Milliseconds), 1_700_000_000_000),
        ] {
            assert_eq!(epoch(number, unit), Ok(EventTime(expected)));
        }
        assert!(epoch(-1, None).is_err());
        assert!(epoch(i64::MAX, Some(TimeUnit::Seconds)).is_err());
    }
}
