//! Reports as they come: what is read from each format, and that no bytes whatever bring the reader down.

use postrider::{
    domain::bounce::{classify_recipient, describe},
    mail::report::{Action, DEPTH_MAX, Feedback, InspectError, Inspection, Kind, PARTS_MAX, REPORT_MAX_BYTES, inspect},
};

const SAMPLES: [(&str, &[u8]); 8] = [
    ("postfix_dsn", include_bytes!("samples/postfix_dsn.eml")),
    ("delayed_mislabelled", include_bytes!("samples/delayed_mislabelled.eml")),
    ("exim_prose", include_bytes!("samples/exim_prose.eml")),
    ("qmail_prose", include_bytes!("samples/qmail_prose.eml")),
    ("html_notice", include_bytes!("samples/html_notice.eml")),
    ("arf", include_bytes!("samples/arf.eml")),
    ("out_of_office", include_bytes!("samples/out_of_office.eml")),
    ("human", include_bytes!("samples/human.eml")),
];

fn sample(name: &str) -> Inspection {
    let (_, raw) = SAMPLES.iter().find(|(n, _)| *n == name).unwrap();
    inspect(raw).unwrap()
}

/// Address, action and class of each recipient.
fn told(inspection: &Inspection) -> Vec<(String, &'static str, &'static str)> {
    let told = inspection.recipients.iter().map(|recipient| {
        let class = classify_recipient(recipient).class.as_str();
        (recipient.address.clone().unwrap_or_default(), recipient.action.as_str(), class)
    });
    told.collect()
}

#[test]
fn a_postfix_dsn_is_a_dsn_although_it_is_marked_as_auto_replied() {
    let report = sample("postfix_dsn");
    assert_eq!(report.kind, Kind::Dsn);
    assert_eq!(told(&report), [("gone@shop.example".to_owned(), "failed", "no_such_user")]);
    let recipient = &report.recipients[0];
    assert_eq!(recipient.status.unwrap().to_string(), "5.1.1", "the code in the diagnostic beats Status: 5.0.0");
    assert_eq!(recipient.original.as_deref(), Some("Gone@shop.example"));
    assert_eq!(recipient.remote_mta.as_deref(), Some("mx.shop.example"));
    assert!(!recipient.after_data);
    assert_eq!(report.original.message_id.as_deref(), Some("0190-abc@sender.example"));
    let signed = "b-abcdefghijklmnopqrstuvwxyz234567abcdefghijklmn@bounces.example";
    assert_eq!(report.return_path_candidates().next(), Some(signed));
    assert_eq!(report.original.return_paths, [signed]);
    assert_eq!(report.return_path.as_deref(), Some(""));
}

#[test]
fn the_command_line_prints_the_shape_that_is_promised() {
    let json = serde_json::to_value(describe(&sample("postfix_dsn"))).unwrap();
    let expected = serde_json::json!({"kind": "dsn", "recipients": [{
        "address": "gone@shop.example", "action": "failed", "status": "5.1.1", "class": "no_such_user", "severity": "hard",
        "diagnostic": "550 5.1.1 <gone@shop.example>: Recipient address rejected: User unknown",
    }]});
    assert_eq!(json, expected);
}

#[test]
fn a_delay_is_no_bounce_even_in_a_mislabelled_part() {
    let report = sample("delayed_mislabelled");
    assert_eq!((report.kind, report.format), (Kind::Dsn, "rfc3464"));
    assert_eq!(report.recipients[0].action, Action::Delayed);
    assert!(describe(&report).recipients[0].severity.is_none());
}

#[test]
fn a_notice_in_prose_is_read_up_to_the_original_and_no_further() {
    let report = sample("exim_prose");
    let expected = [("full@one.example", "mailbox_full"), ("gone@two.example", "no_such_user")];
    assert_eq!(told(&report), expected.map(|(address, class)| (address.to_owned(), "failed", class)));
    assert_eq!(report.original.message_id.as_deref(), Some("0190-def@sender.example"));
    assert_eq!(report.original.return_paths, ["b-xyz@bounces.example"]);
    let report = sample("qmail_prose");
    assert_eq!(told(&report), [("nobody@old.example".to_owned(), "failed", "no_such_user")]);
    assert_eq!(report.recipients[0].status.unwrap().to_string(), "5.1.1");
}

#[test]
fn a_notice_in_html_is_read() {
    let report = sample("html_notice");
    assert_eq!(report.kind, Kind::Dsn);
    assert_eq!(told(&report), [("left@firm.example".to_owned(), "failed", "no_such_user")]);
    assert_eq!(report.recipients[0].status.unwrap().to_string(), "5.1.10");
}

