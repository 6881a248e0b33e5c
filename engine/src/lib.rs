//! From the durable log to rules, alarms and delivery.
//!
//! Promise: the same log gives the same alarms, whether or not the process was killed on the way (P6).
//! Elsewhere: this crate opens no listening socket and answers no question; it reads the log and
//! appends to the internal logs.

// Listed in the order of the dependency line; each may use only those above it.
pub mod sabotage; // faults that tests commit; none in a release build
pub mod stream; // event time: watermarks, windows, columns through expressions
pub mod sql; // statements and plans
pub mod alarms; // verdicts, the lifecycle, transitions
pub mod deliver; // subscriptions, webhooks, live tails
pub mod tables; // latest values and reference tables
pub mod runtime; // the tasks that pump all this
