use super::super::testing::{NOW, options, refusals, sensors, shown, streams};
use super::*;

const A: &str = r#"{"topic":"/room/1/s","time":1,"n":1}"#;
const B: &str = r#"{"topic":"/room/2/s","time":2,"n":2}"#;
const JSON: Option<&str> = Some("application/json; charset=utf-8");
const LINES: Option<&str> = Some("application/x-ndjson");

fn decode(
    content_type: Option<&str>,
    body: &[u8],
) -> Result<(Vec<String>, Vec<String>), BodyError> {
    let streams = streams(vec![sensors(options())]);
    let decoded = decode_body(&streams, content_type, body, NOW)?;
    Ok((shown(&decoded), refusals(&decoded)))
}

/// The indexes taken, and index and code of each refusal.
#[track_caller]
fn check(content_type: Option<&str>, body: &str, taken: &[u32], refused: &[&str]) {
    let (rows, refusals) = decode(content_type, body.as_bytes()).expect(body);
    let index = |row: &String| row.split(':').next().and_then(|i| i.parse::<u32>().ok());
    assert_eq!(rows.iter().filter_map(index).collect::<Vec<_>>(), taken, "{body}");
    let code = |r: &String| r.split(':').next().map(str::to_owned);
    assert_eq!(refusals.iter().filter_map(code).collect::<Vec<_>>(), refused, "{body}");
}

#[test]
fn an_object_an_array_and_lines_are_taken() {
    check(JSON, A, &[0], &[]);
    check(JSON, &format!(" [ {A} , {B} ] "), &[0, 1], &[]);
    check(JSON, "[]", &[], &[]);
    check(LINES, &format!("{A}\n{B}"), &[0, 1], &[]);
    check(LINES, &format!("{A}\r\n\n{B}\r\n"), &[0, 2], &[]);
    check(LINES, &format!("\u{feff}{A}\n"), &[0], &[]);
}

#[test]
fn without_a_content_type_the_first_byte_tells() {
    let form = Some("application/x-www-form-urlencoded");
    for unnamed in [None, form] {
        check(unnamed, A, &[0], &[]);
        check(unnamed, &A.replace(',', ",\n"), &[0], &[]);
        check(unnamed, &format!("{A}\n{B}\n"), &[0, 1], &[]);
        check(unnamed, &format!("[{A},{B}]"), &[0, 1], &[]);
        assert_eq!(decode(unnamed, b"topic=x"), Err(BodyError::Unrecognised));
    }
}

#[test]
fn lines_are_refused_one_by_one() {
    check(
        LINES,
        &format!("{A}\n{{\n{B}\n[1]\n{}", &A[..20]),
        &[0, 2],
        &["1 json", "3 not_an_object", "4 json"],
    );
    let mut body = format!("{A}\n").into_bytes();
    body.extend_from_slice(b"{\"topic\":\"\xc3\x28\"}\n");
    body.extend_from_slice(B.as_bytes());
    let (rows, refused) = decode(LINES, &body).expect("lines");
    assert_eq!((rows.len(), refused.len()), (2, 1));
    assert!(refused[0].starts_with("1 utf8: not valid UTF-8 at byte 10"), "{refused:?}");
}

#[test]
fn elements_of_an_array_are_refused_one_by_one() {
    let bad = A.replace("\"n\":1", "\"n\":\"\"");
    check(
        JSON,
        &format!("[{A},{bad},5,{B},{{}}]"),
        &[0, 3],
        &["1 wrong_type", "2 not_an_object", "4 missing_topic"],
    );
}

#[test]
fn a_document_that_breaks_off_is_refused_as_a_whole() {
    check(JSON, &format!("[{A},{B}"), &[], &["2 json"]);
    check(JSON, &format!("[{A},{{\"topic\":"), &[], &["1 json"]);
    check(JSON, &format!("[{A} {B}]"), &[], &["1 json"]);
    check(JSON, &format!("[{A},]"), &[], &["1 json"]);
    check(JSON, &format!("{A}\n{B}"), &[], &["1 json"]);
    check(JSON, &format!("[{A},{}", "[".repeat(10_000)), &[], &["1 too_deep"]);
    let (_, refused) = decode(JSON, format!("[{A}").as_bytes()).expect("rows");
    assert!(refused[0].contains("nothing of this document was taken"), "{refused:?}");
}

#[test]
fn what_is_no_body_of_readings_is_refused() {
    for empty in ["", " \n\t "] {
        assert_eq!(decode(None, empty.as_bytes()), Err(BodyError::Empty));
        assert_eq!(decode(LINES, empty.as_bytes()), Err(BodyError::Empty));
    }
    let xml = decode(Some("application/xml"), b"<a/>");
    assert_eq!(xml, Err(BodyError::ContentType("application/xml".to_owned())));
}

#[test]
fn a_body_that_becomes_much_larger_is_refused() {
    let many = "1\n".repeat(400_000);
    assert_eq!(decode(LINES, many.as_bytes()), Err(BodyError::Expands));
}

#[test]
fn a_large_group_is_cut_into_appends_that_fit_a_frame() {
    let streams = streams(vec![sensors(options())]);
    let row =
        format!("{{\"topic\":\"/room/1/s\",\"time\":1,\"label\":\"{}\"}}\n", "x".repeat(1000));
    let body = row.repeat(10_000);
    let decoded = decode_body(&streams, LINES, body.as_bytes(), NOW).expect("rows");
    assert_eq!(decoded.accepted(), 10_000);
    assert!(decoded.rows.len() >= 3);
    for rows in &decoded.rows {
        assert!(rows.batch.get_array_memory_size() < crate::model::Limits::FRAME_BODY_BYTES_MAX);
    }
    let indexes: Vec<u32> = decoded.rows.iter().flat_map(|r| r.indexes.clone()).collect();
    assert!(indexes.is_sorted());
}
