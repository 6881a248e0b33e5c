//! Who keeps what the doors take: this machine's disk, or a cluster.
//!
//! Promise: a door says the same of its rows whoever keeps them; what a keeper cannot do is refused before
//! a row is taken, never left out.

use super::answer::ErrorAnswer;
use super::budget::OverBudget;
use super::confirm;
use super::dead_letters::{self, Letters};
use super::producer::Sender;
use crate::decode::DecodedRows;
#[cfg(feature = "kafka")]
use crate::kafka::KafkaWriter;
use crate::log::{Log, Receipt, Source};
use crate::model::{AppendTime, Refusal};
#[cfg(feature = "kafka")]
use axum::http::StatusCode;
#[cfg(feature = "kafka")]
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub(super) enum Keeper {
    /// The log of this process.
    Here,
    /// Topics of Kafka.
    #[cfg(feature = "kafka")]
    Cluster(Arc<KafkaWriter>),
}

impl Keeper {
    /// Whether it knows a request that comes again by the numbers of its producer.
    pub(super) fn knows(&self, source: Option<Source>) -> Result<(), ErrorAnswer> {
        match (self, source) {
            #[cfg(feature = "kafka")]
            (Self::Cluster(_), Some(_)) => Err(ErrorAnswer::new(
                StatusCode::BAD_REQUEST,
                "a log in Kafka does not know requests by Weir-Producer and Weir-Sequence",
            )
            .hint("leave these headers out: a request that is sent again may be stored twice")),
            _ => Ok(()),
        }
    }

    /// Whether there is room for rows. A cluster says so when it is given them.
    pub(super) fn room(&self, bytes_max: usize, rows: &[DecodedRows]) -> Result<(), OverBudget> {
        match self {
            Self::Here => confirm::room(bytes_max, rows),
            #[cfg(feature = "kafka")]
            Self::Cluster(_) => Ok(()),
        }
    }

    /// Queues rows; a receipt for each partition they go to.
    pub(super) fn append(&self, sender: &Sender, rows: DecodedRows) -> Vec<(Receipt, Vec<u32>)> {
        match self {
            Self::Here => vec![sender.append(rows)],
            #[cfg(feature = "kafka")]
            Self::Cluster(writer) => writer.append(rows),
        }
    }

    /// Queues what was refused. A cluster keeps no dead letters: the answer says so.
    pub(super) fn dead_letters(
        &self,
        log: &Log,
        door: &'static str,
        refused: &[Refusal],
        topic: impl Fn(&Refusal) -> Option<String>,
        now: AppendTime,
    ) -> Letters {
        match self {
            Self::Here => dead_letters::append(log, door, refused, topic, now),
            #[cfg(feature = "kafka")]
            Self::Cluster(_) => Letters::nowhere(refused),
        }
    }
}
