use super::*;
use arrow::array::{Float64Array, StringArray, TimestampMicrosecondArray, UInt32Array};
use arrow::buffer::MutableBuffer;

fn batch() -> RecordBatch {
    let time = TimestampMicrosecondArray::from(vec![30, 10, 20]).with_timezone("UTC");
    RecordBatch::try_from_iter_with_nullable(vec![
        ("time", Arc::new(time) as arrow::array::ArrayRef, false),
        ("series", Arc::new(UInt32Array::from(vec![0, 1, 0])) as _, false),
        ("value", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(3.0)])) as _, true),
        ("note", Arc::new(StringArray::from(vec![Some("a"), Some("bc"), None])) as _, true),
    ])
    .unwrap()
}

fn frame(batch: &RecordBatch) -> Frame {
    Frame::with_rows(
        Header::bare(FrameKind::Data, Offset(7), AppendTime(9)),
        batch,
        &[],
        &mut EncodeRoom::default(),
    )
    .unwrap()
}

#[test]
fn a_header_comes_back_as_it_was_written() {
    let mut header = frame(&batch()).header;
    header.log_epoch = 3;
    header.partition_uid = u64::MAX - 1;
    header.min_time = EventTime(-5);
    header.synced_pos = 4096;
    assert_eq!(Header::decode(&header.encode()), Some(header));
}

#[test]
fn who_sent_the_rows_comes_back_from_the_header_or_the_block() {
    let source = |sequence, wire_partition| Source {
        producer: ProducerId(u64::MAX),
        epoch: 7,
        sequence,
        wire_partition,
    };
    let sent = |first_row, rows, source| SourceRows { source, first_row, rows };
    let cases = [
        vec![],
        vec![sent(0, 3, source(1 << 40, None))],
        vec![sent(0, 3, source(9, Some(2)))],
        vec![sent(0, 1, source(9, None)), sent(1, 1, source(10, None))],
    ];
    let batch = batch();
    for (sent, in_header) in cases.into_iter().zip([true, true, false, false]) {
        let bare = Header::bare(FrameKind::Data, Offset(7), AppendTime(9));
        let frame = Frame::with_rows(bare, &batch, &sent, &mut EncodeRoom::default()).unwrap();
        assert_eq!(frame.header.sources != Sources::Block, in_header);
        assert_eq!(Header::decode(&frame.header.encode()), Some(frame.header.clone()));
        let mut body = MutableBuffer::new(0);
        body.extend_from_slice(&frame.body.concat());
        let body = Buffer::from(body);
        let stored = stored_in(&frame.header, &body);
        let wanted = sent.iter().map(|s| (s.source, Offset(7 + u64::from(s.first_row))));
        assert!(stored.iter().map(|s| (s.source, s.base_offset)).eq(wanted));
        let schemas = FrameSchemas::new(SchemaId(1), &batch.schema());
        assert_eq!(decode_rows(&frame.header, &body, &schemas).unwrap(), batch);
    }
}

#[test]
fn a_header_with_any_byte_changed_is_none() {
    let bytes = frame(&batch()).header.encode();
    for at in 0..HEADER_BYTES {
        let mut changed = bytes;
        changed[at] ^= 0x10;
        assert_eq!(Header::decode(&changed), None, "byte {at}");
    }
}

#[test]
fn reserved_bytes_that_are_not_zero_are_refused() {
    let mut bytes = frame(&batch()).header.encode();
    bytes[110] = 1;
    let crc = crc32c::crc32c(&bytes[..124]);
    bytes[124..].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(Header::decode(&bytes), None);
}

#[test]
fn a_header_whose_rows_would_end_beyond_the_last_offset_is_refused() {
    let mut header = frame(&batch()).header;
    header.base_offset = Offset(u64::MAX - u64::from(header.row_count));
    assert!(Header::decode(&header.encode()).is_some());
    header.base_offset = Offset(u64::MAX);
    assert_eq!(Header::decode(&header.encode()), None);
}

#[test]
fn a_bit_in_the_padding_is_noticed() {
    let header = Header::bare(FrameKind::Schema, Offset(0), AppendTime(1));
    let frame = Frame::with_bytes(header, vec![7; 70]);
    let mut body = frame.body.concat();
    assert_eq!(body.len(), 128);
    assert!(frame.header.body_is_whole(&body));
    assert!(!frame.header.body_is_whole(&body[..70]), "the padding is gone");
    for at in 0..body.len() {
        body[at] ^= 1;
        assert!(!frame.header.body_is_whole(&body), "byte {at}");
        body[at] ^= 1;
    }
}

#[test]
fn rows_are_read_in_place_and_equal_what_was_written() {
    let batch = batch();
    let frame = frame(&batch);
    let whole = frame.body.concat();
    assert_eq!(whole.len() % 64, 0);
    let mut aligned = MutableBuffer::new(whole.len());
    aligned.extend_from_slice(&whole);
    let body = Buffer::from(aligned);
    assert!(frame.header.body_is_whole(&body));
    let schemas = FrameSchemas::new(SchemaId(1), &batch.schema());
    let read = decode_rows(&frame.header, &body, &schemas).unwrap();
    assert_eq!(read, batch);
    let source = body.as_ptr_range();
    for column in read.columns() {
        for buffer in column.to_data().buffers().iter().filter(|b| !b.is_empty()) {
            assert!(source.contains(&buffer.as_ptr()), "a buffer was copied");
        }
    }
}

#[test]
fn the_time_span_is_that_of_the_time_column() {
    assert_eq!(time_span(&batch()), Some((EventTime(10), EventTime(30))));
}

#[test]
fn a_schema_comes_back_from_its_bytes() {
    let schema = batch().schema();
    assert_eq!(schema_from_bytes(&schema_bytes(&schema).unwrap()).unwrap(), schema);
}

#[test]
fn a_message_that_contradicts_itself_is_an_error_and_no_panic() {
    let batch = batch();
    let frame = frame(&batch);
    let schemas = FrameSchemas::new(SchemaId(1), &batch.schema());
    let whole = frame.body.concat();
    let mut errors = 0;
    for at in 8..frame.header.ipc_meta_len as usize {
        for change in [0x01, 0x80, 0xff] {
            let mut body = whole[..frame.header.body_len as usize].to_vec();
            body[at] ^= change;
            errors +=
                usize::from(decode_rows(&frame.header, &Buffer::from(body), &schemas).is_err());
        }
    }
    assert!(errors > 100, "{errors} were noticed");
    let schema = schema_bytes(&batch.schema()).unwrap();
    for at in 0..schema.len() {
        let mut changed = schema.clone();
        changed[at] ^= 0x7f;
        drop(schema_from_bytes(&changed));
    }
}
