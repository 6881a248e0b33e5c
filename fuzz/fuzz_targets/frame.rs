#![no_main]
use weir_fuzz::targets;
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::run(targets::frame, bytes));
