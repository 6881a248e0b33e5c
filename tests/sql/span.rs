//! Times of a case: `0s`, `250ms`, `1m30s`, `1d2h`, `-5s`, counted from the case's start.

/// The units, from the longest, in microseconds.
const UNITS: [(&str, i64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Microseconds of `1m30s`; `None` if it is no such time. Every number has its unit.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total = 0_i64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: i64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == &rest[..letters])?;
        total = total.checked_add(number.checked_mul(*unit)?)?;
        rest = &rest[letters..];
    }
    Some(sign * total)
}

/// `1m30s` of microseconds.
pub(crate) fn write(us: i64) -> String {
    if us == 0 {
        return "0s".to_owned();
    }
    let mut text = String::from(if us < 0 { "-" } else { "" });
    let mut rest = us.abs();
    for (name, unit) in UNITS {
        if rest >= unit {
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    text
}

#[test]
fn a_time_is_read_as_it_is_written() {
    for text in ["0s", "12s", "1m30s", "250ms", "1d2h", "-5s", "59s999ms999us"] {
        assert_eq!(parse(text).map(write).as_deref(), Some(text));
    }
    for text in ["", "12", "s", "1x", "-", "1s2"] {
        assert_eq!(parse(text), None, "{text}");
    }
}
