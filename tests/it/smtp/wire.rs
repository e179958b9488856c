//! What stands on the wire: bytes, parameters, order.

use postrider::smtp::{Envelope, Outcome, PreparedMessage};

use super::{connect, envelope, every_way, submit_all};
use crate::support::smtp_peer::{Script, SmtpPeer};

#[tokio::test]
async fn a_message_arrives_byte_for_byte_with_clean_line_ends() {
    for script in every_way(&Script::default()) {
        let peer = SmtpPeer::start(script).await;
        let mut session = connect(&peer).await;
        for raw in ["Subject: x\n\n.\n..\nMAIL FROM:<a@b>\r.\r\nend", ".\r\n", "", "a\r\n.\r\n"] {
            let outcome = session.transact(&envelope("a@x.test"), &PreparedMessage::new(raw)).await;
            assert!(matches!(outcome, Outcome::Accepted { .. }));
        }
        let texts: Vec<_> = peer.accepted().iter().map(|message| message.text()).collect();
        assert_eq!(
            texts,
            ["Subject: x\r\n\r\n.\r\n..\r\nMAIL FROM:<a@b>\r\n.\r\nend\r\n", ".\r\n", "\r\n", "a\r\n.\r\n"]
        );
    }
}

#[tokio::test]
async fn a_big_message_arrives_whole() {
    for script in every_way(&Script::default().with("SIZE 100000000")) {
        let peer = SmtpPeer::start(script).await;
        let text = format!("Subject: big\r\n\r\n{}", ".a line with a dot\r\n".repeat(200_000));
        let message = PreparedMessage::new(text.clone());
        let outcome = connect(&peer).await.transact(&envelope("a@x.test"), &message).await;
        assert!(matches!(outcome, Outcome::Accepted { .. }));
        assert!(peer.accepted()[0].bytes == text.as_bytes());
    }
}

#[tokio::test]
async fn an_envelope_says_what_its_message_needs() {
    let peer = SmtpPeer::start(Script::default()).await;
    let mut session = connect(&peer).await;
    let null_path = Envelope { return_path: String::new(), recipient: "\"a b\"@x.test".into() };
    session.transact(&null_path, &PreparedMessage::new("a\n")).await;
    session.transact(&envelope("ü@x.test"), &PreparedMessage::new("é\n")).await;
    let accepted = peer.accepted();
    assert_eq!((accepted[0].return_path.as_str(), accepted[0].parameters.as_str()), ("", "SIZE=3"));
    assert_eq!(accepted[0].recipient(), "\"a b\"@x.test");
    assert_eq!(
        (accepted[1].recipient(), accepted[1].parameters.as_str()),
        ("ü@x.test", "SIZE=4 BODY=8BITMIME SMTPUTF8")
    );
}

#[tokio::test]
async fn outcomes_come_in_order_and_both_modes_say_the_same() {
    let recipients: Vec<String> = (0..50).map(|n| format!("r{n}@x.test")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    for script in every_way(&Script::default()) {
        let peer = SmtpPeer::start(script).await;
        let mut session = connect(&peer).await;
        let outcomes = submit_all(&mut session, &recipients).await;
        let tickets: Vec<_> = outcomes.iter().map(|(ticket, _)| ticket.as_str()).collect();
        assert_eq!(tickets, recipients);
        assert!(outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Accepted { .. })));
        let seen: Vec<_> = peer.accepted().iter().map(|message| message.recipient().to_owned()).collect();
        assert_eq!(seen, recipients);
        session.quit().await;
        assert_eq!((peer.facts().n_connections, peer.facts().n_commands("QUIT")), (1, 1));
    }
}
