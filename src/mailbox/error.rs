//! Why a session failed, in words for the people who set the mailbox up.
//!
//! Not here: what a failure means for the mailbox's health (`reports`).

use std::{fmt, io, time::Duration};

use crate::network::{ResolveError, TlsError, describe_io};

/// Longest text of a server that is kept.
const TEXT_MAX_CHARS: usize = 300;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Looking the host up.
    Resolve,
    /// TCP.
    Connect,
    /// STARTTLS and the handshake.
    Tls,
    /// The server's first line.
    Greeting,
    /// LOGIN or AUTHENTICATE.
    Login,
    /// Opening a folder.
    Folder,
    /// Asking for UIDs and sizes.
    List,
    /// Fetching messages.
    Fetch,
    /// Moving messages away.
    File,
    /// Waiting for news.
    Idle,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "looking up the host",
            Self::Connect => "connecting",
            Self::Tls => "starting TLS",
            Self::Greeting => "waiting for the greeting",
            Self::Login => "logging in",
            Self::Folder => "opening the folder",
            Self::List => "listing new messages",
            Self::Fetch => "fetching messages",
            Self::File => "moving read messages away",
            Self::Idle => "waiting for new messages",
        })
    }
}

/// A failed session: what was being done and what went wrong.
#[derive(Debug, thiserror::Error)]
#[error("{cause} (while {stage})")]
pub struct MailboxError {
    /// What was being done.
    pub stage: Stage,
    /// What went wrong.
    pub cause: Cause,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The host has no address, or none that may be reached.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The network failed.
    #[error("the connection failed: {}", describe_io(*.0))]
    Io(io::ErrorKind),
    /// The server closed the connection, perhaps with a last word.
    #[error("the server closed the connection{}", last_word(.0))]
    Closed(String),
    /// The time was over.
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    /// TLS could not be had.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Bytes were sent in the clear behind the answer to STARTTLS: somebody tries to inject responses.
    #[error("the server sent more than its answer before the TLS handshake; the session was dropped as unsafe")]
    Injected,
    /// The session claims to be logged in already, which would skip TLS and the login.
    #[error("the server says that the session is logged in already (PREAUTH), which is not accepted")]
    Preauthenticated,
    /// Credentials would leave outside TLS.
    #[error("the login was not sent because the session is not encrypted; use TLS, or set allow_plaintext_auth")]
    PlaintextAuth,
    /// The server answered NO, BAD or -ERR: its words.
    #[error("the server refused: {0}")]
    Refused(String),
    /// The server doesn't speak the language, or sends what wasn't asked for.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The connection was cut because a message had more bytes than were told.
    #[error("the session was ended because a message is larger than the server told")]
    Spent,
    /// The folder has no UIDVALIDITY, so that nothing in it can be remembered.
    #[error("the folder has no UIDVALIDITY, so its messages can't be told apart from one session to the next")]
    NoUidValidity,
    /// A setting can't be used.
    #[error("the setting {0} is not valid")]
    Setting(&'static str),
}

impl Cause {
    /// What the IMAP crate says, in our words.
    pub(super) fn of(error: async_imap::error::Error) -> Self {
        use async_imap::error::Error;
        match error {
            Error::Io(error) => error.into(),
            Error::ConnectionLost => Self::Closed(String::new()),
            Error::No(text) | Error::Bad(text) => Self::Refused(clip(&unwrap_outcome(&text))),
            other => Self::Protocol(clip(&other.to_string())),
        }
    }

    /// Two refusals as one: of a command, and of what was to help it.
    pub(super) fn both(first: Self, second: Self) -> Self {
        match (first, second) {
            (Self::Refused(first), Self::Refused(second)) => Self::Refused(format!("{first}; {second}")),
            (first, _) => first,
        }
    }

    pub(super) fn at(self, stage: Stage) -> MailboxError {
        MailboxError { stage, cause: self }
    }
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed(String::new()),
            // What the guard refuses, and what the parser can't read (its text would repeat all of it).
            io::ErrorKind::InvalidData => Self::Protocol(clip(&error.to_string())),
            io::ErrorKind::Other => Self::Protocol("an answer could not be read as IMAP".into()),
            kind => Self::Io(kind),
        }
    }
}

/// The crate wraps refusals in Debug text: `code: None, info: Some("…")`.
fn unwrap_outcome(text: &str) -> String {
    let quoted = text.split_once("info: Some(\"").and_then(|(_, rest)| rest.strip_suffix("\")"));
    quoted.map_or_else(|| text.to_owned(), |words| words.replace("\\\"", "\"").replace("\\'", "'"))
}

/// A server's words, fit to be shown: no controls, no marks that turn text around, cut.
pub(super) fn clip(text: &str) -> String {
    let is_unsafe = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let shown: String = text.chars().map(|c| if is_unsafe(c) { ' ' } else { c }).collect();
    shown.trim().chars().take(TEXT_MAX_CHARS).collect()
}

fn last_word(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_servers_own_words() {
        let error = async_imap::error::Error::No("code: None, info: Some(\"no \\\"such\\\" user\")".into());
        assert_eq!(Cause::of(error).to_string(), "the server refused: no \"such\" user");
        assert_eq!(clip("a\r\n\u{202e}b"), "a   b");
    }
}
