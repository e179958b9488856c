//! Writing what waits in the books: outcomes, and the intents of what goes next. What is granted goes to its connection, what is
//! refused is let go; what is known is never thrown away.
//!
//! While Postgres is away outcomes are kept and written when it returns, and meanwhile the doubt windows keep anybody from
//! sending more. Not here: the statements (`store::rounds`, `store::intents`, `store::settles`), what is worth a commit
//! (`books`), the last look before MAIL FROM (`gate`).

use std::{collections::HashSet, sync::Arc, time::Duration};

use chrono::Utc;

use super::{
    books::{Books, Turn, Waiting},
    flight::{Packed, Policy},
    inlet::{Inlet, Reply},
    link::Link,
    outcomes::{Entry, Rows},
    place::InDoubt,
};
use crate::{
    domain::{
        delivery::DeliveryState,
        id::{DeliveryId, WorkspaceId},
    },
    relay::Attempted,
    smtp::Phase,
    store::{
        StoreError,
        intents::{self, Intent},
        rounds,
        transitions::Writer,
    },
};

/// A commit with intents that takes longer counts as failed.
const LIMIT: Duration = Duration::from_secs(10);
/// One of outcomes alone is tried again after this time.
const OUTCOMES_LIMIT: Duration = Duration::from_secs(30);
/// After a failure.
const PAUSE: Duration = Duration::from_millis(200);
/// Tries at an outcome that Postgres itself refuses.
const MAX_REFUSALS: u32 = 5;

/// One of those who write.
pub(super) struct Committer {
    pub(super) books: Arc<Books>,
    pub(super) link: Link,
    /// Which of this node's counters it writes.
    pub(super) lane: u8,
    pub(super) policy: Policy,
}

impl Committer {
    /// Commit until nothing more comes.
    pub(super) async fn run(mut self) {
        while let Some(turn) = self.books.collect().await {
            for (workspace, turn) in by_workspace(turn) {
                self.write(workspace, turn).await;
            }
        }
    }

    /// The outcomes that were accepted and the fresh intents first, together; then what is left of the outcomes, then of
    /// the intents. So a place in a doubt window is never another's before its outcome is written.
    async fn write(&mut self, workspace: WorkspaceId, turn: Turn) {
        let Turn { outcomes, next, spare } = turn;
        let mut rows = Rows::of(&outcomes, self.policy, Utc::now());
        let (fresh, mut again): (Vec<_>, Vec<_>) =
            next.into_iter().partition(|one| one.ready.flight.work.claimed.state == DeliveryState::Queued);
        let intents = intents_of(&fresh);
        let (lane, settled) = (self.lane, &rows.settled);
        let round = self.link.within(LIMIT, async |connection, node| {
            rounds::commit(connection, workspace, Writer { node, lane }, settled, &intents, Utc::now()).await
        });
        // What comes back of the intents may hold the places of these outcomes: nobody gets it before they are written.
        let mut returned = Returned { spare, ..Returned::default() };
        match round.await {
            Ok(left) => {
                rows.settled.retain(|row| left.outcomes.contains(&row.delivery));
                returned.grant(fresh, &left.intents);
            }
            Err(error) => {
                tracing::debug!(%error, n = intents.len(), "intents could not be committed");
                returned.revoke(fresh);
                // They would only wait for the outcomes here; they stay in their batches.
                let all = again.iter().map(|one| one.ready.flight.work.claimed.delivery).collect();
                returned.grant(std::mem::take(&mut again), &all);
                tokio::time::sleep(PAUSE).await;
            }
        }
        if self.write_outcomes(workspace, rows).await {
            outcomes.iter().filter(|entry| entry.ends()).for_each(|entry| entry.work().claim.end_one());
        }
        self.hand_back(outcomes, returned);
        if !again.is_empty() {
            self.begin_again(workspace, again).await;
        }
    }

    fn hand_back(&self, outcomes: Vec<Entry>, returned: Returned) {
        for entry in returned.entries {
            self.books.put(entry);
        }
        self.books.free(outcomes, returned.spare);
    }

    /// Intents to try what was tried before.
    async fn begin_again(&mut self, workspace: WorkspaceId, again: Vec<Waiting>) {
        let (lane, intents) = (self.lane, intents_of(&again));
        let commit = self.link.within(LIMIT, async |connection, node| {
            intents::commit(connection, workspace, Writer { node, lane }, &intents, Utc::now()).await
        });
        let mut returned = Returned::default();
        match commit.await {
            Ok(granted) => {
                let asked = intents.iter().map(|intent| intent.delivery);
                returned.grant(again, &asked.filter(|delivery| !granted.contains(delivery)).collect());
            }
            Err(error) => {
                tracing::debug!(%error, n = intents.len(), "intents could not be committed");
                returned.revoke(again);
                tokio::time::sleep(PAUSE).await;
            }
        }
        self.hand_back(Vec::new(), returned);
    }

