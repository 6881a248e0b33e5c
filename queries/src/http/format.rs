//! Answers as bytes: JSON, NDJSON, CSV, an Arrow stream.
//!
//! Promise: timestamps are RFC 3339, UTC ends in Z; all but JSON stream batch by batch. An error
//! after the first byte ends NDJSON with an error object and breaks off the others, so that half an
//! answer is never mistaken for a whole one.

use super::error;
use crate::session::{Answer, QueryError};
use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::csv;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{ArrayWriter, JsonArray, LineDelimited};
use arrow::json::{Writer, WriterBuilder};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use axum::body::Body;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use std::sync::Arc;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// One array of objects.
    #[default]
    Json,
    /// One object a line.
    Ndjson,
    /// With a header line.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
        }
    }

    /// The first type in `Accept` that is served; JSON when nothing is asked for; `None` when
    /// something else is.
    pub fn of_accept(headers: &HeaderMap) -> Option<Self> {
        let Some(accept) = headers.get(header::ACCEPT) else { return Some(Self::default()) };
        let accept = accept.to_str().ok()?;
        accept.split(',').find_map(|range| {
            let essence = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            match essence.as_str() {
                "*/*" | "application/*" | "application/json" | "" => Some(Self::Json),
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                    Some(Self::Ndjson)
                }
                "text/csv" | "text/*" => Some(Self::Csv),
                "application/vnd.apache.arrow.stream" => Some(Self::Arrow),
                _ => None,
            }
        })
    }

    /// The answer as a response. Waits for the first rows, so that most errors keep their status.
    pub(crate) async fn respond(
        self,
        answer: Answer,
        rows_max: usize,
    ) -> Result<Response, QueryError> {
        let body = match self {
            Self::Json => {
                let batches = answer.collect(rows_max).await?;
                Body::from(json_array(&batches)?)
            }
            streamed => streamed.stream(answer).await?,
        };
        Ok(([(header::CONTENT_TYPE, self.content_type())], body).into_response())
    }

    async fn stream(self, mut answer: Answer) -> Result<Body, QueryError> {
        let mut encoder = Encoder::new(self, answer.schema())?;
        let mut first = encoder.start()?;
        let open = match answer.next().await {
            Some(batch) => {
                first.extend(encoder.batch(&batch?)?);
                Some((answer, encoder))
            }
            None => {
                first.extend(encoder.finish()?);
                None
            }
        };
        let rest = stream::unfold(open, next_piece);
        let first = stream::iter([Ok::<_, QueryError>(Bytes::from(first))]);
        Ok(Body::from_stream(futures::StreamExt::chain(first, rest)))
    }
}

type Open = Option<(Answer, Encoder)>;

async fn next_piece(open: Open) -> Option<(Result<Bytes, QueryError>, Open)> {
    let (mut answer, mut encoder) = open?;
    let written = match answer.next().await {
        Some(Ok(batch)) => encoder.batch(&batch),
        Some(Err(error)) => return Some((encoder.broken(error), None)),
        None => return Some((encoder.finish().map(Bytes::from), None)),
    };
    match written {
        Ok(bytes) => Some((Ok(Bytes::from(bytes)), Some((answer, encoder)))),
        Err(error) => Some((encoder.broken(error), None)),
    }
}

