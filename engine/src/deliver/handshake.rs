//! The CloudEvents webhook handshake: an endpoint says that it wants our events before it gets any.
//!
//! Promise: pure. OPTIONS with `WebHook-Request-Origin` and `WebHook-Request-Rate`; granted by a 2xx
//! answer whose `WebHook-Allowed-Origin` is our origin or `*`. Elsewhere: asking is `sender`'s,
//! waiting is `worker`'s. A grant by callback (`WebHook-Request-Callback`) is not asked for: nothing
//! here listens.

use reqwest::header::HeaderMap;
use serde::{Deserialize, Serialize};

/// Asks under this name.
pub const REQUEST_ORIGIN: &str = "webhook-request-origin";
/// Asks for this many requests a minute.
pub const REQUEST_RATE: &str = "webhook-request-rate";
/// Requests a minute we ask for.
pub const RATE_PER_MINUTE: u32 = 6_000;
const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";
const ALLOWED_RATE: &str = "webhook-allowed-rate";

/// What an endpoint granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Grant {
    /// Requests a minute it takes; no bound where absent.
    pub rate_per_minute: Option<u32>,
}

/// Why it is not granted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotGranted {
    /// Not a 2xx answer.
    #[error(
        "the endpoint answered OPTIONS with {0}; it has to answer 200 with WebHook-Allowed-Origin, or create the subscription WITH (handshake = 'skip')"
    )]
    Status(u16),
    /// No `WebHook-Allowed-Origin`.
    #[error(
        "the endpoint answered OPTIONS without WebHook-Allowed-Origin; it has to send back '{0}' or '*', or create the subscription WITH (handshake = 'skip')"
    )]
    Missing(String),
    /// Granted to somebody else.
    #[error("the endpoint allows '{allowed}', not '{origin}'")]
    Other {
        /// What it sent.
        allowed: String,
        /// Who we are.
        origin: String,
    },
    /// No answer at all.
    #[error("the endpoint did not answer OPTIONS: {0}")]
    Unreachable(String),
}

/// Reads the answer.
/// # Errors
/// Why it is no grant.
pub fn judge(status: u16, headers: &HeaderMap, origin: &str) -> Result<Grant, NotGranted> {
    if !(200..300).contains(&status) {
        return Err(NotGranted::Status(status));
    }
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let allowed = text(ALLOWED_ORIGIN).ok_or_else(|| NotGranted::Missing(origin.to_owned()))?;
    let is_ours = |one: &str| one.trim() == "*" || one.trim().eq_ignore_ascii_case(origin);
    if !allowed.split(',').any(is_ours) {
        return Err(NotGranted::Other { allowed: allowed.to_owned(), origin: origin.to_owned() });
    }
    let rate = text(ALLOWED_RATE).and_then(|rate| rate.parse::<u32>().ok());
    Ok(Grant { rate_per_minute: rate.filter(|rate| *rate > 0) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn our_origin_or_a_star_grants() {
        for allowed in ["weir", "*", "other, weir", "WEIR"] {
            let answer = headers(&[(ALLOWED_ORIGIN, allowed)]);
            assert_eq!(judge(200, &answer, "weir"), Ok(Grant::default()), "{allowed}");
        }
    }

    #[test]
    fn a_granted_rate_is_kept_and_a_star_is_no_bound() {
        let answer = headers(&[(ALLOWED_ORIGIN, "*"), (ALLOWED_RATE, "120")]);
        assert_eq!(judge(204, &answer, "weir").unwrap().rate_per_minute, Some(120));
        let answer = headers(&[(ALLOWED_ORIGIN, "*"), (ALLOWED_RATE, "*")]);
        assert_eq!(judge(204, &answer, "weir").unwrap().rate_per_minute, None);
    }

    #[test]
    fn anything_else_does_not() {
        let somebody_else = headers(&[(ALLOWED_ORIGIN, "example.org")]);
        assert!(matches!(judge(200, &somebody_else, "weir"), Err(NotGranted::Other { .. })));
        let nothing = headers(&[]);
        assert!(matches!(judge(200, &nothing, "weir"), Err(NotGranted::Missing(_))));
        let star = headers(&[(ALLOWED_ORIGIN, "*")]);
        assert_eq!(judge(405, &star, "weir"), Err(NotGranted::Status(405)));
    }
}
