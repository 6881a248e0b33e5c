//! The tasks that pump the synchronous cores.
//!
//! Promise: `runner` is the same code in production, replay and simulation; what is around it only
//! feeds it in the input order and writes its outputs down before anything may leave.

pub mod outputs; // what a rule gives out
pub mod derived; // rows that are readings of a stream
pub mod runner; // one rule over its inputs
pub mod feed; // the input order
pub mod outages; // partitions that take no rows
pub mod clock; // a wall clock that is not to be believed
pub mod definition; // a rule as the catalog keeps it
pub mod marks; // what last moved a partition
pub mod versions; // a rule and what replaces it
pub mod checkpoint; // the state of a rule, kept
pub mod sink; // the stream that a rule writes
pub mod follower; // one rule over its log, step by step
pub mod task; // a thread for each rule
pub mod holds; // what retention may not take
pub mod downtime; // what is said after the server was down
pub mod backtest; // what a rule would have raised
pub mod explain; // what an alarm rested on
pub mod asked; // what a question counts of sensors
pub mod rules; // all rules of a server
pub mod replay; // rules over a file, or over a log again
#[cfg(feature = "kafka")]
pub mod cluster; // rules over a log that several processes share
