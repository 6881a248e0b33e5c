use super::*;
use crate::log::EntryBody;
use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema};

fn rows(values: std::ops::Range<i64>) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("value", DataType::Int64, false)]));
    let column = Int64Array::from_iter_values(values);
    RecordBatch::try_new(schema, vec![Arc::new(column)]).unwrap()
}

fn count(partition: &Arc<Partition>) -> usize {
    let mut reader = partition.reader(Offset(0));
    let mut rows = 0;
    while let Some(entry) = reader.next().unwrap() {
        if let EntryBody::Rows(batch) = entry.body {
            rows += batch.num_rows();
        }
    }
    rows
}

#[test]
fn a_partition_by_itself_is_recovered_with_what_was_committed() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new(3));
    let recoverer = Recoverer::new(disk, LogConfig::new("data")).unwrap();
    let directory = Path::new("data/probe/0");
    for round in 0..3_i64 {
        let partition = recoverer.open(directory, 7, 0).unwrap();
        assert_eq!(count(&partition), usize::try_from(round * 10).unwrap());
        let receipt = partition.append(rows(round * 10..round * 10 + 10));
        recoverer.commit(&partition);
        receipt.wait().unwrap();
    }
}

#[test]
fn a_frame_is_seen_whole_or_not_at_all() {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::new(3));
    let recoverer = Recoverer::new(Arc::clone(&disk), LogConfig::new("data")).unwrap();
    let partition = recoverer.open(Path::new("data/probe/0"), 7, 0).unwrap();
    let receipt = partition.append(rows(0..10));
    recoverer.commit(&partition);
    receipt.wait().unwrap();
    let path = partition.with_published(|p| Arc::clone(&p.segments[0].path));
    let mut bytes = vec![0; 4096];
    disk.open(&path, crate::io::Open::Read).unwrap().pread(&mut bytes, 0).unwrap();
    let schema = rows(0..0).schema();
    assert_eq!(frame(&bytes, &schema), Seen::Schema(Arc::clone(&schema)));
    let first = Header::decode(&bytes).unwrap().frame_bytes();
    let second = &mut bytes[usize::try_from(first).unwrap()..];
    assert_eq!(frame(second, &schema), Seen::Rows(rows(0..10)));
    second[HEADER_BYTES + 8] ^= 1;
    assert_eq!(frame(second, &schema), Seen::Nothing);
}

#[test]
fn values_of_the_catalog_are_told_from_other_bytes() {
    assert_eq!(catalog_value(&[0; 21]), 1, "a recovery point");
    let sensors = crate::model::TopicTemplate::parse("/room/{room}").unwrap();
    let column = crate::model::Column {
        name: "value".to_owned(),
        column_type: crate::model::ColumnType::Double,
        unit: None,
    };
    let options = crate::model::StreamOptions::default();
    let sensors = StreamDefinition::new("sensors", vec![column], sensors, options).unwrap();
    assert_eq!(catalog_value(&stream_value(&sensors)), 1, "a stream");
    assert_eq!(catalog_value(b"{}"), 0);
}
