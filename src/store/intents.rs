//! The intent to submit: just before MAIL FROM a delivery becomes `sending`, in a group commit with others.
//!
//! After a crash, no intent means "surely not sent", an intent without an outcome means `unknown`. The batch row is
//! locked for share, so no rescue can take the batch between the look at the lease and the commit.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Connection, StoreError,
    transitions::{Transition, Transitions, Writer, minute},
};
use crate::domain::{
    delivery::DeliveryState,
    id::{BatchId, CampaignId, DeliveryId, RelayId, WorkspaceId},
};

/// One delivery that is about to be submitted.
#[derive(Debug, Clone)]
pub struct Intent {
    /// Which.
    pub delivery: DeliveryId,
    /// The claimed batch it stands in.
    pub batch: BatchId,
    /// The claim's epoch.
    pub epoch: i64,
    /// Attempts begun before this one.
    pub attempt_before: i32,
    /// The state it was claimed in.
    pub state_before: DeliveryState,
    /// Of which campaign.
    pub campaign: CampaignId,
    /// To which provider.
    pub provider: String,
    /// By which relay.
    pub relay: RelayId,
    /// When the attempt begins: at the first one this becomes the Date of every attempt.
    pub begun_at: DateTime<Utc>,
}

/// Mark these as `sending`, attempt `attempt_before + 1`. Answers those that may be submitted; the others lost their
/// lease, or were changed by somebody else (a report, a cancel), and must not be.
///
/// Outside of a transaction each state claimed in is a commit of its own, by a single statement: locks, states and counters.
pub async fn commit(
    connection: &mut Connection,
    workspace: WorkspaceId,
    writer: impl Into<Writer>,
    intents: &[Intent],
    now: DateTime<Utc>,
) -> Result<HashSet<DeliveryId>, StoreError> {
    let writer = writer.into();
    let mut granted = HashSet::with_capacity(intents.len());
    for state in CLAIMED {
        let of_state: Vec<_> = intents.iter().filter(|intent| intent.state_before == state).collect();
        if !of_state.is_empty() {
            granted.extend(begin(connection, workspace, writer, state, &of_state, now).await?);
        }
    }
    Ok(granted)
}

/// The states in which a delivery can be claimed.
const CLAIMED: [DeliveryState; 3] = [DeliveryState::Queued, DeliveryState::Deferred, DeliveryState::Unknown];

async fn begin(
    connection: &mut Connection,
    workspace: WorkspaceId,
    writer: Writer,
    state: DeliveryState,
    intents: &[&Intent],
    now: DateTime<Utc>,
) -> Result<Vec<DeliveryId>, StoreError> {
    let (batch_ids, epochs) = batches(intents);
    // `is not distinct from` keeps the index of batches out of it: a plan made while the ledger was empty would take that one
    // for the key. Batches are locked in key order, counters too; a lease that has run out is not held, whatever this node believes.
    let begun = sqlx::query_scalar!(
        "with held as materialized (
             select b.id, b.epoch from batches b join unnest($3::uuid[], $4::bigint[]) as x (id, epoch)
               on b.workspace_id = $1 and b.id = x.id and b.epoch = x.epoch
             where b.owner = $2 and b.lease_until > clock_timestamp()
             order by b.id for share of b
         ), begun as (
             update deliveries d
             set state = 'sending', attempt = d.attempt + 1, attempt_at = x.begun_at, relay_id = x.relay_id,
                 updated_at = $6, first_attempt_at = coalesce(d.first_attempt_at, x.begun_at),
                 n_resends = d.n_resends + ($5 = 'unknown')::int
             from unnest($7::uuid[], $8::int[], $9::uuid[], $10::uuid[], $14::bigint[], $11::timestamptz[])
                  as x (id, attempt, relay_id, batch_id, epoch, begun_at)
             join held on held.id = x.batch_id and held.epoch = x.epoch
             where d.workspace_id = $1 and d.id = x.id and d.attempt = x.attempt and d.state = $5
               and d.batch_id is not distinct from x.batch_id
             returning d.id, d.campaign_id, d.provider, d.relay_id
         ), counted as (
             insert into transitions as t
                 (workspace_id, campaign_id, minute, provider, relay_id, from_state, to_state, class, node_id, n)
             select $1, campaign_id, $12, provider, relay_id, $5, 'sending', '', $13, count(*) from begun
             group by campaign_id, provider, relay_id order by campaign_id, provider collate \"C\", relay_id
             on conflict (workspace_id, campaign_id, minute, provider, relay_id, from_state, to_state, class, node_id)
             do update set n = t.n + excluded.n
         )
         select id from begun",
        workspace.0,
        writer.node.0,
        &batch_ids,
        &epochs,
        state.as_str(),
        now,
        &intents.iter().map(|intent| intent.delivery.0).collect::<Vec<_>>(),
        &intents.iter().map(|intent| intent.attempt_before).collect::<Vec<_>>(),
        &intents.iter().map(|intent| intent.relay.0).collect::<Vec<_>>(),
        &intents.iter().map(|intent| intent.batch.0).collect::<Vec<_>>(),
        &intents.iter().map(|intent| intent.begun_at).collect::<Vec<_>>(),
        minute(now),
        writer.key(),
        &intents.iter().map(|intent| intent.epoch).collect::<Vec<_>>()
    )
    .fetch_all(connection)
    .await?;
    Ok(begun.into_iter().map(DeliveryId).collect())
}

