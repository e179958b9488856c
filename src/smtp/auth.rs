//! The login: AUTH PLAIN, LOGIN, CRAM-MD5, SCRAM-SHA-256 and XOAUTH2.
//!
//! Not here: where the secrets come from (`relay`), what SCRAM computes (`scram`).
//!
//! RFC 4954 (AUTH), RFC 4616 (PLAIN), RFC 2195 (CRAM-MD5), RFC 7677 (SCRAM-SHA-256); LOGIN and XOAUTH2 as their servers
//! document them.

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::ExposeSecret;

use super::{
    capabilities::Capabilities,
    failure::{ConnectCause, ConnectFailure},
    phase::Phase,
    reply::RawReply,
    scram,
    settings::{Auth, Credentials, Settings},
    wire::Wire,
};
use crate::keyring::{cram_md5, random_bytes};

/// What is said of a relay that would let anybody in.
const UNPROVED: &str = "the relay does not prove that it knows the password";
/// The longest line of an exchange (RFC 4954 §4).
const MAX_LINE_BYTES: usize = 12_288;

/// Logs in, if the settings say so.
pub(super) async fn log_in(
    wire: &mut Wire,
    settings: &Settings,
    server: &Capabilities,
    is_encrypted: bool,
) -> Result<(), ConnectFailure> {
    let (mechanism, credentials) = match &settings.auth {
        Auth::None => return Ok(()),
        Auth::Plain(credentials) => ("PLAIN", credentials),
        Auth::Login(credentials) => ("LOGIN", credentials),
        Auth::CramMd5(credentials) => ("CRAM-MD5", credentials),
        Auth::ScramSha256(credentials) => ("SCRAM-SHA-256", credentials),
        Auth::XOAuth2(credentials) => ("XOAUTH2", credentials),
    };
    // Said before the mechanisms are looked at: a relay may offer none just because the session is not encrypted.
    if !is_encrypted && !may_go_in_the_clear(settings) {
        return Err(fail(ConnectCause::PlaintextAuth));
    }
    if !server.auth.iter().any(|offered| offered == mechanism) {
        let offered = if server.auth.is_empty() { "no login at all".into() } else { server.auth.join(", ") };
        return Err(fail(ConnectCause::NoMechanism { wanted: mechanism, offered }));
    }
    check(credentials)?;

    let (user, secret) = (credentials.username.as_str(), credentials.secret.expose_secret());
    let reply = match &settings.auth {
        Auth::Login(_) => log_in_by_steps(wire, user, secret).await?,
        Auth::CramMd5(_) => {
            let reply = wire.ask(Phase::Auth, "AUTH CRAM-MD5\r\n").await.map_err(ConnectFailure::link(Phase::Auth))?;
            if reply.code == 334 {
                let answer = cram_md5(secret.as_bytes(), &challenge_of(&reply)?);
                send(wire, "", &format!("{user} {answer}")).await?
            } else {
                reply
            }
        }
        Auth::ScramSha256(_) => log_in_by_proof(wire, user, credentials).await?,
        Auth::XOAuth2(_) => {
            let reply = send(wire, "AUTH XOAUTH2 ", &format!("user={user}\u{1}auth=Bearer {secret}\u{1}\u{1}")).await?;
            // The challenge says in JSON what is wrong; an empty answer makes the server refuse in SMTP's own words.
            if reply.code == 334 { send(wire, "", "").await? } else { reply }
        }
        _ => send(wire, "AUTH PLAIN ", &format!("\0{user}\0{secret}")).await?,
    };
    if reply.code == 235 { Ok(()) } else { Err(ConnectFailure::refused(Phase::Auth, reply.parse())) }
}

async fn log_in_by_steps(wire: &mut Wire, user: &str, secret: &str) -> Result<RawReply, ConnectFailure> {
    let reply = wire.ask(Phase::Auth, "AUTH LOGIN\r\n").await.map_err(ConnectFailure::link(Phase::Auth))?;
    if reply.code != 334 {
        return Ok(reply);
    }
    let reply = send(wire, "", user).await?;
    if reply.code != 334 { Ok(reply) } else { send(wire, "", secret).await }
}

