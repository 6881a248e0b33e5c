use super::{TableChange, TableDefinition, TableError, TableFold};
use arrow::array::{
    ArrayRef, AsArray, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use arrow::util::pretty::pretty_format_batches;
use std::sync::Arc;
use weir_ingest::model::{AppendTime, EventTime};

fn definition(key: &[&str]) -> Arc<TableDefinition> {
    let schema = Schema::new(vec![
        Field::new("room", DataType::Utf8, false),
        Field::new("ppm", DataType::Float64, true),
    ]);
    let key = key.iter().map(ToString::to_string).collect();
    let text = "CREATE TABLE thresholds (room TEXT NOT NULL, ppm DOUBLE)";
    Arc::new(TableDefinition::new("thresholds", Arc::new(schema), key, text).unwrap())
}

fn values(rooms: &[&str], ppm: &[Option<&str>]) -> RecordBatch {
    let rooms: ArrayRef = Arc::new(StringArray::from(rooms.to_vec()));
    let ppm: ArrayRef = Arc::new(StringArray::from(ppm.to_vec()));
    RecordBatch::try_from_iter_with_nullable([("column1", rooms, true), ("column2", ppm, true)])
        .unwrap()
}

fn fold(changes: &[TableChange]) -> TableFold {
    let mut fold = TableFold::new();
    for (at, change) in (1i64..).zip(changes) {
        fold.apply(&change.encode(AppendTime(at))).unwrap();
    }
    fold
}

fn insert(definition: &TableDefinition, rooms: &[&str], ppm: &[Option<&str>]) -> TableChange {
    let rows = definition.rows(&[], &values(rooms, ppm)).unwrap();
    TableChange::Insert { table: "thresholds".to_owned(), rows }
}

fn now(fold: &TableFold) -> RecordBatch {
    fold.get("thresholds").unwrap().at(EventTime(i64::MAX - 1)).unwrap()
}

/// An INSERT of one row that holds from then; NULL: from when it is written down.
fn dated(room: &str, ppm: &str, valid_from: Option<i64>) -> TableChange {
    let definition = definition(&[]);
    let plain = values(&[room], &[Some(ppm)]);
    let dates: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![valid_from]));
    let mut columns: Vec<(&str, ArrayRef)> =
        vec![("a", Arc::clone(plain.column(0))), ("b", Arc::clone(plain.column(1)))];
    columns.insert(1, ("c", dates));
    let source = RecordBatch::try_from_iter(columns).unwrap();
    let names = ["room", "valid_from", "ppm"].map(str::to_owned);
    let rows = definition.rows(&names, &source).unwrap();
    TableChange::Insert { table: "thresholds".to_owned(), rows }
}

/// The limits of one room as readings of these times see them.
fn seen(changes: &[TableChange], times: &[i64]) -> Vec<Vec<f64>> {
    let table = Arc::clone(fold(changes).get("thresholds").unwrap());
    let limits = |time: &i64| {
        let rows = table.at(EventTime(*time)).unwrap();
        rows.column(1).as_primitive::<Float64Type>().values().to_vec()
    };
    times.iter().map(limits).collect()
}

#[test]
fn a_reading_sees_the_version_with_the_largest_valid_from_up_to_its_event_time() {
    let create = TableChange::Create(definition(&["room"]));
    let changes = [
        create,
        dated("a", "1000", None),
        dated("a", "900", Some(50)),
        dated("a", "800", Some(10)),
    ];
    // The first was appended at 2.
    let expected = [vec![], vec![1000.0], vec![800.0], vec![800.0], vec![900.0]];
    assert_eq!(seen(&changes, &[1, 2, 10, 49, 50]), expected);
}

#[test]
fn of_rows_that_hold_from_the_same_time_the_one_inserted_last_counts() {
    let create = TableChange::Create(definition(&["room"]));
    let changes = [create, dated("a", "1000", Some(7)), dated("a", "900", Some(7))];
    assert_eq!(seen(&changes, &[6, 7]), [vec![], vec![900.0]]);
}

#[test]
fn without_a_primary_key_rows_are_added_from_their_valid_from_on() {
    let create = TableChange::Create(definition(&[]));
    let changes = [create, dated("a", "1000", Some(20)), dated("a", "900", Some(10))];
    assert_eq!(seen(&changes, &[9, 10, 20]), [vec![], vec![900.0], vec![900.0, 1000.0]]);
}

#[test]
fn an_insert_adds_rows_where_there_is_no_primary_key() {
    let definition = definition(&[]);
    let first = insert(&definition, &["3J/4"], &[Some("1000")]);
    let fold = fold(&[TableChange::Create(definition), first.clone(), first]);
    assert_eq!(now(&fold).num_rows(), 2);
}

#[test]
fn an_insert_replaces_the_row_of_the_same_primary_key_in_its_place() {
    let definition = definition(&["room"]);
    let first = insert(&definition, &["3J/4", "3J/5"], &[Some("1000"), Some("900")]);
    let second = insert(&definition, &["3J/6", "3J/4"], &[None, Some("800")]);
    let fold = fold(&[TableChange::Create(definition), first, second]);
    let table = fold.get("thresholds").unwrap();
    let text = pretty_format_batches(&[now(&fold)]).unwrap().to_string();
    let expected = "\
+------+-------+
| room | ppm   |
+------+-------+
| 3J/4 | 800.0 |
| 3J/5 | 900.0 |
| 3J/6 |       |
+------+-------+";
    assert_eq!(text, expected);
    assert_eq!((table.version, table.changed_at), (3, AppendTime(3)));
}

#[test]
fn the_definition_survives_the_log() {
    let definition = definition(&["room"]);
    let fold = fold(&[TableChange::Create(Arc::clone(&definition))]);
    assert_eq!(fold.get("thresholds").unwrap().definition, definition);
}

#[test]
fn a_dropped_table_is_gone_and_its_name_is_free() {
    let definition = definition(&[]);
    let create = TableChange::Create(definition);
    let dropped = TableChange::Drop("thresholds".to_owned());
    assert!(fold(&[create.clone(), dropped.clone()]).get("thresholds").is_none());
    assert!(fold(&[create.clone(), dropped, create]).get("thresholds").is_some());
}

#[test]
fn columns_named_in_an_insert_may_stand_in_another_order() {
    let definition = definition(&[]);
    let columns = ["ppm".to_owned(), "room".to_owned()];
    let rows = definition.rows(&columns, &values(&["700"], &[Some("3J/4")])).unwrap();
    let ppm: ArrayRef = Arc::new(Float64Array::from(vec![700.0]));
    assert_eq!(rows.rows.column(1), &ppm);
}

#[test]
fn an_insert_that_does_not_fit_says_why() {
    let definition = definition(&["room"]);
    let refused = |columns: &[&str], batch: &RecordBatch| {
        let columns: Vec<String> = columns.iter().map(ToString::to_string).collect();
        definition.rows(&columns, batch).unwrap_err()
    };
    let good = values(&["3J/4"], &[Some("1")]);
    let bad = values(&["3J/4"], &[Some("much")]);
    assert!(matches!(refused(&[], &bad), TableError::WrongValue { column, .. } if column == "ppm"));
    assert!(matches!(refused(&["room"], &good), TableError::WrongWidth { .. }));
    assert!(matches!(refused(&["room", "co2"], &good), TableError::UnknownColumn { .. }));
    assert!(matches!(refused(&["room", "room"], &good), TableError::ColumnTwice(_)));
    let only_ppm = good.project(&[1]).unwrap();
    assert!(
        matches!(refused(&["ppm"], &only_ppm), TableError::Null { column, .. } if column == "room")
    );
}
