//! Segment files: their names, their first frame, and writing one.
//!
//! Promise: a file has its final name only after its first frame was synced; each file says which
//! one it follows and how long that one is, so no file needs another to be trusted (L5).
//! Elsewhere: the last frames of a closed file are `seal`'s.

use super::frame::{Frame, FrameKind, FrameSchemas, Header, schema_bytes, schema_from_bytes};
use super::index::Summary;
use crate::io::{Clock, Disk, File, Open};
use crate::model::{AppendTime, Offset, SchemaId};
use crate::sabotage::{self, Fault};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes a new segment reserves at least.
pub(super) const ALLOCATION_MIN: u64 = 1024 * 1024;
/// Zeros written behind a small group. Where the file system only reserves space, each sync that
/// reaches into it must also sync that it is used now; zeros make that one sync in many.
const ZERO_AHEAD_BYTES: usize = 256 * 1024;
/// Of a thread that only syncs.
const STACK_BYTES: usize = 64 * 1024;
static ZEROS: [u8; ZERO_AHEAD_BYTES] = [0; ZERO_AHEAD_BYTES];
/// Bytes before the schema in the body of a schema frame.
const PREFIX_BYTES: usize = 64;
const EXTENSION: &str = "seg";
const SPARE: &str = "spare.tmp";

/// Orders the segments of a partition: a later one has a larger offset, or the same and a larger
/// epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SegmentId {
    pub(super) base: Offset,
    pub(super) epoch: u32,
}

impl SegmentId {
    pub(super) fn file_name(self) -> String {
        format!("{:020}-{:010}.{EXTENSION}", self.base.0, self.epoch)
    }

    /// The segment a file is, by its name.
    pub(super) fn of(path: &Path) -> Option<Self> {
        if path.extension()? != EXTENSION {
            return None;
        }
        let (base, epoch) = path.file_stem()?.to_str()?.split_once('-')?;
        let id = Self { base: Offset(base.parse().ok()?), epoch: epoch.parse().ok()? };
        (path.file_name()?.to_str()? == id.file_name()).then_some(id)
    }
}

/// The segment before one, and how many of its bytes count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Predecessor {
    pub(super) id: SegmentId,
    pub(super) length: u64,
}

/// What is needed to start a segment.
#[derive(Debug)]
pub(super) struct NewSegment<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) directory: &'a Path,
    pub(super) partition_uid: u64,
    pub(super) id: SegmentId,
    pub(super) schemas: Arc<FrameSchemas>,
    pub(super) follows: Option<Predecessor>,
    pub(super) append_time: AppendTime,
    pub(super) allocate: u64,
    pub(super) spare: Spare,
}

/// What stands under the spare's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spare {
    /// A file that this process made and never wrote to.
    Ready,
    /// Nothing, or a file that may hold a write or a sync that failed: it is never used (L5).
    Unknown,
}

/// Who waits for the disk while a committer does something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syncing {
    /// Nobody: the committer does that first, then it syncs. The same each time.
    Inline,
    /// A thread beside the committer.
    Beside,
}

/// What a committer does while the disk syncs.
pub(super) struct Meanwhile<'a> {
    pub(super) syncing: Syncing,
    pub(super) act: &'a mut dyn FnMut(),
}

/// A segment that is being written. Its committer alone writes it.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub(super) id: SegmentId,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn File>,
    pub(super) schemas: Arc<FrameSchemas>,
    pub(super) partition_uid: u64,
    /// Everything below is synced.
    pub(super) synced: u64,
    /// Everything below is known synced from the bytes alone, whatever happens now.
    pub(super) proven: u64,
    pub(super) allocated: u64,
    /// Zeros are written up to here.
    pub(super) zeroed: u64,
    pub(super) summary: Summary,
    pub(super) first_rows_at_us: Option<u64>,
}

impl NewSegment<'_> {
    /// Creates the file with its schema frame and `frames`, synced, under its final name. Where
    /// that fails, what was begun is removed.
    pub(super) fn create(self, frames: &mut [Frame]) -> io::Result<OpenSegment> {
        let (disk, spare) = (self.disk, self.directory.join(SPARE));
        let created = self.write_and_name(&spare, frames);
        if created.is_err() {
            // Frees its room. If that fails too, the next attempt removes it before it starts.
            drop(disk.unlink(&spare));
        }
        created
    }

    fn write_and_name(self, spare: &Path, frames: &mut [Frame]) -> io::Result<OpenSegment> {
        let file = open_spare(self.disk, spare, self.spare)?;
        let mut segment = OpenSegment {
            id: self.id,
            path: self.directory.join(self.id.file_name()),
            file,
            schemas: Arc::clone(&self.schemas),
            partition_uid: self.partition_uid,
            synced: 0,
            proven: 0,
            allocated: 0,
            zeroed: 0,
            summary: Summary::empty(self.id.base),
            first_rows_at_us: None,
        };
        segment.reserve(self.allocate)?;
        let mut first = [schema_frame(&self)?];
        segment.write(&mut first)?;
        segment.write(frames)?;
        segment.sync()?;
        self.disk.rename(spare, &segment.path)?;
        if !sabotage::is(Fault::SkipDirectorySync) {
            self.disk.sync_directory(self.directory)?;
        }
        Ok(segment)
    }
}