/// SCRAM: a server that does not prove itself is not believed, also when it says that we are welcome.
async fn log_in_by_proof(wire: &mut Wire, user: &str, credentials: &Credentials) -> Result<RawReply, ConnectFailure> {
    let nonce = random_bytes::<18>().map_err(|_| fail(ConnectCause::Exchange("the system's random source failed")))?;
    let exchange = |fault| fail(ConnectCause::Exchange(fault));
    let (begun, first) = scram::begin(user, STANDARD.encode(nonce)).map_err(exchange)?;
    let reply = send(wire, "AUTH SCRAM-SHA-256 ", &first).await?;
    match reply.code {
        334 => {}
        200..400 => return Err(exchange(UNPROVED)),
        _ => return Ok(reply),
    }
    let challenge = text_of(&reply)?;
    let secret = credentials.secret.clone();
    // Stretching a password is meant to take long, and would stall the sessions beside this one.
    let proved = tokio::task::spawn_blocking(move || begun.prove(&challenge, secret.expose_secret())).await;
    let (proved, last) =
        proved.map_err(|_| exchange("the relay's challenge could not be worked out"))?.map_err(exchange)?;
    let reply = send(wire, "", &last).await?;
    match reply.code {
        334 if proved.is_answered_by(&text_of(&reply)?) => send(wire, "", "").await,
        200..400 => Err(exchange(UNPROVED)),
        _ => Ok(reply),
    }
}

/// What a 334 carries.
fn challenge_of(reply: &RawReply) -> Result<Vec<u8>, ConnectFailure> {
    STANDARD.decode(&reply.text).map_err(|_| fail(ConnectCause::Exchange("the relay's challenge can't be read")))
}

fn text_of(reply: &RawReply) -> Result<String, ConnectFailure> {
    String::from_utf8(challenge_of(reply)?)
        .map_err(|_| fail(ConnectCause::Exchange("the relay's challenge can't be read")))
}

/// One line of the exchange: `prefix`, then `text` in base64.
async fn send(wire: &mut Wire, prefix: &str, text: &str) -> Result<RawReply, ConnectFailure> {
    let line = format!("{prefix}{}\r\n", STANDARD.encode(text));
    if line.len() > MAX_LINE_BYTES {
        return Err(fail(ConnectCause::Setting("secret (too long)")));
    }
    wire.ask(Phase::Auth, line).await.map_err(ConnectFailure::link(Phase::Auth))
}

/// NUL parts the fields of PLAIN, ^A those of XOAUTH2: neither may stand inside one.
fn check(credentials: &Credentials) -> Result<(), ConnectFailure> {
    if credentials.username.is_empty() || credentials.username.contains(|c: char| c.is_control()) {
        return Err(fail(ConnectCause::Setting("username")));
    }
    if credentials.secret.expose_secret().contains(['\0', '\u{1}', '\r', '\n']) {
        return Err(fail(ConnectCause::Setting("secret")));
    }
    Ok(())
}

/// Only to this very machine, or when the settings say so.
fn may_go_in_the_clear(settings: &Settings) -> bool {
    settings.allow_plaintext_auth || settings.address.ip().to_canonical().is_loopback()
}

fn fail(cause: ConnectCause) -> ConnectFailure {
    ConnectFailure { phase: Phase::Auth, cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_leave_in_the_clear_only_to_loopback_or_when_said() {
        let may = |address: &str, is_said| {
            let mut settings = Settings::new(address.parse().unwrap(), "relay.test", "us.test");
            settings.allow_plaintext_auth = is_said;
            may_go_in_the_clear(&settings)
        };
        assert!(may("127.0.0.1:25", false) && may("[::1]:25", false) && may("[::ffff:127.0.0.1]:25", false));
        assert!(!may("192.0.2.1:25", false) && !may("10.0.0.1:25", false) && !may("[::ffff:10.0.0.1]:25", false));
        assert!(may("192.0.2.1:25", true));
    }
}
