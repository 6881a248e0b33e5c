//! What the corpus starts from: bytes that the log itself wrote, and requests that are fine.

use crate::disk::MemoryDisk;
use arrow::array::TimestampMicrosecondArray;
use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::ipc::writer::StreamWriter;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use weir_ingest::io::Disk;
use weir_ingest::log::probe::{Recoverer, stream_value};
use weir_ingest::log::{LogConfig, TickKind};
use weir_ingest::model::{
    Column, ColumnType, EventTime, StreamDefinition, StreamOptions, TopicTemplate,
};

/// Where the partition lies.
pub const DIRECTORY: &str = "data/streams/probe-1/0";
/// The name of its first segment.
pub const FIRST: &str = "00000000000000000000-0000000001.seg";
/// What it is known by in its frames.
pub const UID: u64 = 7;
/// Series its stream has.
pub const SERIES: u32 = 100;

/// Small segments.
pub fn config() -> LogConfig {
    LogConfig { segment_bytes_max: 8 * 1024, ..LogConfig::new("data") }
}

/// Columns of each width that the log keeps.
pub fn schema() -> SchemaRef {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("time", utc, false),
        Field::new("series", DataType::UInt32, false),
        Field::new("value", DataType::Float64, true),
        Field::new("ok", DataType::Boolean, true),
        Field::new("label", DataType::Utf8, true),
    ]))
}

/// Rows of these numbers.
pub fn rows(numbers: Range<u32>) -> RecordBatch {
    let times = numbers.clone().map(|n| 1_769_860_000_000_000 + i64::from(n));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(UInt32Array::from_iter_values(numbers.clone().map(|n| n % SERIES))),
        Arc::new(Float64Array::from_iter(numbers.clone().map(|n| (n % 3 > 0).then_some(0.5)))),
        Arc::new(BooleanArray::from_iter(numbers.clone().map(|n| Some(n % 2 == 0)))),
        Arc::new(StringArray::from_iter_values(numbers.map(|n| format!("label {n}")))),
    ];
    RecordBatch::try_new(schema(), columns).expect("the schema's columns")
}

/// The partition's first segment after `groups` groups; enough of them close it with a seal.
pub fn segment(groups: u32) -> Vec<u8> {
    let disk = Arc::new(MemoryDisk::new());
    let shared: Arc<dyn Disk> = Arc::<MemoryDisk>::clone(&disk);
    let recoverer = Recoverer::new(shared, config()).expect("a catalog");
    let partition = recoverer.open(Path::new(DIRECTORY), UID, SERIES).expect("a partition");
    for n in 0..groups {
        let rows = partition.append(rows(n * 10..n * 10 + 10));
        let tick = partition.append_tick(EventTime(i64::from(n)), TickKind::Idle);
        recoverer.commit(&partition);
        rows.wait().expect("durable");
        tick.wait().expect("durable");
    }
    disk.get(&Path::new(DIRECTORY).join(FIRST)).expect("its first segment")
}

/// The first bytes of a segment that are not reserved room.
fn used(mut segment: Vec<u8>) -> Vec<u8> {
    let used = segment.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    segment.truncate(used.next_multiple_of(64).min(segment.len()));
    segment
}

/// The frames of kind data of a segment.
fn data_frames(segment: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some(rest) = segment.get(at..).filter(|rest| rest.starts_with(b"WEIR")) {
        let body = u32::from_le_bytes(*rest[12..].first_chunk().expect("a header")) as usize;
        let length = (128 + body.next_multiple_of(64)).min(rest.len());
        frames.push(rest[..length].to_vec());
        at += length;
    }
    frames
}

fn arrow_stream() -> Vec<u8> {
    let topics = StringArray::from_iter_values((0..10).map(|n| format!("/room/{n}/s")));
    let values = Float64Array::from_iter_values((0..10).map(f64::from));
    let times = (0..10).map(|n| 1_769_860_000_000_000 + n);
    let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
    let batch = RecordBatch::try_from_iter([
        ("topic", Arc::new(topics) as ArrayRef),
        ("time", Arc::new(times) as ArrayRef),
        ("value", Arc::new(values) as ArrayRef),
    ]);
    let batch = batch.expect("a batch");
    let mut stream = Vec::new();
    let mut writer = StreamWriter::try_new(&mut stream, batch.schema_ref()).expect("a stream");
    writer.write(&batch).expect("into memory");
    writer.finish().expect("into memory");
    stream
}