/// Prepares the file the next segment will be, so that a full disk shows early.
pub(super) fn prepare_spare(disk: &dyn Disk, directory: &Path, allocate: u64) -> io::Result<()> {
    let spare = directory.join(SPARE);
    open_spare(disk, &spare, Spare::Unknown)?.allocate(allocate)?;
    disk.sync_directory(directory)
}

/// Removes a spare that an earlier process left: nobody knows what is in it.
pub(super) fn remove_spare(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    let spare = directory.join(SPARE);
    if disk.exists(&spare)? { disk.unlink(&spare) } else { Ok(()) }
}

fn open_spare(disk: &dyn Disk, path: &Path, spare: Spare) -> io::Result<Arc<dyn File>> {
    match spare {
        Spare::Ready => disk.open(path, Open::Write),
        Spare::Unknown => {
            if disk.exists(path)? {
                disk.unlink(path)?;
            }
            disk.open(path, Open::CreateNew)
        }
    }
}

fn schema_frame(new: &NewSegment<'_>) -> io::Result<Frame> {
    let schema = schema_bytes(new.schemas.base()).map_err(io::Error::other)?;
    let mut body = vec![0; PREFIX_BYTES];
    if let Some(before) = new.follows {
        body[0] = 1;
        body[8..16].copy_from_slice(&before.id.base.0.to_le_bytes());
        body[16..20].copy_from_slice(&before.id.epoch.to_le_bytes());
        body[24..32].copy_from_slice(&before.length.to_le_bytes());
    }
    body.extend_from_slice(&schema);
    let mut header = Header::bare(FrameKind::Schema, new.id.base, new.append_time);
    header.ipc_meta_len = u32::try_from(schema.len()).map_err(io::Error::other)?;
    Ok(Frame::with_bytes(header, body))
}

/// Reads the body of a schema frame: the predecessor and the schema.
pub(super) fn read_schema_frame(
    header: &Header,
    body: &[u8],
) -> Result<(Option<Predecessor>, Arc<FrameSchemas>), String> {
    let (prefix, schema) =
        body.split_first_chunk::<PREFIX_BYTES>().ok_or("the schema frame is too short")?;
    let number =
        |at: usize| u64::from_le_bytes(*prefix[at..].first_chunk().expect("in the prefix"));
    let epoch = u32::from_le_bytes(*prefix[16..].first_chunk().expect("in the prefix"));
    let follows = (prefix[0] == 1).then(|| Predecessor {
        id: SegmentId { base: Offset(number(8)), epoch },
        length: number(24),
    });
    let schema = schema_from_bytes(schema)?;
    Ok((follows, Arc::new(FrameSchemas::new(header.schema_id, &schema))))
}

impl OpenSegment {
    /// Position after the last frame.
    pub(super) fn written(&self) -> u64 {
        self.summary.end_position
    }

    pub(super) fn schema_id(&self) -> SchemaId {
        self.schemas.id
    }

    /// Makes sure that `length` bytes have room.
    pub(super) fn reserve(&mut self, length: u64) -> io::Result<()> {
        if length > self.allocated {
            self.file.allocate(length)?;
            self.allocated = length;
        }
        Ok(())
    }

