//! Notices of failure: the bytes as a whole message, and as the status part of a well-formed one.
#![no_main]

libfuzzer_sys::fuzz_target!(|raw: &[u8]| {
    postrider_fuzz::read(raw);
    let head = b"From: MAILER-DAEMON@x.example\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
        --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x.example\n\n";
    postrider_fuzz::read(&[head, raw].concat());
});
