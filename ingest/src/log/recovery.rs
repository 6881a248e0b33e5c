//! Opening a partition: which bytes are its rows, which are torn, which are rotten.
//!
//! Promise: a torn tail costs only rows that were never confirmed; damage to rows that were known
//! synced is never cut away: the partition becomes `Corrupt` and keeps every byte (P3).
//! Elsewhere: sealed segments vouch for themselves in `seal`; the decision table is in
//! docs/FORMAT.md.

use super::env::Env;
use super::frame::{ALIGN, Frame, FrameKind, FrameSchemas, Header};
use super::index::Summary;
use super::published::PublishedSegment;
use super::seal::{TRAILER_BYTES, read_seal};
use super::segment::{
    NewSegment, OpenSegment, Predecessor, SegmentId, read_schema_frame, remove_spare,
};
use super::window::Window;
use crate::io::{File, Open};
use crate::model::{AppendTime, EventTime, Offset};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::{error, warn};

/// What recovery is told about a partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) partition_uid: u64,
    /// Durable series of its stream.
    pub(super) series: u32,
    /// The catalog's recovery point: up to here everything was synced.
    pub(super) point: Option<Predecessor>,
    pub(super) stop: Stop,
}

/// How the process before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Clean,
    Unclean,
}

/// A partition as recovery found it.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) segments: Vec<PublishedSegment>,
    pub(super) active: Option<OpenSegment>,
    pub(super) follows: Option<Predecessor>,
    pub(super) next_offset: Offset,
    pub(super) epoch: u32,
    pub(super) corrupt: Option<String>,
}

impl Recovered {
    pub(super) fn newest_event(&self) -> Option<EventTime> {
        let newest = |s: &PublishedSegment| s.summary.max_time.max(s.summary.max_tick);
        self.segments.iter().map(newest).max().filter(|t| *t > EventTime(i64::MIN))
    }

    fn empty() -> Self {
        Self {
            segments: Vec::new(),
            active: None,
            follows: None,
            next_offset: Offset(0),
            epoch: 1,
            corrupt: None,
        }
    }
}

/// One file with what its first frame says.
#[derive(Debug)]
struct Candidate {
    id: SegmentId,
    path: PathBuf,
    file: Arc<dyn File>,
    file_bytes: u64,
    follows: Option<Predecessor>,
    schemas: Arc<FrameSchemas>,
}

/// The frames of a file, up to the first place that is none.
#[derive(Debug)]
struct Scan {
    summary: Summary,
    frames: Vec<(u64, Header)>,
    /// The first position that is no frame of this segment.
    end: u64,
}

/// Recovers the partition in `directory`.
pub(super) fn recover(env: &Env, directory: &Path, known: Known) -> io::Result<Recovered> {
    remove_spare(env.disk.as_ref(), directory)?;
    let mut ids: Vec<SegmentId> =
        env.disk.list(directory)?.iter().filter_map(|path| SegmentId::of(path)).collect();
    ids.sort();
    let mut recovery = Recovery { env, directory, known, found: Recovered::empty() };
    recovery.found.epoch = ids.last().map_or(0, |last| last.epoch) + 1;
    let last_id = ids.last().copied();
    if let Some(point) = known.point
        && last_id.is_none_or(|last| last < point.id)
    {
        let name = point.id.file_name();
        recovery.found.corrupt = Some(format!("the segment {name}, known to be synced, is gone"));
    }
    let last = recovery.newest_valid(&mut ids)?;
    let Some(last) = last else { return Ok(recovery.found) };
    let chain = recovery.chain(last, &ids)?;
    recovery.read_chain(chain)?;
    if let Some(detail) = &recovery.found.corrupt {
        error!(directory = %directory.display(), detail, "partition is damaged");
    }
    Ok(recovery.found)
}

struct Recovery<'a> {
    env: &'a Env,
    directory: &'a Path,
    known: Known,
    found: Recovered,
}