#[test]
fn a_feedback_report_that_hides_the_recipient_still_names_the_return_path() {
    let report = sample("arf");
    assert_eq!((report.kind, report.feedback), (Kind::Arf, Some(Feedback::Abuse)));
    assert_eq!(report.recipients[0].action, Action::Complaint);
    assert_eq!(report.recipients[0].address, None);
    assert!(report.return_path_candidates().any(|path| path == "b-signed@bounces.example"));
    assert_eq!(report.original.header("x-trace"), Some("one two"));
    assert_eq!(describe(&report).recipients[0].class, Some("abuse"));
}

#[test]
fn an_automatic_answer_is_no_bounce_and_a_person_is_neither() {
    let report = sample("out_of_office");
    assert_eq!(report.kind, Kind::AutoReply);
    assert_eq!(report.subject.as_deref(), Some("Abwesenheit: Grüße"));
    assert_eq!(report.recipients[0].address.as_deref(), Some("ann@firm.example"));
    assert_eq!(report.recipients[0].action, Action::Replied);
    let report = sample("human");
    assert_eq!((report.kind, report.recipients.len()), (Kind::Other, 0));
}

#[test]
fn bombs_go_to_quarantine_before_anything_is_parsed() {
    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(35_000);
    assert_eq!(inspect(nested.as_bytes()), Err(InspectError::TooDeep));
    let digest: String =
        (0..100).map(|n| format!("Content-Type: multipart/digest; boundary=b{n}\n\n--b{n}\n\n")).collect();
    assert_eq!(inspect(digest.as_bytes()), Err(InspectError::TooDeep));
    let wide = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(PARTS_MAX + 1));
    assert_eq!(inspect(wide.as_bytes()), Err(InspectError::TooManyParts));
    let large = vec![b'a'; REPORT_MAX_BYTES + 1];
    assert_eq!(inspect(&large), Err(InspectError::TooLarge { n_bytes: REPORT_MAX_BYTES + 1 }));
    let allowed = "Content-Type: message/rfc822\n\n".repeat(DEPTH_MAX);
    assert!(inspect(allowed.as_bytes()).is_ok());
}

#[test]
fn a_dsn_inside_the_original_is_someone_elses() {
    let inner = String::from_utf8(SAMPLES[0].1.to_vec()).unwrap();
    let forwarded = format!(
        "From: ann@firm.example\nSubject: look\nContent-Type: multipart/mixed; boundary=fwd\n\n--fwd\n\nsee below\n\n\
         --fwd\nContent-Type: message/rfc822\n\n{inner}\n--fwd--\n"
    );
    let report = inspect(forwarded.as_bytes()).unwrap();
    assert_eq!((report.kind, report.recipients.len()), (Kind::Other, 0));
}

#[test]
fn what_is_kept_of_a_report_is_short_and_free_of_controls() {
    let raw = format!(
        "Content-Type: message/delivery-status\n\nReporting-MTA: dns; a\u{1b}[2J\n\nFinal-Recipient: rfc822; a@b.example\n\
         Action: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 \u{7}{}\n",
        "x".repeat(9_000)
    );
    let report = inspect(raw.as_bytes()).unwrap();
    let diagnostic = report.recipients[0].diagnostic.as_deref().unwrap();
    assert!(diagnostic.len() <= postrider::mail::report::TEXT_MAX_BYTES);
    assert!(!diagnostic.chars().chain(report.reporting_mta.unwrap().chars()).any(char::is_control));
}

/// A small generator with a fixed seed (xorshift64*): the same bytes on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33).unwrap() % n.max(1)
    }
}

#[test]
fn no_bytes_whatever_bring_the_reader_down() {
    const TOKENS: [&[u8]; 14] = [
        b"\r\n",
        b"\n\n",
        b"--4C1F.1/relay.example",
        b"=?utf-8?B?",
        b"Content-Type: message/rfc822\n\n",
        b"<",
        b"@",
        b"&#x",
        b"Content-Transfer-Encoding: base64\n",
        b"\xff\xfe",
        b"charset=iso-2022-jp",
        b"550 5.1.1 ",
        b"\0",
        b"\"",
    ];
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for round in 0..800 {
        let (_, sample) = SAMPLES[round % SAMPLES.len()];
        let mut raw = sample.to_vec();
        for _ in 0..=random.below(12) {
            let at = random.below(raw.len());
            match random.below(4) {
                0 => raw.truncate(at),
                1 => raw.insert(at, u8::try_from(random.below(256)).unwrap()),
                2 => {
                    let end = (at + random.below(40)).min(raw.len());
                    raw.drain(at..end);
                }
                _ => {
                    let token = TOKENS[random.below(TOKENS.len())];
                    raw.splice(at..at, token.iter().copied());
                }
            }
        }
        if let Ok(report) = inspect(&raw) {
            describe(&report);
        }
    }
    for _ in 0..300 {
        let raw: Vec<u8> = (0..random.below(2_000)).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
        if let Ok(report) = inspect(&raw) {
            describe(&report);
        }
    }
}
