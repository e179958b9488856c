//! Messages with granted intents, in line for one connection: where its session takes the next one from, after the last
//! look whether it may still go.
//!
//! Not here: how they got here (`supply`), what comes of them (`worker`).

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};

use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    time::{Duration, Instant, sleep},
};

use super::{
    crew::Crew,
    flight::{Flight, Packed, Ready},
    gate::Leave,
    index::Block,
    inlet::{Inlet, Reply},
    moment::Moment,
    supply::words,
};
use crate::{
    relay::{Attempted, Permit},
    smtp::{Phase, Source, Submission},
    store::batches::Blocked,
};

/// How often a closed gate is looked at.
const CLOSED: Duration = Duration::from_millis(20);

/// The line.
#[derive(Debug)]
pub(super) struct Runway {
    crew: Arc<Crew>,
    inlet: Arc<Inlet>,
    replies: UnboundedReceiver<Reply>,
    n_replied: usize,
    line: VecDeque<Packed>,
    /// Nothing more is asked for.
    pub(super) is_dry: bool,
}

impl Runway {
    pub(super) fn new(crew: Arc<Crew>) -> Self {
        let (reply, replies) = unbounded_channel();
        let inlet = Arc::new(Inlet::new(reply, crew.settings.doubt_window));
        Self { crew, inlet, replies, n_replied: 0, line: VecDeque::new(), is_dry: false }
    }

    /// Where the supply puts messages in.
    pub(super) fn inlet(&self) -> Arc<Inlet> {
        Arc::clone(&self.inlet)
    }

    /// Whether nothing more comes.
    pub(super) fn is_over(&self) -> bool {
        self.is_dry && self.is_empty()
    }

    /// Whether nothing is in line or asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty() && self.is_replied()
    }

    /// Give everything in the line back: it was surely not submitted. What has no intent yet stays in its batch.
    pub(super) fn give_back(&mut self, reason: &str) {
        self.n_replied += self.crew.books.withdraw(&self.inlet);
        self.look();
        while let Some(ready) = self.line.pop_front() {
            self.crew.settle(ready.flight, Attempted::not_submitted(Phase::Mail, reason), None);
        }
    }

    /// Give back everything in the line and what is still to come.
    pub(super) async fn clear(&mut self, reason: &str) {
        loop {
            self.give_back(reason);
            if self.is_replied() {
                return;
            }
            self.receive().await;
        }
    }

    /// So fares everything in the line that may go now, as nobody is there to whom it could be submitted.
    pub(super) fn turn_away(&mut self, mut fare: impl FnMut(&Flight) -> Attempted) {
        while let Some(ready) = self.next() {
            let attempted = fare(&ready.flight);
            self.crew.settle(ready.flight, attempted, None);
        }
    }

    /// The first in line that may go, by a last look; what may not go is settled. None while there is none, or nothing may go.
    fn next(&mut self) -> Option<Packed> {
        self.look();
        loop {
            let first = self.line.front()?;
            let leave =
                if self.crew.is_ending() { Leave::Lost } else { self.crew.gate.ask(&first.flight.work, Moment::now()) };
            if leave == Leave::Closed {
                return None;
            }
            let ready = self.line.pop_front()?;
            let attempted = match leave {
                Leave::Granted => return Some(ready),
                Leave::Lost | Leave::Closed => Attempted::not_submitted(Phase::Mail, "this node gave it back in time"),
                Leave::Blocked(Block::Stopped) => {
                    Attempted::not_submitted(Phase::Mail, "the campaign was stopped in time")
                }
                Leave::Blocked(Block::Suppressed) => suppressed(Blocked::Suppressed),
                Leave::Blocked(Block::Unsubscribed) => suppressed(Blocked::Unsubscribed),
            };
            self.crew.settle(ready.flight, attempted, None);
        }
    }

    fn is_replied(&self) -> bool {
        self.n_replied == self.inlet.n_asked.load(Ordering::Acquire)
    }

    /// Let in what has come.
    fn look(&mut self) {
        while let Ok(reply) = self.replies.try_recv() {
            self.enter(reply);
        }
    }

    fn enter(&mut self, Reply { granted, n }: Reply) {
        self.n_replied += n;
        self.line.extend(granted);
    }

    /// Ends when more was granted, and is in the line.
    pub(super) async fn receive(&mut self) {
        // Never none: the inlet is held here.
        if let Some(reply) = self.replies.recv().await {
            self.enter(reply);
        }
    }
}

impl Source for Runway {
    type Ticket = Flight;

    fn take(&mut self) -> Option<Submission<Flight>> {
        let Ready { mut flight, envelope, message } = *self.next()?;
        flight.permits.drain(..).for_each(Permit::spend);
        flight.written_at = Some(Instant::now());
        Some(Submission { ticket: flight, envelope, message })
    }

    fn confirm(&mut self, flight: &Flight) -> bool {
        flight.work.claim.is_live(Moment::now())
    }

    async fn ready(&mut self) {
        if !self.line.is_empty() {
            sleep(CLOSED).await;
        } else {
            self.receive().await;
        }
    }
}

fn suppressed(blocked: Blocked) -> Attempted {
    let (reason, text) = words(blocked);
    Attempted::suppressed(reason, text)
}
