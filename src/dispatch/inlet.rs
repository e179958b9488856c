//! The way of a connection's messages from its supply over the books to its runway. A leaf.

use std::sync::{Arc, atomic::AtomicUsize};

use tokio::sync::{Semaphore, mpsc::UnboundedSender};

use super::flight::Packed;

/// Where a connection's granted messages go, and how many may be on their way.
#[derive(Debug)]
pub(super) struct Inlet {
    pub(super) reply: UnboundedSender<Reply>,
    /// How many messages were asked for.
    pub(super) n_asked: AtomicUsize,
    /// Places of messages that are made before there is one in the window.
    pub(super) ahead: Arc<Semaphore>,
    /// Places from intent to committed outcome.
    pub(super) window: Arc<Semaphore>,
}

impl Inlet {
    /// For a connection with a doubt window of this size.
    pub(super) fn new(reply: UnboundedSender<Reply>, doubt_window: usize) -> Self {
        let places = || Arc::new(Semaphore::new(doubt_window));
        Self { reply, n_asked: AtomicUsize::new(0), ahead: places(), window: places() }
    }
}

/// What became of so many messages that were asked for.
#[derive(Debug)]
pub(super) struct Reply {
    /// They may be submitted.
    pub(super) granted: Vec<Packed>,
    /// These and those that may not.
    pub(super) n: usize,
}
