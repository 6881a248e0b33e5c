//! The targets, one for each thing that reads bytes. Each takes any bytes at all.

use crate::bounded::bounded;
use crate::disk::{FILE_BYTES_MAX, MemoryDisk};
use crate::{mend, seeds};
use std::cell::{Cell, OnceCell};
use std::path::Path;
use std::sync::{Arc, Once, OnceLock};
use weir_ingest::decode::{decode_body, decode_events};
use weir_ingest::doors::kafka::probe as kafka_probe;
use weir_ingest::doors::mqtt::probe as mqtt_probe;
use weir_ingest::io::{Disk, Open, SimulatedClock, SimulatedDisk};
use weir_ingest::log::probe::{self, Recoverer, Told};
use weir_ingest::log::{EntryBody, Log, LogConfig, Partition, PartitionState};
use weir_ingest::model::{AppendTime, Limits, Offset};

/// Bytes a target may hold beside twice its input: windows of a file, tables that start at a size.
const CONSTANT: usize = 1024 * 1024;
/// Bytes of a body: a row or a refusal takes hundreds of bytes for the two it came with, which the
/// doors bound by `DECODED_BYTES_MAX`; so many of them stay within the constant.
const BODY_BYTES_MAX: usize = 4 * 1024;
/// 2026-01-31T12:00:00Z.
const NOW: AppendTime = AppendTime(1_769_860_800_000_000);

/// The name of each target and the function.
pub const ALL: [(&str, fn(&[u8])); 9] = [
    ("frame", frame),
    ("segment", segment),
    ("seal", seal),
    ("catalog", catalog),
    ("json", json),
    ("cloudevents", cloudevents),
    ("arrow", arrow),
    ("mqtt", mqtt),
    ("kafka", kafka),
];

/// Runs a target. A panic that is caught inside it (Arrow asserts some of what a message says) is none;
/// one that comes out is told and goes on.
/// # Panics
/// If the target does.
pub fn run(target: fn(&[u8]), bytes: &[u8]) {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        std::panic::set_hook(Box::new(|panic| LAST.set(panic.to_string())));
    });
    if let Err(panic) = std::panic::catch_unwind(|| target(bytes)) {
        eprintln!("{}", LAST.take());
        std::panic::resume_unwind(panic);
    }
}

thread_local! {
    static LAST: Cell<String> = const { Cell::new(String::new()) };
}

/// A frame, as it is and with its checksums made right.
pub fn frame(bytes: &[u8]) {
    let schema = seeds::schema();
    let mut mended = bytes.to_vec();
    mend::frame(&mut mended);
    bounded(bytes.len(), CONSTANT, || {
        drop(probe::frame(bytes, &schema));
        drop(probe::frame(&mended, &schema));
    });
}

/// Partitions that the catalog says different things of.
const PARTITIONS: [(u64, Told); 3] =
    [(7, Told::Nothing), (8, Told::Killed(2048)), (9, Told::Stopped(2048))];

struct Place {
    disk: Arc<MemoryDisk>,
    recoverer: Recoverer,
}

impl Place {
    fn new() -> Self {
        let disk = Arc::new(MemoryDisk::new());
        let shared: Arc<dyn Disk> = Arc::<MemoryDisk>::clone(&disk);
        let recoverer = Recoverer::new(shared, seeds::config()).expect("a catalog");
        for (uid, told) in PARTITIONS {
            recoverer.tell(uid, told).expect("a catalog");
        }
        Self { disk, recoverer }
    }
}

thread_local! {
    static PLACE: OnceCell<Place> = const { OnceCell::new() };
}

/// A segment in a partition's directory: recovered, read, written on, recovered again. The first byte
/// says what the catalog knows and whether checksums are made right.
pub fn segment(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    if bytes.len() > FILE_BYTES_MAX / 2 {
        return;
    }
    let (uid, _) = PARTITIONS[usize::from(*choice) % PARTITIONS.len()];
    let mut bytes = bytes.to_vec();
    if *choice < 128 {
        mend::segment(&mut bytes, uid);
    }
    PLACE.with(|place| {
        let Place { disk, recoverer } = place.get_or_init(Place::new);
        disk.clear();
        disk.put(&Path::new(seeds::DIRECTORY).join(seeds::FIRST), &bytes);
        let open = || recoverer.open(Path::new(seeds::DIRECTORY), uid, seeds::SERIES);
        bounded(bytes.len(), 4 * CONSTANT, || {
            let Ok(partition) = open() else { return };
            let rows = read(&partition);
            // A recovery point stands where a frame ends; the others' may stand anywhere here.
            if partition.state() != PartitionState::Ready || uid != seeds::UID {
                return;
            }
            let receipt = partition.append(seeds::rows(0..3));
            recoverer.commit(&partition);
            let appended = receipt.wait().is_ok();
            drop(partition);
            let again = open().expect("what recovery made of it is a partition");
            assert_eq!(again.state(), PartitionState::Ready, "and not a damaged one");
            assert_eq!(read(&again), rows + if appended { 3 } else { 0 }, "with the same rows");
        });
    });
}

