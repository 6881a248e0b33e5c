//! libFuzzer over requests and records of Kafka's wire.
//!
//! Promise: that of `weir_fuzz::targets`, whatever the bytes say.

#![no_main]
use weir_fuzz::targets;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::run(targets::kafka, bytes));