const READINGS: [&str; 5] = [
    "\u{0}{\"topic\":\"/room/1/s\",\"time\":\"2026-01-31T11:59:59.5Z\",\"value\":20.5,\"n\":-3,\"ok\":true,\"label\":\"a\\u00e4\\n\",\"at\":1769860799}",
    "\u{1}[{\"topic\":\"/room/1/s\",\"time\":1769860799000,\"value\":1e3},{\"topic\":\"/room/2/s\",\"value\":null},7]",
    "\u{2}{\"topic\":\"/room/1/s\",\"value\":1}\n{\"topic\":\"/room/2/s\",\"value\":2.25,\"id\":\"x\",\"source\":\"y\"}\n\nnonsense\n",
    "\u{2}{\"room\":\"1\",\"more\":{\"deep\":[[[{}]]]},\"topic\":\"/room/1/s\",\"n\":9223372036854775807}\n",
    "\u{1}  [ ]",
];

const EVENTS: [&str; 3] = [
    "\u{0}{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"topic\":\"/room/1/s\",\"time\":\"2026-01-31T11:59:59Z\",\"data\":{\"value\":1.5}}",
    "\u{1}[{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"subject\":\"/room/1/s\",\"data_base64\":\"eyJ2YWx1ZSI6MX0=\"},{}]",
    "\u{2}specversion=1.0;id=1;source=s;type=t;subject=/room/1/s;time=2026-01-31T11:59:59Z\n{\"value\":2}",
];

/// Connections of 3.1.1 and 5, packet by packet, and a session of the catalog.
const CONNECTIONS: [&[&[u8]]; 3] = [
    &[
        b"\x10\x1c\x00\x04MQTT\x04\xc6\x00<\x00\x01c\x00\x01w\x00\x04gone\x00\x01u\x00\x01p",
        b"\x82\x1b\x00\x01\x00\x09/room/+/s\x01\x00\x0a$share/g/#\x02",
        b"0\x0d\x00\x09/room/1/s{}",
        b"3\x06\x00\x01a\x00\x02x",
        b"4\x06\x00\x01a\x00\x03x",
        b"<\x06\x00\x01a\x00\x03x",
        b"b\x02\x00\x03",
        b"@\x02\x00\x09",
        b"P\x02\x00\x09",
        b"p\x02\x00\x09",
        b"\xc0\x00",
        b"\xa2\x0d\x00\x04\x00\x09/room/+/s",
        b"\xe0\x00",
    ],
    &[
        b"\x10P\x00\x04MQTT\x05.\x00<\x19\x11\x00\x00\x00d!\x00\x10'\x00\x00@\x00\"\x00\x08\x17\x00&\x00\x01k\x00\x01v\x00\x01c\x1f\x18\x00\x00\x00\x05\x01\x01\x02\x00\x00\x00\x09\x03\x00\x01t\x08\x00\x01r\x09\x00\x01\x01&\x00\x01k\x00\x01v\x00\x01w\x00\x04gone",
        b"\x82\x12\x00\x01\x09\x0b\x07&\x00\x01k\x00\x01v\x00\x03a/#-",
        b"26\x00\x03a/b\x00\x02,#\x00\x01\x01\x01\x02\x00\x00\x00<\x03\x00\x10application/json\x08\x00\x01r\x09\x00\x01\x01&\x00\x01k\x00\x01v{}",
        b"4\x09\x00\x00\x00\x03\x03#\x00\x01x",
        b"b\x02\x00\x03",
        b"b\x04\x00\x03\x92\x00",
        b"@\x03\x00\x09\x10",
        b"P\x0a\x00\x09\x97\x06\x1f\x00\x03why",
        b"p\x02\x00\x09",
        b"\xc0\x00",
        b"\xa2\x0f\x00\x04\x07&\x00\x01k\x00\x01v\x00\x03a/#",
        b"\xe0\x0e\x04\x0c\x11\x00\x00\x00\x0a&\x00\x01k\x00\x01v",
    ],
    &[
        b"{\"client\":\"c\",\"expiry_s\":1,\"left_at_us\":null,\"will\":null,\"received\":[7],\"last_id\":0,\"subscriptions\":[],\"sent\":[],\"waiting\":[],\"behind\":[[{\"Readings\":[1,0]},5],[\"Alarms\",0]]}",
    ],
];

