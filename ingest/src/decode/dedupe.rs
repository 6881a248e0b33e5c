//! The hash by which a repeated reading is known.
//!
//! Promise: equal for equal (publisher, source, id) and for no others in practice: lengths are hashed
//! too, so that no two triples run together. Elsewhere: the window of hashes seen is `log`'s.

/// Keeps these hashes apart from any other use of BLAKE3.
const KEY: &[u8; 32] = b"weir dedupe publisher source id ";

/// 128 bits of keyed BLAKE3 over the three, each behind its length.
pub fn dedupe_hash(publisher: &str, source: &str, id: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_keyed(KEY);
    for part in [publisher, source, id] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut hash = [0; 16];
    hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_run_together_differ() {
        let base = dedupe_hash("p", "ab", "c");
        assert_eq!(base, dedupe_hash("p", "ab", "c"));
        for (publisher, source, id) in [("p", "a", "bc"), ("pa", "b", "c"), ("p", "abc", "")] {
            assert_ne!(base, dedupe_hash(publisher, source, id));
        }
    }
}
