//! The log when one machine is not enough: a topic of Apache Kafka for each stream.
//!
//! Promise: the same as of the log on a disk (`log::PartitionLog`, the suite in `tests/conformance`), but
//! for what durable means: a row is confirmed when every in-sync replica has it (`acks=all`), which is
//! memory on several machines and not a disk. One record is one reading; its offset is the record's.
//! Elsewhere: who reads which partition, and what is done with the rows, is the engine's.

mod cluster;
mod connection;
mod consume;
mod errors;
mod group;
mod member;
mod outbox;
mod partition;
mod produce;
mod records;
mod ticks;
mod topic;
mod writer;

pub use cluster::KafkaLog;
pub use connection::Connection;
pub use consume::KafkaReader;
pub use errors::KafkaLogError;
pub use member::{Member, Owned, Shared};
pub use outbox::{Committed, Letter, Outbox, OutboxError, read_committed};
pub use partition::KafkaPartition;
pub use records::Unread;
pub use topic::{Durability, KafkaTopic, KeyedBy};
pub use writer::KafkaWriter;

#[cfg(test)]
mod tests;
