//! Events leave: subscriptions, webhooks, live tails.
//!
//! Promise: every transition a subscription asks for reaches its endpoint at least once, under the
//! same id each time and in order per alarm key, or is a dead letter that says why (A3, P8).
//! Elsewhere: what happened is `alarms`' business; this room reads the alarm log with its own cursors.

pub mod egress; // where deliveries may go
pub mod handshake; // an endpoint says that it wants our events
pub mod ladder; // when to try again, when to stop
pub mod queue; // what may be sent now
pub mod signature; // signed bodies
