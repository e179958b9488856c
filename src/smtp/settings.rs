//! What a session must know to connect: plain data, resolved and filtered by the caller.
//!
//! Not here: where a relay's settings are kept (`store`), resolving its host and refusing private networks (`relay`),
//! the times of each phase (`phase`).

use std::net::SocketAddr;

use secrecy::SecretString;

use super::phase::Timeouts;

/// How a session is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// Plain text.
    None,
    /// STARTTLS, required: a relay that doesn't offer it is not talked to.
    StartTls,
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
        }
    }
}
