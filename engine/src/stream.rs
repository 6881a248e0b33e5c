//! Event time: input, progress, columns through expressions, windows.
//!
//! Promise: plain functions over state and a batch; no clock, no I/O, no await (S2). Simulation, replay
//! and production run exactly this.

pub mod along;
pub mod dated;
pub mod grid;
pub mod input;
pub mod ipc;
pub mod latest;
pub mod lookup;
pub mod pipeline;
pub mod trace;
pub mod watermark;
pub mod window;
