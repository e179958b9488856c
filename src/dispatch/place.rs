//! A message's place at its connection: among those that are made ahead, then in the doubt window, from its intent to its
//! committed outcome.
//!
//! Not here: who gets a place when (`books`).

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Where a message stands; its place is free again when this is dropped.
#[derive(Debug)]
pub(super) enum Place {
    /// It was made and has no intent yet.
    Ahead { _permit: OwnedSemaphorePermit },
    /// Its intent was asked for.
    InDoubt(InDoubt),
    /// It was accepted, and its place is another's.
    HandedOn,
}

/// A place in a connection's doubt window.
#[derive(Debug)]
pub(super) struct InDoubt {
    permit: OwnedSemaphorePermit,
    n_in_doubt: Arc<AtomicUsize>,
}

/// Places to be given away, by window.
#[derive(Debug, Default)]
pub(super) struct Free(HashMap<*const Semaphore, Vec<InDoubt>>);

impl Place {
    /// For a message that is made ahead.
    pub(super) fn ahead(permit: OwnedSemaphorePermit) -> Self {
        Self::Ahead { _permit: permit }
    }

    /// Take the place in the doubt window from it, if it has one.
    pub(super) fn hand_on(&mut self) -> Option<InDoubt> {
        match std::mem::replace(self, Self::HandedOn) {
            Self::InDoubt(place) => Some(place),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl InDoubt {
    /// The place of this permit, counted in `n_in_doubt` for as long as it is taken.
    pub(super) fn new(permit: OwnedSemaphorePermit, n_in_doubt: &Arc<AtomicUsize>) -> Self {
        n_in_doubt.fetch_add(1, Ordering::Relaxed);
        Self { permit, n_in_doubt: Arc::clone(n_in_doubt) }
    }
}

impl Drop for InDoubt {
    fn drop(&mut self) {
        self.n_in_doubt.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Free {
    /// One of this window.
    pub(super) fn take(&mut self, window: &Arc<Semaphore>) -> Option<InDoubt> {
        self.0.get_mut(&Arc::as_ptr(window))?.pop()
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that are left.
    pub(super) fn into_rest(self) -> Vec<InDoubt> {
        self.0.into_values().flatten().collect()
    }
}

impl FromIterator<InDoubt> for Free {
    fn from_iter<I: IntoIterator<Item = InDoubt>>(places: I) -> Self {
        let mut free = Self::default();
        for place in places {
            free.0.entry(Arc::as_ptr(place.permit.semaphore())).or_default().push(place);
        }
        free
    }
}
