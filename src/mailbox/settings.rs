//! What a session must know.
//!
//! Not here: where a mailbox's settings are kept and its secret opened (`store`, `keyring`).

use std::time::Duration;

use secrecy::SecretString;

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// IMAP4rev1.
    Imap,
    /// POP3.
    Pop3,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Imap, Self::Pop3];

    /// The word in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What becomes of a message on the server once its report is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filing {
    /// It is moved to this folder, which is made if it is missing. IMAP only.
    Move {
        /// Where to.
        folder: String,
    },
    /// It stays and gets this flag (`\\Seen`) or keyword. IMAP only.
    Mark {
        /// Which one.
        flag: String,
    },
    /// It stays as it is.
    Leave,
    /// It is deleted some time after it was recorded.
    Delete {
        /// How long after, in days.
        after_days: u32,
    },
}

impl Filing {
    /// Every word in JSON and SQL.
    pub const WORDS: [&'static str; 4] = ["move", "mark", "leave", "delete"];

    /// From the word and what belongs to each of them.
    pub fn parse(word: &str, folder: &str, flag: &str, after_days: u32) -> Option<Self> {
        match word {
            "move" => Some(Self::Move { folder: folder.to_owned() }),
            "mark" => Some(Self::Mark { flag: flag.to_owned() }),
            "leave" => Some(Self::Leave),
            "delete" => Some(Self::Delete { after_days }),
            _ => None,
        }
    }

    /// Whether this kind of server can do that.
    pub fn suits(&self, kind: Kind) -> bool {
        kind == Kind::Imap || matches!(self, Self::Leave | Self::Delete { .. })
    }
}

/// How a session is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// Plain text.
    None,
    /// STARTTLS (STLS), required: a server that doesn't offer it is not talked to.
    StartTls,
    /// TLS from the first byte (ports 993 and 995).
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
    /// The LOGIN command, or USER and PASS.
    Login,
    /// AUTHENTICATE PLAIN, or AUTH PLAIN (RFC 4616).
    Plain,
    /// The same with XOAUTH2: the secret is an access token.
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
    /// What is spoken.
    pub kind: Kind,
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
    /// The folders that are read; none of a POP3 server, which has no folders.
    pub folders: Vec<String>,
    /// What becomes of what was read.
    pub filing: Filing,
    /// How long and how much.
    pub limits: Limits,
}
