use super::*;
use crate::io::RealDisk;

fn open(directory: &Path) -> Catalog {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    Catalog::open(&disk, &directory.join("catalog.redb")).unwrap()
}

#[test]
fn entries_survive_a_reopening_and_spaces_do_not_mix() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = open(directory.path());
    catalog.put("rule", "a", b"1").unwrap();
    catalog.put("rule", "b", b"2").unwrap();
    catalog.put("rules", "c", b"3").unwrap();
    catalog.remove("rule", "a").unwrap();
    drop(catalog);
    let catalog = open(directory.path());
    assert_eq!(catalog.list("rule").unwrap(), vec![("b".to_owned(), b"2".to_vec())]);
    assert_eq!(catalog.get("rules", "c").unwrap().unwrap(), b"3");
    assert_eq!(catalog.get("rule", "a").unwrap(), None);
}

#[test]
fn a_counter_never_gives_the_same_number_twice() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(open(directory.path()).next_uid("stream").unwrap(), 1);
    assert_eq!(open(directory.path()).next_uid("stream").unwrap(), 2);
    assert_eq!(open(directory.path()).next_uid("rule").unwrap(), 1);
}

#[test]
fn series_of_a_stream_come_back_by_id_until_they_are_removed() {
    let directory = tempfile::tempdir().unwrap();
    let catalog = open(directory.path());
    let add =
        |stream, series, topic: &str| Change::AddSeries { stream, series, topic: topic.into() };
    catalog.change(&[add(1, 0, "/a"), add(2, 0, "/b"), add(1, 1, "/c")]).unwrap();
    let topics: Vec<String> =
        catalog.series_of(1).unwrap().iter().map(|t| t.as_ref().to_owned()).collect();
    assert_eq!(topics, ["/a", "/c"]);
    catalog.change(&[Change::RemoveSeriesOf { stream: 1 }]).unwrap();
    assert!(catalog.series_of(1).unwrap().is_empty());
    assert_eq!(catalog.series_of(2).unwrap().len(), 1);
}

mod full {
    use super::*;
    use crate::log::overlay::Overlay;
    use crate::log::test_disk::{Act, TestDisk};
    use std::io::ErrorKind::{Other, StorageFull};

    fn opened() -> (Arc<TestDisk>, Catalog) {
        let disk = Arc::new(TestDisk::new());
        let catalog = again(&disk);
        catalog.put("rule", "a", b"1").unwrap();
        (disk, catalog)
    }

    fn again(disk: &Arc<TestDisk>) -> Catalog {
        let disk: Arc<dyn Disk> = Arc::clone(disk) as _;
        Catalog::open(&disk, Path::new("d/catalog.redb")).unwrap()
    }

    #[test]
    fn a_change_that_finds_no_room_takes_the_ballasts_and_the_next_waits_for_it() {
        let (disk, catalog) = opened();
        disk.fail(Act::Write, "catalog.redb", StorageFull, 1);
        disk.fail(Act::Allocate, "catalog.ballast", StorageFull, usize::MAX);
        catalog.put("rule", "a", b"2").unwrap();
        for _ in 0..3 {
            assert!(matches!(catalog.put("rule", "a", b"3"), Err(CatalogError::Full)));
            assert_eq!(catalog.get("rule", "a").unwrap().unwrap(), b"2", "it can be read");
        }
        disk.behave();
        catalog.put("rule", "a", b"4").unwrap();
        assert!(catalog.failure().borrow().is_none());
        drop(catalog);
        assert_eq!(again(&disk).get("rule", "a").unwrap().unwrap(), b"4");
    }

    #[test]
    fn a_change_refused_for_want_of_room_did_not_happen_and_needs_no_restart() {
        // At whichever of its writes the room ends.
        let mut refused_at = 0;
        for writes in 0..200 {
            let (disk, catalog) = opened();
            // One write and its second try with the ballast's room.
            disk.fail_after(writes, Act::Write, "catalog.redb", StorageFull, 2);
            let refused = catalog.change(&[
                Change::Put { space: "rule", key: "a".to_owned(), value: vec![9; 100_000] },
                Change::Put { space: "rule", key: "b".to_owned(), value: vec![9] },
            ]);
            if refused.is_ok() {
                break;
            }
            refused_at += 1;
            assert!(matches!(refused, Err(CatalogError::Full)), "{refused:?}");
            disk.behave();
            assert_eq!(catalog.list("rule").unwrap(), [("a".to_owned(), b"1".to_vec())]);
            catalog.put("rule", "c", b"3").unwrap();
            drop(catalog);
            assert_eq!(again(&disk).list("rule").unwrap().len(), 2);
        }
        assert!(refused_at > 3, "{refused_at} writes");
    }

    #[test]
    fn a_disk_that_failed_below_it_is_told_once_and_for_all() {
        let (disk, catalog) = opened();
        let failure = catalog.failure();
        disk.fail(Act::Sync, "catalog.redb", Other, 1);
        assert!(matches!(catalog.put("rule", "a", b"2"), Err(CatalogError::Failed(_))));
        assert!(failure.borrow().is_some());
        assert!(catalog.put("rule", "a", b"3").is_err());
    }

    #[test]
    fn a_full_disk_while_syncing_is_a_failed_one() {
        let (disk, catalog) = opened();
        disk.fail(Act::Sync, "catalog.redb", StorageFull, 1);
        assert!(matches!(catalog.put("rule", "a", b"2"), Err(CatalogError::Failed(_))));
    }

    #[test]
    fn what_is_only_looked_at_is_not_copied() {
        let (disk, catalog) = opened();
        catalog.put("rule", "b", &vec![7; 4_000_000]).unwrap();
        // Still open: for another it was not closed.
        let below: Arc<dyn Disk> = Arc::clone(&disk) as _;
        let overlay = Arc::new(Overlay::new(below));
        let above: Arc<dyn Disk> = Arc::clone(&overlay) as _;
        let seen = Catalog::open(&above, Path::new("d/catalog.redb")).unwrap();
        assert_eq!(seen.get("rule", "a").unwrap().unwrap(), b"1");
        assert!(overlay.kept_bytes() < 2_000_000, "{} bytes", overlay.kept_bytes());
    }

    #[test]
    fn what_was_not_closed_is_not_opened_without_room_for_its_copy() {
        let (disk, _not_closed) = opened();
        // The copy, and its second try with the ballast's room.
        disk.fail(Act::Write, "catalog.tmp", StorageFull, 2);
        let shared: Arc<dyn Disk> = Arc::clone(&disk) as _;
        let refused = Catalog::open(&shared, Path::new("d/catalog.redb")).map(drop);
        assert!(matches!(refused, Err(CatalogError::NoRoomToOpen { .. })), "{refused:?}");
        assert!(!disk.exists(Path::new("d/catalog.tmp")).unwrap());
        disk.fail(Act::Write, "catalog.tmp", StorageFull, 1);
        let catalog = again(&disk);
        assert_eq!(catalog.get("rule", "a").unwrap().unwrap(), b"1");
        catalog.put("rule", "a", b"2").unwrap();
    }
}
