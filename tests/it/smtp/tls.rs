//! TLS: what must hold before a session is trusted.

use postrider::network::TlsError;
use postrider::smtp::{Cause, ConnectCause, ConnectFailure, Outcome, Phase, Session, Settings, TlsMode};

use super::{SOON, envelope, message, settings};
use crate::support::smtp_peer::{Action, PeerTls, Script, SmtpPeer, Step, tls_fixture};

fn secure(peer: &SmtpPeer, tls: TlsMode) -> Settings {
    Settings { tls, extra_ca_pem: Some(tls_fixture("ca.pem")), ..settings(peer) }
}

/// The handshake fails, and nothing that matters was said before.
async fn fail(script: Script, change: impl FnOnce(&mut Settings)) -> ConnectFailure {
    let peer = SmtpPeer::start(script.login("user", "secret")).await;
    let mut settings = secure(&peer, TlsMode::StartTls);
    change(&mut settings);
    let failure = Session::connect(&settings).await.unwrap_err();
    let facts = peer.facts();
    assert_eq!(facts.n_commands("MAIL") + facts.n_commands("AUTH"), 0);
    assert_eq!(failure.phase, Phase::Tls);
    failure
}

#[tokio::test]
async fn mail_goes_over_starttls_and_over_implicit_tls() {
    for (theirs, ours) in [(PeerTls::StartTls, TlsMode::StartTls), (PeerTls::Implicit, TlsMode::Implicit)] {
        let peer = SmtpPeer::start(Script::default().tls(theirs)).await;
        let mut session = Session::connect(&secure(&peer, ours)).await.unwrap();
        let info = session.tls().unwrap();
        assert_eq!(info.version, "TLSv1.3");
        assert!(info.cipher.starts_with("TLS13_"), "{info:?}");
        let outcome = session.transact(&envelope("a@x.test"), &message(&"x".repeat(200_000))).await;
        assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
        assert_eq!(peer.accepted()[0].bytes.len(), 200_000 + "Subject: test\r\n\r\n\r\n".len());
        session.quit().await;
        let n_ehlo = if theirs == PeerTls::StartTls { 2 } else { 1 };
        assert_eq!(peer.facts().n_commands("EHLO"), n_ehlo, "what was offered in the clear is asked for again");
    }
}

#[tokio::test]
async fn an_ip_address_can_be_the_certificates_name() {
    let peer = SmtpPeer::start(Script::default().tls(PeerTls::StartTls)).await;
    let settings = Settings { server_name: "127.0.0.1".into(), ..secure(&peer, TlsMode::StartTls) };
    assert!(Session::connect(&settings).await.is_ok());
}

#[tokio::test]
async fn a_relay_from_which_starttls_was_stripped_gets_nothing() {
    let failure = fail(Script::default(), |_| {}).await;
    assert_eq!(failure.cause, ConnectCause::NoStartTls);
    assert!(failure.is_lasting());
}

#[tokio::test]
async fn a_relay_that_refuses_starttls_gets_nothing() {
    let script = Script::default().tls(PeerTls::StartTls);
    let failure = fail(script.always(Step::StartTls, Action::reply("454 4.7.0 No TLS today")), |_| {}).await;
    assert_eq!(failure.reply().unwrap().code, 454);
    assert!(!failure.is_lasting());
}

#[tokio::test]
async fn replies_injected_before_the_handshake_end_the_session() {
    let injected = b"220 Ready\r\n250-PIPELINING\r\n250 AUTH PLAIN\r\n".to_vec();
    let script = Script::default().tls(PeerTls::StartTls).at(Step::StartTls, move |_| Action::Raw(injected.clone()));
    let failure = fail(script, |_| {}).await;
    assert_eq!(failure.cause, ConnectCause::Injected);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_in_plain_words() {
    let failure = fail(Script::default().tls(PeerTls::StartTls).expired(), |_| {}).await;
    assert_eq!(failure.to_string(), "the TLS handshake failed: the server's certificate has expired");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_in_plain_words() {
    let script = Script::default().tls(PeerTls::StartTls);
    let failure = fail(script, |settings| settings.server_name = "other.test".into()).await;
    assert!(failure.to_string().ends_with("certificate is not for the name other.test"), "{failure}");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused_in_plain_words() {
    // Any other certificate serves as the authority that did not sign.
    let other = tls_fixture("server.pem");
    let script = Script::default().tls(PeerTls::StartTls);
    let failure = fail(script, |settings| settings.extra_ca_pem = Some(other)).await;
    assert!(failure.to_string().contains("not signed by a trusted authority"), "{failure}");
}

#[tokio::test]
async fn an_extra_authority_that_is_no_certificate_is_refused() {
    for pem in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let script = Script::default().tls(PeerTls::StartTls);
        let failure = fail(script, |settings| settings.extra_ca_pem = Some(pem.into())).await;
        assert_eq!(failure.cause, ConnectCause::Tls(TlsError::ExtraCa), "{pem:?}");
    }
}

#[tokio::test]
async fn a_relay_that_speaks_no_tls_on_its_port_is_told_so() {
    let plain = Script::default().always(Step::Greeting, Action::ReplyAndClose("220 In the clear".into()));
    let failure = fail(plain, |settings| settings.tls = TlsMode::Implicit).await;
    assert_eq!(failure.to_string(), "the TLS handshake failed: the server does not speak TLS here");
}

#[tokio::test]
async fn a_relay_that_is_silent_in_the_handshake_is_left() {
    let failure = fail(Script::default().always(Step::Greeting, Action::Silence), |settings| {
        settings.tls = TlsMode::Implicit;
        settings.timeouts.tls = SOON;
    })
    .await;
    let cause = Cause::TimedOut { phase: Phase::Tls, limit: SOON };
    assert_eq!(failure.cause, ConnectCause::Link { phase: Phase::Tls, cause });
}
