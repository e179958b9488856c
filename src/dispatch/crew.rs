//! What all connections share: the gate, the books, the settings. A leaf.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use super::{books::Books, flight::Flight, gate::Gate, outcomes::Entry, settings::Settings, signing::Signing};
use crate::relay::{Attempted, Connector};

/// The shared tools of the workers.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) settings: Arc<Settings>,
    pub(super) connector: Connector,
    pub(super) gate: Gate,
    pub(super) books: Arc<Books>,
    pub(super) signing: Signing,
    /// Wakes whoever opens connections.
    pub(super) short_of_hands: Arc<Notify>,
    stage: watch::Sender<Stage>,
}

/// How far the engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// It sends.
    Running,
    /// Nothing new is submitted; what is on the wire is waited for.
    Ending,
    /// Nothing is waited for any more.
    Cut,
}

impl Crew {
    pub(super) fn new(
        settings: Arc<Settings>,
        connector: Connector,
        gate: Gate,
        books: Arc<Books>,
        short_of_hands: Arc<Notify>,
    ) -> Self {
        Self {
            settings,
            connector,
            gate,
            books,
            signing: Signing::new(),
            short_of_hands,
            stage: watch::Sender::new(Stage::Running),
        }
    }

    /// Go over to this stage.
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// Whether the end was asked for.
    pub(super) fn is_ending(&self) -> bool {
        *self.stage.borrow() >= Stage::Ending
    }

    /// Ends when this stage is reached.
    pub(super) async fn reached(&self, stage: Stage) {
        // The sender is held here, so it only ends when it is so.
        let _ = self.stage.subscribe().wait_for(|now| *now >= stage).await;
    }

    /// Have an outcome written down.
    pub(super) fn settle(&self, flight: Flight, attempted: Attempted, tls: Option<Arc<str>>) {
        self.books.put(Entry::Attempt { flight, attempted, tls });
    }
}
