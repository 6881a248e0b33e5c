use super::*;
use std::io::IoSlice;

fn write(disk: &SimulatedDisk, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = disk.open(Path::new(path), Open::CreateNew).unwrap();
    file.pwrite(&[IoSlice::new(bytes)], 0).unwrap();
    file
}

fn read(disk: &SimulatedDisk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(Path::new(path), Open::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.pread(&mut bytes, 0).unwrap();
    Some(bytes)
}

/// A file of two sectors of ones, synced, over which twos were written that were not.
fn overwritten(seed: u64) -> SimulatedDisk {
    let disk = SimulatedDisk::new(seed);
    let file = write(&disk, "/d/a", &[1; 1024]);
    file.sync_data().unwrap();
    disk.sync_directory(Path::new("/d")).unwrap();
    file.pwrite(&[IoSlice::new(&[2; 1024])], 0).unwrap();
    disk
}

#[test]
fn what_was_synced_survives_and_the_rest_survives_by_sector_or_not() {
    let mut kept = BTreeSet::new();
    for seed in 0..64 {
        let disk = overwritten(seed);
        disk.restart();
        let bytes = read(&disk, "/d/a").unwrap();
        assert!(bytes[..512].iter().all(|b| *b == bytes[0]));
        assert!(bytes[512..].iter().all(|b| *b == bytes[512]));
        kept.insert((bytes[0], bytes[512]));
    }
    assert_eq!(kept.len(), 4, "every subset of sectors happens");
}

#[test]
fn each_image_keeps_what_it_says() {
    let of = |image: Image| -> BTreeSet<(u8, u8)> {
        let sectors = |seed| {
            let disk = overwritten(seed);
            disk.restart_with(image);
            let bytes = read(&disk, "/d/a").unwrap();
            (bytes[0], bytes[512])
        };
        (0..64).map(sectors).collect()
    };
    assert_eq!(of(Image::KeepAll), [(2, 2)].into());
    assert_eq!(of(Image::None), [(1, 1)].into());
    assert_eq!(of(Image::Random), [(1, 1), (1, 2), (2, 1), (2, 2)].into());
    assert_eq!(of(Image::Torn), [(1, 1), (2, 1), (2, 2)].into());
    assert_eq!(of(Image::Garbage), of(Image::Random), "what held something is old or new");
}

#[test]
fn garbage_is_only_where_nothing_was() {
    let strange = (0..64).any(|seed| {
        let disk = SimulatedDisk::new(seed);
        write(&disk, "/d/a", &[2; 1024]);
        disk.sync_directory(Path::new("/d")).unwrap();
        disk.restart_with(Image::Garbage);
        read(&disk, "/d/a").unwrap().iter().any(|byte| ![0, 2].contains(byte))
    });
    assert!(strange);
}

#[test]
fn a_name_is_lost_unless_its_directory_was_synced() {
    let mut there = 0;
    for seed in 0..64 {
        let disk = SimulatedDisk::new(seed);
        write(&disk, "/d/a", b"x").sync_data().unwrap();
        disk.restart();
        there += usize::from(read(&disk, "/d/a").is_some());
    }
    assert!((1..64).contains(&there), "{there} of 64 kept");
}

#[test]
fn a_failed_sync_is_followed_by_one_that_lies() {
    let lost = (0..64).any(|seed| {
        let disk = SimulatedDisk::new(seed);
        let file = write(&disk, "/d/a", b"x");
        disk.sync_directory(Path::new("/d")).unwrap();
        disk.fail_next(Call::Sync, "/d/a", io::ErrorKind::Other);
        assert!(file.sync_data().is_err());
        file.sync_data().unwrap();
        assert_eq!(read(&disk, "/d/a").unwrap(), b"x", "the page cache shows it");
        disk.restart();
        read(&disk, "/d/a").unwrap() != b"x"
    });
    assert!(lost);
}

#[test]
fn after_the_power_cut_every_call_fails_until_the_restart_and_leaves_nothing() {
    let disk = SimulatedDisk::new(1);
    let file = write(&disk, "/d/a", b"old");
    file.sync_data().unwrap();
    disk.sync_directory(Path::new("/d")).unwrap();
    disk.cut_power_in(0);
    assert!(file.sync_data().is_err());
    assert!(disk.is_off());
    assert!(disk.exists(Path::new("/d/a")).is_err());
    assert!(file.pwrite(&[IoSlice::new(b"new")], 0).is_err());
    disk.restart_with(Image::KeepAll);
    assert!(file.len().is_err(), "handles of an earlier life are dead");
    assert_eq!(read(&disk, "/d/a").unwrap(), b"old");
}

#[test]
fn interrupted_and_short_calls_are_gone_on_with_above_the_seam() {
    let disk = SimulatedDisk::new(1);
    for (call, fault) in [
        (Call::Write, Fault::Short),
        (Call::Write, Fault::Error(io::ErrorKind::Interrupted)),
        (Call::Read, Fault::Short),
        (Call::Read, Fault::Error(io::ErrorKind::Interrupted)),
        (Call::Sync, Fault::Error(io::ErrorKind::Interrupted)),
        (Call::Allocate, Fault::Error(io::ErrorKind::Interrupted)),
        (Call::SetLen, Fault::Error(io::ErrorKind::Interrupted)),
    ] {
        disk.plan(Plan::next(call, "/d/", fault));
    }
    disk.record_calls();
    let file = disk.open(Path::new("/d/a"), Open::CreateNew).unwrap();
    file.pwrite(&[IoSlice::new(b"abcd"), IoSlice::new(b""), IoSlice::new(b"efg")], 0).unwrap();
    file.allocate(16).unwrap();
    file.set_len(9).unwrap();
    file.sync_data().unwrap();
    assert_eq!(read(&disk, "/d/a").unwrap(), b"abcdefg\0\0");
    let calls = disk.recorded_calls();
    let of = |call| calls.iter().filter(|(c, _)| *c == call).count();
    assert_eq!((of(Call::Write), of(Call::Sync), of(Call::Allocate)), (3, 2, 2), "{calls:?}");
}

#[test]
fn a_plan_strikes_the_calls_it_names() {
    let disk = SimulatedDisk::new(1);
    let file = write(&disk, "/d/a", b"x");
    let fault = Fault::Error(io::ErrorKind::Other);
    disk.plan(Plan { skip: 2, ..Plan::always(Call::Len, "/d/", fault) });
    let lengths: Vec<bool> = (0..4).map(|_| file.len().is_ok()).collect();
    assert_eq!(lengths, [true, true, false, false]);
    disk.behave();
    disk.plan(Plan::nth(1, fault));
    assert!(file.sync_data().is_ok());
    assert!(disk.exists(Path::new("/d/a")).is_err());
    assert!(disk.exists(Path::new("/d/a")).is_ok());
}

#[test]
fn a_full_disk_refuses_what_makes_files_longer_and_tells_its_room() {
    let disk = SimulatedDisk::new(1);
    disk.set_capacity(10);
    let file = write(&disk, "/d/a", b"1234567");
    let full = |outcome: io::Result<()>| outcome.unwrap_err().kind() == io::ErrorKind::StorageFull;
    assert_eq!(disk.space(Path::new("/d")).unwrap().available_bytes, 3);
    assert!(full(file.pwrite(&[IoSlice::new(b"89abc")], 7)));
    assert!(full(file.allocate(11)));
    assert!(full(file.set_len(11)));
    file.pwrite(&[IoSlice::new(b"xyz")], 0).unwrap();
    file.allocate(10).unwrap();
    assert!(disk.open(Path::new("/d/b"), Open::CreateNew).is_err());
    disk.unlink(Path::new("/d/a")).unwrap();
    assert_eq!(disk.space(Path::new("/d")).unwrap().available_bytes, 10);
}

#[test]
fn a_misdirected_write_is_elsewhere_and_nobody_is_told() {
    let disk = SimulatedDisk::new(1);
    let (a, b) = (write(&disk, "/d/a", b"aaaa"), write(&disk, "/d/b", b"bbbb"));
    disk.misdirect_next("/d/a", Misdirection::Into("/d/b".to_owned()));
    a.pwrite(&[IoSlice::new(b"x")], 0).unwrap();
    disk.misdirect_next("/d/b", Misdirection::Further(2));
    b.pwrite(&[IoSlice::new(b"y")], 0).unwrap();
    assert_eq!(
        (read(&disk, "/d/a").unwrap(), read(&disk, "/d/b").unwrap()),
        (b"aaaa".to_vec(), b"xbyb".to_vec())
    );
}

#[test]
fn any_bit_of_a_file_at_rest_can_be_flipped() {
    let disk = SimulatedDisk::new(1);
    write(&disk, "/d/a", &[0, 0]).sync_data().unwrap();
    disk.flip_bit(Path::new("/d/a"), 1, 7).unwrap();
    assert_eq!(read(&disk, "/d/a").unwrap(), [0, 128]);
    assert!(disk.flip_bit(Path::new("/d/a"), 2, 0).is_err());
}

#[test]
fn a_fork_is_as_the_disk_was_and_goes_its_own_way() {
    let disk = overwritten(1);
    let fork = disk.fork(2);
    fork.restart_with(Image::None);
    assert_eq!(read(&fork, "/d/a").unwrap(), [1; 1024]);
    disk.restart_with(Image::KeepAll);
    assert_eq!(read(&disk, "/d/a").unwrap(), [2; 1024]);
}

#[test]
fn some_file_systems_drop_what_a_failed_sync_left_dirty() {
    let shown: BTreeSet<Option<Vec<u8>>> = (0..64)
        .map(|seed| {
            let disk = overwritten(seed);
            let file = disk.open(Path::new("/d/a"), Open::Write).unwrap();
            disk.plan(Plan::next(Call::Sync, "/d/a", Fault::Dropped));
            assert!(file.sync_data().is_err());
            let shown = read(&disk, "/d/a");
            disk.restart();
            assert_eq!(read(&disk, "/d/a"), shown, "what a reader got is what is there");
            shown
        })
        .collect();
    assert_eq!(shown.len(), 4);
}
