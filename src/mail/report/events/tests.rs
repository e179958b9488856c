#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::mail::report::{Action, Feedback, Kind};

fn read(service: Service, event: Value) -> Inspection {
    inspect_event(service, &serde_json::to_vec(&event).unwrap()).unwrap()
}

#[test]
fn the_words_of_a_refusal_and_its_codes_are_those_of_the_server() {
    let sendgrid =
        json!({"event": "bounce", "email": "a@b.org", "reason": "550 5.2.2 mailbox full", "status": "5.0.0"});
    let mailgun = json!({"event-data": {"event": "failed", "severity": "permanent", "recipient": "a@b.org",
        "delivery-status": {"code": 552, "message": "mailbox full", "enhanced-code": "5.2.2"}}});
    let postmark = json!({"RecordType": "Bounce", "Type": "SoftBounce", "Email": "a@b.org",
        "Details": "smtp;552 5.2.2 mailbox full"});
    for (service, event, code) in
        [(Service::SendGrid, sendgrid, 550), (Service::Mailgun, mailgun, 552), (Service::Postmark, postmark, 552)]
    {
        let inspection = read(service, event);
        let recipient = &inspection.recipients[0];
        assert_eq!((inspection.kind, recipient.action, recipient.reply_code), (Kind::Dsn, Action::Failed, Some(code)));
        assert_eq!(recipient.status.unwrap().to_string(), "5.2.2", "{service:?}");
        assert_eq!(recipient.address.as_deref(), Some("a@b.org"));
    }
}

#[test]
fn what_a_service_did_not_even_try_is_told_for_what_it_is() {
    let dropped = |reason: &str| {
        let event = json!({"event": "dropped", "email": "a@b.org", "reason": reason});
        let inspection = read(Service::SendGrid, event);
        (inspection.feedback, inspection.kind)
    };
    assert_eq!(dropped("Unsubscribed Address"), (Some(Feedback::Unsubscribe), Kind::Arf));
    assert_eq!(dropped("Spam Reporting Address"), (Some(Feedback::Abuse), Kind::Arf));
    assert_eq!(dropped("Bounced Address"), (None, Kind::Dsn));
    assert_eq!(dropped("Spam Content"), (None, Kind::Dsn));
}

#[test]
fn an_event_is_known_by_the_id_that_the_service_gave_it() {
    let keys = |service, body: Value| -> Vec<String> {
        telling_events(service, &body).unwrap().into_iter().map(|event| event.key).collect()
    };
    let bounce = json!({"event": "bounce", "email": "a@b.org", "sg_event_id": "x"});
    assert_eq!(keys(Service::SendGrid, json!([bounce, {"event": "open"}])), ["x"]);
    let complaint = json!({"RecordType": "SpamComplaint", "ID": 42, "Email": "a@b.org"});
    assert_eq!(keys(Service::Postmark, complaint), ["SpamComplaint 42"]);
    let nameless = |address| json!({"event": "bounce", "email": address});
    let known = keys(Service::SendGrid, json!([nameless("a@b.org"), bounce, nameless("b@b.org"), nameless("a@b.org")]));
    assert_eq!((known.len(), known[1].as_str(), &known[0]), (4, "x", &known[3]), "without an id by what they say");
    assert_ne!(known[0], known[2]);
}

#[test]
fn only_events_that_tell_of_something_are_counted() {
    let many = |n: usize, event: &str| Value::from(vec![json!({"event": event, "sg_event_id": "x"}); n]);
    assert_eq!(telling_events(Service::SendGrid, &many(EVENTS_MAX + 1, "open")), Ok(Vec::new()));
    assert_eq!(telling_events(Service::SendGrid, &many(EVENTS_MAX, "bounce")).unwrap().len(), EVENTS_MAX);
    assert_eq!(telling_events(Service::SendGrid, &many(EVENTS_MAX + 1, "bounce")), Err(EventsError::TooMany));
}

#[test]
fn a_body_that_would_grow_in_memory_is_not_parsed() {
    for small in ["{\"a\":1}", "[]", "0"] {
        let body = format!("[{}]", vec![small; 1_048_576 / (small.len() + 1)].join(","));
        assert_eq!(parse_events(body.as_bytes()), Err(EventsError::TooMuch), "{small}");
    }
    // What a service sends fits: a request of SendGrid, as large as they come.
    let event = json!({
        "email": "somebody@example.org", "timestamp": 1_795_507_200, "smtp-id": "<14c5d75ce93.dfd.64b469@ismtpd-555>",
        "event": "delivered", "category": ["cat facts", "news"], "sg_event_id": "ZGVsaXZlcmVkLTAtMTIzNDU2Nzg5LUFCQ0RFRkc",
        "sg_message_id": "14c5d75ce93.dfd.64b469.filter0001.16648.5515E0B88.0", "response": "250 OK", "ip": "192.0.2.7", "tls": 1,
    })
    .to_string();
    let body = format!("[{}]", vec![event.as_str(); 768_000 / (event.len() + 1)].join(","));
    assert!(parse_events(body.as_bytes()).is_ok());
}

/// JSON as hostile as it comes, with the names that are looked for.
fn hostile() -> impl Strategy<Value = Value> {
    let names = "(event|event-data|recipient|Message|bounce|bouncedRecipients|mail|headers|RecordType|Type|Metadata|\
                 smtp-id|delivery-status|code|severity|Content|ID|reason|email|notificationType|complaint)";
    let words = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        "(bounce|failed|dropped|Bounce|SpamComplaint|HardBounce|permanent|complained|[\\PC]{0,20})"
            .prop_map(Value::from),
        "\\{\"(bounce|complaint|mail)\":(\\{\\}|\\[\\]|1)\\}".prop_map(Value::from),
    ];
    words.prop_recursive(5, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(names, inner, 0..8).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_read_without_a_panic(body in hostile()) {
        for service in Service::ALL {
            if let Ok(events) = telling_events(service, &body) {
                for event in events {
                    prop_assert!(inspect_event(service, &event.raw).is_ok());
                }
            }
            let _ = inspect_event(service, &serde_json::to_vec(&body).unwrap());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_events(&body);
        for service in Service::ALL {
            let _ = inspect_event(service, &body);
        }
    }
}
