#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| sightscreen_tests::fuzz::settings(data));
