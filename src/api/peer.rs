//! The server that a relay or a mailbox names: where it is, how it is protected, how it is logged in to.
//!
//! Two rules live here. A host of a refused network is refused at the door where it is written as an address; a name is
//! judged by what it resolves to, when it is connected. And a stored secret never goes where its owner didn't send it: who
//! changes the server, the user or the protection sends the secret again, or an editor who can't read it could have it
//! delivered to a server of their own. Not here: connecting (`network`, `smtp`, `mailbox`).

use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{
    call::Call,
    problem::Problem,
    reader::{Patch, Reader},
};
use crate::keyring::Sealed;

/// Ways of protection, as in the contract.
const TLS: &[&str] = &["none", "starttls", "implicit"];
/// What `auth` says where nobody logs in.
const NO_LOGIN: &str = "none";
const SECRET_MAX_CHARACTERS: usize = 4096;

/// How a server is reached and logged in to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// A name or an address.
    pub host: String,
    /// TCP port.
    pub port: i32,
    /// `none`, `starttls` or `implicit`.
    pub tls: String,
    /// `none`, or how to log in.
    pub auth: String,
    /// Who logs in.
    pub username: Option<String>,
    /// Whether a secret is stored.
    pub has_secret: bool,
    /// Credentials may leave outside TLS.
    pub allow_plaintext_auth: bool,
}

/// What a body makes of a peer.
#[derive(Debug)]
pub struct Edited {
    /// As it is from now on.
    pub peer: Peer,
    /// What becomes of the stored secret.
    pub secret: Patch<SecretString>,
    /// Whether what was known of its health still says something.
    pub is_another: bool,
}

impl Edited {
    /// The secret to be stored, sealed for this place: none to clear it, the old one where it is kept.
    pub fn seal(&self, call: &Call, binding: &str, old: Option<Sealed>) -> Result<Option<Sealed>, Problem> {
        match &self.secret {
            Patch::Keep => Ok(old),
            Patch::Clear => Ok(None),
            Patch::Set(secret) => Ok(Some(call.context.keyring.seal(binding, secret.expose_secret().as_bytes())?)),
        }
    }
}

