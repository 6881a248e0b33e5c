use super::*;
use crate::io::SimulatedDisk;
use proptest::prelude::*;

fn all(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![9; index(file.len().unwrap())];
    assert_eq!(file.pread(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

#[derive(Debug, Clone)]
enum Act {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Allocate(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let write = (0..20_000_u64, proptest::collection::vec(1..=255_u8, 1..6_000));
    prop_oneof![
        write.prop_map(|(at, bytes)| Act::Write(at, bytes)),
        (0..20_000_u64).prop_map(Act::SetLen),
        (0..20_000_u64).prop_map(Act::Allocate),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_file_reads_as_if_the_one_below_had_been_written(
        start in proptest::collection::vec(1..=255_u8, 0..12_000),
        acts in proptest::collection::vec(act(), 0..12),
    ) {
        let below = SimulatedDisk::new(1);
        let path = Path::new("d/file");
        let original = below.open(path, Open::CreateNew).unwrap();
        original.pwrite(&[IoSlice::new(&start)], 0).unwrap();
        let overlay = Overlay::new(Arc::new(below.clone()));
        let file = overlay.open(path, Open::Write).unwrap();
        let mut model = start.clone();
        for act in acts {
            match act {
                Act::Write(at, bytes) => {
                    let end = index(at) + bytes.len();
                    model.resize(model.len().max(end), 0);
                    model[index(at)..end].copy_from_slice(&bytes);
                    let (a, b) = bytes.split_at(bytes.len() / 2);
                    file.pwrite(&[IoSlice::new(a), IoSlice::new(b)], at).unwrap();
                }
                Act::SetLen(length) => {
                    model.resize(index(length), 0);
                    file.set_len(length).unwrap();
                }
                Act::Allocate(length) => {
                    model.resize(model.len().max(index(length)), 0);
                    file.allocate(length).unwrap();
                }
            }
            prop_assert_eq!(&all(file.as_ref()), &model);
        }
        prop_assert_eq!(all(original.as_ref()), start, "what is below stays");
        let again = overlay.open(path, Open::Read).unwrap();
        prop_assert_eq!(all(again.as_ref()), model);
    }
}

#[test]
fn names_change_above_and_not_below() {
    let below = SimulatedDisk::new(1);
    for name in ["d/a", "d/b"] {
        below.open(Path::new(name), Open::CreateNew).unwrap();
    }
    let overlay = Overlay::new(Arc::new(below.clone()));
    overlay.rename(Path::new("d/a"), Path::new("d/c")).unwrap();
    overlay.unlink(Path::new("d/b")).unwrap();
    overlay.create_directories(Path::new("d/e/f")).unwrap();
    overlay.open(Path::new("d/e/f/g"), Open::CreateNew).unwrap();
    let names = |disk: &dyn Disk, path: &str| {
        let found = disk.list(Path::new(path)).unwrap();
        found.iter().map(|p| p.display().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&overlay, "d"), ["d/c", "d/e"]);
    assert_eq!(names(&overlay, "d/e/f"), ["d/e/f/g"]);
    assert!(!overlay.exists(Path::new("d/a")).unwrap());
    assert!(overlay.open(Path::new("d/b"), Open::Read).is_err());
    assert!(overlay.open(Path::new("d/c"), Open::CreateNew).is_err());
    overlay.open(Path::new("d/b"), Open::CreateNew).unwrap();
    assert_eq!(names(&below, "d"), ["d/a", "d/b"]);
}
