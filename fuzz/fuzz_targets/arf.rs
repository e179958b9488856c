//! Feedback reports: the bytes as a whole message, as the fields of a well-formed one, and as the message that it encloses.
#![no_main]

libfuzzer_sys::fuzz_target!(|raw: &[u8]| {
    postrider_fuzz::read(raw);
    let head = b"Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\n";
    postrider_fuzz::read(&[head, raw].concat());
    let head = b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: a@b.example\n";
    postrider_fuzz::read(&[head.as_slice(), raw].concat());
});
