//! Signed bodies: a receiver can tell that an event is ours, unaltered and recent.
//!
//! Every request carries `Weir-Signature: t=<unix seconds>,v1=<hex>`. To check it, a receiver
//! 1. takes `t` and `v1` from the header (further `v...` parts are to be ignored),
//! 2. computes HMAC-SHA256 with the subscription's secret (its UTF-8 bytes as shown at CREATE) over
//!    the bytes `<t>.<CloudEvents id>.<request body>`, the body exactly as received; the id is the
//!    `ce-id` header in binary mode and the member `id` of the body in structured mode,
//! 3. compares it with `v1` in constant time, and
//! 4. refuses a `t` that is further from its own clock than it tolerates (five minutes is usual).
//!
//! Promise: pure. A repeat is signed anew, with its own `t` and the same id.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt::Write;

/// The header's name.
pub const SIGNATURE_HEADER: &str = "weir-signature";

/// What a generated secret starts with, so that people recognise a leaked one.
const SECRET_PREFIX: &str = "whsec_";

/// The header's value for a body sent at `unix_s`.
pub fn sign(secret: &str, unix_s: i64, id: &str, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(format!("{unix_s}.{id}.").as_bytes());
    mac.update(body);
    let mut value = format!("t={unix_s},v1=");
    push_hex(&mut value, &mac.finalize().into_bytes());
    value
}

/// A secret of 256 random bits.
/// # Errors
/// The operating system has no randomness to give.
pub fn generate_secret() -> Result<String, NoRandomness> {
    let mut bytes = [0_u8; 32];
    rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| NoRandomness)?;
    let mut secret = SECRET_PREFIX.to_owned();
    push_hex(&mut secret, &bytes);
    Ok(secret)
}

/// The operating system gave no random bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the operating system gave no random bytes for a secret; write one yourself WITH (secret = '...')"
)]
pub struct NoRandomness;

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answer() {
        // printf '1767225600.0af7651916cd43dd8448eb211c80319c.{"a":1}' | openssl dgst -sha256 -hmac whsec_test
        assert_eq!(
            sign("whsec_test", 1_767_225_600, "0af7651916cd43dd8448eb211c80319c", br#"{"a":1}"#),
            "t=1767225600,v1=bb95f10e7d6dc627433f53c00afdf067cae60a366c27172ec3684d44dc9e8450"
        );
    }

    #[test]
    fn rfc_4231_case_2_is_computed_right() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"Jefe").unwrap();
        mac.update(b"what do ya want for nothing?");
        let mut hex = String::new();
        push_hex(&mut hex, &mac.finalize().into_bytes());
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    #[test]
    fn every_part_is_signed() {
        let signed = sign("s", 1, "id", b"body");
        for other in [
            sign("S", 1, "id", b"body"),
            sign("s", 2, "id", b"body"),
            sign("s", 1, "ID", b"body"),
            sign("s", 1, "id", b"bodY"),
        ] {
            assert_ne!(signed.split_once(",v1="), other.split_once(",v1="));
        }
    }

    #[test]
    fn generated_secrets_differ_and_are_long() {
        let (a, b) = (generate_secret().unwrap(), generate_secret().unwrap());
        assert_ne!(a, b);
        assert_eq!(a.len(), SECRET_PREFIX.len() + 64);
    }
}
