//! What one reply says about the message that it answers.
//!
//! Not here: which message that is (`pipeline`), how a transaction ended as a whole (`outcome`).
//!
//! RFC 5321 §4.2.1.

use super::{failure::Cause, outcome::Outcome, phase::Phase, reply::RawReply};

/// A message whose bytes could not all be written: refused, if the relay said so before it stopped reading.
pub(super) fn cut_off(words: Option<&RawReply>, cause: &Cause) -> Outcome {
    words
        .filter(|reply| reply.code != 421)
        .and_then(|reply| refusal(Phase::Body, reply))
        .unwrap_or_else(|| Outcome::NotSubmitted { phase: Phase::Body, cause: cause.clone() })
}

/// What the reply to the final dot or the last chunk says; none when it says nothing that has a meaning there.
pub(super) fn verdict_at_end(reply: &RawReply) -> Option<Outcome> {
    if reply.is_positive() {
        return Some(Outcome::Accepted { reply: reply.parse() });
    }
    refusal(Phase::Dot, reply)
}

/// A 4xx or 5xx as an outcome.
pub(super) fn refusal(phase: Phase, reply: &RawReply) -> Option<Outcome> {
    match reply.code {
        400..500 => Some(Outcome::Deferred { phase, reply: reply.parse() }),
        500.. => Some(Outcome::Rejected { phase, reply: reply.parse() }),
        _ => None,
    }
}

/// Whether a code says that the command, and not what it carried, was not understood (RFC 5321 §4.2.3).
pub(super) fn is_no_such_command(code: u16) -> bool {
    matches!(code, 500..=504)
}
