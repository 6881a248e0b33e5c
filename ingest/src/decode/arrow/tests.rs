use super::super::testing::{NOW, Registry, options, refusals, sensors, shown, streams};
use super::super::{BodyError, decode_body};
use crate::model::{StreamOptions, UnknownFields};
use arrow::array::*;
use arrow::datatypes::Int8Type;
use arrow::ipc::writer::StreamWriter;
use std::sync::{Arc, LazyLock};

const STREAM: Option<&str> = Some("application/vnd.apache.arrow.stream");
const TIME: i64 = 1_769_857_200_000; // 2026-01-31T11:00:00Z in ms

/// One log for the many cases of a table.
static SHARED: LazyLock<Registry> = LazyLock::new(|| streams(vec![sensors(options())]));

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).expect("a batch")
}

fn stream_of(batches: &[RecordBatch]) -> Vec<u8> {
    let schema = batches[0].schema();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).expect("a writer");
    for batch in batches {
        writer.write(batch).expect("written");
    }
    writer.finish().expect("finished");
    writer.into_inner().expect("bytes")
}

fn decode(registry: &Registry, body: &[u8]) -> Result<(Vec<String>, Vec<String>), BodyError> {
    let decoded = decode_body(registry, STREAM, body, NOW)?;
    Ok((shown(&decoded), refusals(&decoded)))
}

fn topics(rows: usize) -> ArrayRef {
    Arc::new(StringArray::from(vec!["/room/1/s"; rows]))
}

fn times(rows: usize) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(vec![TIME; rows]))
}

