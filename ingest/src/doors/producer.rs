//! `Weir-Producer`, `Weir-Epoch`, `Weir-Sequence`: a request that may be sent again.
//!
//! Promise (P5): the same request of the same producer is stored once, also where an answer was lost, only
//! some partitions confirmed it, or rows that were refused are good by now.

use super::answer::ErrorAnswer;
use crate::decode::DecodedRows;
use crate::log::{AppendError, Partition, ProducerId, Receipt, Source};
use crate::model::reading::{Hidden, conform, stored_schema};
use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use axum::http::{HeaderMap, StatusCode};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

const PRODUCER: &str = "weir-producer";
const EPOCH: &str = "weir-epoch";
const SEQUENCE: &str = "weir-sequence";

/// Who sends a request and which one it is; `None` if it does not say.
/// # Errors
/// Only some of the headers are there, or one is no number.
pub(super) fn source(headers: &HeaderMap) -> Result<Option<Source>, ErrorAnswer> {
    let producer = number::<u64>(headers, PRODUCER)?;
    let epoch = number::<u16>(headers, EPOCH)?;
    let sequence = number::<u64>(headers, SEQUENCE)?;
    match (producer, epoch, sequence) {
        (None, None, None) => Ok(None),
        (Some(producer), epoch, Some(sequence)) => Ok(Some(Source {
            producer: ProducerId(producer),
            epoch: epoch.unwrap_or(0),
            sequence,
            wire_partition: None,
        })),
        _ => Err(refused("Weir-Producer and Weir-Sequence belong together".to_owned())),
    }
}

fn number<N: FromStr>(headers: &HeaderMap, name: &str) -> Result<Option<N>, ErrorAnswer> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.parse().ok());
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(refused(format!("{name}: {value:?} is not a number it takes"))),
    }
}

fn refused(message: String) -> ErrorAnswer {
    ErrorAnswer::new(StatusCode::BAD_REQUEST, message).hint(
        "Weir-Producer: a number below 2^64 of your own; Weir-Epoch: one below 65536, larger after \
         each start that does not know its last sequence; Weir-Sequence: the number of rows sent \
         before this request",
    )
}

/// The rows of a request as a producer sends them: all of a partition are one batch. Cut any finer, the number of a
/// piece would follow from the rows before it that were taken, and a row that is refused now may be good when the
/// request comes again.
/// # Errors
/// The rows of a partition are more than one append takes.
pub(super) fn one_each(rows: Vec<DecodedRows>) -> Result<Vec<DecodedRows>, ErrorAnswer> {
    let mut parts: BTreeMap<u64, Vec<DecodedRows>> = BTreeMap::new();
    for rows in rows {
        let partition = &rows.stream.partitions()[rows.partition.0 as usize];
        parts.entry(partition.uid()).or_default().push(rows);
    }
    parts.into_values().map(|parts| joined(&parts).map_err(too_many)).collect()
}

fn joined(parts: &[DecodedRows]) -> Result<DecodedRows, AppendError> {
    let DecodedRows { stream, partition, .. } = &parts[0];
    let carried = |hidden: Hidden, part: &DecodedRows| hidden.union(Hidden::of(&part.batch));
    let hidden = parts.iter().fold(Hidden::default(), carried);
    let schema = stored_schema(&stream.definition(), hidden);
    let batches: Vec<RecordBatch> = parts.iter().map(|p| conform(&p.batch, &schema)).collect();
    Partition::check_size(&batches)?;
    let batch = concat_batches(&schema, &batches).expect("of one schema, and small");
    let indexes = parts.iter().flat_map(|part| part.indexes.iter().copied()).collect();
    Ok(DecodedRows { stream: Arc::clone(stream), partition: *partition, batch, indexes })
}

fn too_many(error: AppendError) -> ErrorAnswer {
    let message = "the request has more rows for one partition than a producer may send at once";
    ErrorAnswer::new(StatusCode::PAYLOAD_TOO_LARGE, message)
        .detail(error.to_string())
        .hint("send several smaller requests, each under its own Weir-Sequence; nothing of this one was taken")
}

/// Appends the batches of a request, one for each partition where there is a source.
#[derive(Debug)]
pub(super) struct Sender {
    source: Option<Source>,
}

impl Sender {
    pub(super) fn new(source: Option<Source>) -> Self {
        Self { source }
    }

    /// Queues rows; their indexes in the request come back with the receipt.
    pub(super) fn append(&self, rows: DecodedRows) -> (Receipt, Vec<u32>) {
        let DecodedRows { stream, partition, batch, indexes } = rows;
        let partition = &stream.partitions()[partition.0 as usize];
        let receipt = match self.source {
            None => partition.append(batch),
            Some(source) => partition.append_from(batch, source),
        };
        (receipt, indexes)
    }
}
