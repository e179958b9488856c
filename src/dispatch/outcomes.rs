//! What there is to write down, and its rows.
//!
//! Not here: when it is written (`books`, `committer`), the statements (`store::settles`), how a reply becomes an outcome
//! (`relay`).

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    chance::chance,
    claim::Work,
    flight::{Flight, Policy},
    place::{InDoubt, Place},
};
use crate::{
    domain::{
        delivery::{DeliveryState, Outcome},
        id::{DeliveryId, WorkspaceId},
    },
    relay::Attempted,
    store::{self, Connection, StoreError, intents, rescues, settles, transitions::Writer},
};

/// Something to be written down. Whatever it carries is let go after the commit.
#[derive(Debug)]
pub(super) enum Entry {
    /// How an attempt ended.
    Attempt { flight: Flight, attempted: Attempted, tls: Option<Arc<str>> },
    /// A delivery that never gets to an attempt.
    End { work: Work, to: DeliveryState, reason: &'static str, text: String, _place: Place },
    /// An intent of which nobody knows whether it was committed, and whose message was not submitted.
    Revoke { flight: Flight },
}

/// What is written in one transaction.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) settled: Vec<settles::Settle>,
    ended: Vec<settles::Ended>,
    left_unknown: Vec<DeliveryId>,
    revoked: Vec<intents::Intent>,
}

impl Entry {
    pub(super) fn work(&self) -> &Work {
        match self {
            Self::Attempt { flight, .. } | Self::Revoke { flight } => &flight.work,
            Self::End { work, .. } => work,
        }
    }

    /// Whether it is an attempt that was accepted.
    pub(super) fn is_accepted(&self) -> bool {
        matches!(self, Self::Attempt { attempted, .. } if attempted.outcome == Outcome::Accepted)
    }

    /// Whether its delivery is open no more, or leaves its batch, once this is written.
    pub(super) fn ends(&self) -> bool {
        match self {
            Self::Attempt { attempted, .. } => {
                matches!(attempted.outcome, Outcome::Accepted | Outcome::Rejected | Outcome::Deferred)
            }
            Self::End { .. } => true,
            Self::Revoke { .. } => false,
        }
    }

    /// Take its place in the doubt window from it, if it has one.
    pub(super) fn hand_on(&mut self) -> Option<InDoubt> {
        match self {
            Self::Attempt { flight, .. } | Self::Revoke { flight } => flight.place.hand_on(),
            Self::End { .. } => None,
        }
    }
}

impl Rows {
    pub(super) fn of(entries: &[Entry], policy: Policy, now: DateTime<Utc>) -> Self {
        let mut rows = Self::default();
        for entry in entries {
            rows.add(entry, policy, now);
        }
        rows
    }

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

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.settled.len() + self.ended.len() + self.left_unknown.len() + self.revoked.len()
    }

    /// Each row by itself, with its delivery.
    pub(super) fn apart(self) -> Vec<(DeliveryId, Self)> {
        let settled =
            self.settled.into_iter().map(|row| (row.delivery, Self { settled: vec![row], ..Self::default() }));
        let ended = self.ended.into_iter().map(|row| (row.delivery, Self { ended: vec![row], ..Self::default() }));
        let left = self.left_unknown.into_iter().map(|id| (id, Self { left_unknown: vec![id], ..Self::default() }));
        let revoked =
            self.revoked.into_iter().map(|row| (row.delivery, Self { revoked: vec![row], ..Self::default() }));
        settled.chain(ended).chain(left).chain(revoked).collect()
    }

    /// In one transaction. Doing it again changes nothing.
    pub(super) async fn commit(
        &self,
        connection: &mut Connection,
        workspace: WorkspaceId,
        writer: Writer,
    ) -> Result<(), StoreError> {
        let now = Utc::now();
        let mut transaction = store::begin_on(connection).await?;
        if !self.settled.is_empty() {
            settles::commit(&mut transaction, workspace, writer, &self.settled, now).await?;
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
