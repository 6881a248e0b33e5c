//! Where in a file frames are missing, and the gap frames that take their place, byte for byte.

use crate::log::frame::{ALIGN, FrameKind, HEADER_BYTES, Header, decode_rows, stored_in};
use crate::log::index::{IndexEntry, Summary};
use crate::log::producer::{ProducerTable, Stored};
use crate::log::recovery::{Known, Link};
use crate::log::window::Window;
use crate::model::{AppendTime, Limits, Offset};
use std::io;

/// Bytes of a row at the least: its time.
const ROW_BYTES_MIN: u64 = 8;

/// A part of a file in which no whole frame stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) at: u64,
    pub(super) to: u64,
    /// Offset of its first row.
    pub(super) from: Offset,
    /// Offset of the first row behind it.
    pub(super) next: Offset,
    /// When what stands before it was appended.
    before: AppendTime,
    /// Places inside it where readers may start, with their offsets.
    starts: Vec<(u64, Offset)>,
}

/// What is wrong with a file.
#[derive(Debug)]
pub(super) struct Damage {
    pub(super) holes: Vec<Hole>,
    /// What the file holds, where only its seal is gone.
    pub(super) without_seal: Option<Summary>,
}

/// What is wrong with a file, up to where it is known to have been synced. `producers` are those at its
/// start, and then those at its end.
pub(super) fn damage(
    link: &Link,
    known: &Known,
    producers: &mut ProducerTable,
) -> io::Result<Damage> {
    let mut walk = Walk { link, known, window: Window::default() };
    let (mut found, mut summary) = (Vec::new(), Summary::empty(link.id.base));
    let (mut at, mut next, mut before) = (0, link.id.base, AppendTime(i64::MIN));
    while at < link.limit {
        if let Some((header, sent)) = walk.frame(at, next)?
            && header.base_offset == next
        {
            sent.into_iter().for_each(|stored| producers.note(stored));
            summary.add(&header, at);
            at += header.frame_bytes();
            next = header.end_offset();
            before = before.max(header.append_time);
            continue;
        }
        if link.next_base == Some(next) && walk.resume(at, next)?.is_none() {
            return Ok(Damage { holes: found, without_seal: Some(summary) });
        }
        if at == 0 {
            return Err(io::Error::other("its first frame is damaged, which cannot be repaired"));
        }
        let (to, after) = match walk.resume(at, next)? {
            Some((to, header)) => (to, header.base_offset),
            // Behind it nothing is whole: what was promised of the rest bounds the loss.
            None => (link.limit, walk.end(at, next)?),
        };
        let inside = |entry: &&IndexEntry| entry.position > at && entry.position < to;
        let starts = link.index.iter().filter(inside).map(|e| (e.position, e.offset)).collect();
        found.push(Hole { at, to, from: next, next: after, before, starts });
        (at, next) = (to, after);
        summary.end_offset = next;
    }
    if let Some(base) = link.next_base.filter(|base| *base != next) {
        let file = link.id.file_name();
        let detail =
            format!("the rows of {file} end at {next}, and the next file begins at {base}");
        return Err(io::Error::other(detail));
    }
    Ok(Damage { holes: found, without_seal: None })
}

struct Walk<'a> {
    link: &'a Link,
    known: &'a Known,
    window: Window,
}

