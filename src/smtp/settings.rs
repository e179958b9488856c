//! What a session must know to connect: plain data, resolved and filtered by the caller.
//!
//! Not here: where a relay's settings are kept (`store`), resolving its host and refusing private networks (`relay`),
//! the times of each phase (`phase`).

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use secrecy::SecretString;

use super::phase::Timeouts;

/// How a session is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// Plain text.
    None,
    /// STARTTLS, required: a relay that doesn't offer it is not talked to.
    StartTls,
    /// STARTTLS where it is offered, with whoever is there: no certificate is verified (RFC 7435). A handshake that fails
    /// ends the session, and the caller may open another in plain text.
    Opportunistic,
    /// TLS from the first byte (port 465).
    Implicit,
}

/// How the session logs in.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Not at all.
    None,
    /// AUTH PLAIN (RFC 4616).
    Plain(Credentials),
    /// AUTH LOGIN (never standardised, widely used).
    Login(Credentials),
    /// AUTH CRAM-MD5 (RFC 2195): the password is not sent, but what is can be guessed at. Only for relays with nothing
    /// better.
    CramMd5(Credentials),
    /// AUTH SCRAM-SHA-256 (RFC 7677): the password is not sent, and the relay proves that it knows it.
    ScramSha256(Credentials),
    /// AUTH XOAUTH2: the secret is an access token.
    XOAuth2(Credentials),
}

/// A user and a password or token.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The user name, as the relay knows it.
    pub username: String,
    /// The password or access token.
    pub secret: SecretString,
}

/// Whether messages may go by BDAT where CHUNKING is offered. All sessions with one relay share it (a clone is the
/// same): a relay, or a box before it, that offers CHUNKING and turns out not to know BDAT gets DATA from then on.
#[derive(Debug, Clone)]
pub struct Chunking(Arc<AtomicBool>);

impl Chunking {
    /// Allowed or not.
    pub fn new(is_allowed: bool) -> Self {
        Self(Arc::new(AtomicBool::new(is_allowed)))
    }

    /// Whether BDAT may be used.
    pub fn is_allowed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn forbid(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Default for Chunking {
    fn default() -> Self {
        Self::new(true)
    }
}

/// Everything a session needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to connect, resolved and allowed.
    pub address: SocketAddr,
    /// The name (or IP address) that the relay's certificate must carry.
    pub server_name: String,
    /// The protection.
    pub tls: TlsMode,
    /// Certificates of a CA to trust beside the system's, in PEM.
    pub extra_ca_pem: Option<String>,
    /// The name that EHLO gives: a domain name or an address literal.
    pub ehlo_name: String,
    /// The login.
    pub auth: Auth,
    /// Send credentials outside TLS to a host that is not loopback.
    pub allow_plaintext_auth: bool,
    /// How long each phase may take.
    pub timeouts: Timeouts,
    /// Whether BDAT may be used.
    pub chunking: Chunking,
}

impl Settings {
    /// Settings with required STARTTLS, no login and the default times.
    pub fn new(address: SocketAddr, server_name: impl Into<String>, ehlo_name: impl Into<String>) -> Self {
        Self {
            address,
            server_name: server_name.into(),
            tls: TlsMode::StartTls,
            extra_ca_pem: None,
            ehlo_name: ehlo_name.into(),
            auth: Auth::None,
            allow_plaintext_auth: false,
            timeouts: Timeouts::default(),
            chunking: Chunking::default(),
        }
    }
}
