//! Reports as they come: what is read from each format, and that no bytes whatever bring the reader down.

mod amazon_ses;
mod bombs;
mod properties;
mod samples;

use postrider::{
    domain::bounce::{classify_recipient, describe},
    mail::report::{Action, Feedback, Inspection, Kind, inspect},
};

const SAMPLES: [(&str, &[u8]); 8] = [
    ("postfix_dsn", include_bytes!("../samples/postfix_dsn.eml")),
    ("delayed_mislabelled", include_bytes!("../samples/delayed_mislabelled.eml")),
    ("exim_prose", include_bytes!("../samples/exim_prose.eml")),
    ("qmail_prose", include_bytes!("../samples/qmail_prose.eml")),
    ("html_notice", include_bytes!("../samples/html_notice.eml")),
    ("arf", include_bytes!("../samples/arf.eml")),
    ("out_of_office", include_bytes!("../samples/out_of_office.eml")),
    ("human", include_bytes!("../samples/human.eml")),
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
