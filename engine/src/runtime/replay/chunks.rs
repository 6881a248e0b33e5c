//! An input in pieces of whole lines.

use std::io::{self, Read};

/// About what a piece has.
const CHUNK_BYTES: u64 = 1 << 19;

/// Pieces of an input; each ends where a line does.
pub(super) struct Chunks<R> {
    input: R,
    /// What was read of the line that goes on in the next piece.
    rest: Vec<u8>,
}

impl<R: Read> Chunks<R> {
    pub(super) fn new(input: R) -> Self {
        Self { input, rest: Vec::new() }
    }

    /// Puts the next piece into `text`, whose memory is used again: to have the system give new memory
    /// takes a quarter of a replay's time. `false` at the end.
    pub(super) fn next(&mut self, text: &mut Vec<u8>) -> io::Result<bool> {
        text.clear();
        text.reserve(self.rest.len() + 2 * CHUNK_BYTES as usize);
        text.append(&mut self.rest);
        loop {
            let known = text.len();
            let read = self.input.by_ref().take(CHUNK_BYTES).read_to_end(text)?;
            if read == 0 {
                return Ok(!text.is_empty());
            }
            if let Some(end) = memchr::memrchr(b'\n', &text[known..]) {
                let end = known + end + 1;
                self.rest.extend_from_slice(&text[end..]);
                text.truncate(end);
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_where_lines_do_and_together_are_the_input() {
        let long = "x".repeat(3 << 20);
        for input in ["", "a", "a\nb", "a\nb\n\n", long.as_str(), &format!("a\n{long}\nb\n{long}")]
        {
            let mut chunks = Chunks::new(input.as_bytes());
            let (mut together, mut chunk) = (Vec::new(), Vec::new());
            while chunks.next(&mut chunk).unwrap() {
                assert!(!together.ends_with(b"x"), "a line goes on in the next piece");
                together.extend_from_slice(&chunk);
            }
            assert!(together == input.as_bytes());
        }
    }
}
