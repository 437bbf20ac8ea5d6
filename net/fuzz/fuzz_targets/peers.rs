#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| headcount_net::hostile::peers(bytes));
