//! One message over a session, for whoever has only one.
//!
//! Not here: many (`pipeline`).

use super::{
    envelope::Envelope, failure::Cause, message::PreparedMessage, outcome::Outcome, phase::Phase, pipeline::Pipeline,
    session::Session, source::Submission,
};

impl Session {
    /// Submits one message and waits for its outcome.
    ///
    /// Not cancel-safe: dropping it in the middle breaks the session, and the message may or may not be submitted.
    pub async fn transact(&mut self, envelope: &Envelope, message: &PreparedMessage) -> Outcome {
        let mut one = Some(Submission { ticket: (), envelope: envelope.clone(), message: message.clone() });
        let outcome = Pipeline::new(self).advance(&mut || one.take()).await;
        outcome.map_or_else(
            || Outcome::NotSubmitted { phase: Phase::Mail, cause: self.broken().cloned().unwrap_or(Cause::Closed) },
            |((), outcome)| outcome,
        )
    }
}