    /// Write these rows, however long it takes; whether all were written. Rows that Postgres refuses together are written one by one, so that one that
    /// can't be written takes none of the others with it.
    async fn write_outcomes(&mut self, workspace: WorkspaceId, rows: Rows) -> bool {
        if rows.is_empty() {
            return true;
        }
        let Err(error) = self.keep_trying(workspace, &rows).await else { return true };
        tracing::error!(%error, %workspace, n = rows.len(), "Postgres refused outcomes; they are written one by one");
        for (delivery, row) in rows.apart() {
            for n_tries in 1..=MAX_REFUSALS {
                let Err(error) = self.keep_trying(workspace, &row).await else { break };
                if n_tries == MAX_REFUSALS {
                    tracing::error!(%error, %workspace, %delivery, "an outcome can't be written; it will be listed as unknown");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
        false
    }

    /// Ends when the rows are committed, or refused for a reason that waiting doesn't mend.
    async fn keep_trying(&mut self, workspace: WorkspaceId, rows: &Rows) -> Result<(), StoreError> {
        let lane = self.lane;
        loop {
            let commit = self.link.within(OUTCOMES_LIMIT, async |connection, node| {
                rows.commit(connection, workspace, Writer { node, lane }).await
            });
            match commit.await {
                Err(error @ (StoreError::Unavailable(_) | StoreError::Collision(_))) => {
                    tracing::debug!(%error, n = rows.len(), "outcomes wait");
                    tokio::time::sleep(PAUSE).await;
                }
                result => return result,
            }
        }
    }
}

/// What came back of intents that were asked for: for the books, once the outcomes beside them are written.
#[derive(Default)]
struct Returned {
    entries: Vec<Entry>,
    spare: Vec<InDoubt>,
}

impl Returned {
    /// Send the messages to their connections, but for the refused ones.
    fn grant(&mut self, asked: Vec<Waiting>, refused: &HashSet<DeliveryId>) {
        for (inlet, mut granted) in by_inlet(asked) {
            let n = granted.len();
            let may_not_go = |ready: &mut Packed| refused.contains(&ready.flight.work.claimed.delivery);
            let refused = granted.extract_if(.., may_not_go);
            self.spare.extend(refused.filter_map(|mut ready| ready.flight.place.hand_on()));
            if let Err(unsent) = inlet.reply.send(Reply { granted, n }) {
                // Its connection ended meanwhile.
                for ready in unsent.0.granted {
                    let flight = ready.flight;
                    let attempted = Attempted::not_submitted(Phase::Mail, "the connection ended before its turn");
                    self.entries.push(Entry::Attempt { flight, attempted, tls: None });
                }
            }
        }
    }

    /// Whether the commit of these arrived is not known: what did is taken back.
    fn revoke(&mut self, asked: Vec<Waiting>) {
        for (inlet, messages) in by_inlet(asked) {
            let n = messages.len();
            self.entries.extend(messages.into_iter().map(|ready| Entry::Revoke { flight: ready.flight }));
            let _ = inlet.reply.send(Reply { granted: Vec::new(), n });
        }
    }
}

fn intents_of(messages: &[Waiting]) -> Vec<Intent> {
    messages.iter().map(|one| one.ready.flight.intent()).collect()
}

/// Each connection's messages in their order.
fn by_inlet(messages: Vec<Waiting>) -> Vec<(Arc<Inlet>, Vec<Packed>)> {
    let mut groups: Vec<(Arc<Inlet>, Vec<Packed>)> = Vec::new();
    for Waiting { ready, inlet } in messages {
        // There are some dozens of connections, and the last one is often right.
        match groups.iter_mut().rev().find(|(known, _)| Arc::ptr_eq(known, &inlet)) {
            Some((_, group)) => group.push(ready),
            None => groups.push((inlet, vec![ready])),
        }
    }
    groups
}

/// A turn for each workspace. Nearly always there is one.
fn by_workspace(turn: Turn) -> Vec<(WorkspaceId, Turn)> {
    let mut turns: Vec<(WorkspaceId, Turn)> = Vec::new();
    let of = |turns: &mut Vec<(WorkspaceId, Turn)>, workspace: WorkspaceId| -> usize {
        turns.iter().position(|(known, _)| *known == workspace).unwrap_or_else(|| {
            turns.push((workspace, Turn::default()));
            turns.len() - 1
        })
    };
    let Turn { outcomes, next, spare } = turn;
    for entry in outcomes {
        let place = of(&mut turns, entry.work().claim.held.workspace);
        if let Some((_, turn)) = turns.get_mut(place) {
            turn.outcomes.push(entry);
        }
    }
    for one in next {
        let place = of(&mut turns, one.ready.flight.work.claim.held.workspace);
        if let Some((_, turn)) = turns.get_mut(place) {
            turn.next.push(one);
        }
    }
    // Free when all is written.
    if let Some((_, last)) = turns.last_mut() {
        last.spare = spare;
    }
    turns
}
