//! One connection to a relay: opened, kept busy from its supply, opened again as the relay closes it, ended when there is
//! nothing to do. A message that has its intent keeps its place while the connection is opened again.
//!
//! Not here: the dialogue (`smtp`), what goes before a message's turn (`supply`), when connections are opened (`lanes`).

use std::{pin::pin, sync::Arc, time::Instant};

use super::{
    chance::chance,
    counts::{Counted, Counts},
    crew::{Crew, Stage},
    flight::Flight,
    lane::{Lane, SOON},
    runway::Runway,
    supply::{Dry, Goal, supply},
};
use crate::{
    relay::Attempted,
    smtp::{Outcome, Pipeline, Session, Source},
};

/// Why messages in line are given back.
const ENDING: &str = "this node ended before its turn";

/// How a session came to its end.
enum End {
    /// There is nothing more to do.
    Done,
    /// It carried as much as one connection may.
    Retired,
    /// It broke, after the fate of so many messages was decided over it.
    Broken { reason: String, n_answers: u64 },
}

/// Run a connection of this lane until there is nothing more to do for it. The caller has counted it as being opened.
pub(super) async fn run(crew: Arc<Crew>, lane: Arc<Lane>) {
    let (mut runway, connection) = (Runway::new(Arc::clone(&crew)), lane.number());
    let mut opening = lane.boarded();
    loop {
        let opened = match lane.refusal(Instant::now()) {
            Some(refusal) => Err(Closed::Domain(refusal)),
            None => {
                let mut opened = pin!(open(&crew, &lane));
                loop {
                    tokio::select! {
                        opened = &mut opened => break opened,
                        // Who answers slowly is not counted on any more: others may be opened.
                        () = tokio::time::sleep(SOON), if opening.of_relay.is_some() => opening.of_relay = None,
                        () = crew.reached(Stage::Ending) => return runway.clear(ENDING).await,
                    }
                }
            }
        };
        drop(opening);
        // Others may be opened now, or have to be.
        crew.short_of_hands.notify_one();
        let mut session = match opened {
            Ok(session) => session,
            Err(Closed::Relay(reason)) => {
                lane.fail(crew.settings.backoff, reason, chance());
                return runway.clear("the relay could not be reached again").await;
            }
            Err(Closed::Domain(refusal)) => {
                return turn_away(&crew, (&lane, connection), &mut runway, &refusal).await;
            }
        };
        match fly(&crew, (&lane, connection), &mut session, &mut runway).await {
            End::Done => {
                let _ending = Counted::new(&lane.of_relay().n_ending);
                return session.quit().await;
            }
            End::Retired => session.quit().await,
            End::Broken { reason, n_answers: 0 } => {
                lane.fail(crew.settings.backoff, reason, chance());
                return runway.clear("the relay closed the connection before its turn").await;
            }
            End::Broken { reason, n_answers } => {
                tracing::debug!(relay = %lane.way.relay, reason, n_answers, "a relay closed a connection; it is opened again");
            }
        }
        opening = lane.opening();
    }
}

/// Why there is no session.
enum Closed {
    /// The relay does not open one.
    Relay(String),
    /// The domain's mail servers don't, and so its messages fare.
    Domain(Attempted),
}

async fn open(crew: &Crew, lane: &Lane) -> Result<Session, Closed> {
    let error = match crew.connector.reach(&lane.door, lane.domain()).await {
        Ok(session) => return Ok(session),
        Err(error) => error,
    };
    match error.attempted() {
        // While other connections work this one was only one too many.
        Some(attempted) if Counts::now(&lane.counts.n_working) == 0 => {
            lane.refuse(crew.settings.backoff, &attempted, chance());
            Err(Closed::Domain(attempted))
        }
        _ => Err(Closed::Relay(error.to_string())),
    }
}

