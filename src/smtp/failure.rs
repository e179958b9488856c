//! Why a session ended or never began, in words that a person understands.
//!
//! Not here: what that means for a message in flight (`outcome`), for a relay's health (`relay`).

use std::{io, time::Duration};

use super::{
    phase::Phase,
    reply::{ProtocolFault, Reply},
};
use crate::network::{TlsError, describe_io};

/// Why a session can't be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The relay said 421, or gave a refusal as its last words before it closed.
    #[error("the relay is closing the session: {0}")]
    Closing(Reply),
    /// The relay closed the connection without a word.
    #[error("the relay closed the connection")]
    Closed,
    /// The network failed.
    #[error("the connection failed: {}", describe_io(*.0))]
    Io(io::ErrorKind),
    /// The phase's time was over.
    #[error("no answer at {phase} within {} s", .limit.as_secs_f32())]
    TimedOut {
        /// Where it was.
        phase: Phase,
        /// What was allowed.
        limit: Duration,
    },
    /// The relay doesn't speak SMTP, or is out of step.
    #[error("the relay broke the protocol: {0}")]
    Protocol(#[from] ProtocolFault),
    /// The caller held the message back after its envelope; only closing the connection keeps it from being submitted.
    #[error("the message was held back before its bytes were written")]
    Withdrawn,
    /// The caller dropped the pipeline with messages in flight.
    #[error("the session was abandoned with messages in flight")]
    Abandoned,
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Closed,
            kind => Self::Io(kind),
        }
    }
}

/// A session that could not be opened: where it failed and why. Its text is fit for the people who set the relay up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub struct ConnectFailure {
    /// How far it came.
    pub phase: Phase,
    /// What went wrong.
    pub cause: ConnectCause,
}

impl ConnectFailure {
    /// What the relay answered, if an answer was the trouble.
    pub fn reply(&self) -> Option<&Reply> {
        match &self.cause {
            ConnectCause::Refused { reply, .. } | ConnectCause::Link { cause: Cause::Closing(reply), .. } => {
                Some(reply)
            }
            _ => None,
        }
    }

    /// Whether the settings, and not the relay's or the network's present state, are at fault: trying again without a
    /// change is in vain.
    pub fn is_lasting(&self) -> bool {
        match &self.cause {
            ConnectCause::Refused { reply, .. } => reply.is_permanent(),
            ConnectCause::Link { .. } | ConnectCause::Tls(TlsError::Handshake(_) | TlsError::NoRoots) => false,
            _ => true,
        }
    }

    pub(super) fn link(phase: Phase) -> impl FnOnce(Cause) -> Self {
        move |cause| Self { phase, cause: ConnectCause::Link { phase, cause } }
    }

    pub(super) fn refused(phase: Phase, reply: Reply) -> Self {
        Self { phase, cause: ConnectCause::Refused { phase, reply } }
    }
}

/// What went wrong while a session was being opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectCause {
    /// The relay answered with a refusal.
    #[error("{} {reply}", refusal_words(*.phase))]
    Refused {
        /// Where.
        phase: Phase,
        /// Its words.
        reply: Reply,
    },
    /// The connection or the protocol failed.
    #[error("{cause} (during {phase})")]
    Link {
        /// Where.
        phase: Phase,
        /// How.
        cause: Cause,
    },
    /// STARTTLS is required and not offered.
    #[error("the relay does not offer STARTTLS, and the relay's setting requires it")]
    NoStartTls,
    /// Bytes were sent in the clear behind the answer to STARTTLS: somebody tries to inject replies (CVE-2011-0411).
    #[error("the relay sent more than its answer before the TLS handshake; the session was dropped as unsafe")]
    Injected,
    /// The handshake failed; its text says why.
    #[error(transparent)]
    Tls(TlsError),
    /// The relay doesn't offer the login that was asked for.
    #[error("the relay does not offer AUTH {wanted}; it offers {offered}")]
    NoMechanism {
        /// The mechanism in the settings.
        wanted: &'static str,
        /// What EHLO named, or `no login at all`.
        offered: String,
    },
    /// The relay's side of a login by challenge is not as it should be.
    #[error("the login was broken off: {0}")]
    Exchange(&'static str),
    /// Credentials would leave outside TLS.
    #[error("the login was not sent because the session is not encrypted; use TLS, or set allow_plaintext_auth")]
    PlaintextAuth,
    /// A setting can't be used.
    #[error("the setting {0} is not valid")]
    Setting(&'static str),
}

fn refusal_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Greeting => "the relay does not want to talk to us:",
        Phase::Ehlo => "the relay refused our name:",
        Phase::Tls => "the relay refused STARTTLS:",
        Phase::Auth => "the relay refused the login:",
        _ => "the relay refused:",
    }
}
