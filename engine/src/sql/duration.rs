//! Lengths of time and sizes as people write them.
//!
//! Promise: every length is exact in microseconds; months and years, which have none, are refused.

use std::time::Duration;

/// Longest length of time a statement may name: about a hundred years.
const DURATION_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);
/// The same in microseconds: lengths of windows.
pub(super) const LENGTH_US_MAX: u64 = DURATION_MAX.as_secs() * 1_000_000;

/// Parses `'5 seconds'`, `'250 ms'`, `'1 hour 30 minutes'`, `'10s'`.
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("the length of time is empty; write for example '5 seconds'".to_owned());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| c.is_ascii_digit() || c == '.');
        let (unit, after) = split_where(after.trim_start(), char::is_alphabetic);
        let part = part_of(text, number, unit)?;
        total =
            total.checked_add(part).filter(|t| *t <= DURATION_MAX).ok_or_else(|| too_long(text))?;
        rest = after.trim_start();
    }
    Ok(total)
}

/// Parses a list of lengths: `'10s, 30s, 1 minute'`; a last `...` says that the list goes on as it
/// ends and may be left out.
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_durations(text: &str) -> Result<Vec<Duration>, String> {
    let trimmed = text.trim();
    let listed = trimmed.strip_suffix("...").unwrap_or(trimmed).trim_end().trim_end_matches(',');
    listed.split(',').map(parse_duration).collect()
}

/// Parses `'64 MiB'`, `'10 kB'`, `'512'`: a number of bytes.
/// # Errors
/// A sentence that says what is wrong with it.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split_where(text.trim(), |c| c.is_ascii_digit());
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "byte" | "bytes" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(format!("'{text}' is not a size; write for example '64 MiB'")),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| format!("'{text}' is not a size; write for example '64 MiB'"))?;
    number.checked_mul(factor).ok_or_else(|| format!("'{text}' is too large"))
}

/// The length of `number` times `unit`.
fn part_of(text: &str, number: &str, unit: &str) -> Result<Duration, String> {
    let not_one = || format!("'{text}' is not a length of time; write for example '5 seconds'");
    if number.is_empty() {
        return Err(not_one());
    }
    let micros: u64 = match unit.to_ascii_lowercase().as_str() {
        "us" | "microsecond" | "microseconds" => 1,
        "ms" | "millisecond" | "milliseconds" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1_000_000,
        "m" | "min" | "mins" | "minute" | "minutes" => 60_000_000,
        "h" | "hour" | "hours" => 3_600_000_000,
        "d" | "day" | "days" => 24 * 3_600_000_000,
        "w" | "week" | "weeks" => 7 * 24 * 3_600_000_000,
        "" => return Err(format!("'{text}' has no unit; write for example '{number} seconds'")),
        "month" | "months" | "year" | "years" => {
            return Err(format!("'{text}': a {unit} has no fixed length; write days"));
        }
        _ => {
            return Err(format!(
                "'{unit}' is not a unit of time; use us, ms, seconds, minutes, hours, days or weeks"
            ));
        }
    };
    micros_of(number, micros).map(Duration::from_micros).ok_or_else(not_one)
}

/// `number` (digits with at most one point) times `unit_micros`, if that is a whole number.
fn micros_of(number: &str, unit_micros: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let product = digits.checked_mul(u128::from(unit_micros))?;
    if product % scale != 0 {
        return None;
    }
    u64::try_from(product / scale).ok()
}

fn too_long(text: &str) -> String {
    format!("'{text}' is longer than a hundred years")
}

fn split_where(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::{parse_bytes, parse_duration, parse_durations};
    use std::time::Duration;

    #[test]
    fn lengths_of_time_read_as_people_write_them() {
        for (text, micros) in [
            ("5 seconds", 5_000_000),
            ("0 seconds", 0),
            ("1 minute", 60_000_000),
            ("250 ms", 250_000),
            ("50ms", 50_000),
            ("10s", 10_000_000),
            ("0.5 s", 500_000),
            ("7 days", 7 * 86_400_000_000),
            ("1 hour 30 minutes", 5_400_000_000),
            ("  2   WEEKS ", 14 * 86_400_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_no_length_of_time_says_what_one_looks_like() {
        for (text, part) in [
            ("", "empty"),
            ("5", "has no unit"),
            ("five minutes", "not a length of time"),
            ("-5 seconds", "not a length of time"),
            ("1 month", "no fixed length"),
            ("3 fortnights", "not a unit of time"),
            ("0.0000001 s", "not a length of time"),
            ("1.2.3 s", "not a length of time"),
            ("99999999999999999999 s", "not a length of time"),
            ("200000 weeks", "hundred years"),
        ] {
            let error = parse_duration(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_ladder_may_say_that_it_goes_on() {
        let ladder = parse_durations("50ms, 100ms, ...").expect("a ladder");
        assert_eq!(ladder, [Duration::from_millis(50), Duration::from_millis(100)]);
        assert!(parse_durations("10s,,20s").is_err());
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        assert_eq!(parse_bytes("64 MiB"), Ok(64 << 20));
        assert_eq!(parse_bytes("10kB"), Ok(10_000));
        assert_eq!(parse_bytes("512"), Ok(512));
        assert!(parse_bytes("many").is_err());
        assert!(parse_bytes("99999999999999 GiB").is_err());
    }
}
