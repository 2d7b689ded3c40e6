#![no_main]

#[path = "../../tests/corpus/properties/mod.rs"]
#[allow(dead_code, reason = "one of many")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::writes::answer(data));
