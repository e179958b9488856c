//! A round of the engine's writing, by a single statement, which outside of a transaction is one round trip and a commit of its
//! own: what was accepted, and the intents of what goes next in its place.
//!
//! Both are the commonest of their kind. An accepted attempt gets no row of its own: what it was stands in the delivery's row.
//! Not here: all other outcomes, and an acceptance that comes late, when the delivery isn't `sending` any more (`settles`); intents
//! to try again (`intents`).

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::{
    Connection, StoreError,
    intents::{self, Intent},
    settles::{Settle, code, column},
    transitions::{Writer, minute},
};
use crate::domain::{
    delivery::{DeliveryState, Outcome},
    id::{DeliveryId, WorkspaceId},
};

/// What a round did not do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left {
    /// Outcomes that are for [`settles::commit`](super::settles::commit): these were not accepted, or are not `sending` any more.
    pub outcomes: HashSet<DeliveryId>,
    /// Intents that were not granted: they lost their lease, or somebody else changed the delivery.
    pub intents: HashSet<DeliveryId>,
}

/// Write those of these outcomes that are `accepted`, and mark those to be submitted that are `queued` as `sending`: states,
/// attempts and counters alike. Answers the rest.
///
/// The batch rows of the intents are locked for share, so no rescue can take a batch between the look at its lease and the
/// commit. Doing it again changes nothing.
pub async fn commit(
    connection: &mut Connection,
    workspace: WorkspaceId,
    writer: impl Into<Writer>,
    outcomes: &[Settle],
    next: &[Intent],
    now: DateTime<Utc>,
) -> Result<Left, StoreError> {
    let writer = writer.into();
    let accepted: Vec<_> = outcomes.iter().filter(|settle| settle.outcome == Outcome::Accepted).collect();
    let fresh: Vec<_> = next.iter().filter(|intent| intent.state_before == DeliveryState::Queued).collect();
    let mut left = Left {
        outcomes: outcomes.iter().filter(|one| one.outcome != Outcome::Accepted).map(|one| one.delivery).collect(),
        intents: next.iter().filter(|one| one.state_before != DeliveryState::Queued).map(|one| one.delivery).collect(),
    };
    if accepted.is_empty() && fresh.is_empty() {
        return Ok(left);
    }
    let (batches, epochs) = intents::batches(&fresh);
    // `is not distinct from` keeps the index of batches out of it: a plan made while the ledger was empty would take that one
    // for the key. Batches are locked in key order, counters too; a lease that has run out is not held, whatever this node believes.
    let row = sqlx::query!(
        r#"with moved as (
               update deliveries d
               set state = 'accepted', due_at = null, updated_at = $3, reason = null, reason_text = null,
                   accepted_code = x.code, accepted_enhanced = x.enhanced, accepted_text = x.text, accepted_tls = x.tls,
                   accepted_ms = x.duration_ms, accepted_by_node = $2
               from unnest($6::uuid[], $7::int[], $8::smallint[], $9::text[], $10::text[], $11::text[], $12::int[])
                    as x (id, attempt, code, enhanced, text, tls, duration_ms)
               where d.workspace_id = $1 and d.id = x.id and d.attempt = x.attempt and d.state = 'sending'
               returning d.id, d.campaign_id, d.provider, d.relay_id
           ), held as materialized (
               select b.id, b.epoch from batches b join unnest($13::uuid[], $14::bigint[]) as x (id, epoch)
                 on b.workspace_id = $1 and b.id = x.id and b.epoch = x.epoch
               where b.owner = $2 and b.lease_until > clock_timestamp()
               order by b.id for share of b
           ), begun as (
               update deliveries d
               set state = 'sending', attempt = d.attempt + 1, attempt_at = x.begun_at, relay_id = x.relay_id,
                   updated_at = $3, first_attempt_at = coalesce(d.first_attempt_at, x.begun_at)
               from unnest($15::uuid[], $16::int[], $17::uuid[], $18::uuid[], $19::bigint[], $20::timestamptz[])
                    as x (id, attempt, relay_id, batch_id, epoch, begun_at)
               join held on held.id = x.batch_id and held.epoch = x.epoch
               where d.workspace_id = $1 and d.id = x.id and d.attempt = x.attempt and d.state = 'queued'
                 and d.batch_id is not distinct from x.batch_id
               returning d.id, d.campaign_id, d.provider, d.relay_id
           ), counted as (
               insert into transitions as t
                   (workspace_id, campaign_id, minute, provider, relay_id, from_state, to_state, class, node_id, n)
               select $1, campaign_id, $4, provider, relay_id, from_state, to_state, '', $5, n
               from (select campaign_id, provider, relay_id, 'sending' as from_state, 'accepted' as to_state, count(*) as n
                     from moved group by campaign_id, provider, relay_id
                     union all
                     select campaign_id, provider, relay_id, 'queued', 'sending', count(*)
                     from begun group by campaign_id, provider, relay_id) moves
               order by campaign_id, provider collate "C", relay_id, from_state collate "C"
               on conflict (workspace_id, campaign_id, minute, provider, relay_id, from_state, to_state, class, node_id)
               do update set n = t.n + excluded.n
           )
           select case when (select count(*) from moved) < cardinality($6::uuid[])
                       then array(select id from unnest($6::uuid[]) as x (id) where id not in (select id from moved)) end
                  as outcomes,
                  case when (select count(*) from begun) < cardinality($15::uuid[])
                       then array(select id from unnest($15::uuid[]) as x (id) where id not in (select id from begun)) end
                  as intents"#,
        workspace.0,
        writer.node.0,
        now,
        minute(now),
        writer.key(),
        &column(&accepted, |settle| settle.delivery.0),
        &column(&accepted, |settle| settle.attempt),
        &column(&accepted, |settle| code(settle)) as &[Option<i16>],
        &column(&accepted, |settle| settle.enhanced.as_deref()) as &[Option<&str>],
        &column(&accepted, |settle| settle.text.as_str()) as &[&str],
        &column(&accepted, |settle| settle.tls.as_deref()) as &[Option<&str>],
        &column(&accepted, |settle| settle.duration_ms),
        &batches,
        &epochs,
        &fresh.iter().map(|intent| intent.delivery.0).collect::<Vec<_>>(),
        &fresh.iter().map(|intent| intent.attempt_before).collect::<Vec<_>>(),
        &fresh.iter().map(|intent| intent.relay.0).collect::<Vec<_>>(),
        &fresh.iter().map(|intent| intent.batch.0).collect::<Vec<_>>(),
        &fresh.iter().map(|intent| intent.epoch).collect::<Vec<_>>(),
        &fresh.iter().map(|intent| intent.begun_at).collect::<Vec<_>>()
    )
    .fetch_one(connection)
    .await?;
    left.outcomes.extend(row.outcomes.into_iter().flatten().map(DeliveryId));
    left.intents.extend(row.intents.into_iter().flatten().map(DeliveryId));
    Ok(left)
}
