//! Where a pipeline takes its messages from.
//!
//! Not here: which message is next and whether it may go (`dispatch`).

use std::future::{Future, pending};

use super::{envelope::Envelope, message::PreparedMessage};

/// A message to submit, with the caller's mark on it.
#[derive(Debug, Clone)]
pub struct Submission<T> {
    /// Comes back with the outcome.
    pub ticket: T,
    /// From whom, to whom.
    pub envelope: Envelope,
    /// The bytes.
    pub message: PreparedMessage,
}

/// Gives a pipeline its messages, at the last moment.
///
/// A closure that gives submissions is one: `|| queue.pop_front()`.
pub trait Source {
    /// The caller's mark on a message.
    type Ticket;

    /// The next message. Asked for just before its MAIL FROM is written: whoever gives it has committed the intent, and
    /// looks here for the last time whether it may still go. None means nothing now.
    fn take(&mut self) -> Option<Submission<Self::Ticket>>;

    /// Asked just before the bytes of a message are written, once its envelope is accepted: may it still go? A no costs
    /// the connection, since nothing else takes DATA back; the outcome is then `NotSubmitted`. So this is for what
    /// should never happen, such as a lease that ran out while the process stood still.
    fn confirm(&mut self, _ticket: &Self::Ticket) -> bool {
        true
    }

    /// Ends when `take` may have something again. Polled while the final dot of a message is unanswered and `take` had
    /// nothing to put behind it; must be cancel-safe. A source that never says so loses nothing but that overlap.
    fn ready(&mut self) -> impl Future<Output = ()> + Send {
        pending()
    }
}

impl<T, F: FnMut() -> Option<Submission<T>>> Source for F {
    type Ticket = T;

    fn take(&mut self) -> Option<Submission<T>> {
        self()
    }
}
