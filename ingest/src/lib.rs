//! Readings in, and kept: doors -> decode -> log. Ends at durability.
//!
//! Promise: an acknowledged reading is on the disk (P1), in Arrow columns (D1), under an offset that
//! never changes meaning (P2). Elsewhere: rules, alarms and questions; this crate knows none of them.

// Listed in the order of the dependency line; each may use only those above it.
pub mod sabotage; // faults that tests commit; none in a release build
pub mod model; // the words
pub mod io; // the seams: disk and clock
pub mod log; // columns become durable
pub mod decode; // bytes become columns
#[cfg(feature = "kafka")]
pub mod kafka; // the log, kept by a cluster
pub mod doors; // bytes arrive
