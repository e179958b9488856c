//! Writing outcomes down in groups. What is known is never thrown away: while Postgres is away it is kept and written when
//! it returns, and meanwhile the doubt windows keep anybody from sending more.
//!
//! Not here: the statements (`store::settles`), how a reply becomes an outcome (`relay`).

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;

use super::{
    chance::chance,
    claim::Work,
    flight::{Flight, Policy},
    group::{Group, by_key},
    link::Link,
};
use crate::{
    domain::{
        delivery::DeliveryState,
        id::{DeliveryId, WorkspaceId},
    },
    relay::Attempted,
    store::{self, Connection, StoreError, acceptances, intents, rescues, settles, transitions::Writer},
};

/// A commit that takes longer counts as failed, and is tried again.
const LIMIT: Duration = Duration::from_secs(30);
/// Between tries while Postgres is away.
const PAUSE: Duration = Duration::from_millis(200);
/// Tries at an entry that Postgres itself refuses.
const MAX_REFUSALS: u32 = 5;

/// Something to be written down. Whatever it carries is let go after the commit.
#[derive(Debug)]
pub(super) enum Entry {
    /// How an attempt ended.
    Attempt { flight: Flight, attempted: Attempted, tls: Option<Arc<str>> },
    /// A delivery that never gets to an attempt.
    End { work: Work, to: DeliveryState, reason: &'static str, text: String, _slot: OwnedSemaphorePermit },
    /// An intent of which nobody knows whether it was committed, and whose message was not submitted.
    Revoke { flight: Flight },
}

/// What is written in one transaction.
#[derive(Debug, Default)]
struct Rows {
    settled: Vec<settles::Settle>,
    ended: Vec<settles::Ended>,
    left_unknown: Vec<DeliveryId>,
    revoked: Vec<intents::Intent>,
}

impl Entry {
    fn work(&self) -> &Work {
        match self {
            Self::Attempt { flight, .. } | Self::Revoke { flight } => &flight.work,
            Self::End { work, .. } => work,
        }
    }
}

impl Rows {
    fn add(&mut self, entry: &Entry, policy: Policy, now: DateTime<Utc>) {
        match entry {
            Entry::Attempt { flight, attempted, tls } => {
                let tls = tls.as_deref().map(str::to_owned);
                self.settled.push(flight.settle(attempted.clone(), tls, policy, now, chance()));
            }
            // Whether an `unknown` one was submitted is still not known: it only isn't sent again.
            Entry::End { work, .. } if work.claimed.state == DeliveryState::Unknown => {
                self.left_unknown.push(work.claimed.delivery);
            }
            Entry::End { work, to, reason, text, .. } => self.ended.push(settles::Ended {
                delivery: work.claimed.delivery,
                campaign: work.claim.held.campaign,
                provider: work.claim.held.provider.clone(),
                from: work.claimed.state,
                to: *to,
                reason: (*reason).to_owned(),
                // Postgres has no NUL.
                reason_text: text.replace('\0', "\u{fffd}"),
            }),
            Entry::Revoke { flight } => self.revoked.push(flight.intent()),
        }
    }

    fn len(&self) -> usize {
        self.settled.len() + self.ended.len() + self.left_unknown.len() + self.revoked.len()
    }

    /// Each row by itself, with its delivery.
    fn apart(self) -> Vec<(DeliveryId, Self)> {
        let settled =
            self.settled.into_iter().map(|row| (row.delivery, Self { settled: vec![row], ..Self::default() }));
        let ended = self.ended.into_iter().map(|row| (row.delivery, Self { ended: vec![row], ..Self::default() }));
        let left = self.left_unknown.into_iter().map(|id| (id, Self { left_unknown: vec![id], ..Self::default() }));
        let revoked =
            self.revoked.into_iter().map(|row| (row.delivery, Self { revoked: vec![row], ..Self::default() }));
        settled.chain(ended).chain(left).chain(revoked).collect()
    }

    async fn commit(
        &self,
        connection: &mut Connection,
        workspace: WorkspaceId,
        writer: Writer,
    ) -> Result<(), StoreError> {
        let now = Utc::now();
        // Most were accepted: those are one statement and a commit of its own.
        let accepted = acceptances::commit(connection, workspace, writer, &self.settled, now).await?;
        if accepted.len() == self.len() {
            return Ok(());
        }
        let settled: Vec<_> =
            self.settled.iter().filter(|settle| !accepted.contains(&settle.delivery)).cloned().collect();
        let mut transaction = store::begin_on(connection).await?;
        if !settled.is_empty() {
            settles::commit(&mut transaction, workspace, writer, &settled, now).await?;
        }
        if !self.ended.is_empty() {
            settles::end(&mut transaction, workspace, writer, &self.ended, now).await?;
        }
        if !self.left_unknown.is_empty() {
            rescues::leave_unknown(&mut transaction, workspace, &self.left_unknown, now).await?;
        }
        if !self.revoked.is_empty() {
            intents::revoke(&mut transaction, workspace, writer, &self.revoked, now).await?;
        }
        store::commit(transaction).await
    }
}

/// Write until nothing can come any more.
pub(super) async fn run(group: &Group<Entry>, mut link: Link, lane: u8, policy: Policy) {
    let mut entries = Vec::new();
    while group.collect(&mut entries).await {
        for (workspace, entries) in by_key(entries.drain(..), |entry: &Entry| entry.work().claim.held.workspace) {
            let (mut rows, now) = (Rows::default(), Utc::now());
            for entry in &entries {
                rows.add(entry, policy, now);
            }
            write(&mut link, lane, workspace, rows).await;
        }
    }
}

/// Write these rows, however long it takes. Rows that Postgres refuses together are written one by one, so that one that
/// can't be written takes none of the others with it.
async fn write(link: &mut Link, lane: u8, workspace: WorkspaceId, rows: Rows) {
    let Err(error) = keep_trying(link, lane, workspace, &rows).await else { return };
    tracing::error!(%error, %workspace, n = rows.len(), "Postgres refused outcomes; they are written one by one");
    for (delivery, row) in rows.apart() {
        for n_tries in 1..=MAX_REFUSALS {
            let Err(error) = keep_trying(link, lane, workspace, &row).await else { break };
            if n_tries == MAX_REFUSALS {
                tracing::error!(%error, %workspace, %delivery, "an outcome can't be written; it will be listed as unknown");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Ends when the rows are committed, or refused for a reason that waiting doesn't mend.
async fn keep_trying(link: &mut Link, lane: u8, workspace: WorkspaceId, rows: &Rows) -> Result<(), StoreError> {
    loop {
        let commit = link
            .within(LIMIT, async |connection, node| rows.commit(connection, workspace, Writer { node, lane }).await);
        match commit.await {
            Err(error @ (StoreError::Unavailable(_) | StoreError::Collision(_))) => {
                tracing::debug!(%error, n = rows.len(), "outcomes wait");
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}