impl Recovery<'_> {
    /// The newest file that starts with a valid schema frame. Younger ones hold nothing that was
    /// ever confirmed, or are damaged.
    fn newest_valid(&mut self, ids: &mut Vec<SegmentId>) -> io::Result<Option<Candidate>> {
        while let Some(id) = ids.pop() {
            if let Some(candidate) = self.candidate(id)? {
                return Ok(Some(candidate));
            }
            let path = self.directory.join(id.file_name());
            let file = self.env.disk.open(&path, Open::Read)?;
            if self.known_synced(id, file.as_ref(), 0)? > 0 {
                self.damaged(format!("the first frame of {} is damaged", path.display()));
            } else {
                self.set_aside(&path)?;
            }
        }
        Ok(None)
    }

    fn damaged(&mut self, detail: String) {
        self.found.corrupt.get_or_insert(detail);
    }

    fn candidate(&self, id: SegmentId) -> io::Result<Option<Candidate>> {
        let path = self.directory.join(id.file_name());
        let file = self.env.disk.open(&path, Open::Write)?;
        let file_bytes = file.len()?;
        let mut window = Window::default();
        let Some(header) = window.header(file.as_ref(), 0, file_bytes)? else { return Ok(None) };
        let ours = header.kind == FrameKind::Schema
            && header.partition_uid == self.known.partition_uid
            && header.log_epoch == id.epoch
            && header.base_offset == id.base;
        if !ours {
            return Ok(None);
        }
        let body = window.body(file.as_ref(), 0, &header, file_bytes)?;
        let Some(body) = body.filter(|body| header.body_is_whole(body)) else { return Ok(None) };
        Ok(read_schema_frame(&header, &body).ok().map(|(follows, schemas)| Candidate {
            id,
            path,
            file,
            file_bytes,
            follows,
            schemas,
        }))
    }

    /// The files that belong together, oldest first, each with the length its successor gives it.
    fn chain(
        &mut self,
        last: Candidate,
        ids: &[SegmentId],
    ) -> io::Result<Vec<(Candidate, Option<u64>)>> {
        let mut chain = vec![(last, None)];
        loop {
            let (newest, _) = chain.last().expect("starts with one");
            let Some(before) = newest.follows else { break };
            match ids.contains(&before.id).then(|| self.candidate(before.id)).transpose()?.flatten()
            {
                Some(candidate) => chain.push((candidate, Some(before.length))),
                None => {
                    let name = before.id.file_name();
                    self.damaged(format!("the segment {name} is gone or its start is damaged"));
                    break;
                }
            }
        }
        chain.reverse();
        if chain[0].0.id.base != Offset(0) {
            self.damaged("the oldest segment does not start at offset 0".to_owned());
        }
        if self.found.corrupt.is_none() {
            for id in ids.iter().filter(|id| !chain.iter().any(|(c, _)| c.id == **id)) {
                self.set_aside(&self.directory.join(id.file_name()))?;
            }
        }
        Ok(chain)
    }

    fn read_chain(&mut self, mut chain: Vec<(Candidate, Option<u64>)>) -> io::Result<()> {
        let (last, _) = chain.pop().expect("a chain has a last segment");
        for (candidate, length) in chain {
            let length = length.expect("its successor says how long it is");
            if !self.read_closed(&candidate, length)? {
                return Ok(());
            }
        }
        if self.found.next_offset != last.id.base && !self.found.segments.is_empty() {
            self.damaged(format!("{} does not follow the segment before", last.path.display()));
            return Ok(());
        }
        self.found.next_offset = last.id.base;
        self.read_last(last)
    }

    /// A segment that has a successor: all of it was synced before the successor was written.
    fn read_closed(&mut self, segment: &Candidate, length: u64) -> io::Result<bool> {
        let sealed = if segment.file_bytes == length {
            let uid = self.known.partition_uid;
            read_seal(segment.file.as_ref(), length, uid, segment.id)?
        } else {
            None
        };
        let summary = match sealed {
            Some(summary) => summary,
            None => {
                let scan = self.scan(segment, length)?;
                let sealed_end = length.checked_sub(TRAILER_BYTES);
                let whole = scan.end == length;
                if !whole {
                    let at = scan.end;
                    let what = if sealed_end == Some(at) { "trailer" } else { "frame" };
                    self.damaged(format!("{what} at byte {at} of {}", segment.path.display()));
                }
                self.publish(segment, scan.summary);
                return Ok(whole && self.follows_on());
            }
        };
        self.publish(segment, summary);
        Ok(self.follows_on())
    }

    fn follows_on(&mut self) -> bool {
        let [.., before, last] = self.found.segments.as_slice() else { return true };
        if before.summary.end_offset == last.id.base {
            return true;
        }
        let detail = format!("{} does not follow the segment before", last.path.display());
        self.found.segments.pop();
        self.damaged(detail);
        false
    }

    fn publish(&mut self, segment: &Candidate, summary: Summary) {
        self.found.next_offset = summary.end_offset;
        self.found.segments.push(PublishedSegment {
            id: segment.id,
            path: Arc::from(segment.path.as_path()),
            schemas: Arc::clone(&segment.schemas),
            summary,
            sealed: true,
        });
    }

    /// The last segment: torn or rotten?
    fn read_last(&mut self, segment: Candidate) -> io::Result<()> {
        let scan = self.scan(&segment, segment.file_bytes)?;
        let synced = self.known_synced(segment.id, segment.file.as_ref(), scan.end)?;
        if synced > scan.end {
            let at = scan.end;
            self.damaged(format!("acknowledged rows at byte {at} of {}", segment.path.display()));
        }
        if self.found.corrupt.is_some() {
            self.publish(&segment, scan.summary);
            return Ok(());
        }
        self.keep_torn(&segment, scan.end)?;
        let clean = self.known.stop == Stop::Clean && synced == scan.end;
        let sealed = scan.frames.iter().any(|(_, header)| header.kind == FrameKind::Seal);
        if clean && !sealed {
            self.publish(&segment, scan.summary.clone());
            self.found.segments.last_mut().expect("just published").sealed = false;
            self.found.active = Some(self.go_on(segment, scan));
            return Ok(());
        }
        self.rewrite(segment, scan, synced)
    }

    fn go_on(&self, segment: Candidate, scan: Scan) -> OpenSegment {
        OpenSegment {
            id: segment.id,
            path: segment.path,
            file: segment.file,
            schemas: segment.schemas,
            partition_uid: self.known.partition_uid,
            synced: scan.end,
            proven: scan.end,
            allocated: segment.file_bytes,
            zeroed: 0,
            first_rows_at_us: (scan.summary.rows > 0).then(|| self.env.clock.monotonic_us()),
            summary: scan.summary,
        }
    }

    /// Keeps what is proven where it is and writes the rest, which may be only in the page cache of
    /// a disk that failed, into a new segment.
    fn rewrite(&mut self, segment: Candidate, scan: Scan, synced: u64) -> io::Result<()> {
        let mut frames = Vec::new();
        let mut kept = Summary::empty(segment.id.base);
        let mut window = Window::default();
        let mut newest = AppendTime(i64::MIN);
        for (position, header) in &scan.frames {
            if *position + header.frame_bytes() <= synced {
                kept.add(header, *position);
            } else if header.kind.is_entry() {
                let file = segment.file.as_ref();
                let body = window.body(file, *position, header, segment.file_bytes)?;
                let body = body.map(|b| b.to_vec()).unwrap_or_default();
                let frame = Frame::with_bytes(header.clone(), body);
                newest = newest.max(header.append_time);
                frames.push(frame);
            }
        }
        let keeps_entries = kept.frames > 0;
        let length = if synced >= scan.end { scan.end } else { kept.end_position };
        let follows = if keeps_entries {
            Some(Predecessor { id: segment.id, length })
        } else {
            segment.follows
        };
        if keeps_entries {
            self.publish(&segment, kept);
        }
        self.found.follows = follows;
        if frames.is_empty() {
            return self.keep_only(&segment, keeps_entries, length);
        }
        let base = frames[0].header.base_offset;
        let new = NewSegment {
            disk: self.env.disk.as_ref(),
            directory: self.directory,
            partition_uid: self.known.partition_uid,
            id: SegmentId { base, epoch: self.found.epoch },
            schemas: Arc::clone(&segment.schemas),
            follows,
            append_time: newest,
            allocate: 0,
        }
        .create(&mut frames)?;
        if !keeps_entries {
            self.env.disk.unlink(&segment.path)?;
        }
        self.found.segments.push(PublishedSegment {
            id: new.id,
            path: Arc::from(new.path.as_path()),
            schemas: Arc::clone(&new.schemas),
            summary: new.summary.clone(),
            sealed: false,
        });
        self.found.next_offset = new.summary.end_offset;
        self.found.active = Some(new);
        Ok(())
    }

    /// Nothing to rewrite: the file is cut at its proven end, or goes if it holds nothing.
    fn keep_only(&mut self, segment: &Candidate, keeps: bool, length: u64) -> io::Result<()> {
        if keeps {
            segment.file.set_len(length)?;
            segment.file.sync_data()
        } else {
            self.env.disk.unlink(&segment.path)?;
            self.env.disk.sync_directory(self.directory)
        }
    }

    fn scan(&self, segment: &Candidate, limit: u64) -> io::Result<Scan> {
        let mut scan =
            Scan { summary: Summary::empty(segment.id.base), frames: Vec::new(), end: 0 };
        let mut window = Window::default();
        let file = segment.file.as_ref();
        while let Some(header) = window.header(file, scan.end, limit)? {
            let expected = header.partition_uid == self.known.partition_uid
                && header.log_epoch == segment.id.epoch
                && header.schema_id == segment.schemas.id
                && header.base_offset == scan.summary.end_offset
                && header.series_needed <= self.known.series
                && header.synced_pos <= scan.end;
            if !expected {
                break;
            }
            let body = window.body(file, scan.end, &header, limit)?;
            if body.is_none_or(|body| !header.body_is_whole(&body)) {
                break;
            }
            scan.summary.add(&header, scan.end);
            let position = scan.end;
            scan.end += header.frame_bytes();
            scan.frames.push((position, header));
        }
        if scan.frames.last().is_some_and(|(_, header)| header.kind == FrameKind::Seal) {
            self.pass_trailer(segment, &mut scan, limit)?;
        }
        Ok(scan)
    }

    fn pass_trailer(&self, segment: &Candidate, scan: &mut Scan, limit: u64) -> io::Result<()> {
        let end = scan.end + TRAILER_BYTES;
        let uid = self.known.partition_uid;
        if end <= limit && read_seal(segment.file.as_ref(), end, uid, segment.id)?.is_some() {
            scan.end = end;
        }
        Ok(())
    }

    /// Up to where the file is known to have been synced: the recovery point, or what any later
    /// frame with a valid header says.
    fn known_synced(&self, id: SegmentId, file: &dyn File, from: u64) -> io::Result<u64> {
        let point = self.known.point.filter(|point| point.id == id);
        let mut synced = point.map_or(0, |point| point.length);
        let limit = file.len()?;
        let mut window = Window::default();
        let mut at = 0;
        while at < limit {
            if let Some(header) = window.header(file, at, limit)?
                && header.partition_uid == self.known.partition_uid
                && header.log_epoch == id.epoch
                && header.synced_pos <= at
            {
                synced = synced.max(header.synced_pos);
                // Below `from` the frames are whole: step over their bodies.
                if at < from {
                    at += header.frame_bytes();
                    continue;
                }
            }
            at += ALIGN;
        }
        Ok(synced)
    }

    /// Copies what recovery cuts away to the quarantine; zeros are reserved room, not bytes.
    fn keep_torn(&self, segment: &Candidate, from: u64) -> io::Result<()> {
        let mut window = Window::default();
        let (mut at, mut end) = (from, from);
        while at < segment.file_bytes {
            let length = (segment.file_bytes - at).min(64 * 1024);
            let Some(bytes) =
                window.bytes(segment.file.as_ref(), at, length, segment.file_bytes)?
            else {
                break;
            };
            if let Some(last) = bytes.iter().rposition(|b| *b != 0) {
                end = at + last as u64 + 1;
            }
            at += length;
        }
        if end == from {
            return Ok(());
        }
        let name = format!("{}.from-{from}", segment.id.file_name());
        let path = self.quarantine()?.join(name);
        warn!(segment = %segment.path.display(), from, cut_bytes = end - from, "torn tail removed");
        let disk = self.env.disk.as_ref();
        if disk.exists(&path)? {
            disk.unlink(&path)?;
        }
        let copy = disk.open(&path, Open::CreateNew)?;
        let mut at = from;
        while at < end {
            let length = (end - at).min(64 * 1024);
            let bytes = window.bytes(segment.file.as_ref(), at, length, segment.file_bytes)?;
            let Some(bytes) = bytes else { break };
            copy.pwrite(&[io::IoSlice::new(&bytes)], at - from)?;
            at += length;
        }
        copy.sync_data()?;
        disk.sync_directory(path.parent().unwrap_or(self.directory))
    }

    /// Moves a file that proves nothing out of the way.
    fn set_aside(&self, path: &Path) -> io::Result<()> {
        warn!(segment = %path.display(), "segment without confirmed rows set aside");
        let quarantine = self.quarantine()?;
        let name = path.file_name().unwrap_or_default();
        self.env.disk.rename(path, &quarantine.join(name))?;
        self.env.disk.sync_directory(&quarantine)?;
        self.env.disk.sync_directory(self.directory)
    }

    fn quarantine(&self) -> io::Result<PathBuf> {
        let root = &self.env.config.directory;
        let inside = self.directory.strip_prefix(root).unwrap_or(self.directory);
        let directory = root.join("quarantine").join(inside);
        self.env.disk.create_directories(&directory)?;
        Ok(directory)
    }
}