/// Writes batches in one streaming format.
enum Encoder {
    Ndjson,
    Csv(SchemaRef),
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    fn new(format: Format, schema: &SchemaRef) -> Result<Self, QueryError> {
        Ok(match format {
            Format::Json | Format::Ndjson => Self::Ndjson,
            Format::Csv => Self::Csv(Arc::clone(schema)),
            Format::Arrow => {
                Self::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema).map_err(failed)?))
            }
        })
    }

    fn start(&mut self) -> Result<Vec<u8>, QueryError> {
        match self {
            Self::Ndjson => Ok(Vec::new()),
            Self::Csv(schema) => {
                csv_bytes(&RecordBatch::new_empty(Arc::clone(schema)), Header::Written)
            }
            Self::Arrow(writer) => Ok(std::mem::take(writer.get_mut())),
        }
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, QueryError> {
        match self {
            Self::Ndjson => ndjson(batch),
            Self::Csv(_) => csv_bytes(batch, Header::Left),
            Self::Arrow(writer) => {
                writer.write(batch).map_err(failed)?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }

    fn finish(&mut self) -> Result<Vec<u8>, QueryError> {
        match self {
            Self::Ndjson | Self::Csv(_) => Ok(Vec::new()),
            Self::Arrow(writer) => {
                writer.finish().map_err(failed)?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }

    /// What tells the client that the answer stops short of its end.
    fn broken(&self, broken: QueryError) -> Result<Bytes, QueryError> {
        tracing::warn!(error = %broken, "an answer broke off");
        match self {
            Self::Ndjson => Ok(Bytes::from(format!("{}\n", error::body(&broken)))),
            Self::Csv(_) | Self::Arrow(_) => Err(broken),
        }
    }
}

fn json_array(batches: &[RecordBatch]) -> Result<Vec<u8>, QueryError> {
    let mut writer: ArrayWriter<_> =
        WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    for batch in batches {
        writer.write(&with_zones(batch).map_err(failed)?).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    Ok(writer.into_inner())
}

fn ndjson(batch: &RecordBatch) -> Result<Vec<u8>, QueryError> {
    let mut writer: Writer<_, LineDelimited> =
        WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(&with_zones(batch).map_err(failed)?).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(writer.into_inner())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Header {
    Written,
    Left,
}

fn csv_bytes(batch: &RecordBatch, header: Header) -> Result<Vec<u8>, QueryError> {
    let flat = flattened(&with_zones(batch).map_err(failed)?).map_err(failed)?;
    let mut bytes = Vec::new();
    let mut writer =
        csv::WriterBuilder::new().with_header(header == Header::Written).build(&mut bytes);
    writer.write(&flat).map_err(failed)?;
    drop(writer);
    Ok(bytes)
}

/// Timestamps without a zone are UTC here, and are written so.
fn with_zones(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let without = |field: &Field| matches!(field.data_type(), DataType::Timestamp(_, None));
    if !batch.schema_ref().fields().iter().any(|field| without(field)) {
        return Ok(batch.clone());
    }
    rebuilt(batch, |field, column| match field.data_type() {
        DataType::Timestamp(unit, None) => {
            let utc = DataType::Timestamp(*unit, Some("UTC".into()));
            Ok(Some(arrow::compute::cast(column, &utc)?))
        }
        _ => Ok(None),
    })
}

/// CSV has no nesting and its writer has one style of timestamps: both become text here.
fn flattened(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    rebuilt(batch, |field, column| {
        if !field.data_type().is_nested() && !matches!(field.data_type(), DataType::Timestamp(..)) {
            return Ok(None);
        }
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        let text = (0..column.len())
            .map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
        Ok(Some(Arc::new(text.collect::<StringArray>()) as ArrayRef))
    })
}

/// `batch` with each column replaced by what `change` makes of it.
fn rebuilt(
    batch: &RecordBatch,
    change: impl Fn(&Field, &ArrayRef) -> Result<Option<ArrayRef>, ArrowError>,
) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let changed = change(field, column)?.unwrap_or_else(|| Arc::clone(column));
        let field = field.as_ref().clone().with_data_type(changed.data_type().clone());
        fields.push(field);
        columns.push(changed);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

#[expect(clippy::needless_pass_by_value, reason = "it is the shape map_err wants")]
fn failed(error: ArrowError) -> QueryError {
    QueryError::Internal(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Encoder, Format, json_array, ndjson};
    use arrow::array::{
        ArrayRef, DictionaryArray, Float64Array, RecordBatch, TimestampMicrosecondArray,
    };
    use arrow::datatypes::UInt32Type;
    use arrow::ipc::reader::StreamReader;
    use axum::http::{HeaderMap, header};
    use std::sync::Arc;

    fn rows() -> RecordBatch {
        let time = TimestampMicrosecondArray::from(vec![0, 1_500_000]);
        let zoned: ArrayRef = Arc::new(time.clone().with_timezone("UTC"));
        let plain: ArrayRef = Arc::new(time);
        let room: ArrayRef =
            Arc::new(["3J/4", "3J/5"].into_iter().collect::<DictionaryArray<UInt32Type>>());
        let co2: ArrayRef = Arc::new(Float64Array::from(vec![Some(412.5), None]));
        RecordBatch::try_from_iter([
            ("time", zoned),
            ("plain", plain),
            ("room", room),
            ("co2", co2),
        ])
        .unwrap()
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn ndjson_writes_utc_with_z_and_nulls_as_null() {
        let expected = "\
{\"time\":\"1970-01-01T00:00:00Z\",\"plain\":\"1970-01-01T00:00:00Z\",\"room\":\"3J/4\",\"co2\":412.5}
{\"time\":\"1970-01-01T00:00:01.500Z\",\"plain\":\"1970-01-01T00:00:01.500Z\",\"room\":\"3J/5\",\"co2\":null}
";
        assert_eq!(text(ndjson(&rows()).unwrap()), expected);
    }

    #[test]
    fn json_is_one_array_also_when_it_is_empty() {
        let array: serde_json::Value =
            serde_json::from_slice(&json_array(&[rows(), rows()]).unwrap()).unwrap();
        assert_eq!(array.as_array().unwrap().len(), 4);
        assert_eq!(text(json_array(&[]).unwrap()), "[]");
    }

    #[test]
    fn csv_has_a_header_also_without_rows() {
        let mut encoder = Encoder::new(Format::Csv, rows().schema_ref()).unwrap();
        assert_eq!(text(encoder.start().unwrap()), "time,plain,room,co2\n");
        let expected = "\
1970-01-01T00:00:00Z,1970-01-01T00:00:00Z,3J/4,412.5
1970-01-01T00:00:01.500Z,1970-01-01T00:00:01.500Z,3J/5,
";
        assert_eq!(text(encoder.batch(&rows()).unwrap()), expected);
    }

    #[test]
    fn an_arrow_stream_comes_back_as_it_was() {
        let mut encoder = Encoder::new(Format::Arrow, rows().schema_ref()).unwrap();
        let mut bytes = encoder.start().unwrap();
        bytes.extend(encoder.batch(&rows()).unwrap());
        bytes.extend(encoder.finish().unwrap());
        let read: Vec<_> =
            StreamReader::try_new(bytes.as_slice(), None).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, [rows()]);
    }

    #[test]
    fn the_first_type_served_in_accept_wins() {
        let accept = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, value.parse().unwrap());
            Format::of_accept(&headers)
        };
        assert_eq!(Format::of_accept(&HeaderMap::new()), Some(Format::Json));
        assert_eq!(accept("*/*"), Some(Format::Json));
        assert_eq!(accept("text/html, text/csv;q=0.9"), Some(Format::Csv));
        assert_eq!(accept("application/x-ndjson"), Some(Format::Ndjson));
        assert_eq!(accept("application/vnd.apache.arrow.stream"), Some(Format::Arrow));
        assert_eq!(accept("image/png"), None);
    }
}
