//! What Amazon SES says of a bounce where the server said little: its own type and subtype.

use postrider::{
    domain::bounce::describe,
    mail::report::{Kind, Service, inspect_event, telling_events},
};
use serde_json::{Value, json};

/// The envelope of SNS around this.
fn enveloped(message: &Value) -> Vec<u8> {
    json!({"Type": "Notification", "MessageId": "m-1", "Message": message.to_string()}).to_string().into_bytes()
}

/// A bounce of this type about these recipients, and `who@a.org`, who was mailed.
fn bounce(main: &str, sub: &str, recipients: &Value) -> Vec<u8> {
    enveloped(&json!({
        "notificationType": "Bounce",
        "bounce": {"bounceType": main, "bounceSubType": sub, "bouncedRecipients": recipients},
        "mail": {"source": "news@x.org", "destination": ["who@a.org"]},
    }))
}

/// Status, class and severity of the only recipient, who is `who@a.org`.
fn read(raw: &[u8]) -> [String; 3] {
    let inspection = inspect_event(Service::AmazonSes, raw).unwrap();
    let described = serde_json::to_value(describe(&inspection)).unwrap();
    let recipients = described["recipients"].as_array().unwrap();
    assert_eq!(recipients.len(), 1);
    assert!(inspection.recipients[0].address.as_deref().is_none_or(|address| address == "who@a.org"));
    assert_eq!(inspection.recipients[0].original.as_deref(), Some("who@a.org"));
    ["status", "class", "severity"].map(|name| recipients[0][name].as_str().unwrap_or("-").to_owned())
}

#[test]
fn the_type_decides_where_no_server_gave_a_code() {
    let silent = json!([{"emailAddress": "who@a.org"}]);
    let wordy = json!([{"emailAddress": "who@a.org", "action": "failed", "diagnosticCode": "smtp; no, sorry"}]);
    let vague = json!([{"emailAddress": "who@a.org", "status": "5.0.0"}]);
    for (main, sub, [status, class, severity]) in [
        ("Permanent", "General", ["5.1.1", "no_such_user", "hard"]),
        ("Permanent", "NoEmail", ["5.1.1", "no_such_user", "hard"]),
        ("Transient", "General", ["4.0.0", "other", "soft"]),
        ("Transient", "MailboxFull", ["4.2.2", "mailbox_full", "soft"]),
        ("Transient", "MessageTooLarge", ["4.3.4", "too_large", "about_us"]),
        ("Transient", "ContentRejected", ["4.6.0", "content", "about_us"]),
        ("Transient", "AttachmentRejected", ["4.6.0", "content", "about_us"]),
        ("Undetermined", "Undetermined", ["4.0.0", "other", "soft"]),
    ] {
        for recipients in [&silent, &wordy, &vague] {
            assert_eq!(read(&bounce(main, sub, recipients)), [status, class, severity], "{main} {sub} {recipients}");
        }
    }
}

#[test]
fn the_servers_own_code_decides_but_condemns_only_what_is_permanent() {
    let said =
        |status: &str, words: &str| json!([{"emailAddress": "who@a.org", "status": status, "diagnosticCode": words}]);
    let full = said("5.2.2", "smtp; 552 5.2.2 mailbox full");
    assert_eq!(read(&bounce("Permanent", "General", &full)), ["5.2.2", "mailbox_full", "soft"]);
    let policy = said("5.7.1", "smtp; 550 5.7.1 access denied");
    assert_eq!(read(&bounce("Permanent", "General", &policy)), ["5.7.1", "policy", "about_us"]);
    let bare = json!([{"emailAddress": "who@a.org", "diagnosticCode": "smtp; 550 rejected"}]);
    assert_ne!(read(&bounce("Permanent", "General", &bare))[2], "hard");
    let unknown = said("5.1.1", "smtp; 550 5.1.1 user unknown");
    assert_eq!(read(&bounce("Transient", "General", &unknown)), ["4.1.1", "no_such_user", "soft"]);
    assert_eq!(read(&bounce("Undetermined", "Undetermined", &unknown)), ["4.1.1", "no_such_user", "soft"]);
    let words = json!([{"emailAddress": "who@a.org", "diagnosticCode": "smtp; user unknown"}]);
    assert_eq!(read(&bounce("Transient", "General", &words)), ["4.0.0", "no_such_user", "soft"]);
}

