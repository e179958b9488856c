//! Events of mail services: the bytes as the body of a request, and as an event that was kept; of every service.
#![no_main]

libfuzzer_sys::fuzz_target!(|raw: &[u8]| postrider_fuzz::read_events(raw));
