//! The real binary with real clients: starts it, asks it, kills it.

#![allow(clippy::disallowed_methods, reason = "runs processes and files, not the log")]

mod harness;

mod command_line; // what it says when asked wrongly
mod crash; // P1, P2: SIGKILL under load
mod line; // publish, rules, alarms, questions
mod refusals; // what is wrong is refused with a sentence
