//! Connections are opened where lanes want them, as many as this node may have.
//!
//! Not here: which lanes want one (`lanes`, `lane`, `fleet`), one connection (`worker`).

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::timeout};

use super::{
    crew::{Crew, Stage},
    lanes::Lanes,
    worker,
};

/// What was cut off has only to say so.
const AFTER_CUT: Duration = Duration::from_secs(1);
/// How often staff is looked after, if nobody asks for it.
const LOOK: Duration = Duration::from_millis(100);

/// Open connections where they are wanted, until the end is asked for; then wait for those that are open, and cut off what
/// takes longer than `drain`.
pub(super) async fn run(crew: &Arc<Crew>, lanes: &Lanes) {
    let mut workers = JoinSet::new();
    while !crew.is_ending() {
        let mut is_enough = false;
        while !is_enough {
            is_enough = true;
            for lane in lanes.short() {
                if workers.len() < crew.settings.max_connections || lane.is_unstaffed() {
                    is_enough = false;
                    // Counted from here on, so that the next look sees it.
                    let (crew, aboard) = (Arc::clone(crew), lane.board());
                    workers.spawn(async move { worker::run(crew, Arc::clone(aboard.lane())).await });
                }
            }
        }
        tokio::select! {
            () = crew.short_of_hands.notified() => {}
            Some(ended) = workers.join_next() => report(ended),
            () = tokio::time::sleep(LOOK) => {}
            () = crew.reached(Stage::Ending) => {}
        }
    }
    if timeout(crew.settings.drain, all_ended(&mut workers)).await.is_err() {
        tracing::warn!(n = workers.len(), "connections still wait for their relays; they are cut off");
        crew.enter(Stage::Cut);
        let _ = timeout(AFTER_CUT, all_ended(&mut workers)).await;
    }
    workers.shutdown().await;
}

async fn all_ended(workers: &mut JoinSet<()>) {
    while let Some(ended) = workers.join_next().await {
        report(ended);
    }
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection ended by a fault of this program; what it held will be rescued");
    }
}
