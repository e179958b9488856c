//! Return paths in any text, and in the places of a message where they stand.
#![no_main]

libfuzzer_sys::fuzz_target!(|raw: &[u8]| {
    postrider_fuzz::find(&String::from_utf8_lossy(raw));
    postrider_fuzz::read(&[b"Delivered-To: ".as_slice(), raw, b"\nTo: ", raw, b"\n\n"].concat());
});
