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
