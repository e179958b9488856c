//! The login: AUTH PLAIN, LOGIN and XOAUTH2.
//!
//! Not here: where the secrets come from (`relay`).
//!
//! RFC 4954 (AUTH), RFC 4616 (PLAIN); LOGIN and XOAUTH2 as their servers document them.

use base64::{Engine, engine::general_purpose::STANDARD};
use secrecy::ExposeSecret;

use super::{
    capabilities::Capabilities,
    failure::{ConnectCause, ConnectFailure},
    phase::Phase,
    reply::RawReply,
    settings::{Auth, Credentials, Settings},
    wire::Wire,
};

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
