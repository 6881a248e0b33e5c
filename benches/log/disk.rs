//! What the bench's own loops get from the same disk.

use rustix::fs::FallocateFlags;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_ingest::log::{Partition, Stream};

const HEADER_BYTES: usize = 128;
const DATA: u8 = 1;

/// How a file is given its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Growing,
    Reserved,
}

/// Writes each list of groups to a file of its own, a thread each, every group synced; how long.
pub(crate) fn write(directory: &Path, files: &[Vec<Vec<u8>>], room: Room) -> Duration {
    std::fs::create_dir_all(directory).expect("writable");
    let open: Vec<File> = files
        .iter()
        .enumerate()
        .map(|(n, groups)| {
            let file = File::create(directory.join(n.to_string())).expect("writable");
            if room == Room::Reserved {
                let bytes = groups.iter().map(|group| group.len() as u64).sum();
                rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes).expect("room");
                file.sync_all().expect("a disk that syncs");
            }
            file
        })
        .collect();
    let started = Instant::now();
    std::thread::scope(|threads| {
        for (mut file, groups) in open.into_iter().zip(files) {
            threads.spawn(move || {
                for group in groups {
                    file.write_all(group).expect("room on the disk");
                    file.sync_data().expect("a disk that syncs");
                }
            });
        }
    });
    let time = started.elapsed();
    std::fs::remove_dir_all(directory).expect("ours");
    time
}

/// The segment files of a stream by partition, oldest first.
pub(crate) fn segments(data: &Path) -> Vec<Vec<PathBuf>> {
    let list = |path: &Path| {
        let entries = std::fs::read_dir(path).expect("readable");
        let mut paths: Vec<PathBuf> =
            entries.map(|entry| entry.expect("readable").path()).collect();
        // By number: 2 before 10.
        paths.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        paths
    };
    let streams = list(&data.join("streams"));
    let partitions = streams.iter().flat_map(|stream| list(stream));
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|end| end == "seg");
    partitions.map(|partition| list(&partition).into_iter().filter(is_segment).collect()).collect()
}

/// The data frames of segment files: what the log wrote as groups.
pub(crate) fn groups(files: &[PathBuf]) -> Vec<Vec<u8>> {
    let mut groups = Vec::new();
    for file in files {
        let bytes = std::fs::read(file).expect("readable");
        let mut at = 0;
        while let Some(header) = bytes.get(at..at + HEADER_BYTES)
            && header.starts_with(b"WEIR")
        {
            let body = u32::from_le_bytes(*header[12..].first_chunk().expect("a header")) as usize;
            let end = at + HEADER_BYTES + body.next_multiple_of(64);
            if header[8] == DATA {
                groups.push(bytes[at..end].to_vec());
            }
            at = end;
        }
    }
    groups
}

/// A file with how many of its bytes hold frames: behind them is reserved room.
pub(crate) type Used = (PathBuf, u64);

/// The segment files of a stream that is open, with what is used of them.
pub(crate) fn used(data: &Path, stream: &Stream) -> Vec<Used> {
    let of_partition = |(files, partition): (Vec<PathBuf>, &Arc<Partition>)| {
        let bytes: Vec<u64> = partition.segments().iter().map(|segment| segment.bytes).collect();
        assert_eq!(bytes.len(), files.len(), "each segment has its file");
        files.into_iter().zip(bytes).collect::<Vec<Used>>()
    };
    segments(data).into_iter().zip(stream.partitions()).flat_map(of_partition).collect()
}

/// Reads `files` one after another in 1 MiB pieces and takes their checksum; bytes and time.
pub(crate) fn read(files: &[Used]) -> (u64, Duration) {
    let mut buffer = vec![0; 1024 * 1024];
    let (mut bytes, mut sum) = (0, 0);
    let started = Instant::now();
    for (path, used) in files {
        let mut file = File::open(path).expect("readable");
        let mut left = *used;
        while left > 0 {
            let piece = left.min(buffer.len() as u64) as usize;
            let read = file.read(&mut buffer[..piece]).expect("readable");
            assert!(read > 0, "as long as the log says");
            left -= read as u64;
            sum = crc32c::crc32c_append(sum, &buffer[..read]);
            bytes += read as u64;
        }
    }
    std::hint::black_box(sum);
    (bytes, started.elapsed())
}
