#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringpoll_fuzz::histories(bytes));