impl Walk<'_> {
    fn header(&mut self, at: u64) -> io::Result<Option<Header>> {
        let header = self.window.header(self.link.file.as_ref(), at, self.link.file_bytes)?;
        Ok(header.filter(|header| {
            header.partition_uid == self.known.partition_uid
                && header.log_epoch == self.link.id.epoch
                && header.schema_id == self.link.schemas.id
                && header.series_needed <= self.known.series
                && header.synced_pos <= at
        }))
    }

    /// The whole frame at `at`, of rows at or after `next`, and who sent them.
    fn frame(&mut self, at: u64, next: Offset) -> io::Result<Option<(Header, Vec<Stored>)>> {
        let header = self.header(at)?.filter(|header| header.base_offset >= next);
        let Some(header) = header else { return Ok(None) };
        let (file, limit) = (self.link.file.as_ref(), self.link.file_bytes);
        let body = self.window.body(file, at, &header, limit)?;
        let Some(body) = body.and_then(|body| header.body_in(&body)) else { return Ok(None) };
        // What readers cannot make rows of is damage, whatever its checksum says.
        let readable = header.kind != FrameKind::Data
            || decode_rows(&header, &body, &self.link.schemas).is_ok();
        Ok(readable.then(|| {
            let sent = stored_in(&header, &body);
            (header, sent)
        }))
    }

    /// The first whole frame behind a damage that begins at `at`, with room for a gap before it.
    fn resume(&mut self, at: u64, next: Offset) -> io::Result<Option<(u64, Header)>> {
        let mut to = at + HEADER_BYTES as u64;
        // Behind the limit of the last file stands the group that nobody has proven, if it is there.
        let end = self.link.limit + u64::from(self.link.next_base.is_none());
        while to < end {
            if let Some((header, _)) = self.frame(to, next)? {
                return Ok(Some((to, header)));
            }
            to += ALIGN;
        }
        Ok(None)
    }

    /// The offset behind a damage from `at` to the end of what counts.
    fn end(&mut self, at: u64, next: Offset) -> io::Result<Offset> {
        if let Some(base) = self.link.next_base {
            return Ok(base);
        }
        // The header of the next group tells, also if its body is torn.
        match self.header(self.link.limit)?.filter(|header| header.base_offset >= next) {
            Some(header) => Ok(header.base_offset),
            None => self.bound(at, next),
        }
    }

    /// An offset that no row which was in the rest of the file can have reached.
    fn bound(&mut self, from: u64, next: Offset) -> io::Result<Offset> {
        let (mut at, mut seen, mut end) = (from, from, next);
        while at < self.link.limit {
            match self.header(at)?.filter(|header| header.end_offset() >= end) {
                Some(header) => {
                    end = header.end_offset();
                    at += header.frame_bytes();
                    seen = at;
                }
                None => at += ALIGN,
            }
        }
        Ok(end.plus(self.link.limit.saturating_sub(seen) / ROW_BYTES_MIN))
    }
}

/// Gap frames as long as the hole.
pub(super) fn patch(link: &Link, hole: &Hole) -> Vec<u8> {
    let mut ends: Vec<(u64, Offset)> = hole.starts.clone();
    ends.push((hole.to, hole.next));
    let (mut bytes, mut at, mut from) = (Vec::new(), hole.at, hole.from);
    for (to, next) in ends {
        while at < to {
            let room = to - at - HEADER_BYTES as u64;
            let most = Limits::FRAME_BODY_BYTES_MAX as u64;
            // What is left over must have room for a header of its own.
            let body = if room <= most { room } else { most - HEADER_BYTES as u64 };
            let gap_to = if room <= most { next } else { from };
            bytes.extend(gap(link, from, gap_to, body, hole.before));
            from = gap_to;
            at += HEADER_BYTES as u64 + body;
        }
    }
    bytes
}

fn gap(link: &Link, from: Offset, to: Offset, body: u64, before: AppendTime) -> Vec<u8> {
    let body = vec![0; usize::try_from(body).expect("a body has at most FRAME_BODY_BYTES_MAX")];
    let mut header = Header::bare(FrameKind::Gap, from, AppendTime(before.0.saturating_add(1)));
    header.gap_to = to.0;
    header.log_epoch = link.id.epoch;
    header.schema_id = link.schemas.id;
    header.partition_uid = link.partition_uid;
    header.body_len = u32::try_from(body.len()).expect("a body has at most FRAME_BODY_BYTES_MAX");
    header.body_crc = crc32c::crc32c(&body);
    let mut bytes = header.encode().to_vec();
    bytes.extend(body);
    bytes
}