/// Read the fields of a peer; `stands` is the one that is edited, none makes a new one. `auths` are the ways to log in, the
/// default first; `is_granted` says that the body gives a credential of another sort, which takes the secret's place. Where
/// there is a fault it is noted and none is answered.
pub fn read(
    call: &Call,
    reader: &Reader<'_>,
    stands: Option<&Peer>,
    auths: &[&'static str],
    is_granted: bool,
) -> Option<Edited> {
    let host = read_host(call, reader);
    let port = reader.integer("port", 1..=65_535).and_then(|port| i32::try_from(port).ok());
    let tls = reader.word("tls", TLS).map(str::to_owned);
    let auth = reader.keep_or_set("auth", reader.word("auth", auths)).map(str::to_owned);
    let may_be_none = auths.contains(&NO_LOGIN);
    let username = reader.line("username", 1..=255);
    let username = if may_be_none {
        reader.patch("username", username)
    } else {
        reader.keep_or_set("username", username).map_or(Patch::Keep, Patch::Set)
    };
    let secret = read_secret(reader);
    let allow_plaintext_auth = reader.keep_or_set("allow_plaintext_auth", reader.boolean("allow_plaintext_auth"));

    let auth = auth.or_else(|| Some(stands.map_or(*auths.first()?, |peer| peer.auth.as_str()).to_owned()))?;
    let logs_in = auth != NO_LOGIN;
    if !logs_in {
        for (name, is_set) in
            [("username", matches!(username, Patch::Set(_))), ("password", matches!(secret, Patch::Set(_)))]
        {
            if is_set {
                reader.note(name, "conflict", "`auth` is `none`, so nobody logs in");
            }
        }
    }
    let username = username.apply(stands.and_then(|peer| peer.username.clone())).filter(|_| logs_in);
    let is_named = reader.raw("username").is_some_and(|value| !may_be_none || !value.is_null());
    if logs_in && username.is_none() && !is_named {
        reader.note("username", "required", "`auth` needs a user name");
    }
    let host = settle(reader, "host", host, stands.map(|peer| peer.host.clone()));
    let port = settle(reader, "port", port, stands.map(|peer| peer.port));
    let tls = settle(reader, "tls", tls, stands.map(|peer| peer.tls.clone()));
    let has_secret = match secret {
        Patch::Keep => is_granted || stands.is_some_and(|peer| peer.has_secret),
        Patch::Clear => false,
        Patch::Set(_) => true,
    };
    if logs_in && !has_secret && reader.raw("password").is_none_or(Value::is_null) {
        reader.note("password", "required", "`auth` needs a password");
    }
    let peer = Peer {
        host: host?,
        port: port?,
        tls: tls?,
        auth,
        username,
        has_secret: has_secret && logs_in,
        allow_plaintext_auth: allow_plaintext_auth
            .unwrap_or_else(|| stands.is_some_and(|peer| peer.allow_plaintext_auth)),
    };
    if logs_in {
        check_login(reader, &peer, stands.filter(|_| matches!(secret, Patch::Keep) && !is_granted));
    }
    let is_another = stands != Some(&peer) || matches!(secret, Patch::Set(_)) || is_granted;
    Some(Edited { secret: if logs_in { secret } else { Patch::Clear }, is_another, peer })
}

/// A field that a new peer needs and an edit can't clear.
fn settle<T>(reader: &Reader<'_>, name: &'static str, found: Option<T>, old: Option<T>) -> Option<T> {
    let raw = reader.raw(name);
    match (found, raw) {
        (Some(found), _) => Some(found),
        (None, None) if old.is_some() => old,
        (None, None) => {
            reader.note(name, "required", "this field is required");
            None
        }
        (None, Some(Value::Null)) => {
            reader.note(name, "wrong_type", "null is not allowed here");
            old
        }
        // Its fault was noted; going on with the old one may find others.
        (None, Some(_)) => old,
    }
}

/// `keeps` is the peer that stands, where its secret would stay.
fn check_login(reader: &Reader<'_>, peer: &Peer, keeps: Option<&Peer>) {
    if peer.tls == "none" && !peer.allow_plaintext_auth && !is_loopback(&peer.host) {
        let hint = "with `tls` `none` the password would leave in plain text: use TLS, or set this to true";
        reader.note("allow_plaintext_auth", "conflict", hint);
    }
    let Some(old) = keeps.filter(|old| old.has_secret && !reader.has("password")) else { return };
    let is_elsewhere = (&old.host, old.port, &old.username) != (&peer.host, peer.port, &peer.username);
    let is_barer =
        (peer.tls == "none" && old.tls != "none") || (peer.allow_plaintext_auth && !old.allow_plaintext_auth);
    if is_elsewhere || is_barer {
        let hint = "send the password (or what stands for it) again: a stored one goes only to the server, user and protection it was given for";
        reader.note("password", "required", hint);
    }
}

fn read_host(call: &Call, reader: &Reader<'_>) -> Option<String> {
    let host = reader.parsed("host", "bad_format", parse_host)?;
    let refusal =
        host.parse::<IpAddr>().ok().and_then(|address| call.context.settings.network.policy().refusal(address));
    if let Some(what) = refusal {
        let hint = format!("this is {what}, which the setting network.allow does not list");
        reader.note("host", "refused_network", hint);
        return None;
    }
    Some(host)
}

/// A host name in lower case, or an address as it is written canonically.
fn parse_host(text: &str) -> Result<String, &'static str> {
    const FORM: &str = "a host name such as smtp.example.org, or an IP address without brackets, is expected";
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // What ends in a number is an address to a resolver, in a spelling of which nobody thinks: 127.1, 0x7f000001.
    let last = text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    if text.len() > 253 || is_number || !text.split('.').all(is_label) {
        return Err(FORM);
    }
    Ok(text.to_ascii_lowercase())
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// The secret, of which no fault repeats anything.
fn read_secret(reader: &Reader<'_>) -> Patch<SecretString> {
    let name = "password";
    let fault = match reader.raw(name) {
        None => return Patch::Keep,
        Some(Value::Null) => return Patch::Clear,
        Some(Value::String(text)) => match text.chars().count() {
            0 => ("too_short", "1 to 4096 characters"),
            n if n > SECRET_MAX_CHARACTERS => ("too_long", "1 to 4096 characters"),
            _ if text.chars().any(char::is_control) => ("control_character", "no control character is allowed"),
            _ => return Patch::Set(text.clone().into()),
        },
        Some(_) => ("wrong_type", "a string is expected"),
    };
    reader.note(name, fault.0, fault.1);
    Patch::Keep
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address() {
        for (text, kept) in [
            ("SMTP.Example.org", "smtp.example.org"),
            ("localhost", "localhost"),
            ("mail_1.example.org", "mail_1.example.org"),
            ("192.0.2.7", "192.0.2.7"),
            ("2001:DB8:0::1", "2001:db8::1"),
        ] {
            assert_eq!(parse_host(text).unwrap(), kept);
        }
    }

    #[test]
    fn an_address_in_disguise_and_what_is_no_host_are_refused() {
        let long = "a.".repeat(130);
        for text in [
            "",
            ".",
            "a..b",
            "a.",
            "-a.b",
            "a b",
            "a\r\nb",
            "a/b",
            "a:25",
            "user@host",
            "[::1]",
            "fe80::1%eth0",
            "127.1",
            "0177.0.0.1",
            "2130706433",
            "0x7f000001",
            "a.0x7f",
            "é.example",
            &long,
        ] {
            assert!(parse_host(text).is_err(), "{text}");
        }
    }
}
