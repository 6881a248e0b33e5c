use super::*;
use crate::doors::kafka::rows::{Said, Writing};
use proptest::prelude::*;

fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let checksum = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    batch
}

/// Key, value, and a header's name and value.
type Told = (Option<String>, String, Option<(String, String)>);

fn written(records: &[Told]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writing = Writing::new(&mut bytes, 5, 1000);
    for (offset, (key, value, header)) in (5..).zip(records) {
        let headers: Vec<_> = header.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let (key, headers) = (key.as_deref(), headers.as_slice());
        writing.push(&Said { offset, time_ms: 900, key, value, headers });
    }
    writing.finish();
    bytes
}

fn one() -> Vec<u8> {
    written(&[(Some("k".to_owned()), "v".to_owned(), Some(("topic".to_owned(), "t".to_owned())))])
}

#[test]
fn a_record_has_its_key_value_and_headers() {
    let batch = Batch::read(Some(one().into())).unwrap();
    assert_eq!((batch.codec, batch.count, batch.sender), (Codec::Plain, 1, None));
    let mut records = Records::new(&batch.records, 1);
    let (number, record) = records.next().unwrap().unwrap();
    assert_eq!((number, record.key, record.value), (0, Some(&b"k"[..]), Some(&b"v"[..])));
    assert_eq!(record.header(&|name| name == b"topic"), Some(&b"t"[..]));
    assert_eq!(record.header(&|name| name == b"other"), None);
    assert_eq!(records.next(), Ok(None));
}

#[test]
fn what_is_no_batch_is_told_apart() {
    let patched = |at: usize, with: &[u8]| {
        let mut bytes = one();
        bytes[at..at + with.len()].copy_from_slice(with);
        sealed(bytes)
    };
    let two = [one(), one()].concat();
    let cases: Vec<(&str, Vec<u8>, BatchError)> = vec![
        ("nothing", Vec::new(), BatchError::None),
        ("twelve bytes", one()[..12].to_vec(), BatchError::Length),
        ("a head without its end", one()[..40].to_vec(), BatchError::Length),
        ("a cut batch", one()[..one().len() - 1].to_vec(), BatchError::Length),
        ("two batches", two, BatchError::Several),
        ("format 0", patched(16, &[0]), BatchError::Format(0)),
        ("format 1", patched(16, &[1]), BatchError::Format(1)),
        ("a length of nothing", patched(8, &[0; 4]), BatchError::Length),
        ("a length below zero", patched(8, &[0xff; 4]), BatchError::Length),
        ("a length that lies", patched(8, &[0x7f, 0xff, 0xff, 0xff]), BatchError::Length),
        (
            "another checksum",
            {
                let mut b = one();
                b[17] ^= 1;
                b
            },
            BatchError::Checksum,
        ),
        (
            "a byte that fell over",
            {
                let mut b = one();
                b[62] ^= 1;
                b
            },
            BatchError::Checksum,
        ),
        ("a transaction", patched(22, &[0x10]), BatchError::Transaction),
        ("a control batch", patched(22, &[0x20]), BatchError::Transaction),
        ("compression 5", patched(22, &[5]), BatchError::Compression),
        ("compression 7", patched(22, &[7]), BatchError::Compression),
        ("no records", patched(57, &[0; 4]), BatchError::Count(0)),
        ("a count below zero", patched(57, &[0xff; 4]), BatchError::Count(-1)),
        ("a count that lies", patched(57, &[0, 0, 0, 2]), BatchError::Count(2)),
    ];
    for (name, bytes, error) in cases {
        assert_eq!(Batch::read(Some(bytes.into())).err(), Some(error), "{name}");
    }
    assert_eq!(Batch::read(None).err(), Some(BatchError::None));
}

#[test]
fn what_is_no_record_is_none() {
    let cases: Vec<(&str, &[u8], u32)> = vec![
        ("nothing", b"", 1),
        ("one of two", b"\x0c\0\0\0\x01\x01\0", 2),
        ("bytes behind the last", b"\x0c\0\0\0\x01\x01\0\0", 1),
        ("a length that lies", b"\x7e\0\0\0\x01\x01\0", 1),
        ("a length below zero", b"\x01\0\0\0\x01\x01\0", 1),
        ("a number that does not end", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1),
        ("a key that lies", b"\x0c\0\0\0\x7e\x01\0", 1),
        ("a key of -2", b"\x0c\0\0\0\x03\x01\0", 1),
        ("a value that lies", b"\x0c\0\0\0\x01\x7e\0", 1),
        ("headers that are not there", b"\x0c\0\0\0\x01\x01\x02", 1),
        ("headers below zero", b"\x0c\0\0\0\x01\x01\x01", 1),
        ("many headers", b"\x14\0\0\0\x01\x01\xfe\xff\xff\xff\x0f", 1),
        ("a header without a name", b"\x10\0\0\0\x01\x01\x02\x01\x01", 1),
        ("another number than its own", b"\x0c\0\0\x02\x01\x01\0", 1),
    ];
    for (name, bytes, count) in cases {
        let mut records = Records::new(bytes, count);
        let end = loop {
            match records.next() {
                Ok(Some(_)) => {}
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        assert!(end.is_err(), "{name}");
    }
    let mut fine = Records::new(b"\x0c\0\0\0\x01\x01\0", 1);
    assert!(matches!(fine.next(), Ok(Some((0, Record { key: None, value: None, .. })))));
    assert_eq!(fine.next(), Ok(None));
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        records in proptest::collection::vec((any::<Option<String>>(), any::<String>(), any::<Option<(String, String)>>()), 1..20)
    ) {
        let batch = Batch::read(Some(written(&records).into())).unwrap();
        let mut read = Records::new(&batch.records, batch.count);
        for (key, value, header) in &records {
            let (_, record) = read.next().unwrap().unwrap();
            prop_assert_eq!(record.key, key.as_ref().map(String::as_bytes));
            prop_assert_eq!(record.value, Some(value.as_bytes()));
            if let Some((name, value)) = header {
                let found = record.header(&|n| n == name.as_bytes());
                prop_assert_eq!(found, Some(value.as_bytes()));
            }
        }
        prop_assert_eq!(read.next(), Ok(None));
    }

    #[test]
    fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..100), count in any::<u32>()) {
        let mut records = Records::new(&bytes, count);
        while let Ok(Some((_, record))) = records.next() {
            record.header(&|_| false);
        }
    }
}
