//! When to try again, and when to stop: the retry ladder and what an answer means.
//!
//! Promise: pure; the same seed, event and attempt give the same delay. Elsewhere: who waits is
//! `queue`, who sends is `worker`.

use std::time::Duration;

/// How far a delay may be moved either way, in percent, so that receivers are not met by waves.
const JITTER_PERCENT: u64 = 10;

/// The delays between attempts of one subscription, and when it gives an event up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladder {
    steps: Vec<Duration>,
    expire: Duration,
    attempts_max: u32,
    seed: u64,
}

impl Ladder {
    /// Attempts of one event, the first included.
    pub const ATTEMPTS_MAX: u32 = 30;
    /// How long after it was logged an event is still worth sending.
    pub const EXPIRE: Duration = Duration::from_secs(24 * 3600);
    /// Seconds between attempts; the last is repeated.
    pub const STEPS_S: [u64; 10] =
        [10, 30, 60, 300, 600, 1_800, 3_600, 3 * 3_600, 6 * 3_600, 12 * 3_600];

    /// A ladder of `steps`, the last one repeated; no steps means the default ones.
    pub fn new(steps: Vec<Duration>, expire: Duration, attempts_max: u32, seed: u64) -> Self {
        let steps = match steps.is_empty() {
            true => Self::STEPS_S.map(Duration::from_secs).to_vec(),
            false => steps,
        };
        Self { steps, expire, attempts_max: attempts_max.max(1), seed }
    }

    /// How long to wait after `failures` failed attempts (from 1) of the event at `place`.
    pub fn delay(&self, failures: u32, place: u64) -> Duration {
        let step = self.step(failures);
        let spread = step.as_micros() as u64 * JITTER_PERCENT / 100;
        if spread == 0 {
            return step;
        }
        let draw = mix(self.seed ^ mix(place) ^ u64::from(failures)) % (2 * spread + 1);
        step - Duration::from_micros(spread) + Duration::from_micros(draw)
    }

    /// The delay as written, without jitter.
    pub fn step(&self, failures: u32) -> Duration {
        let index = (failures.max(1) as usize - 1).min(self.steps.len() - 1);
        self.steps[index]
    }

    /// How long after it was logged an event is given up.
    pub fn expire(&self) -> Duration {
        self.expire
    }

    /// How many attempts an event gets.
    pub fn attempts_max(&self) -> u32 {
        self.attempts_max
    }
}

/// splitmix64: a small, well-spread, seeded hash.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered.
    Answered {
        /// HTTP status.
        status: u16,
        /// `Retry-After`, from now.
        retry_after: Option<Duration>,
    },
    /// No answer within the response timeout.
    TimedOut,
    /// No connection, or it broke.
    Failed(String),
    /// The address is not one deliveries may go to; nothing was sent.
    Forbidden(String),
}

/// What an outcome means for the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Delivered,
    /// Try again on the ladder, but not sooner than this.
    Retry {
        /// From now.
        not_before: Option<Duration>,
    },
    /// Never try again: the endpoint will not take this event.
    Permanent,
}

impl Outcome {
    /// What it means: 200 to 204 delivered; 400, 401, 403 and 413 permanent; all else is retried.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Answered { status: 200..=204, .. } => Verdict::Delivered,
            Self::Answered { status: 400 | 401 | 403 | 413, .. } => Verdict::Permanent,
            Self::Answered { retry_after, .. } => Verdict::Retry { not_before: *retry_after },
            Self::TimedOut | Self::Failed(_) | Self::Forbidden(_) => {
                Verdict::Retry { not_before: None }
            }
        }
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(*status),
            Self::TimedOut | Self::Failed(_) | Self::Forbidden(_) => None,
        }
    }

    /// What went wrong below HTTP.
    pub fn error(&self) -> Option<String> {
        match self {
            Self::Answered { .. } => None,
            Self::TimedOut => Some("no answer within the response timeout".to_owned()),
            Self::Failed(why) | Self::Forbidden(why) => Some(why.clone()),
        }
    }

    /// One short text for people: the status, or the error.
    pub fn describe(&self) -> String {
        match (self.status(), self.error()) {
            (Some(status), _) => format!("HTTP {status}"),
            (None, error) => error.unwrap_or_default(),
        }
    }
}

/// Reads `Retry-After`: seconds, or an HTTP date seen from `now_us` (wall clock).
pub fn parse_retry_after(value: &str, now_us: i64) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(value).ok()?;
    u64::try_from(date.timestamp_micros() - now_us).ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Verdict {
        Outcome::Answered { status, retry_after: None }.verdict()
    }

    #[test]
    fn the_default_ladder_ends_in_every_twelve_hours() {
        let ladder = Ladder::new(vec![], Ladder::EXPIRE, 30, 1);
        assert_eq!(ladder.step(1), Duration::from_secs(10));
        assert_eq!(ladder.step(4), Duration::from_secs(300));
        assert_eq!(ladder.step(10), Duration::from_secs(12 * 3600));
        assert_eq!(ladder.step(29), Duration::from_secs(12 * 3600));
    }

    #[test]
    fn jitter_is_seeded_and_stays_within_ten_percent() {
        let ladder = Ladder::new(vec![Duration::from_millis(100)], Ladder::EXPIRE, 30, 7);
        let delays: Vec<_> = (0..200).map(|place| ladder.delay(1, place)).collect();
        assert!(delays.iter().all(|d| (90_000..=110_000).contains(&d.as_micros())));
        assert!(delays.iter().any(|d| *d != delays[0]));
        assert_eq!(ladder.delay(1, 5), ladder.delay(1, 5));
    }

    #[test]
    fn only_200_to_204_is_success_and_four_refusals_are_permanent() {
        for status in 200..=204 {
            assert_eq!(answered(status), Verdict::Delivered, "{status}");
        }
        for status in [400, 401, 403, 413] {
            assert_eq!(answered(status), Verdict::Permanent, "{status}");
        }
        for status in [206, 301, 302, 404, 408, 410, 429, 500, 503] {
            assert_eq!(answered(status), Verdict::Retry { not_before: None }, "{status}");
        }
        assert_eq!(Outcome::TimedOut.verdict(), Verdict::Retry { not_before: None });
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        assert_eq!(parse_retry_after("120", 0), Some(Duration::from_secs(120)));
        let now = 784_111_777_000_000; // 1994-11-06T08:49:37Z
        let later = parse_retry_after("Sun, 06 Nov 1994 08:50:37 GMT", now);
        assert_eq!(later, Some(Duration::from_secs(60)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:07 GMT", now), None);
        assert_eq!(parse_retry_after("soon", now), None);
    }
}
