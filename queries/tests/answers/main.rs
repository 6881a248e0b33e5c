//! Questions over a real log: what is answered, in which form, and within which budget.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test says what it expects"
)]

mod building;
mod budget;
mod history;
mod latest;
mod letters;
mod tables;
mod wire;
