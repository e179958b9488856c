//! Opening a session.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use postrider::smtp::{Cause, ConnectCause, ConnectFailure, Outcome, Phase, ProtocolFault, Session, Settings};

use super::{LONG, connect, envelope, message, settings};
use crate::support::smtp_peer::{Action, Script, SmtpPeer, Step};

async fn fail(script: Script) -> ConnectFailure {
    fail_within(LONG, script).await
}

async fn fail_within(limit: Duration, script: Script) -> ConnectFailure {
    let peer = SmtpPeer::start(script).await;
    let mut settings = settings(&peer);
    settings.timeouts.greeting = limit;
    settings.timeouts.ehlo = limit;
    let failure = Session::connect(&settings).await.unwrap_err();
    assert_eq!(peer.facts().n_commands("MAIL"), 0);
    failure
}

fn cause(failure: &ConnectFailure) -> &Cause {
    match &failure.cause {
        ConnectCause::Link { cause, .. } => cause,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_session_learns_what_the_relay_offers() {
    let peer = SmtpPeer::start(Script::default().with("SIZE 5000").with("CHUNKING").without("SMTPUTF8")).await;
    let session = connect(&peer).await;
    let capabilities = session.capabilities();
    assert!(capabilities.pipelining && capabilities.eight_bit_mime && capabilities.chunking);
    assert!(capabilities.enhanced_status_codes && !capabilities.smtp_utf8 && !capabilities.start_tls);
    assert_eq!(capabilities.size_limit_bytes, Some(5000));
    assert_eq!((session.greeting().code, session.peer(), session.tls()), (220, peer.addr(), None));
    assert!(session.is_usable());
    session.quit().await;
    let facts = peer.wait_until("the connection is closed", |facts| facts.n_open == 0).await;
    let lines: Vec<_> = facts.commands.iter().map(|seen| seen.line.as_str()).collect();
    assert_eq!(lines, ["EHLO client.test", "QUIT"]);
}

#[tokio::test]
async fn a_relay_that_does_not_know_ehlo_is_greeted_with_helo_and_used() {
    let peer = SmtpPeer::start(Script::default().always(Step::Ehlo, Action::reply("502 5.5.2 What?"))).await;
    let mut session = connect(&peer).await;
    assert!(!session.capabilities().pipelining);
    let outcome = session.transact(&envelope("a@x.test"), &message("hi")).await;
    assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    assert_eq!(peer.accepted()[0].parameters, "");
}

#[tokio::test]
async fn a_refused_greeting_is_told_in_the_relays_own_words() {
    let failure = fail(Script::default().always(Step::Greeting, Action::reply("554 5.7.1 You are listed"))).await;
    assert_eq!((failure.phase, failure.reply().unwrap().code), (Phase::Greeting, 554));
    assert_eq!(failure.to_string(), "the relay does not want to talk to us: 554 5.7.1 You are listed");
    assert!(failure.is_lasting());
}

#[tokio::test]
async fn a_busy_relay_is_told_from_a_wrong_setting() {
    for step in [Step::Greeting, Step::Ehlo] {
        let busy = Action::ReplyAndClose("421 4.3.2 Too many connections".into());
        let failure = fail(Script::default().always(step, busy)).await;
        assert_eq!(failure.reply().unwrap().code, 421);
        assert!(!failure.is_lasting());
    }
}

#[tokio::test]
async fn a_temporary_refusal_of_ehlo_is_not_answered_with_helo() {
    let peer = SmtpPeer::start(Script::default().always(Step::Ehlo, Action::reply("450 4.3.2 Later"))).await;
    let failure = Session::connect(&settings(&peer)).await.unwrap_err();
    assert_eq!((failure.phase, failure.reply().unwrap().code), (Phase::Ehlo, 450));
    assert_eq!(peer.facts().n_commands("HELO"), 0);
}

#[tokio::test]
async fn a_relay_that_hangs_up_instead_of_greeting_is_told_so() {
    let failure = fail(Script::default().always(Step::Greeting, Action::Close)).await;
    assert_eq!((failure.phase, cause(&failure)), (Phase::Greeting, &Cause::Closed));
    assert_eq!(failure.to_string(), "the relay closed the connection (during the greeting)");
}

#[tokio::test]
async fn a_silent_relay_is_left_when_the_phases_time_is_over() {
    for (step, phase) in [(Step::Greeting, Phase::Greeting), (Step::Ehlo, Phase::Ehlo)] {
        // The greeting, too, has to come within this time, so it is more than a busy machine may need.
        let limit = Duration::from_secs(2);
        let failure = fail_within(limit, Script::default().always(step, Action::Silence)).await;
        assert_eq!(cause(&failure), &Cause::TimedOut { phase, limit });
        assert!(!failure.is_lasting());
    }
}

#[tokio::test]
async fn what_is_no_smtp_server_is_told_so() {
    for garbage in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\x15\x03\x01\x00\x02\x02\x0a", b"\xff\xfe\x00\n"] {
        let failure = fail(Script::default().always(Step::Greeting, Action::Raw(garbage.into()))).await;
        assert_eq!(cause(&failure), &Cause::Protocol(ProtocolFault::NotSmtp));
    }
}

#[tokio::test]
async fn an_endless_greeting_ends_the_session_not_the_memory() {
    for endless in [&b"220-welcome\r\n"[..], b"220"] {
        let failure = fail(Script::default().always(Step::Greeting, Action::Endless(endless.into()))).await;
        assert!(matches!(cause(&failure), Cause::Protocol(_)), "{failure:?}");
    }
}

#[tokio::test]
async fn replies_that_drip_in_byte_by_byte_are_understood() {
    let peer = SmtpPeer::start(
        Script::default()
            .always(Step::Greeting, Action::Slowly("220-one\r\n220 two".into()))
            .always(Step::Ehlo, Action::Slowly("250-peer\r\n250-PIPELINING\r\n250 SIZE 12".into())),
    )
    .await;
    let session = connect(&peer).await;
    assert_eq!((session.greeting().text.as_str(), session.capabilities().size_limit_bytes), ("one two", Some(12)));
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_so() {
    let peer = SmtpPeer::start(Script::default()).await;
    let settings = settings(&peer);
    peer.stop().await;
    let failure = Session::connect(&settings).await.unwrap_err();
    assert_eq!(failure.phase, Phase::Connect);
    assert_eq!(
        failure.to_string(),
        "the connection failed: nothing listens there (connection refused) (during connect)"
    );
}

#[tokio::test]
async fn an_ehlo_name_that_could_end_the_command_is_refused_before_connecting() {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    for name in ["", "a b", "a\r\nMAIL FROM:<x@y>", "ü.test", "a\0"] {
        let failure = Session::connect(&Settings::new(nowhere, "relay.test", name)).await.unwrap_err();
        assert_eq!(failure.cause, ConnectCause::Setting("ehlo_name"));
    }
}