/// Let everything that waits for a domain which can't be reached fare as its refusal says, until it is time to try it again. What
/// may not be sent any more fares as it would before a server.
async fn turn_away(crew: &Crew, (lane, connection): (&Lane, u64), runway: &mut Runway, refusal: &Attempted) {
    let inlet = runway.inlet();
    let fare = |flight: &Flight| {
        let mut attempted = refusal.clone();
        lane.way.destinations.note(&flight.work.aim, &mut attempted, chance());
        attempted
    };
    let mut supplying = pin!(supply(crew, (lane, connection), &inlet, u32::MAX, Goal::TurnedAway));
    loop {
        runway.turn_away(fare);
        tokio::select! {
            biased;
            _ = &mut supplying => break,
            () = runway.ready() => {}
        }
    }
    runway.turn_away(fare);
    while !runway.is_empty() {
        runway.ready().await;
        runway.turn_away(fare);
    }
}

/// Submit over this session until it ends or the supply does.
async fn fly(crew: &Crew, (lane, connection): (&Lane, u64), session: &mut Session, runway: &mut Runway) -> End {
    let tls: Option<Arc<str>> = session.tls().map(|tls| format!("{} {}", tls.version, tls.cipher).into());
    let most = lane.messages_per_connection.min(crew.settings.max_messages_per_connection);
    let inlet = runway.inlet();
    let mut supplying = pin!(supply(crew, (lane, connection), &inlet, most, Goal::Submitted(crew.settings.idle)));
    let mut dry = None;
    runway.is_dry = false;
    let (mut n_answers, mut last_failure) = (0, None);
    let mut pipeline = Pipeline::new(session);
    let mut is_ending = false;
    let mut working = None;
    let (mut ending, mut cut) = (pin!(crew.reached(Stage::Ending)), pin!(crew.reached(Stage::Cut)));
    loop {
        tokio::select! {
            biased;
            () = &mut cut, if is_ending => {
                for (flight, outcome) in pipeline.abandon() {
                    crew.settle(flight, Attempted::from_session(&outcome), tls.clone());
                }
                runway.clear(ENDING).await;
                return End::Done;
            }
            () = &mut ending, if !is_ending => {
                is_ending = true;
                runway.give_back(ENDING);
            }
            step = advance(&mut pipeline, runway) => {
                let Some((flight, outcome)) = step else { break };
                let mut attempted = Attempted::from_session(&outcome);
                lane.way.destinations.note(&flight.work.aim, &mut attempted, chance());
                // A relay that closes at every message, be it with a polite 421, is of no use.
                if matches!(outcome, Outcome::Accepted { .. } | Outcome::Deferred { .. } | Outcome::Rejected { .. }) {
                    if working.is_none() {
                        working = Some(Counted::new(&lane.counts.n_working));
                        lane.work();
                    }
                    n_answers += 1;
                } else {
                    last_failure = Some(attempted.text.clone());
                }
                crew.settle(flight, attempted, tls.clone());
            }
            why = &mut supplying, if dry.is_none() => {
                dry = Some(why);
                runway.is_dry = true;
            }
        }
    }
    drop(pipeline);
    match (session.broken(), dry) {
        // A connection that the relay closed while there was nothing to do is no failure.
        (Some(cause), _) if !runway.is_empty() || (n_answers == 0 && last_failure.is_some()) => {
            End::Broken { reason: last_failure.unwrap_or_else(|| cause.to_string()), n_answers }
        }
        // Others wait for its place: they are served first.
        (None, Some(Dry::Retired)) if lane.has_work() && !lane.has_rivals() => End::Retired,
        _ => End::Done,
    }
}

/// The next outcome; none when the session is broken or nothing more comes.
async fn advance(pipeline: &mut Pipeline<'_, Flight>, runway: &mut Runway) -> Option<(Flight, Outcome)> {
    loop {
        if let Some(step) = pipeline.advance(runway).await {
            return Some(step);
        }
        if !pipeline.session().is_usable() || runway.is_over() {
            return None;
        }
        runway.ready().await;
    }
}
