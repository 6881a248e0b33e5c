//! Opening a partition: which bytes are its rows, which are torn, which are rotten.
//!
//! Promise: a torn tail costs only rows that were never confirmed; damage to rows that were known
//! synced is never cut away: the partition becomes `Corrupt` and keeps every byte (P3).
//! Elsewhere: sealed segments vouch for themselves in `seal`; the decision table is in
//! docs/FORMAT.md.

mod links;

pub(super) use links::{Link, links};

use super::env::Env;
use super::frame::{ALIGN, Frame, FrameKind, FrameSchemas, Header, stored_in};
use super::index::Summary;
use super::producer::{ProducerTable, Stored};
use super::published::PublishedSegment;
use super::seal::{TRAILER_BYTES, read_seal};
use super::segment::{
    NewSegment, OpenSegment, Predecessor, SegmentId, Spare, read_schema_frame, remove_spare,
};
use super::starts::{self, Start};
use super::vouched::Vouched;
use super::window::Window;
use crate::io::{File, Open};
use crate::model::{AppendTime, EventTime, Offset};
use crate::sabotage::{self, Fault};
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
    /// Where it starts, once segments were removed.
    pub(super) start: Option<Start>,
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
    /// The producers of all that was found.
    pub(super) producers: ProducerTable,
    pub(super) start: Option<Start>,
    /// Files without a seal that were read from end to end.
    pub(super) vouched: Vec<Vouched>,
}

impl Recovered {
    pub(super) fn newest_event(&self) -> Option<EventTime> {
        let kept = self.segments.iter().map(|s| s.summary.newest_event());
        let all = kept.chain(self.start.map(|start| start.newest_event));
        all.max().filter(|t| *t > EventTime(i64::MIN))
    }

