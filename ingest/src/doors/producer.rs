//! `Weir-Producer`, `Weir-Epoch`, `Weir-Sequence`: a request that may be sent again.
//!
//! Promise: the same request of the same producer is stored once, also where an answer was lost or
//! only some partitions confirmed it.

use super::answer::ErrorAnswer;
use crate::decode::DecodedRows;
use crate::log::{ProducerId, Receipt, Source};
use axum::http::{HeaderMap, StatusCode};
use std::collections::HashMap;
use std::str::FromStr;

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

/// Appends the batches of a request. Those of one partition are told apart by their order.
#[derive(Debug)]
pub(super) struct Sender {
    source: Option<Source>,
    sent: HashMap<u64, u64>,
}

impl Sender {
    pub(super) fn new(source: Option<Source>) -> Self {
        Self { source, sent: HashMap::new() }
    }

    /// Queues rows; their indexes in the request come back with the receipt.
    pub(super) fn append(&mut self, rows: DecodedRows) -> (Receipt, Vec<u32>) {
        let DecodedRows { stream, partition, batch, indexes } = rows;
        let partition = &stream.partitions()[partition.0 as usize];
        let receipt = match self.source {
            None => partition.append(batch),
            Some(source) => {
                let before = self.sent.entry(partition.uid()).or_default();
                let sequence = source.sequence.saturating_add(*before);
                *before += 1;
                partition.append_from(batch, Source { sequence, ..source })
            }
        };
        (receipt, indexes)
    }
}
