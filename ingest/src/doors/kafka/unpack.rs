//! What producers compressed.
//!
//! Promise: bytes are made only when there is room for them: a little that says it is much is refused when
//! the room is used up, whatever it says.

use crate::doors::budget::{OverBudget, Permit};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use std::io::Read;

/// How a batch is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    Plain,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// Why it cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    /// It never will be.
    #[error("the records of the request become more than {0} bytes")]
    TooLarge(usize),
    /// Later.
    #[error(transparent)]
    NoRoom(#[from] OverBudget),
    /// It is not what it says.
    #[error("the records do not unpack: {0}")]
    Broken(String),
}

/// Bytes that are made at once.
const STEP_BYTES: usize = 64 * 1024;
/// Snappy makes at most 64 bytes of 3.
const SNAPPY_RATIO_MAX: usize = 24;
/// Frames that want a larger window are refused: 8 MiB is what every decoder must have.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Begins what Java's snappy writes, before two numbers of versions.
const XERIAL: &[u8] = b"\x82SNAPPY\0";
const XERIAL_BYTES: usize = 16;

/// Room for what unfolds of one request.
#[derive(Debug)]
pub(super) struct Unfolding<'p> {
    permit: &'p mut Permit,
    /// Bytes that the permit is for.
    held: usize,
    made: usize,
    most: usize,
}

impl<'p> Unfolding<'p> {
    /// `held` bytes of the permit are for something else.
    pub(super) fn new(permit: &'p mut Permit, held: usize, most: usize) -> Self {
        Self { permit, held, made: 0, most }
    }

    /// Takes room for so many bytes more.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), UnpackError> {
        self.made = self.made.saturating_add(bytes);
        if self.made > self.most {
            return Err(UnpackError::TooLarge(self.most));
        }
        Ok(self.permit.grow_to(self.held + self.made)?)
    }

    /// The bytes as they were before they were compressed.
    /// # Errors
    /// See [`UnpackError`].
    pub(super) fn unpack(&mut self, codec: Codec, bytes: &Bytes) -> Result<Bytes, UnpackError> {
        match codec {
            Codec::Plain => Ok(bytes.clone()),
            Codec::Gzip => self.read(MultiGzDecoder::new(&bytes[..])),
            Codec::Snappy if bytes.starts_with(XERIAL) => self.xerial(bytes),
            Codec::Snappy => {
                let mut made = Vec::new();
                self.snappy(bytes, &mut made)?;
                Ok(made.into())
            }
            Codec::Lz4 => self.read(lz4::Decoder::new(&bytes[..]).map_err(broken)?),
            Codec::Zstd => {
                let mut reader = zstd::stream::read::Decoder::new(&bytes[..]).map_err(broken)?;
                reader.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
                self.read(reader)
            }
        }
    }

    fn read(&mut self, mut reader: impl Read) -> Result<Bytes, UnpackError> {
        let mut made = Vec::new();
        loop {
            let (start, step) = (made.len(), made.len().clamp(STEP_BYTES, 16 * STEP_BYTES));
            self.take(step)?;
            made.resize(start + step, 0);
            let mut end = start;
            while end < made.len() {
                match reader.read(&mut made[end..]).map_err(broken)? {
                    0 => {
                        self.made -= made.len() - end;
                        made.truncate(end);
                        return Ok(made.into());
                    }
                    n => end += n,
                }
            }
        }
    }

    fn xerial(&mut self, bytes: &[u8]) -> Result<Bytes, UnpackError> {
        let mut rest = bytes.get(XERIAL_BYTES..).ok_or_else(|| broken("its head is cut"))?;
        let mut made = Vec::new();
        while !rest.is_empty() {
            let (length, behind) =
                rest.split_first_chunk::<4>().ok_or_else(|| broken("a block is cut"))?;
            let length = u32::from_be_bytes(*length) as usize;
            let block = behind.get(..length).ok_or_else(|| broken("a block is cut"))?;
            self.snappy(block, &mut made)?;
            rest = &behind[length..];
        }
        Ok(made.into())
    }

    fn snappy(&mut self, block: &[u8], made: &mut Vec<u8>) -> Result<(), UnpackError> {
        let length = snap::raw::decompress_len(block).map_err(broken)?;
        if length > block.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(broken(format_args!("{length} bytes of {}", block.len())));
        }
        self.take(length)?;
        let start = made.len();
        made.resize(start + length, 0);
        snap::raw::Decoder::new().decompress(block, &mut made[start..]).map_err(broken)?;
        Ok(())
    }
}

fn broken(what: impl ToString) -> UnpackError {
    UnpackError::Broken(what.to_string())
}

#[cfg(test)]
mod tests;
