//! The modules that read strangers' bytes, taken from `../src` as they are: so a target is built in a minute, without
//! Postgres, TLS and the rest. In the place of the keyring stands one that knows no signature.

#[path = "."]
pub mod mail {
    #[path = "../../src/mail/report/mod.rs"]
    pub mod report;
    #[path = "../../src/mail/return_path.rs"]
    pub mod return_path;
    #[path = "../../src/mail/status.rs"]
    pub mod status;
}

#[path = "."]
pub mod domain {
    #[path = "../../src/domain/bounce.rs"]
    pub mod bounce;
    #[path = "../../src/domain/bounce_class.rs"]
    pub mod bounce_class;
    #[path = "../../src/domain/bounce_rules.rs"]
    mod bounce_rules;
}

pub mod keyring {
    //! As much of `postrider::keyring` as the return path asks for.

    /// No keys.
    pub struct Keyring;

    /// What keys are for.
    pub enum Purpose {
        ReturnPath,
    }

    pub fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
        a == b
    }

    impl Keyring {
        pub fn signing_id(&self) -> u8 {
            1
        }

        pub fn mac(&self, _: u8, _: Purpose, _: &[&[u8]]) -> Option<[u8; 32]> {
            None
        }

        pub fn verify(&self, _: u8, _: Purpose, _: &[&[u8]], _: &[u8]) -> bool {
            false
        }
    }
}

/// Read a message and hold what is promised of every report.
pub fn read(raw: &[u8]) {
    use mail::report::{Kind, RECIPIENTS_MAX, TEXT_MAX_BYTES};
    let Ok(report) = mail::report::inspect(raw) else { return };
    assert!(report.recipients.len() <= RECIPIENTS_MAX);
    assert!(report.kind != Kind::Other || report.recipients.is_empty());
    for recipient in &report.recipients {
        assert!(recipient.diagnostic.as_deref().is_none_or(|text| text.len() <= TEXT_MAX_BYTES));
        assert!(recipient.address.as_deref().is_none_or(|text| !text.contains(char::is_control)));
    }
    domain::bounce::describe(&report);
    for text in report.return_path_candidates() {
        find(text);
    }
}

/// Read a body as every service's events and hold what is promised of them: what is kept can be read.
pub fn read_events(raw: &[u8]) {
    use mail::report::{EVENTS_MAX, Service, inspect_event, parse_events, telling_events};
    for service in Service::ALL {
        let body = parse_events(raw);
        let events = body.ok().and_then(|body| telling_events(service, &body).ok()).unwrap_or_default();
        assert!(events.len() <= EVENTS_MAX);
        for event in events {
            assert!(!event.key.is_empty() && inspect_event(service, &event.raw).is_ok());
        }
        let Ok(report) = inspect_event(service, raw) else { continue };
        domain::bounce::describe(&report);
        for text in report.return_path_candidates() {
            find(text);
        }
    }
}

/// Find return paths in a text; none of them is signed.
pub fn find(text: &str) {
    use mail::return_path::ReturnPath;
    for path in ReturnPath::find(text, 8).into_iter().chain(ReturnPath::parse(text)) {
        assert!(path.verify(&keyring::Keyring, uuid::Uuid::nil(), chrono::DateTime::UNIX_EPOCH).is_err());
    }
}