#[test]
fn the_suppression_list_of_ses_is_no_word_of_the_receiver() {
    for sub in ["Suppressed", "OnAccountSuppressionList"] {
        let words = "Amazon SES did not send the message to this address because it is on the suppression list for your account.";
        let told =
            json!([{"emailAddress": "who@a.org", "action": "failed", "status": "5.1.1", "diagnosticCode": words}]);
        for recipients in [told, json!([{"emailAddress": "who@a.org"}])] {
            assert_eq!(read(&bounce("Permanent", sub, &recipients)), ["-", "policy", "about_us"], "{sub}");
        }
    }
    let left = bounce("Permanent", "UnsubscribedRecipient", &json!([{"emailAddress": "who@a.org"}]));
    assert_eq!(read(&left), ["-", "unsubscribe", "-"]);
}

#[test]
fn who_was_mailed_is_meant_where_ses_found_nobody_in_what_it_got() {
    assert_eq!(read(&bounce("Permanent", "NoEmail", &json!([]))), ["5.1.1", "no_such_user", "hard"]);
    assert_eq!(
        read(&bounce("Permanent", "NoEmail", &json!([{"action": "failed"}]))),
        ["5.1.1", "no_such_user", "hard"]
    );
}

#[test]
fn what_ses_took_and_did_not_send_is_about_us() {
    let event =
        json!({"eventType": "Reject", "reject": {"reason": "Bad content"}, "mail": {"destination": ["who@a.org"]}});
    assert_eq!(read(&enveloped(&event)), ["-", "content", "about_us"]);
}

#[test]
fn a_failure_that_cannot_be_read_is_kept_and_says_nothing() {
    let mail = json!({"source": "news@x.org", "destination": ["who@a.org"]});
    for event in [
        json!({"notificationType": "Bounce", "bounce": {"bouncedRecipients": "who@a.org"}, "mail": mail}),
        json!({"eventType": "Bounce", "bounce": {"bounceType": "Permanent"}, "mail": 1}),
        json!({"eventType": "Bounce", "bounce": {"bouncedRecipients": []}, "mail": {"destination": []}}),
        json!({"eventType": "Complaint", "complaint": [], "mail": mail}),
        json!({"eventType": "Reject", "mail": {}}),
        json!({"complaint": {"complainedRecipients": [1]}}),
    ] {
        let envelope = json!({"MessageId": "m-1", "Message": event.to_string()});
        assert_eq!(telling_events(Service::AmazonSes, &envelope).unwrap().len(), 1, "{event}");
        let inspection = inspect_event(Service::AmazonSes, &enveloped(&event)).unwrap();
        assert_eq!((inspection.kind, inspection.recipients.len()), (Kind::Other, 0), "{event}");
    }
    for event in [
        json!({"eventType": "Delivery", "delivery": {"recipients": ["who@a.org"]}, "mail": mail}),
        json!({"eventType": "Delivery", "delivery": {"recipients": []}, "mail": mail}),
        json!({"eventType": "Open", "open": {}, "mail": mail}),
        json!({"eventType": "DeliveryDelay", "deliveryDelay": {}, "bounce": null, "mail": mail}),
        json!("Successfully validated SNS topic for Amazon SES event publishing."),
    ] {
        let envelope = json!({"MessageId": "m-1", "Message": event.to_string()});
        assert!(telling_events(Service::AmazonSes, &envelope).unwrap().is_empty(), "{event}");
    }
}
