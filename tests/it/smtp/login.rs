//! The login.

use postrider::smtp::{Auth, ConnectCause, ConnectFailure, Credentials, Outcome, Phase, Session, Settings, TlsMode};

use super::{envelope, message, settings};
use crate::support::smtp_peer::{Action, PeerTls, Script, SmtpPeer, Step, tls_fixture};

fn credentials(username: &str, secret: &str) -> Credentials {
    Credentials { username: username.into(), secret: secret.to_owned().into() }
}

/// Every mechanism with these credentials.
fn logins(username: &str, secret: &str) -> [Auth; 3] {
    let credentials = credentials(username, secret);
    [Auth::Plain(credentials.clone()), Auth::Login(credentials.clone()), Auth::XOAuth2(credentials)]
}

async fn fail(script: Script, auth: Auth) -> ConnectFailure {
    let peer = SmtpPeer::start(script).await;
    let failure = Session::connect(&Settings { auth, ..settings(&peer) }).await.unwrap_err();
    assert_eq!(failure.phase, Phase::Auth);
    failure
}

#[tokio::test]
async fn every_mechanism_logs_in_over_tls() {
    for auth in logins("user@x.test", "pässword") {
        let peer = SmtpPeer::start(Script::default().tls(PeerTls::StartTls).login("user@x.test", "pässword")).await;
        let (tls, extra_ca_pem) = (TlsMode::StartTls, Some(tls_fixture("ca.pem")));
        let settings = Settings { auth, tls, extra_ca_pem, ..settings(&peer) };
        let mut session = Session::connect(&settings).await.unwrap();
        let outcome = session.transact(&envelope("a@x.test"), &message("hi")).await;
        assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_told_in_the_relays_own_words() {
    for auth in logins("user", "wrong") {
        let failure = fail(Script::default().login("user", "right"), auth).await;
        assert_eq!(failure.to_string(), "the relay refused the login: 535 5.7.8 Wrong user or password");
        assert!(failure.is_lasting());
    }
}

#[tokio::test]
async fn a_login_that_fails_for_the_moment_is_not_lasting() {
    for auth in logins("user", "right") {
        let script = Script::default().login("user", "right");
        let failure = fail(script.always(Step::Auth, Action::reply("454 4.7.0 Later")), auth).await;
        assert_eq!(failure.reply().unwrap().code, 454);
        assert!(!failure.is_lasting());
    }
}

#[tokio::test]
async fn a_mechanism_that_is_not_offered_is_not_tried() {
    let script = Script::default().with("AUTH CRAM-MD5 LOGIN");
    let failure = fail(script, Auth::Plain(credentials("user", "secret"))).await;
    assert_eq!(failure.to_string(), "the relay does not offer AUTH PLAIN; it offers CRAM-MD5, LOGIN");
    let failure = fail(Script::default(), Auth::Plain(credentials("user", "secret"))).await;
    assert_eq!(failure.to_string(), "the relay does not offer AUTH PLAIN; it offers no login at all");
}

#[tokio::test]
async fn credentials_that_could_add_a_field_are_refused() {
    let script = || Script::default().login("user", "secret");
    for auth in logins("us\0er", "secret").into_iter().chain(logins("", "secret")) {
        assert_eq!(fail(script(), auth).await.cause, ConnectCause::Setting("username"));
    }
    for auth in logins("user", "a\0b").into_iter().chain(logins("user", "a\u{1}b")) {
        assert_eq!(fail(script(), auth).await.cause, ConnectCause::Setting("secret"));
    }
}

#[test]
fn a_secret_never_shows_in_debug_output() {
    let auth = Auth::Plain(credentials("user", "hunter2"));
    assert!(!format!("{auth:?}").contains("hunter2"));
}
