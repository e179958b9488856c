//! What goes before a message's turn on the wire: drawing it, looking whether it may be mailed, making it, asking for its
//! intent. One for each connection, a doubt window ahead: whenever a place in that is free, somebody waits for it.
//!
//! Not here: the wire (`worker`), the commit (`books`, `committer`).

use std::sync::{Arc, atomic::Ordering};

use chrono::{DateTime, SubsecRound, Utc};
use tokio::time::{Duration, Instant, sleep};

use super::{
    claim::Work,
    crew::Crew,
    drawing::Drew,
    echo,
    flight::{Flight, Packed, Ready},
    gate::Leave,
    index::Block,
    inlet::Inlet,
    lane::Lane,
    moment::Moment,
    outcomes::Entry,
    place::Place,
    queue::Drawn,
    signing::Signed,
};
use crate::{domain::delivery::DeliveryState, relay::Door, store::batches::Blocked};

/// Messages after which a connection is ended where other domains wait for its place.
const TURN: usize = 50;
/// How often a closed gate is looked at.
const CLOSED: Duration = Duration::from_millis(50);

/// Why nothing more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dry {
    /// There was no work for a while.
    Idle,
    /// The lane or the engine ends.
    Closed,
    /// So many messages were drawn as one connection may carry, or it is as old as one may be, or others wait for its place.
    Retired,
}

/// What becomes of what is supplied.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal {
    /// It is submitted; work is waited for so long.
    Submitted(Duration),
    /// Nobody is there to whom it could be.
    TurnedAway,
}

/// Supply a connection with up to `most` messages, over its inlet; when there is none for as long as its goal says, that is all.
///
/// May be dropped at any moment: what was drawn and not asked for stays in its batch.
pub(super) async fn supply(
    crew: &Crew,
    (lane, connection): (&Lane, u64),
    inlet: &Arc<Inlet>,
    most: u32,
    goal: Goal,
) -> Dry {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut left = most;
    // Half a window at a time: one message at a time would wake everybody for each, and make small groups to commit.
    let n_together = (crew.settings.doubt_window / 2).max(1);
    let mut drawn: Vec<Drawn> = Vec::with_capacity(crew.settings.doubt_window);
    let opened_at = Instant::now();
    // A connection that was worth opening carries something, however old it may become.
    let is_old = |n_drawn: usize| n_drawn > 0 && opened_at.elapsed() >= crew.settings.max_connection_age;
    let has_had_its_turn = |n_drawn: usize| n_drawn >= TURN && lane.has_rivals();
    while left > 0 && !is_old(most - left) && !has_had_its_turn(most - left) {
        let n_least = u32::try_from(n_together.min(left)).unwrap_or(1);
        // The semaphore is never closed.
        let Ok(mut places) = Arc::clone(&inlet.ahead).acquire_many_owned(n_least).await else { return Dry::Closed };
        while places.num_permits() < left
            && let Ok(place) = Arc::clone(&inlet.ahead).try_acquire_owned()
        {
            places.merge(place);
        }
        while !crew.gate.is_open(Moment::now()) {
            if crew.is_ending() || lane.is_closed() {
                return Dry::Closed;
            }
            sleep(CLOSED).await;
        }
        let end = match goal {
            Goal::Submitted(idle) => lane.draw(connection, places.num_permits(), idle, &mut drawn).await,
            Goal::TurnedAway => lane.draw_off(places.num_permits(), &mut drawn),
        };
        match end {
            Drew::Some => {}
            Drew::Closed => return Dry::Closed,
            Drew::Idle => return Dry::Idle,
        }
        left = left.saturating_sub(drawn.len());
        if lane.is_short_of_hands() {
            crew.short_of_hands.notify_one();
        }
        let mut ready = Vec::with_capacity(drawn.len());
        for one in drawn.drain(..) {
            // There are as many places as were drawn at most.
            let Some(place) = places.split(1) else { break };
            ready.extend(prepare(crew, lane, one, Place::ahead(place)));
        }
        drop(places);
        let Signed { mut ready, failed } = crew.signing.sign(ready).await;
        ready.iter_mut().for_each(|one| have_echoed(lane, one));
        for (Flight { work, place: _place, .. }, text) in failed {
            crew.books.put(Entry::End { work, to: DeliveryState::Failed, reason: "signing", text, _place });
        }
        if !ready.is_empty() {
            inlet.n_asked.fetch_add(ready.len(), Ordering::AcqRel);
            crew.books.ask(ready, inlet);
        }
    }
    Dry::Retired
}

/// Add what the relay's service hands back in its events. Not signed: the service takes it out again.
fn have_echoed(lane: &Lane, one: &mut Ready) {
    if let Door::Server(settings) = &lane.door
        && let Some(field) = echo::field(&settings.host, &one.envelope.return_path)
    {
        one.message = one.message.with_field(&field);
    }
}

/// Make one message ready, or end its delivery.
fn prepare(crew: &Crew, lane: &Lane, drawn: Drawn, place: Place) -> Option<Packed> {
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
                    let flight =
                        Flight { work, relay: lane.way.relay, begun_at, permits, written_at: None, _seat: seat, place };
                    return Some(Box::new(Ready { flight, envelope, message }));
                }
                Err(failure) => (DeliveryState::Failed, failure.reason, failure.text),
            }
        }
    };
    crew.books.put(Entry::End { work, to, reason, text, _place: place });
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
