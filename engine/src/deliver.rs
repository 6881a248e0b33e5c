//! Events leave: subscriptions, webhooks, live tails.
//!
//! Promise: every transition a subscription asks for reaches its endpoint at least once, under the
//! same id each time and in order per alarm key, or is a dead letter that says why (A3, P8).
//! Elsewhere: what happened is `alarms`' business; this room reads the alarm log with its own cursors.

pub mod event; // what leaves
pub mod condition; // WHERE over an event
pub mod filter; // which transitions a subscription gets
pub mod egress; // where deliveries may go
pub mod handshake; // an endpoint says that it wants our events
pub mod signature; // signed bodies
pub mod ladder; // when to try again, when to stop
pub mod queue; // what may be sent now
pub mod records; // what is written down
mod subscription; // as the catalog keeps it
mod tail; // the log as a subscription reads it
mod sender; // requests on the wire
mod worker; // the task of one subscription
mod redeliver; // an event found again by its id
mod manager; // all subscriptions
pub mod interest; // who wants a series, of many
pub mod live; // live tails

pub use egress::{Allow, EgressError};
pub use live::{LiveEvent, LiveHub, LiveKind, LiveStream};
pub use manager::{Created, DeliverConfig, Deliverer, SubscriptionState, SubscriptionStatus};
pub use records::deliveries_schema;
pub use redeliver::RedeliverError;
pub use subscription::SubscriptionError;
