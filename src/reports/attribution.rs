//! Whose report it is: the deliveries whose signature stands in it, and nobody else's.
//!
//! Anyone can write to the public return-path domain, so a name inside a report is never believed. The signature binds
//! delivery and workspace and expires (`mail::return_path`); what it names must also exist, which the caller checks.

use chrono::{DateTime, Utc};

use crate::{
    domain::id::{DeliveryId, WorkspaceId},
    keyring::Keyring,
    mail::{
        report::Inspection,
        return_path::{self, DELIVERY_HEADER},
    },
};

/// The deliveries that this report is signed for, most telling place first: where it was delivered to, then what is left
/// of the original message, then the Message-ID that it quotes. Almost always one or none.
pub(super) fn signed_deliveries(
    inspection: &Inspection,
    keyring: &Keyring,
    workspace: WorkspaceId,
    now: DateTime<Utc>,
) -> Vec<DeliveryId> {
    let return_paths = inspection.return_path_candidates();
    let in_message = inspection.original.header(DELIVERY_HEADER).into_iter().chain(inspection.message_id_candidates());
    let signed = return_path::signed_deliveries(return_paths, in_message, keyring, workspace.0, now);
    signed.into_iter().map(DeliveryId).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::string_slice)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::mail::{
        report::inspect,
        return_path::{Signed, sign},
    };

    fn found(headers: &str, original: &str, workspace: WorkspaceId, now: DateTime<Utc>) -> Vec<DeliveryId> {
        let raw = format!(
            "{headers}From: MAILER-DAEMON@mx.test\r\nSubject: Undelivered Mail\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
             --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.test\r\n\r\n\
             Final-Recipient: rfc822; who@else.test\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n\
             --b\r\nContent-Type: text/rfc822-headers\r\n\r\n{original}Subject: Hello\r\n\r\n--b--\r\n"
        );
        signed_deliveries(&inspect(raw.as_bytes()).unwrap(), &ring(), workspace, now)
    }

    fn ring() -> Keyring {
        Keyring::from_keys(&[(1, [7; 32])]).unwrap()
    }

    #[test]
    fn a_report_belongs_to_the_delivery_of_its_signature_wherever_that_stands() {
        let (workspace, delivery) = (WorkspaceId::new(), DeliveryId::new());
        let Signed { return_path: path, message } = sign(&ring(), workspace.0, delivery.0);
        let now = Utc::now();
        for (headers, original) in [
            (format!("Delivered-To: {path}@bounces.test\r\n"), String::new()),
            (format!("X-Original-To: {}@BOUNCES.test\r\n", path.to_uppercase()), String::new()),
            (format!("Envelope-To: {path}@bounces.test\r\n"), String::new()),
            (format!("To: \"x\" <{path}@bounces.test>\r\n"), String::new()),
            (String::new(), format!("Return-Path: <{path}@bounces.test>\r\n")),
            (String::new(), format!("X-Postrider-Delivery: {message}\r\n")),
            (String::new(), format!("Message-ID: <{message}@acme.example>\r\n")),
            (format!("In-Reply-To: <{message}@acme.example>\r\n"), String::new()),
            (format!("References: <one@acme.example>\r\n <{message}@acme.example>\r\n"), String::new()),
        ] {
            assert_eq!(found(&headers, &original, workspace, now), [delivery], "{headers}{original}");
            assert!(found(&headers, &original, WorkspaceId::new(), now).is_empty(), "another workspace's");
            assert!(found(&headers, &original, workspace, now + TimeDelta::days(91)).is_empty(), "expired");
        }
        assert!(found("To: who@else.test\r\n", "", workspace, now).is_empty(), "a name is not believed");
        let read = format!("Delivered-To: {message}@bounces.test\r\nTo: b-{}@bounces.test\r\n", &message[2..]);
        assert!(found(&read, "", workspace, now).is_empty(), "who has read the message doesn't know its return path");
    }

    #[test]
    fn a_message_further_up_the_thread_is_not_the_one_that_bounced() {
        let (workspace, delivery) = (WorkspaceId::new(), DeliveryId::new());
        let ours = format!("<{}@acme.example>", sign(&ring(), workspace.0, delivery.0).message);
        let now = Utc::now();
        let answer = "Message-ID: <answer@else.test>\r\n";
        assert!(found(&format!("References: {ours} <answer@else.test>\r\n"), "", workspace, now).is_empty());
        assert!(found(&format!("In-Reply-To: {ours}\r\n"), answer, workspace, now).is_empty());
        assert!(found("", &format!("{answer}In-Reply-To: {ours}\r\n"), workspace, now).is_empty());
    }

    #[test]
    fn where_it_was_delivered_to_comes_before_what_it_encloses() {
        let (workspace, first, second, third) =
            (WorkspaceId::new(), DeliveryId::new(), DeliveryId::new(), DeliveryId::new());
        let path = |delivery: DeliveryId| sign(&ring(), workspace.0, delivery.0).return_path;
        let message = sign(&ring(), workspace.0, third.0).message;
        let headers = format!("Delivered-To: {}@bounces.test\r\n", path(first));
        let original = format!("Message-ID: <{message}@x.test>\r\nReturn-Path: <{}@bounces.test>\r\n", path(second));
        assert_eq!(found(&headers, &original, workspace, Utc::now()), [first, second, third]);
    }
}
