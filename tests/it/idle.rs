//! Waiting for news by IDLE, on the session: what arrives is told at once, and nothing that a server does or leaves out
//! holds the caller up.

use std::{future::pending, time::Duration};

use postrider::{
    mailbox::{Auth, Cause, Filing, Kind, Limits, Session, Settings, Stage, TlsMode, Woken},
    network::NetworkPolicy,
};

use crate::support::imap_peer::{ImapPeer, PASSWORD};

const LONG: Duration = Duration::from_secs(600);

/// A peer that offers IDLE, and a session that has its INBOX open.
async fn opened() -> (ImapPeer, Session) {
    let peer = ImapPeer::start().await;
    peer.behave(|ways| ways.capabilities.push("IDLE"));
    let settings = Settings {
        kind: Kind::Imap,
        host: "localhost".into(),
        port: peer.port(),
        tls: TlsMode::None,
        extra_ca_pem: None,
        auth: Auth::Login,
        username: "bounces@x.test".into(),
        secret: PASSWORD.into(),
        allow_plaintext_auth: false,
        folders: vec!["INBOX".into()],
        filing: Filing::Move { folder: "Postrider".into() },
        limits: Limits { command: Duration::from_secs(2), ..Limits::default() },
    };
    let policy = NetworkPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    let mut session = Session::open(&settings, &policy).await.unwrap();
    assert!(session.can_idle());
    session.select("INBOX").await.unwrap();
    (peer, session)
}

#[tokio::test]
async fn what_arrives_is_told_at_once_and_the_session_goes_on() {
    let (peer, mut session) = opened().await;
    let arrival = async {
        peer.until_asked("+ idling", 1).await;
        peer.deliver("INBOX", "Subject: x\r\n\r\n");
    };
    let (woken, ()) = tokio::join!(session.idle(LONG, pending()), arrival);
    assert_eq!(woken.unwrap(), Woken::News);
    let folder = session.select("INBOX").await.unwrap();
    assert_eq!(session.list(&folder, 0).await.unwrap().len(), 1);
    peer.until_asked("DONE", 1).await;
}

#[tokio::test]
async fn what_arrived_while_others_were_fetched_is_not_slept_over() {
    let (peer, mut session) = opened().await;
    peer.deliver("INBOX", "Subject: x\r\n\r\n");
    // Its answer tells of the message, and no other will.
    session.fetch(&[7]).await.unwrap();
    assert_eq!(session.idle(LONG, pending()).await.unwrap(), Woken::News);
    assert_eq!(peer.n_asked("IDLE"), 0);
}

#[tokio::test]
async fn it_ends_with_its_time_or_when_the_caller_has_something_else_to_do() {
    let (peer, mut session) = opened().await;
    assert_eq!(session.idle(Duration::from_millis(10), pending()).await.unwrap(), Woken::TimeOver);
    let stop = peer.until_asked("+ idling", 2);
    assert_eq!(session.idle(LONG, stop).await.unwrap(), Woken::Stopped);
    session.nudge().await.unwrap();
}

#[tokio::test]
async fn a_server_that_offers_it_and_refuses_is_not_asked_again() {
    let (peer, mut session) = opened().await;
    peer.behave(|ways| ways.answers.insert("IDLE", "{tag} NO not today\r\n".into()));
    assert_eq!(session.idle(LONG, pending()).await.unwrap(), Woken::Refused);
    assert!(!session.can_idle());
    session.nudge().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_lost_or_a_server_that_falls_silent_is_noticed() {
    let (peer, mut session) = opened().await;
    let cut = async {
        peer.until_asked("+ idling", 1).await;
        peer.behave(|ways| ways.cut_before = Some("DONE"));
        peer.deliver("Elsewhere", "x");
    };
    let (woken, ()) = tokio::join!(session.idle(LONG, pending()), cut);
    let error = woken.unwrap_err();
    assert_eq!(error.to_string(), "the server closed the connection (while waiting for new messages)");

    for (command, answer) in [("IDLE", ""), ("DONE", ""), ("IDLE", "{tag} OK\r\n"), ("IDLE", "* BYE restart\r\n")] {
        let (peer, mut session) = opened().await;
        peer.behave(|ways| ways.answers.insert(command, answer.into()));
        let error = session.idle(Duration::from_millis(1), pending()).await.unwrap_err();
        assert_eq!(error.stage, Stage::Idle, "{command} {answer}");
        assert_eq!(matches!(error.cause, Cause::TimedOut(_)), answer.is_empty(), "{error}");
    }
}
