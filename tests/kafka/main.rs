//! Several processes of weir over one log in Kafka: the real binary, real sockets, real signals.
//!
//! Promise: whatever becomes of the processes, the alarms in the topic are those of one process alone.
//! Against the cluster that librdkafka brings along for tests in every run; against Apache Kafka itself
//! where its jars can be fetched, and skipped with a plain message where not.

#![allow(clippy::disallowed_methods, reason = "runs processes and files, not the log")]

mod alarms; // what is in the topic of alarms
mod broker; // Apache Kafka
mod group; // processes of weir
mod mock; // against librdkafka's cluster
mod published; // what is published
mod real; // against Apache Kafka
