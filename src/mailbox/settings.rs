//! What a session must know.
//!
//! Not here: where a mailbox's settings are kept and its secret opened (`store`, `keyring`).

use std::time::Duration;

use secrecy::SecretString;

/// How a session is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// Plain text.
    None,
    /// STARTTLS, required: a server that doesn't offer it is not talked to.
    StartTls,
    /// TLS from the first byte (port 993).
    Implicit,
}

impl TlsMode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::None, Self::StartTls, Self::Implicit];

    /// The word in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::StartTls => "starttls",
            Self::Implicit => "implicit",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.as_str() == text)
    }
}

/// How the session logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Auth {
    /// The LOGIN command.
    Login,
    /// AUTHENTICATE PLAIN (RFC 4616).
    Plain,
    /// AUTHENTICATE XOAUTH2: the secret is an access token.
    XOAuth2,
}

impl Auth {
    /// Every way.
    pub const ALL: [Self; 3] = [Self::Login, Self::Plain, Self::XOAuth2];

    /// The word in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Plain => "plain",
            Self::XOAuth2 => "xoauth2",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|auth| auth.as_str() == text)
    }
}

/// How long and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For looking up and connecting, each, and for the TLS handshake.
    pub connect: Duration,
    /// For a command and all of its answer, however slowly it drips in.
    pub command: Duration,
    /// Largest message that is fetched, in bytes.
    pub message_max_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connect: Duration::from_secs(30), command: Duration::from_secs(60), message_max_bytes: 5_000_000 }
    }
}

/// Everything a session needs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Name or address of the server; looked up once a session, and only what the policy permits is connected.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The protection.
    pub tls: TlsMode,
    /// Certificates of authorities to trust beside the system's, in PEM.
    pub extra_ca_pem: Option<String>,
    /// The login.
    pub auth: Auth,
    /// The user name.
    pub username: String,
    /// The password or access token.
    pub secret: SecretString,
    /// Log in outside TLS on a host that is not loopback.
    pub allow_plaintext_auth: bool,
    /// The folder that is read.
    pub folder: String,
    /// The folder that read messages are moved to; made when it is missing.
    pub filed_folder: String,
    /// How long and how much.
    pub limits: Limits,
}
