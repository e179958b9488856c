//! What goes before a message's turn on the wire: drawing it, looking whether it may be mailed, making it, asking for its
//! intent. One for each connection, as far ahead as its doubt window lets it.
//!
//! Not here: the wire (`worker`), the commit (`intents`).

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chrono::{DateTime, SubsecRound, Utc};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc::UnboundedSender},
    time::{Duration, Instant, sleep, timeout},
};

use super::{
    claim::Work,
    crew::Crew,
    flight::{Flight, Ready},
    gate::Leave,
    index::Block,
    intents::Request,
    lane::Lane,
    moment::Moment,
    queue::Drawn,
    settler::Entry,
    signing::Signed,
};
use crate::{domain::delivery::DeliveryState, store::batches::Blocked};

/// How often a closed gate is looked at.
const CLOSED: Duration = Duration::from_millis(50);

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dry {
    /// There was no work for a while.
    Idle,
    /// The lane or the engine ends.
    Closed,
    /// So many messages were drawn as one connection may carry, or it is as old as one may be.
    Retired,
}

/// Where a connection's granted messages go.
#[derive(Debug)]
pub(super) struct Inlet {
    pub(super) reply: UnboundedSender<Vec<Ready>>,
    /// How many replies there will have been.
    pub(super) n_asked: AtomicUsize,
}

/// Supply a connection with up to `most` messages whose granted intents go to `inlet`; when there is none for as long as `idle`
/// says, that is all.
///
/// May be dropped at any moment: what was drawn and not asked for stays in its batch.
pub(super) async fn supply(
    crew: &Crew,
    (lane, connection): (&Lane, u64),
    window: &Arc<Semaphore>,
    inlet: &Inlet,
    most: u32,
    idle: impl Fn() -> Duration,
) -> Dry {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut left = most;
    // Half a window at a time: one message at a time would wake everybody for each, and make small groups to commit.
    let n_together = (crew.settings.doubt_window / 2).max(1);
    let mut drawn: Vec<Drawn> = Vec::with_capacity(crew.settings.doubt_window);
    let opened_at = Instant::now();
    // A connection that was worth opening carries something, however old it may become.
    while left > 0 && (left == most || opened_at.elapsed() < crew.settings.max_connection_age) {
        let n_least = u32::try_from(n_together.min(left)).unwrap_or(1);
        // The semaphore is never closed.
        let Ok(mut slots) = Arc::clone(window).acquire_many_owned(n_least).await else { return Dry::Closed };
        while slots.num_permits() < left
            && let Ok(slot) = Arc::clone(window).try_acquire_owned()
        {
            slots.merge(slot);
        }
        while !crew.gate.is_open(Moment::now()) {
            if crew.is_ending() || lane.is_closed() {
                return Dry::Closed;
            }
            sleep(CLOSED).await;
        }
        match timeout(idle(), lane.draw(connection, slots.num_permits(), &mut drawn)).await {
            Ok(true) => {}
            Ok(false) => return Dry::Closed,
            Err(_) => return Dry::Idle,
        }
        left = left.saturating_sub(drawn.len());
        if lane.is_short_of_hands() {
            crew.short_of_hands.notify_one();
        }
        let mut ready = Vec::with_capacity(drawn.len());
        for one in drawn.drain(..) {
            // There are as many slots as were drawn at most.
            let Some(slot) = slots.split(1) else { break };
            ready.extend(prepare(crew, lane, one, slot));
        }
        drop(slots);
        let Signed { ready, failed } = crew.signing.sign(ready).await;
        for (Flight { work, _slot, .. }, text) in failed {
            // The settler lives as long as the crew.
            let _ = crew.settler.send(Entry::End { work, to: DeliveryState::Failed, reason: "signing", text, _slot });
        }
        if !ready.is_empty() {
            inlet.n_asked.fetch_add(1, Ordering::AcqRel);
            // The committers live as long as the crew.
            let _ = crew.intents.send(Request { ready, reply: inlet.reply.clone() });
        }
    }
    Dry::Retired
}

/// Make one message ready, or end its delivery.
fn prepare(crew: &Crew, lane: &Lane, drawn: Drawn, slot: OwnedSemaphorePermit) -> Option<Ready> {
    let Drawn { work, permits, seat } = drawn;
    let (to, reason, text) = match look(crew, &work) {
        Look::Stays => return None,
        Look::Ends(blocked) => {
            let (reason, text) = words(blocked);
            (DeliveryState::Suppressed, reason, text.to_owned())
        }
        Look::Goes => {
            let begun_at = now();
            let date = work.claimed.first_attempt_at.unwrap_or(begun_at);
            match work.claim.campaign.composer.compose(&work.claimed, date) {
                Ok((envelope, message)) => {
                    let flight = Flight {
                        work,
                        relay: lane.way.relay,
                        begun_at,
                        permits,
                        written_at: None,
                        _seat: seat,
                        _slot: slot,
                        _aloft: crew.in_flight.enter(),
                    };
                    return Some(Ready { flight, envelope, message });
                }
                Err(failure) => (DeliveryState::Failed, failure.reason, failure.text),
            }
        }
    };
    // The settler lives as long as the crew.
    let _ = crew.settler.send(Entry::End { work, to, reason, text, _slot: slot });
    None
}

/// What is to be done with a delivery that was drawn.
enum Look {
    Goes,
    /// It stays in its batch.
    Stays,
    Ends(Blocked),
}

fn look(crew: &Crew, work: &Work) -> Look {
    if let Some(blocked) = work.claimed.blocked {
        return Look::Ends(blocked);
    }
    match crew.gate.ask(work, Moment::now()) {
        Leave::Granted => Look::Goes,
        Leave::Closed | Leave::Lost | Leave::Blocked(Block::Stopped) => Look::Stays,
        Leave::Blocked(Block::Suppressed) => Look::Ends(Blocked::Suppressed),
        Leave::Blocked(Block::Unsubscribed) => Look::Ends(Blocked::Unsubscribed),
    }
}

/// As Postgres keeps it, so that the Date of a second try is that of the first.
fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// Why a delivery is not made, in a word and a sentence.
pub(super) fn words(blocked: Blocked) -> (&'static str, &'static str) {
    let sentence = match blocked {
        Blocked::Suppressed => "the address is suppressed",
        Blocked::Unsubscribed => "the recipient unsubscribed after the campaign was started",
        Blocked::RecipientDeleted => "the recipient was deleted",
    };
    (blocked.as_str(), sentence)
}
