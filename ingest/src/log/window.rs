//! Reading a file from one end to the other in large, aligned pieces.

use super::frame::{ALIGN, HEADER_BYTES, Header};
use crate::io::File;
use arrow::buffer::{Buffer, MutableBuffer};
use std::io;

/// Bytes read at once.
const WINDOW_BYTES: u64 = 1024 * 1024;

/// A part of a file in memory. Its start is a multiple of 64 in the file and in memory.
#[derive(Debug, Default)]
pub(super) struct Window {
    start: u64,
    bytes: Buffer,
}

impl Window {
    /// The `length` bytes at `at`, reading on, but not past `limit`, where they are not here yet;
    /// `None` if the file ends before.
    pub(super) fn bytes(
        &mut self,
        file: &dyn File,
        at: u64,
        length: u64,
        limit: u64,
    ) -> io::Result<Option<Buffer>> {
        if at + length > limit {
            return Ok(None);
        }
        if at < self.start || at + length > self.start + self.bytes.len() as u64 {
            self.load(file, at, length.max(WINDOW_BYTES.min(limit - at)))?;
        }
        let from = usize_of(at - self.start);
        let to = from + usize_of(length);
        Ok((to <= self.bytes.len()).then(|| self.bytes.slice_with_length(from, to - from)))
    }

    /// The header at `at`, if there is a valid one.
    pub(super) fn header(
        &mut self,
        file: &dyn File,
        at: u64,
        limit: u64,
    ) -> io::Result<Option<Header>> {
        let bytes = self.bytes(file, at, HEADER_BYTES as u64, limit)?;
        Ok(bytes.and_then(|bytes| Header::decode(&bytes)))
    }

    /// The body of the frame at `at` with its padding, not checked; `None` if the file ends before.
    pub(super) fn body(
        &mut self,
        file: &dyn File,
        at: u64,
        header: &Header,
        limit: u64,
    ) -> io::Result<Option<Buffer>> {
        let frame = self.bytes(file, at, header.frame_bytes(), limit)?;
        Ok(frame.map(|f| f.slice(HEADER_BYTES)))
    }

    fn load(&mut self, file: &dyn File, at: u64, length: u64) -> io::Result<()> {
        let start = at - at % ALIGN;
        let mut bytes = MutableBuffer::from_len_zeroed(usize_of(length + at - start));
        let read = file.pread(bytes.as_slice_mut(), start)?;
        bytes.truncate(read);
        self.start = start;
        self.bytes = bytes.into();
        Ok(())
    }
}

fn usize_of(n: u64) -> usize {
    usize::try_from(n).expect("windows fit in memory")
}
