//! The real binary with real clients: starts it, asks it, kills it.

#![allow(clippy::disallowed_methods, reason = "runs processes and files, not the log")]

mod command_line; // what it says when asked wrongly
