//! How a transaction ended, told by phase. A message's failure is a value, not an error.
//!
//! Not here: what follows from it for a delivery (`domain`), a relay or a provider (`relay`).

use super::{failure::Cause, phase::Phase, reply::Reply};

/// How one message's transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This session can't carry the message; nothing of it was sent.
    Unfit(Unfit),
    /// Surely not submitted: the session ended before the end of the data was written. That is no fault of the
    /// message, also when the cause is a 421 that came at its MAIL FROM, RCPT TO or DATA.
    NotSubmitted {
        /// What was being waited for or written.
        phase: Phase,
        /// Why the session ended.
        cause: Cause,
    },
    /// 4xx.
    Deferred {
        /// Which command it answered: `Mail`, `Rcpt`, `Data` or `Dot`.
        phase: Phase,
        /// Its words.
        reply: Reply,
    },
    /// 5xx.
    Rejected {
        /// Which command it answered: `Mail`, `Rcpt`, `Data` or `Dot`.
        phase: Phase,
        /// Its words.
        reply: Reply,
    },
    /// The relay took the message.
    Accepted {
        /// Its words, often with its queue id.
        reply: Reply,
    },
    /// The session ended after the final dot began to be written and before its reply: nobody can know.
    Unknown {
        /// Why the session ended.
        cause: Cause,
    },
}

impl Outcome {
    /// Where the transaction ended.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Unfit(_) => Phase::Mail,
            Self::NotSubmitted { phase, .. } | Self::Deferred { phase, .. } | Self::Rejected { phase, .. } => *phase,
            Self::Accepted { .. } | Self::Unknown { .. } => Phase::Dot,
        }
    }

    /// What the relay said, if it said something: also the 421 behind a message that was not submitted.
    pub fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Deferred { reply, .. } | Self::Rejected { reply, .. } | Self::Accepted { reply } => Some(reply),
            Self::NotSubmitted { cause: Cause::Closing(reply), .. }
            | Self::Unknown { cause: Cause::Closing(reply) } => Some(reply),
            _ => None,
        }
    }
}

/// Why a message can't be submitted over a session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The return path can't stand in a command.
    #[error("the return path is not an address that can be sent")]
    ReturnPath,
    /// The recipient can't stand in a command.
    #[error("the recipient is not an address that can be sent")]
    Recipient,
    /// An address has non-ASCII characters and the relay doesn't offer SMTPUTF8 (RFC 6531).
    #[error("the relay does not offer SMTPUTF8, which this address needs")]
    NoSmtpUtf8,
    /// Larger than the relay's announced limit (RFC 1870).
    #[error("the message has {n_bytes} bytes, and the relay takes {limit_bytes}")]
    TooLarge {
        /// Of the message.
        n_bytes: u64,
        /// Of the relay.
        limit_bytes: u64,
    },
}
