use super::*;
use crate::io::{Open, RealClock, SimulatedDisk};
use crate::log::{Log, LogConfig};
use std::path::PathBuf;

fn open(disk: &SimulatedDisk) -> Result<Arc<Log>, OpenError> {
    let disk = Arc::new(disk.clone());
    Log::open_manual(disk, Arc::new(RealClock::new()), LogConfig::new("data"))
}

/// Every file with its bytes.
fn everything(disk: &dyn Disk, directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for path in disk.list(directory).unwrap() {
        match disk.open(&path, Open::Read) {
            Err(_) => found.extend(everything(disk, &path)),
            Ok(file) => {
                let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
                file.pread(&mut bytes, 0).unwrap();
                found.push((path, bytes));
            }
        }
    }
    found
}

fn features(incompatible: u64, read_only: u64, compatible: u64) -> Vec<u8> {
    [incompatible, read_only, compatible].map(u64::to_le_bytes).concat()
}

#[test]
fn what_is_not_known_is_refused_and_every_byte_stays() {
    let cases: [(&str, &str, Vec<u8>, &str); 3] = [
        ("log", "format", b"2.0".to_vec(), "has format 2.0;"),
        ("log", "features", features(1 << 63, 0, 0), "has format 1.0 with features 0x8000"),
        ("log", "features", features(0, 1 << 62, 0), "(to read) and 0x4000"),
    ];
    for (space, key, value, says) in cases {
        let disk = SimulatedDisk::new(1);
        let log = open(&disk).unwrap();
        log.catalog().put(space, key, &value).unwrap();
        // Not stopped: whoever opens it in earnest repairs and writes.
        drop(log);
        let before = everything(&disk, Path::new("data"));
        let refused = open(&disk).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
        assert!(everything(&disk, Path::new("data")) == before, "{key} {says}");
    }
}

#[test]
fn a_newer_minor_version_and_compatible_features_are_read() {
    let disk = SimulatedDisk::new(1);
    let log = open(&disk).unwrap();
    log.catalog().put("log", "format", b"1.9").unwrap();
    log.catalog().put("log", "features", &features(0, 0, 1 << 60)).unwrap();
    drop(log);
    open(&disk).unwrap();
}

#[test]
fn looking_writes_nothing_also_where_a_start_would_recover() {
    let disk = SimulatedDisk::new(1);
    drop(open(&disk).unwrap());
    let before = everything(&disk, Path::new("data"));
    let below: Arc<dyn Disk> = Arc::new(disk.clone());
    let log =
        Log::open_read_only(below, Arc::new(RealClock::new()), LogConfig::new("data")).unwrap();
    log.catalog().put("anything", "at", b"all").unwrap();
    log.stop();
    assert!(everything(&disk, Path::new("data")) == before);
}