/// All that can be read of a partition.
fn read(partition: &Arc<Partition>) -> usize {
    let mut reader = partition.reader(Offset(0));
    let mut rows = 0;
    while let Ok(Some(entry)) = reader.next() {
        if let EntryBody::Rows(batch) = entry.body {
            rows += batch.num_rows();
        }
    }
    rows
}

/// The end of a closed segment, as it is and with its checksums made right.
pub fn seal(bytes: &[u8]) {
    if bytes.len() > FILE_BYTES_MAX {
        return;
    }
    let mut mended = bytes.to_vec();
    mend::seal(&mut mended, seeds::UID);
    PLACE.with(|place| {
        let Place { disk, .. } = place.get_or_init(Place::new);
        for bytes in [bytes, &mended] {
            disk.clear();
            disk.put(Path::new("seal"), bytes);
            let file = disk.open(Path::new("seal"), Open::Read).expect("just put");
            bounded(bytes.len(), CONSTANT, || drop(probe::seal(file.as_ref(), seeds::UID)));
        }
    });
}

/// A value of the catalog.
pub fn catalog(bytes: &[u8]) {
    bounded(bytes.len(), CONSTANT, || probe::catalog_value(bytes));
}

/// A log with a stream that has a field of each type; it takes few series.
fn log() -> &'static Log {
    static LOG: OnceLock<Arc<Log>> = OnceLock::new();
    LOG.get_or_init(|| {
        let (disk, clock) = (Arc::new(SimulatedDisk::new(1)), SimulatedClock::at(NOW.0));
        let limits = Limits { series_max: 100, ..Limits::default() };
        let config = LogConfig { limits, ..LogConfig::new("data") };
        let log = Log::open_manual(disk, Arc::new(clock), config).expect("a log");
        log.create_stream(seeds::sensors()).expect("a stream");
        log
    })
}

/// A body of JSON readings. The first byte says what it is said to be.
pub fn json(bytes: &[u8]) {
    let kinds = [None, Some("application/json"), Some("application/x-ndjson")];
    let Some((choice, body)) = bytes.split_first() else { return };
    if body.len() > BODY_BYTES_MAX {
        return;
    }
    let kind = kinds[usize::from(*choice) % kinds.len()];
    let streams = log().streams();
    bounded(body.len(), CONSTANT, || drop(decode_body(streams, kind, body, NOW)));
}

/// A CloudEvent, structured, in a batch or binary with the body's first line as its attributes.
pub fn cloudevents(bytes: &[u8]) {
    let kinds =
        ["application/cloudevents+json", "application/cloudevents-batch+json", "application/json"];
    let Some((choice, body)) = bytes.split_first() else { return };
    if body.len() > BODY_BYTES_MAX {
        return;
    }
    let kind = kinds[usize::from(*choice) % kinds.len()];
    let (head, data) = match body.iter().position(|b| *b == b'\n') {
        Some(end) => (&body[..end], &body[end + 1..]),
        None => (body, body),
    };
    let attributes: Vec<(&[u8], &[u8])> = head
        .split(|b| *b == b';')
        .filter_map(|pair| Some(pair.split_at(pair.iter().position(|b| *b == b'=')?)))
        .map(|(name, value)| (name, &value[1..]))
        .collect();
    let attribute = |name: &str| {
        attributes.iter().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| *value)
    };
    let body = if kind == "application/json" { data } else { body };
    let streams = log().streams();
    bounded(body.len(), CONSTANT, || {
        drop(decode_events(streams, Some(kind), attribute, body, NOW));
    });
}

/// An Arrow IPC stream, as a door takes it.
pub fn arrow(bytes: &[u8]) {
    if bytes.len() > BODY_BYTES_MAX {
        return;
    }
    let kind = Some("application/vnd.apache.arrow.stream");
    let streams = log().streams();
    bounded(bytes.len(), CONSTANT, || drop(decode_body(streams, kind, bytes, NOW)));
}

/// Bytes of an MQTT connection, in pieces and whole, and as a session in the catalog. The first byte says
/// how large the pieces are.
pub fn mqtt(bytes: &[u8]) {
    let Some((piece, bytes)) = bytes.split_first() else { return };
    // A text of a packet takes tens of bytes for the two of its length.
    let bytes = &bytes[..bytes.len().min(BODY_BYTES_MAX)];
    bounded(bytes.len(), CONSTANT, || {
        let whole = mqtt_probe::connection(bytes, bytes.len());
        assert_eq!(mqtt_probe::connection(bytes, usize::from(*piece)), whole, "pieces are nothing");
        mqtt_probe::kept(bytes);
    });
}

/// A request of Kafka's wire without its length, or a batch of records, its checksum made right. The first
/// byte says which.
pub fn kafka(bytes: &[u8]) {
    let Some((which, bytes)) = bytes.split_first() else { return };
    // An element of a request takes hundreds of bytes for the few it came with.
    let bytes = &bytes[..bytes.len().min(BODY_BYTES_MAX)];
    bounded(bytes.len(), CONSTANT, || {
        if *which < 128 {
            kafka_probe::request(bytes);
        } else {
            kafka_probe::records(bytes);
        }
    });
}