/// One column beside topic and time: what is stored of it, and which rows are refused how.
#[track_caller]
fn check(name: &str, column: ArrayRef, stored: &[&str], refused: &[&str]) {
    let rows = column.len();
    let batch = batch(vec![("topic", topics(rows)), ("time", times(rows)), (name, column)]);
    let (rows, refusals) = decode(&SHARED, &stream_of(&[batch])).expect("a stream");
    let time = "time=2026-01-31T11:00:00Z";
    let stored: Vec<String> = stored
        .iter()
        .map(|row| {
            let (index, value) = row.split_once(':').expect("index: value");
            format!("{index}: {time}{value}")
        })
        .collect();
    assert_eq!(rows, stored, "{refusals:?}");
    assert_eq!(refusals.len(), refused.len(), "{refusals:?}");
    for (refusal, expected) in refusals.iter().zip(refused) {
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[test]
fn columns_are_converted_to_the_streams_types() {
    check(
        "value",
        Arc::new(Float64Array::from(vec![Some(1.5), None])),
        &["0: value=1.5", "1:"],
        &[],
    );
    check("value", Arc::new(Float32Array::from(vec![0.5])), &["0: value=0.5"], &[]);
    check("value", Arc::new(Int32Array::from(vec![7])), &["0: value=7.0"], &[]);
    check("n", Arc::new(Int16Array::from(vec![-7])), &["0: n=-7"], &[]);
    check("ok", Arc::new(BooleanArray::from(vec![true])), &["0: ok=true"], &[]);
    check("label", Arc::new(LargeStringArray::from(vec!["x"])), &["0: label=x"], &[]);
    let dictionary: DictionaryArray<Int8Type> = [Some("a"), None, Some("b")].into_iter().collect();
    check("label", Arc::new(dictionary), &["0: label=a", "1:", "2: label=b"], &[]);
    let nanos = TimestampNanosecondArray::from(vec![1_500]).with_timezone("+02:00");
    check("at", Arc::new(nanos), &["0: at=1970-01-01T00:00:00.000001Z"], &[]);
    check("at", Arc::new(Int64Array::from(vec![60])), &["0: at=1970-01-01T00:01:00Z"], &[]);
    check("n", Arc::new(NullArray::new(1)), &["0:"], &[]);
}

#[test]
fn a_value_that_does_not_fit_refuses_its_row_alone() {
    check(
        "value",
        Arc::new(Float64Array::from(vec![f64::NAN, 1.0, f64::INFINITY])),
        &["1: value=1.0"],
        &["0 not_finite: 'value' is NaN", "2 not_finite: 'value' is inf"],
    );
    check(
        "n",
        Arc::new(UInt64Array::from(vec![1, u64::MAX])),
        &["0: n=1"],
        &["1 not_finite: 'n' is 18446744073709551615"],
    );
    check(
        "n",
        Arc::new(Float64Array::from(vec![Some(1.0), None])),
        &["1:"],
        &[
            "0 wrong_type: 'n' should be an integer (BIGINT), this is a column of the Arrow type Float64",
        ],
    );
    check("label", Arc::new(Int64Array::from(vec![1])), &[], &["wrong_type"]);
    check(
        "at",
        Arc::new(Int64Array::from(vec![-1, 0])),
        &["1: at=1970-01-01T00:00:00Z"],
        &["0 bad_time"],
    );
    check("at", Arc::new(TimestampSecondArray::from(vec![i64::MAX])), &[], &["bad_time"]);
    check("label", Arc::new(StringArray::from(vec!["x".repeat(2 << 20)])), &[], &["too_large"]);
}

#[test]
fn topics_and_times_are_judged_row_by_row() {
    let dictionary: DictionaryArray<Int8Type> =
        [Some("/room/1/s"), None, Some("/nobody"), Some("/room/+/s"), Some("/room/2/s")]
            .into_iter()
            .collect();
    let seconds = Int64Array::from(vec![Some(1), Some(1), Some(1), Some(1), Some(2)]);
    let one = batch(vec![("topic", Arc::new(dictionary)), ("time", Arc::new(seconds))]);
    let registry = streams(vec![sensors(options())]);
    let (rows, refused) = decode(&registry, &stream_of(&[one])).expect("a stream");
    assert_eq!(rows, ["0: time=1970-01-01T00:00:01Z", "4: time=1970-01-01T00:00:02Z"]);
    let codes: Vec<&str> = refused.iter().map(|r| r.split(':').next().unwrap_or(r)).collect();
    assert_eq!(codes, ["1 missing_topic", "2 no_stream", "3 topic"]);

    let micros = |t: Vec<Option<i64>>| -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(t)) };
    let times = micros(vec![None, Some(-1), Some(NOW.0 * 2), Some(1)]);
    let two = batch(vec![("topic", topics(4)), ("time", times)]);
    let (rows, refused) = decode(&registry, &stream_of(&[two])).expect("a stream");
    assert_eq!((rows.len(), refused.len()), (1, 3), "{refused:?}");
    assert!(refused[0].starts_with("0 missing_time") && refused[1].contains("before 1970"));
    assert!(refused[2].starts_with("2 future"));
    let text = batch(vec![("topic", topics(1)), ("time", topics(1))]);
    let (_, refused) = decode(&registry, &stream_of(&[text])).expect("a stream");
    assert!(refused[0].contains("this is a column of the Arrow type Utf8"), "{refused:?}");
    let none = batch(vec![("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let (_, refused) = decode(&registry, &stream_of(&[none])).expect("a stream");
    assert!(refused[0].starts_with("0 missing_topic"), "{refused:?}");
}

#[test]
fn rows_of_several_batches_are_counted_on_and_ids_are_hashed() {
    let ids: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let other: ArrayRef = Arc::new(Int64Array::from(vec![1, 1]));
    let one = batch(vec![("topic", topics(2)), ("time", times(2)), ("id", ids), ("nn", other)]);
    let registry = streams(vec![sensors(options())]);
    let (rows, _) = decode(&registry, &stream_of(&[one.clone(), one.clone()])).expect("a stream");
    let time = "time=2026-01-31T11:00:00Z";
    let expected = [
        format!("0: {time} dedupe=yes"),
        format!("1: {time}"),
        format!("2: {time} dedupe=yes"),
        format!("3: {time}"),
    ];
    assert_eq!(rows, expected);
    assert_eq!(registry.all()[0].unknown_fields().list(), [("nn".to_owned(), 4)]);
    let strict = StreamOptions { unknown_fields: UnknownFields::Refuse, ..options() };
    let (_, refused) =
        decode(&streams(vec![sensors(strict)]), &stream_of(&[one])).expect("a stream");
    assert_eq!(refused.len(), 2);
}

#[test]
fn a_stream_that_is_none_is_refused_whatever_its_lengths_say() {
    let registry = streams(vec![sensors(options())]);
    let good = stream_of(&[batch(vec![("topic", topics(9)), ("time", times(9))])]);
    let refused = |body: &[u8]| matches!(decode(&registry, body), Err(BodyError::Arrow(_)));
    for cut in 1..good.len() - 8 {
        let decoded = decode(&registry, &good[..cut]);
        // Cut between two messages it is a stream without its end marker, which is allowed.
        assert!(
            decoded.is_err() || decoded.is_ok_and(|(rows, _)| rows.is_empty() || rows.len() == 9),
            "{cut}"
        );
    }
    assert!(refused(b"ARROW1\0\0"));
    assert!(refused(&[0xff; 64]));
    assert!(refused(&[0x7f, 0xff, 0xff, 0x7f, 1, 2, 3]));
    for at in 0..good.len() {
        for value in [0, 0x7f, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            // Refused or decoded to something: never a panic, never memory by a false length.
            drop(decode(&registry, &bytes));
        }
    }
}

#[test]
fn a_dictionary_that_unfolds_too_far_is_refused() {
    let long = "x".repeat(1 << 20);
    let values: DictionaryArray<Int8Type> = std::iter::repeat_n(Some(long.as_str()), 100).collect();
    let one =
        batch(vec![("topic", topics(100)), ("time", times(100)), ("label", Arc::new(values))]);
    let registry = streams(vec![sensors(options())]);
    let (rows, refused) = decode(&registry, &stream_of(&[one])).expect("a stream");
    assert_eq!((rows.len(), refused.len()), (0, 100));
    assert!(refused[0].contains("too_large"));
}
