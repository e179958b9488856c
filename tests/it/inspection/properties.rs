//! What holds for any bytes: nothing panics, and what is kept is short, clean and of one kind.

use std::sync::LazyLock;

use postrider::{
    domain::bounce::{classify_reply, describe},
    keyring::Keyring,
    mail::{
        report::{Action, Kind, RECIPIENTS_MAX, TEXT_MAX_BYTES, inspect},
        return_path::ReturnPath,
        status::EnhancedStatus,
    },
};
use proptest::{collection::vec, prelude::*, sample::select};

static SAMPLES: LazyLock<Vec<Vec<u8>>> =
    LazyLock::new(|| super::samples::samples().into_values().map(|(raw, _)| raw).collect());

/// What mail is made of, for messages that no sample looks like.
const TOKENS: [&[u8]; 40] = [
    b"\r\n",
    b"\n",
    b"\n\n",
    b"\r",
    b" ",
    b"\t",
    b"--b",
    b"--b--",
    b"boundary=b",
    b"=?utf-8?B?",
    b"=?iso-2022-jp?Q?",
    b"?=",
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n",
    b"Content-Type: message/rfc822\n\n",
    b"Content-Type: message/delivery-status\n\n",
    b"Content-Type: message/feedback-report\n\n",
    b"Content-Type: text/html\n\n",
    b"Content-Transfer-Encoding: base64\n",
    b"Content-Transfer-Encoding: quoted-printable\n",
    b"charset=shift_jis",
    b"Final-Recipient: rfc822; a@b.example\n",
    b"Original-Recipient: x;",
    b"Action: failed\n",
    b"Status: 5.1.1",
    b"Diagnostic-Code:",
    b"From: MAILER-DAEMON@x\n",
    b"Subject: failure notice\n",
    b"Auto-Submitted: auto-replied\n",
    b"X-Failed-Recipients: ",
    b"<",
    b">",
    b"@",
    b"\"",
    b"&#x",
    b"&lt;",
    b"<!--",
    b"550 5.1.1 ",
    b"\0",
    b"\xff\xfe",
    b"\xe2\x80\xa8",
];

/// A change of a message: where (in thousandths), how, and with which bytes.
fn change() -> impl Strategy<Value = (usize, u8, Vec<u8>)> {
    let bytes = prop_oneof![select(TOKENS.to_vec()).prop_map(<[u8]>::to_vec), vec(any::<u8>(), 0..8)];
    (0_usize..1_000, 0_u8..4, bytes)
}

fn changed(mut raw: Vec<u8>, changes: Vec<(usize, u8, Vec<u8>)>) -> Vec<u8> {
    for (place, how, bytes) in changes {
        let at = raw.len() * place / 1_000;
        let end = (at + bytes.len() * 5).min(raw.len());
        match how {
            0 => raw.truncate(at.max(20).min(raw.len())),
            1 => drop(raw.splice(at..end, bytes)),
            2 => drop(raw.drain(at..end)),
            _ => drop(raw.splice(at..at, bytes)),
        }
    }
    raw
}

/// What is promised of every report, whatever it was read from.
fn hold_promises(raw: &[u8]) {
    let Ok(report) = inspect(raw) else { return };
    assert!(report.recipients.len() <= RECIPIENTS_MAX);
    for recipient in &report.recipients {
        let texts = [&recipient.diagnostic, &recipient.remote_mta, &report.subject, &report.reporting_mta];
        for text in texts.into_iter().flatten() {
            assert!(text.len() <= TEXT_MAX_BYTES && !text.contains(char::is_control), "{text:?}");
        }
        for address in [&recipient.address, &recipient.original].into_iter().flatten() {
            assert!(!address.contains(|c: char| c.is_control() || c.is_whitespace()), "{address:?}");
        }
        let fits = match recipient.action {
            Action::Complaint => report.kind == Kind::Arf,
            Action::Replied => report.kind == Kind::AutoReply,
            _ => report.kind == Kind::Dsn,
        };
        assert!(fits, "{:?} in {:?}", recipient.action, report.kind);
    }
    let description = describe(&report);
    assert_eq!(description.recipients.len(), report.recipients.len());
    assert!(description.recipients.iter().all(|r| r.severity.is_none() || r.action == "failed"));
    for text in report.return_path_candidates() {
        ReturnPath::find(text, 8);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_or_refused(raw in vec(any::<u8>(), 0..1_500)) {
        hold_promises(&raw);
    }

    #[test]
    fn any_order_of_what_mail_is_made_of_is_read_or_refused(tokens in vec(select(TOKENS.to_vec()), 0..100)) {
        hold_promises(&tokens.concat());
    }

    #[test]
    fn any_change_of_a_sample_is_read_or_refused(at in any::<prop::sample::Index>(), changes in vec(change(), 1..12)) {
        hold_promises(&changed(at.get(&SAMPLES).clone(), changes));
    }

    #[test]
    fn any_reply_has_a_meaning(code in any::<u16>(), numbers in any::<(u8, u16, u16)>(), text in any::<String>()) {
        let (class, subject, detail) = numbers;
        classify_reply(code, Some(EnhancedStatus::new(class, subject, detail)), &text);
        classify_reply(code, EnhancedStatus::find(&text), &text);
    }

    #[test]
    fn no_text_is_a_return_path_that_we_did_not_sign(text in "(b-)?[a-zA-Z2-7@ -]{0,120}|\\PC{0,60}") {
        let ring = Keyring::from_keys(&[(1, [7; 32])]).unwrap();
        let now = chrono::Utc::now();
        for path in ReturnPath::find(&text, 8).into_iter().chain(ReturnPath::parse(&text)) {
            prop_assert!(path.verify(&ring, uuid::Uuid::nil(), now).is_err());
        }
    }
}
