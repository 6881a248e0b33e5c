use super::*;
use crate::doors::budget::IngestBudget;
use std::io::Write;

const MOST: usize = 1024 * 1024;

fn unpack(codec: Codec, bytes: Vec<u8>, budget: usize) -> Result<usize, String> {
    let budget = IngestBudget::new(budget);
    let mut permit = budget.take(bytes.len()).expect("room");
    let held = permit.bytes();
    let mut unfolding = Unfolding::new(&mut permit, held, MOST);
    let unpacked = unfolding.unpack(codec, &bytes.into());
    assert!(permit.bytes() <= held + MOST + 1024, "never more than may be: {}", permit.bytes());
    unpacked.map(|bytes| bytes.len()).map_err(|error| error.to_string())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().0
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn xerial(block: &[u8]) -> Vec<u8> {
    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
    [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..], &length, block].concat()
}

fn packed(bytes: &[u8]) -> Vec<(Codec, Vec<u8>)> {
    vec![
        (Codec::Gzip, gzip(bytes)),
        (Codec::Snappy, snappy(bytes)),
        (Codec::Snappy, xerial(&snappy(bytes))),
        (Codec::Lz4, lz4(bytes)),
        (Codec::Zstd, zstd::stream::encode_all(bytes, 3).unwrap()),
    ]
}

#[test]
fn a_little_that_becomes_much_is_refused_when_the_room_is_used_up() {
    for (codec, bomb) in packed(&vec![0; 32 * 1024 * 1024]) {
        let told = unpack(codec, bomb.clone(), 64 * 1024 * 1024).expect_err("too much");
        assert!(told.contains("become more than 1048576 bytes"), "{codec:?}: {told}");
    }
    for (codec, fits) in packed(&vec![7; MOST / 2]) {
        assert_eq!(unpack(codec, fits, 64 * 1024 * 1024), Ok(MOST / 2), "{codec:?}");
    }
}

#[test]
fn where_the_server_has_no_room_it_is_told_to_come_again() {
    for (codec, bytes) in packed(&vec![7; MOST / 2]) {
        let told = unpack(codec, bytes, 128 * 1024).expect_err("no room");
        assert!(told.contains("try again"), "{codec:?}: {told}");
    }
}

#[test]
fn what_does_not_unpack_is_refused() {
    let bytes = vec![9; 10_000];
    for (codec, mut packed) in packed(&bytes) {
        packed.truncate(packed.len() / 2);
        let told = unpack(codec, packed, MOST * 8);
        assert!(told != Ok(bytes.len()), "{codec:?}: {told:?}");
    }
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        for garbage in [&b"garbage garbage garbage"[..], &[0xff; 64]] {
            assert!(unpack(codec, garbage.to_vec(), MOST * 8).is_err(), "{codec:?} {garbage:?}");
        }
    }
    let lies = [&b"\xff\xff\xff\xff\x07"[..], b"xyz"].concat();
    assert!(unpack(Codec::Snappy, lies.clone(), MOST * 8).is_err());
    assert!(unpack(Codec::Snappy, xerial(&lies), MOST * 8).is_err());
    let cut = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\x7f\xff\xff\xff".to_vec();
    assert!(unpack(Codec::Snappy, cut, MOST * 8).is_err());
}