    /// Finishes the headers of `frames` for this file and writes them after the last one, in one
    /// call. Not yet durable.
    pub(super) fn write(&mut self, frames: &mut [Frame]) -> io::Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        let headers: Vec<_> =
            frames.iter_mut().map(|frame| self.finish(&mut frame.header)).collect();
        let mut parts = Vec::with_capacity(frames.len() * 3);
        for (header, frame) in headers.iter().zip(frames.iter()) {
            parts.push(IoSlice::new(header));
            parts.extend(frame.body.iter().filter(|p| !p.is_empty()).map(|p| IoSlice::new(p)));
        }
        let start = self.written();
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        let end = start + bytes as u64;
        let ahead = self.zeros_behind(bytes, end);
        parts.push(IoSlice::new(&ZEROS[..ahead]));
        self.file.pwrite(&parts, start)?;
        self.zeroed = self.zeroed.max(end + ahead as u64);
        for frame in frames.iter() {
            let position = self.written();
            self.summary.add(&frame.header, position);
        }
        assert_eq!(self.written(), end, "frames are as long as their headers say");
        Ok(())
    }

    /// How many zeros to write behind a group that ends at `end`.
    fn zeros_behind(&self, bytes: usize, end: u64) -> usize {
        let small = bytes < ZERO_AHEAD_BYTES / 4;
        if !small || end <= self.zeroed {
            return 0;
        }
        let room = usize::try_from(self.allocated.saturating_sub(end)).unwrap_or(usize::MAX);
        room.min(ZERO_AHEAD_BYTES)
    }

    fn finish(&self, header: &mut Header) -> [u8; super::frame::HEADER_BYTES] {
        header.log_epoch = self.id.epoch;
        header.schema_id = self.schemas.id;
        header.partition_uid = self.partition_uid;
        header.synced_pos = self.synced;
        header.encode()
    }

    /// Makes everything written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.sync_file()?;
        self.note_synced();
        Ok(())
    }

    /// As [`Self::sync`], beside something else; how many microseconds of `clock` the disk took.
    pub(super) fn sync_beside(
        &mut self,
        clock: &dyn Clock,
        meanwhile: Option<Meanwhile<'_>>,
    ) -> io::Result<u64> {
        let timed = || {
            let started = clock.monotonic_us();
            self.sync_file().map(|()| clock.monotonic_us().saturating_sub(started))
        };
        let took = match meanwhile {
            None => timed(),
            Some(Meanwhile { syncing: Syncing::Inline, act }) => {
                act();
                timed()
            }
            Some(Meanwhile { syncing: Syncing::Beside, act }) => beside(timed, act),
        }?;
        self.note_synced();
        Ok(took)
    }

    fn note_synced(&mut self) {
        self.proven = self.synced;
        self.synced = self.written();
    }

    fn sync_file(&self) -> io::Result<()> {
        if sabotage::is(Fault::SkipDataSync) {
            return Ok(());
        }
        match self.file.sync_data() {
            Err(_) if sabotage::is(Fault::SwallowEio) => Ok(()),
            Err(_) if sabotage::is(Fault::RetrySync) => self.file.sync_data(),
            done => done,
        }
    }
}

/// Syncs on a thread of its own, and acts on this one; where there are no threads, one after the other.
fn beside<T: Send>(
    sync: impl Fn() -> io::Result<T> + Sync,
    act: &mut dyn FnMut(),
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let name = std::thread::Builder::new().name("sync".to_owned()).stack_size(STACK_BYTES);
        let syncing = name.spawn_scoped(scope, &sync);
        act();
        match syncing {
            Ok(syncing) => syncing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => sync(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::{Call, SimulatedDisk};
    use arrow::datatypes::Schema;

    fn new(disk: &SimulatedDisk, spare: Spare) -> io::Result<OpenSegment> {
        NewSegment {
            disk,
            directory: Path::new("p"),
            partition_uid: 1,
            id: SegmentId { base: Offset(0), epoch: 1 },
            schemas: Arc::new(FrameSchemas::new(SchemaId(1), &Arc::new(Schema::empty()))),
            follows: None,
            append_time: AppendTime(1),
            allocate: 4096,
            spare,
        }
        .create(&mut [])
    }

    #[test]
    fn a_spare_that_may_have_failed_is_never_written_to() {
        let disk = SimulatedDisk::new(1);
        // What a kernel shows that dropped the pages of a failed sync: zeros.
        let failed = disk.open(Path::new("p/spare.tmp"), Open::CreateNew).unwrap();
        failed.allocate(1024 * 1024).unwrap();
        assert_eq!(new(&disk, Spare::Unknown).unwrap().file.len().unwrap(), 4096);
        let mut start = [1; 4];
        failed.pread(&mut start, 0).unwrap();
        assert_eq!(start, [0; 4], "it was not written to");
    }

    #[test]
    fn a_spare_that_was_prepared_becomes_the_segment() {
        let disk = SimulatedDisk::new(1);
        prepare_spare(&disk, Path::new("p"), 1024 * 1024).unwrap();
        assert_eq!(new(&disk, Spare::Ready).unwrap().file.len().unwrap(), 1024 * 1024);
    }

    #[test]
    fn a_segment_that_could_not_be_begun_leaves_no_file() {
        for call in [Call::Allocate, Call::Write, Call::Sync, Call::Rename] {
            let disk = SimulatedDisk::new(1);
            disk.fail_next(call, "spare.tmp", io::ErrorKind::Other);
            assert!(new(&disk, Spare::Unknown).is_err(), "{call:?}");
            assert_eq!(disk.list(Path::new("p")).unwrap(), Vec::<PathBuf>::new(), "{call:?}");
        }
    }
}
