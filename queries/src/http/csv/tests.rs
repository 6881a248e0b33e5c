use super::*;
use arrow::datatypes::TimeUnit;
use arrow::util::pretty::pretty_format_batches;

/// `CREATE TABLE limits (room TEXT, ppm DOUBLE NOT NULL, floor BIGINT, night BOOLEAN, since
/// TIMESTAMP, PRIMARY KEY (room))`
fn limits() -> TableDefinition {
    let schema = Schema::new(vec![
        Field::new("room", DataType::Utf8, true),
        Field::new("ppm", DataType::Float64, false),
        Field::new("floor", DataType::Int64, true),
        Field::new("night", DataType::Boolean, true),
        Field::new("since", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]);
    TableDefinition::new("limits", Arc::new(schema), vec!["room".to_owned()], "").unwrap()
}

#[test]
fn columns_are_found_by_name_and_empty_fields_are_null() {
    let body = "\u{feff}ppm,room,since,night,floor\r\n\
        1000,\"4, left\",2026-03-02T01:00:00+01:00,true,-3\r\n\r\n800.5,5,,,";
    let rows = rows(&limits(), body.as_bytes()).unwrap();
    let expected = "
+--------+---------+----------------------+-------+-------+
| ppm    | room    | since                | night | floor |
+--------+---------+----------------------+-------+-------+
| 1000.0 | 4, left | 2026-03-02T00:00:00Z | true  | -3    |
| 800.5  | 5       |                      |       |       |
+--------+---------+----------------------+-------+-------+";
    assert_eq!(pretty_format_batches(&[rows]).unwrap().to_string(), expected.trim());
}

#[test]
fn a_header_alone_is_no_row() {
    for body in ["room,ppm", "room,ppm\n", "room,ppm\r\n\r\n"] {
        assert_eq!(rows(&limits(), body.as_bytes()).unwrap().num_rows(), 0, "{body:?}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_column() {
    let cases: [(&[u8], &str); 19] = [
        (b"", "no header line"),
        (b"\n\n", "such as room,ppm,floor,night,since"),
        (b"rom,ppm\n", "line 1: the table 'limits' has no column 'rom'"),
        (b"Room,ppm\n", "no column 'Room'; it has room, ppm, floor, night, since"),
        (b"room,room\n", "line 1: the column 'room' is named twice"),
        (b"r\xffom,ppm\n", "line 1: the header cannot be read"),
        (b"room,ppm\n4,1\n5,much\n6,3\n", "line 3: 'much' in the column 'ppm' is not a DOUBLE"),
        (b"room,ppm\n4,1\n\n\n5,much", "line 5: 'much'"),
        (b"room,ppm\r\n4,1\r\n\r\n5,much\r\n", "line 4: 'much'"),
        (b"room,ppm\n\"4\nleft\",1\n5,much", "line 4: 'much'"),
        (b"room,ppm\n4,1e400\n", "line 2: '1e400' in the column 'ppm' is not a DOUBLE"),
        (b"room,ppm\n4,NaN\n", "line 2: 'NaN'"),
        (b"room,ppm,floor\n4,1,1.5\n", "line 2: '1.5' in the column 'floor' is not a BIGINT"),
        (b"room,ppm,night\n4,1,yes\n", "line 2: 'yes' in the column 'night' is not a BOOLEAN"),
        (b"room,ppm,since\n4,1,soon\n", "line 2: 'soon' in the column 'since' is not a TIMESTAMP"),
        (b"room,ppm\n4,1\n5\n", "line 3: the row has not the 2 fields of the header"),
        (b"room,ppm\n4,1\n5,2,3", "line 3: the row has not the 2 fields"),
        (b"room,ppm\n4,1\n\xff,2\n", "line 3: the row is not UTF-8"),
        (b"room,ppm\n4,1\n,2\n", "line 3: the column 'room' is empty and may not be NULL"),
    ];
    for (body, words) in cases {
        let error = rows(&limits(), body).unwrap_err().to_string();
        assert!(error.contains(words), "{}: {error}", String::from_utf8_lossy(body));
    }
}

#[test]
fn the_line_is_found_in_a_long_file_too() {
    let mut body = "room,ppm\n".to_owned();
    (2..10_000).for_each(|line| body.push_str(&format!("{line},{line}\n")));
    body.push_str("10000,,\n");
    let error = rows(&limits(), body.as_bytes()).unwrap_err();
    assert_eq!(error, CsvError::Width { line: 10_000, columns: 2 });
}

#[test]
fn the_header_may_name_from_when_the_rows_hold() {
    let body = "room,ppm,valid_from\n4,1000,2026-03-02\n5,900,\n";
    let rows = rows(&limits(), body.as_bytes()).unwrap();
    let expected = "
+------+--------+----------------------+
| room | ppm    | valid_from           |
+------+--------+----------------------+
| 4    | 1000.0 | 2026-03-02T00:00:00Z |
| 5    | 900.0  |                      |
+------+--------+----------------------+";
    assert_eq!(pretty_format_batches(&[rows]).unwrap().to_string(), expected.trim());
}
