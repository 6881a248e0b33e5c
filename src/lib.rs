//! The program behind `weir`, as a library so that tests start the same server on another clock.
//!
//! Promise: one file per subcommand; `server` wires the rooms together once, for `serve`, `demo`
//! and the tests alike. Elsewhere: everything that is not wiring, printing or asking.

pub mod cli; // the command line
pub mod config; // weir.toml
pub mod client; // talks to a server
pub mod duration; // "90s" and "1h" on the command line
pub mod output; // tables and colours
pub mod executor; // statements that change something
pub mod server; // the rooms wired together
pub mod door; // a listener beside HTTP's
pub mod told; // alarms as doors tell them
pub mod statements; // one file, many statements

pub mod serve;
#[cfg(feature = "kafka")]
pub mod cluster; // serve, with the log in Kafka
pub mod demo;
pub mod alarms;
pub mod ask;
pub mod backup;
pub mod clock;
pub mod deliveries;
pub mod load;
pub mod log;
pub mod publish;
pub mod query;
pub mod replay;
pub mod run;
pub mod series;
pub mod test;
