//! Answers by machines, and everything else that is told by header, subject and words.
#![no_main]

libfuzzer_sys::fuzz_target!(|raw: &[u8]| {
    postrider_fuzz::read(raw);
    postrider_fuzz::read(&[b"From: a@b.example\nAuto-Submitted: auto-replied\nSubject: ".as_slice(), raw].concat());
    postrider_fuzz::read(&[b"From: MAILER-DAEMON@b.example\nSubject: failure notice\n\n".as_slice(), raw].concat());
});
