//! The SQL catalog, sessions and the wires that answer questions.
//!
//! Promise: a query sees durable rows only, stays inside its budget and never slows an append (Q2).

// Listed in the order of the dependency line; each may use only those above it.
pub mod catalog; // streams, alarms and the system as tables
pub mod session; // one text of SQL, planned and run within a budget
pub mod http; // /v1/sql, /v1/questions, /v1/live
