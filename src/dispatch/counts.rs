//! Counting the connections of a lane, and of all lanes of a relay together. A leaf.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Whether the relay's health is written down as it is.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) has_worked: AtomicBool,
    /// It changed and nobody wrote it down yet.
    pub(super) is_there: AtomicBool,
}

/// Connections of a lane.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Open or being opened.
    pub(super) n_open: AtomicUsize,
    /// Being opened.
    pub(super) n_opening: AtomicUsize,
    /// Open, and the relay has answered about a message.
    pub(super) n_working: AtomicUsize,
    /// Open, with nothing to do now.
    pub(super) n_idle: AtomicUsize,
    /// Open, with nothing to do because the relay's rate lets nothing go now.
    pub(super) n_throttled: AtomicUsize,
    /// Open, with nothing to do because there is nothing.
    pub(super) n_vacant: AtomicUsize,
    /// Open, and about to be closed.
    pub(super) n_ending: AtomicUsize,
    /// Not open, and a domain waits for it: of a whole relay.
    pub(super) n_wanted: AtomicUsize,
    /// Asks the one that has had nothing to do for longest to leave its place to another domain.
    pub(super) leave: Notify,
}

impl Counts {
    /// One of them, as it is now.
    pub(super) fn now(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::Acquire)
    }
}

/// Counts something for as long as it lives.
#[derive(Debug)]
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    pub(super) fn new(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(counter)
    }

    /// For what was counted already.
    pub(super) fn taken(counter: &'a AtomicUsize) -> Self {
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
