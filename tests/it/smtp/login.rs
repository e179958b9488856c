//! The login.

use base64::{Engine, engine::general_purpose::STANDARD};
use postrider::smtp::{Auth, ConnectCause, ConnectFailure, Credentials, Outcome, Phase, Session, Settings, TlsMode};

use super::{envelope, message, settings};
use crate::support::smtp_peer::{Action, PeerTls, Script, SmtpPeer, Step, tls_fixture};

fn credentials(username: &str, secret: &str) -> Credentials {
    Credentials { username: username.into(), secret: secret.to_owned().into() }
}

/// Every mechanism with these credentials.
fn logins(username: &str, secret: &str) -> [Auth; 5] {
    let credentials = credentials(username, secret);
    [
        Auth::Plain(credentials.clone()),
        Auth::Login(credentials.clone()),
        Auth::CramMd5(credentials.clone()),
        Auth::ScramSha256(credentials.clone()),
        Auth::XOAuth2(credentials),
    ]
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

#[tokio::test]
async fn no_password_is_sent_where_a_challenge_is_answered() {
    for (name, login) in [("CRAM-MD5", 2), ("SCRAM-SHA-256", 3)] {
        let peer = SmtpPeer::start(Script::default().login("user", "right")).await;
        let auth = logins("user", "right")[login].clone();
        Session::connect(&Settings { auth, ..settings(&peer) }).await.unwrap();
        let facts = peer.facts();
        assert_eq!(facts.n_commands(&format!("AUTH {name}")), 1);
        let words = facts.commands.iter().flat_map(|seen| seen.line.split(' '));
        let sent: Vec<u8> = words.filter_map(|word| STANDARD.decode(word).ok()).flatten().collect();
        assert!(!String::from_utf8_lossy(&sent).contains("right"));
    }
}

#[tokio::test]
async fn a_relay_that_does_not_prove_the_password_is_not_believed() {
    let challenge = |text: &str| Action::reply(&format!("334 {}", STANDARD.encode(text)));
    let wrong = challenge(&format!("v={}", STANDARD.encode([7; 32])));
    // To AUTH itself, to our proof, and as its own proof in place of the true one.
    for (n, lie) in [(1, Action::reply("235 2.7.0 Welcome")), (2, Action::reply("235 2.7.0 Welcome")), (2, wrong)] {
        let script = Script::default().login("user", "right");
        let script = script.at(Step::Auth, move |moment| if moment.n == n { lie.clone() } else { Action::Proceed });
        let failure = fail(script, Auth::ScramSha256(credentials("user", "right"))).await;
        let expected = "the login was broken off: the relay does not prove that it knows the password";
        assert_eq!(failure.to_string(), expected);
    }
}

#[tokio::test]
async fn a_challenge_that_can_not_be_read_or_costs_too_much_ends_the_login() {
    let dear = format!("334 {}", STANDARD.encode("r=x,s=c2FsdA==,i=4000000000"));
    for words in ["334 ???", "334 ", "334 /w==", dear.as_str()] {
        for login in [2, 3] {
            let script = Script::default().login("user", "right").always(Step::Auth, Action::reply(words));
            let failure = fail(script, logins("user", "right")[login].clone()).await;
            assert!(matches!(failure.cause, ConnectCause::Exchange(_) | ConnectCause::Refused { .. }), "{failure}");
        }
    }
}

#[test]
fn a_secret_never_shows_in_debug_output() {
    let auth = Auth::Plain(credentials("user", "hunter2"));
    assert!(!format!("{auth:?}").contains("hunter2"));
}
