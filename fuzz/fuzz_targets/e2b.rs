#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| computesdk::fuzz::feed("e2b", bytes));
