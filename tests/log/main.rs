//! The log on its own, without rules: seeded faults, and data directories of earlier formats.
//!
//! Promise (P1, P2, P3, L1, L2, L4): confirmed rows are there once, in order; visible rows never
//! change; offsets are dense and never reused; an unconfirmed batch is there whole or not at all. What a
//! released version wrote is read by this one, row for row, and gone on with.
//! A failure prints its seed; `WEIR_SEED=<seed> cargo test -p weir-ingest --test log` runs it alone,
//! `WEIR_SEEDS=<number>` more or fewer of them.

mod careless;
mod climate;
mod every_call;
mod faults;
mod fixtures;
mod flips;
mod forgetful;
mod histories;
mod history;
mod incarnations;
mod model;
mod producers;
mod run;
mod sabotage;
mod script;
mod seeds;
mod simulation;
