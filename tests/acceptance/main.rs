//! The real binary with real clients: starts it, asks it, kills it.

#![allow(clippy::disallowed_methods, reason = "runs processes and files, not the log")]

mod failing_disk;
mod harness;
mod inside;
#[path = "../log/history.rs"]
mod history_checker;

mod backup; // a copy that starts
mod clock; // one that is not to be believed
mod command_line; // what it says when asked wrongly
mod crash; // P1, P2: SIGKILL under load
mod data; // P6: the alarm log against a replay
mod delivery; // A3: webhooks
mod derived; // a stream that a rule writes
mod disk; // it fails below the real program
mod downtime; // the server was away: said once, nobody's silence
mod failing; // EIO on one of four partitions, a full disk
mod kafka; // P1: Kafka clients against the real program, killed
mod load; // reference tables from CSV
mod history; // P1, P2: what writers were told and readers saw is one log's history
mod line; // publish, history, latest values
mod live; // server-sent events
mod mqtt; // with its clients
mod operators; // acknowledge, shelve, drop
mod readme; // the first screen, as written
mod real; // real readings
mod refusals; // what is wrong is refused with a sentence
mod replace; // a new version of a rule that runs
mod replay; // S3: cut and restarted
mod retention; // what is old goes, what is needed stays
mod rule_errors; // a zero divisor, a kill
mod rules; // what raises, and what no rule can be
mod safety; // what must raise does
mod statements; // what each statement does
mod test_rule; // what a rule would have raised