    pub(super) fn empty(start: Option<Start>) -> Self {
        Self {
            start,
            segments: Vec::new(),
            active: None,
            follows: None,
            next_offset: start.map_or(Offset(0), |start| start.first.base),
            epoch: 1,
            corrupt: None,
            producers: ProducerTable::default(),
            vouched: Vec::new(),
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
    sent: Vec<Stored>,
    /// The first position that is no frame of this segment.
    end: u64,
}

/// Recovers the partition in `directory`.
pub(super) fn recover(env: &Env, directory: &Path, known: Known) -> io::Result<Recovered> {
    remove_spare(env.disk.as_ref(), directory)?;
    let mut ids: Vec<SegmentId> =
        env.disk.list(directory)?.iter().filter_map(|path| SegmentId::of(path)).collect();
    ids.sort();
    if let Some(start) = known.start {
        remove_before(env, directory, &mut ids, start)?;
    }
    let mut recovery = Recovery { env, directory, known, found: Recovered::empty(known.start) };
    if known.start.is_some() {
        recovery.found.producers =
            starts::producers(&env.catalog, known.partition_uid).map_err(io::Error::other)?;
    }
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

/// Removes the files that retention had given up when the process ended.
fn remove_before(
    env: &Env,
    directory: &Path,
    ids: &mut Vec<SegmentId>,
    start: Start,
) -> io::Result<()> {
    let kept = ids.partition_point(|id| *id < start.first);
    for gone in ids.drain(..kept) {
        env.disk.unlink(&directory.join(gone.file_name()))?;
    }
    if kept > 0 { env.disk.sync_directory(directory) } else { Ok(()) }
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
        let file = self.env.disk.open(&path, Open::Read)?;
        let file_bytes = file.len()?;
        let mut window = Window::default();
        let Some(header) = window.header(file.as_ref(), 0, file_bytes)? else { return Ok(None) };
        let ours = header.kind == FrameKind::Schema
            && header.partition_uid == self.known.partition_uid
            && (header.log_epoch == id.epoch || sabotage::is(Fault::StaleEpoch))
            && header.base_offset == id.base;
        if !ours {
            return Ok(None);
        }
        let body = window.body(file.as_ref(), 0, &header, file_bytes)?;
        let Some(body) = body.and_then(|body| header.body_in(&body)) else { return Ok(None) };
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
            if self.known.start.is_some_and(|start| before.id < start.first) {
                break;
            }
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
        let start = self.known.start.map_or(Offset(0), |start| start.first.base);
        if chain[0].0.id.base != start {
            self.damaged(format!("the oldest segment does not start at offset {start}"));
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
        let uid = self.known.partition_uid;
        let sealed = match segment.file_bytes == length {
            true => read_seal(segment.file.as_ref(), length, uid, segment.id)?,
            false => None,
        };
        let sealed = match sealed {
            Some(sealed) => Some(sealed),
            None if segment.file_bytes < length => None,
            None => Vouched::read(&self.env.catalog, uid, segment.id, length)
                .map_err(io::Error::other)?,
        };
        let summary = match sealed {
            Some(sealed) => {
                // What a seal knows of producers includes all before it.
                self.found.producers = sealed.producers().unwrap_or_default();
                sealed.summary
            }
            None => {
                let scan = self.scan(segment, length)?;
                let sealed_end = length.checked_sub(TRAILER_BYTES);
                let whole = scan.end == length;
                if !whole {
                    let at = scan.end;
                    let what = if sealed_end == Some(at) { "trailer" } else { "frame" };
                    self.damaged(format!("{what} at byte {at} of {}", segment.path.display()));
                }
                self.note(&scan);
                if whole {
                    let (summary, producers) = (&scan.summary, &self.found.producers);
                    let vouched = Vouched::new(uid, segment.id, length, summary, producers);
                    self.found.vouched.push(vouched);
                }
                self.publish(segment, scan.summary);
                return Ok(whole && self.follows_on());
            }
        };
        self.publish(segment, summary);
        Ok(self.follows_on())
    }

    fn note(&mut self, scan: &Scan) {
        for stored in &scan.sent {
            self.found.producers.note(*stored);
        }
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
        self.note(&scan);
        let vouched = scan.frames.iter().map(|(_, header)| header.synced_pos).max().unwrap_or(0);
        let behind = self.known_synced(segment.id, segment.file.as_ref(), scan.end)?;
        let synced = behind.max(vouched);
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
            self.found.active = Some(self.go_on(segment, scan)?);
            return Ok(());
        }
        self.rewrite(segment, scan, synced)
    }

    fn go_on(&self, segment: Candidate, scan: Scan) -> io::Result<OpenSegment> {
        Ok(OpenSegment {
            id: segment.id,
            file: self.env.disk.open(&segment.path, Open::Write)?,
            path: segment.path,
            schemas: segment.schemas,
            partition_uid: self.known.partition_uid,
            synced: scan.end,
            proven: scan.end,
            allocated: segment.file_bytes,
            zeroed: 0,
            first_rows_at_us: (scan.summary.rows > 0).then(|| self.env.clock.monotonic_us()),
            summary: scan.summary,
        })
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
                let body = body.and_then(|body| header.body_in(&body));
                // The scan has just found it whole: a disk that says otherwise now has failed.
                let body = body.ok_or(io::ErrorKind::InvalidData)?;
                let frame = Frame::with_bytes(header.clone(), body.to_vec());
                newest = newest.max(header.append_time);
                frames.push(frame);
            }
        }
        // One the recovery point names must be there until the point names another.
        let is_point = self.known.point.is_some_and(|point| point.id == segment.id);
        let keeps_entries = kept.frames > 0 || (frames.is_empty() && is_point);
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
            spare: Spare::Unknown,
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
            let file = self.env.disk.open(&segment.path, Open::Write)?;
            file.set_len(length)?;
            file.sync_data()
        } else {
            self.env.disk.unlink(&segment.path)?;
            self.env.disk.sync_directory(self.directory)
        }
    }

    fn scan(&self, segment: &Candidate, limit: u64) -> io::Result<Scan> {
        let mut scan = Scan {
            summary: Summary::empty(segment.id.base),
            frames: Vec::new(),
            sent: Vec::new(),
            end: 0,
        };
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
            let Some(body) = body.filter(|body| header.body_is_whole(body)) else { break };
            scan.sent.extend(stored_in(&header, &body));
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

    /// Up to where the file is known to have been synced: the recovery point, or what any frame at
    /// or after `from` with a valid header says.
    fn known_synced(&self, id: SegmentId, file: &dyn File, from: u64) -> io::Result<u64> {
        let point = self.known.point.filter(|point| point.id == id);
        let mut synced = point.map_or(0, |point| point.length);
        let limit = file.len()?;
        let mut window = Window::default();
        let mut at = from;
        while at < limit {
            if let Some(header) = window.header(file, at, limit)?
                && header.partition_uid == self.known.partition_uid
                && header.log_epoch == id.epoch
                && header.synced_pos <= at
            {
                synced = synced.max(header.synced_pos);
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