/// The batches of these intents, each once, and the epochs of their claims.
pub(super) fn batches(intents: &[&Intent]) -> (Vec<Uuid>, Vec<i64>) {
    let mut batches: Vec<_> = intents.iter().map(|intent| (intent.batch.0, intent.epoch)).collect();
    batches.sort_unstable();
    batches.dedup();
    batches.into_iter().unzip()
}

/// Take back intents of which nobody knows whether they were committed (the connection to Postgres died meanwhile), and
/// whose messages were not submitted: those that were committed go back to `queued` (`unknown` stays `unknown`) in
/// their batch.
pub async fn revoke(
    connection: &mut Connection,
    workspace: WorkspaceId,
    writer: impl Into<Writer>,
    intents: &[Intent],
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    // Whether the earlier attempt at an `unknown` was taken is still not known, and its resend isn't used up.
    let revoked: HashSet<DeliveryId> = sqlx::query_scalar!(
        "update deliveries d set updated_at = $5,
             state = case when x.state = 'unknown' then 'unknown' else 'queued' end,
             n_resends = d.n_resends - (x.state = 'unknown')::int
         from unnest($2::uuid[], $3::int[], $4::uuid[], $6::text[]) as x (id, attempt, batch_id, state)
         where d.workspace_id = $1 and d.id = x.id and d.attempt = x.attempt + 1 and d.batch_id is not distinct from x.batch_id
           and d.state = 'sending'
         returning d.id",
        workspace.0,
        &intents.iter().map(|intent| intent.delivery.0).collect::<Vec<_>>(),
        &intents.iter().map(|intent| intent.attempt_before).collect::<Vec<_>>(),
        &intents.iter().map(|intent| intent.batch.0).collect::<Vec<_>>(),
        now,
        &intents.iter().map(|intent| intent.state_before.as_str().to_owned()).collect::<Vec<_>>()
    )
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .map(DeliveryId)
    .collect();
    let mut transitions = Transitions::new();
    for intent in intents.iter().filter(|intent| revoked.contains(&intent.delivery)) {
        let back = Transition {
            campaign: intent.campaign,
            provider: &intent.provider,
            relay: Some(intent.relay),
            from: Some(DeliveryState::Sending),
            to: if intent.state_before == DeliveryState::Unknown {
                DeliveryState::Unknown
            } else {
                DeliveryState::Queued
            },
            class: "",
        };
        transitions.count(back, 1);
    }
    transitions.write(connection, workspace, writer, now).await?;
    Ok(revoked.len())
}
