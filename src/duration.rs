//! Durations as people write them on a command line: `90s`, `1h`, `250ms`.

use std::time::Duration;

/// Reads a whole number with a unit: ms, s, m, h or d; without one it is seconds.
/// # Errors
/// The sentence that says what to write.
pub fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let help = || format!("'{text}' is not a duration; write 250ms, 90s, 5m, 1h or 7d");
    let number: u64 = number.parse().map_err(|_| help())?;
    let millis = match unit.trim() {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(help()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(help)
}

/// Seconds with one decimal below ten, milliseconds below one.
pub fn show(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..10_000 => format!("{:.1} s", duration.as_secs_f64()),
        10_000..120_000 => format!("{} s", duration.as_secs()),
        120_000..7_200_000 => format!("{} min", duration.as_secs() / 60),
        _ => format!("{} h", duration.as_secs() / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_unit_is_seconds() {
        assert_eq!(parse("60"), Ok(Duration::from_secs(60)));
        assert_eq!(parse("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("2h"), Ok(Duration::from_secs(7200)));
    }

    #[test]
    fn a_word_that_is_no_duration_is_refused_with_an_example() {
        for text in ["", "h", "5 parsecs", "-3s", "99999999999999999999s"] {
            assert!(parse(text).expect_err(text).contains("90s"));
        }
    }
}