/// Requests of Kafka's wire as clients send them, without their lengths.
const REQUESTS: [&[u8]; 9] = [
    b"\0\x12\0\x03\0\0\0\x01\0\x01c\0\x05rust\x021\0",
    b"\0\x03\0\x08\0\0\0\x02\0\x01c\0\0\0\x02\0\x01s\0\x02ab\x01\0\0",
    b"\0\x01\0\x0b\0\0\0\x03\0\x01c\xff\xff\xff\xff\0\0\0\x01\0\0\0\x01\0\x10\0\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\x01\0\x01s\0\0\0\x01\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\x07\xff\xff\xff\xff\xff\xff\xff\xff\0\x10\0\0\0\0\0\x01\0\x01o\0\0\0\x01\0\0\0\0\0\0",
    b"\0\x02\0\x05\0\0\0\x04\0\x01c\xff\xff\xff\xff\0\0\0\0\x01\0\x01s\0\0\0\x01\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\0\x0b\0\x05\0\0\0\x05\0\x01c\0\x01g\0\0\x27\x10\0\0\x27\x10\0\0\xff\xff\0\x08consumer\0\0\0\x01\0\x05range\0\0\0\x02ab",
    b"\0\x0e\0\x03\0\0\0\x06\0\x01c\0\x01g\0\0\0\x01\0\x01m\xff\xff\0\0\0\x01\0\x01m\0\0\0\x02ab",
    b"\0\x08\0\x07\0\0\0\x07\0\x01c\0\x01g\0\0\0\x01\0\x01m\xff\xff\0\0\0\x01\0\x01s\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x09\xff\xff\xff\xff\0\0",
    b"\0\x16\0\x04\0\0\0\x08\0\x01c\0\0\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0",
    b"\0\x20\0\x03\0\0\0\x09\0\x01c\0\0\0\x01\x02\0\x01s\0\0\0\x01\0\x01k\0\0",
];

/// Records of a batch: one with a key, a value and a header, one without.
const RECORDS: &[u8] = b"\x1a\0\0\0\x02k\x04{}\x02\x02h\x02v\x0c\0\0\x02\x01\x01\0";

/// A batch of records that are compressed like that.
fn batch(codec: u8, records: &[u8]) -> Vec<u8> {
    let mut batch = vec![0; 61];
    let length = i32::try_from(49 + records.len()).expect("short");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    (batch[16], batch[22], batch[26], batch[60]) = (2, codec, 1, 2);
    batch.extend_from_slice(records);
    batch
}

/// Records, not compressed and compressed by snappy in its literal form, as Java frames it and bare.
fn batches() -> Vec<Vec<u8>> {
    let length = u8::try_from(RECORDS.len()).expect("short");
    let bare = [&[length, (length - 1) << 2], RECORDS].concat();
    let framed = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0"[..], &[length + 2], &bare].concat();
    vec![batch(0, RECORDS), batch(2, &bare), batch(2, &framed)]
}

/// A stream with a field of each type.
/// # Panics
/// Never: the declaration is one.
pub fn sensors() -> StreamDefinition {
    let columns = [
        ("value", ColumnType::Double),
        ("n", ColumnType::Bigint),
        ("ok", ColumnType::Boolean),
        ("label", ColumnType::Text),
        ("at", ColumnType::Timestamp),
    ];
    let column =
        |(name, column_type): (&str, _)| Column { name: name.to_owned(), column_type, unit: None };
    let template = TopicTemplate::parse("/room/{room}/s").expect("a template");
    let columns = columns.map(column).to_vec();
    StreamDefinition::new("sensors", columns, template, StreamOptions::default()).expect("a stream")
}

/// The seeds of a target.
/// # Panics
/// If there is no such target.
pub fn of(target: &str) -> Vec<Vec<u8>> {
    let open = used(segment(3));
    let sealed = segment(12);
    let chosen = |choice: u8, bytes: &[u8]| [&[choice], bytes].concat();
    let texts = |texts: &[&str]| texts.iter().map(|t| t.as_bytes().to_vec()).collect();
    match target {
        "frame" => data_frames(&open),
        "segment" => {
            let mut torn = open.clone();
            torn.truncate(open.len() * 2 / 3);
            let each = [&open, &torn, &sealed];
            each.iter().flat_map(|bytes| (0..3).map(|n| chosen(n, bytes))).collect()
        }
        "seal" => vec![sealed],
        "catalog" => vec![stream_value(&sensors()), vec![0; 21], vec![1; 21]],
        "json" => texts(&READINGS),
        "cloudevents" => texts(&EVENTS),
        "arrow" => vec![arrow_stream()],
        "mqtt" => CONNECTIONS.iter().map(|packets| chosen(3, &packets.concat())).collect(),
        "kafka" => {
            let produce = {
                let batch = batch(0, RECORDS);
                let head = b"\0\0\0\x08\0\0\0\x0a\0\x01c\xff\xff\xff\xff\0\0\x27\x10\0\0\0\x01\0\x01s\0\0\0\x01\0\0\0\0\0\0\0";
                let length = u8::try_from(batch.len()).expect("short");
                [&head[..], &[length], &batch].concat()
            };
            let requests = REQUESTS.iter().copied().chain([&produce[..]]);
            let requests = requests.map(|request| chosen(0, request));
            requests.chain(batches().iter().map(|batch| chosen(200, batch))).collect()
        }
        other => panic!("no target {other}"),
    }
}
