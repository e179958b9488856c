//! Taking work: a worker claims a batch by updating one row, holds it by a lease, and gives it back.
//!
//! Leases run by the database's clock, so nodes need not agree on the time. Every claim raises the epoch; an intent
//! carries it, so whoever lost the lease sends nothing more. Not here: what there is to
//! claim (`backlogs`), intents (`intents`), what was lost (`rescues`).

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Connection, NIL, StoreError, changes::Snapshot};
use crate::domain::{
    delivery::DeliveryState,
    id::{BatchId, CampaignId, DeliveryId, ListId, NodeId, RecipientId, RelayId, WorkspaceId},
};

/// A batch that this node holds until its lease runs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Which batch.
    pub batch: BatchId,
    /// Of which campaign.
    pub campaign: CampaignId,
    /// To which provider.
    pub provider: String,
    /// The fencing number of this claim.
    pub epoch: i64,
    /// Changes of transactions that this saw were visible to what the claim reads; all others must be checked.
    pub as_of: Snapshot,
}

/// A delivery of a claimed batch, with all that rendering needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// Which.
    pub delivery: DeliveryId,
    /// To whom.
    pub recipient: RecipientId,
    /// As it is mailed.
    pub address: String,
    /// What identifies the address.
    pub address_key: String,
    /// `queued`, `deferred` or `unknown` (to be resent).
    pub state: DeliveryState,
    /// Attempts begun so far.
    pub attempt: i32,
    /// Resends of an `unknown` so far: at most one.
    pub n_resends: i16,
    /// The relay of the latest attempt: an `unknown` one is resent over no other.
    pub relay: Option<RelayId>,
    /// Who runs the mailbox, where that was found out and is not the provider of the batch.
    pub provider: Option<String>,
    /// When the first one began: the Date of every attempt; none yet: null.
    pub first_attempt_at: Option<DateTime<Utc>>,
    /// The recipient's attributes as they are now.
    pub attributes: Value,
    /// Lists of the audience on which the recipient is subscribed and not suppressed.
    pub lists: Vec<ListId>,
    /// Why it may not be mailed any more, as seen at the claim.
    pub blocked: Option<Blocked>,
}

/// What was read of a claimed batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// Those that are to be worked on.
    pub deliveries: Vec<Claimed>,
    /// Whether nothing else in the batch is open.
    pub is_whole: bool,
}

/// Why a claimed delivery may not be submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blocked {
    /// Its address is suppressed.
    Suppressed,
    /// The recipient left every list of the audience.
    Unsubscribed,
    /// The recipient was deleted.
    RecipientDeleted,
}

impl Blocked {
    /// The word in `deliveries.reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Suppressed => "suppressed",
            Self::Unsubscribed => "unsubscribed",
            Self::RecipientDeleted => "recipient_deleted",
        }
    }
}

/// Claim the batch of this campaign and provider that has been due longest, if the campaign is being sent.
pub async fn claim(
    connection: &mut Connection,
    workspace: WorkspaceId,
    node: NodeId,
    (campaign, provider): (CampaignId, &str),
    lease_seconds: f64,
    now: DateTime<Utc>,
) -> Result<Option<Claim>, StoreError> {
    let row = sqlx::query!(
        r#"update batches set owner = $2, epoch = epoch + 1, lease_until = clock_timestamp() + make_interval(secs => $3)
           where workspace_id = $1 and id = (
               select b.id from batches b
               where b.workspace_id = $1 and b.campaign_id = $4 and b.provider = $5 and b.owner is null
                 and b.due_at <= $6
                 and exists (select from campaigns c where c.workspace_id = $1 and c.id = $4 and c.state = 'sending')
               order by b.due_at, b.id limit 1 for update skip locked)
           returning id, epoch, pg_current_snapshot()::text as "as_of!""#,
        workspace.0,
        node.0,
        lease_seconds,
        campaign.0,
        provider,
        now
    )
    .fetch_optional(connection)
    .await?;
    row.map(|row| {
        Ok(Claim {
            workspace,
            batch: row.id.into(),
            campaign,
            provider: provider.to_owned(),
            epoch: row.epoch,
            as_of: Snapshot::parse(&row.as_of).ok_or(StoreError::Corrupt("pg_current_snapshot"))?,
        })
    })
    .transpose()
}

/// The next `limit` deliveries of a claimed batch that are still to be worked on, after `after` (by id).
pub async fn deliveries(
    connection: &mut Connection,
    claim: &Claim,
    after: Option<DeliveryId>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Content, StoreError> {
    // `materialized` and `offset 0` hold the planner to the indexes of the batch and of the recipient: in the order of the ids
    // it would read the whole ledger of the workspace.
    let rows = sqlx::query!(
        r#"with lists as materialized (
               select list_id from campaign_lists where workspace_id = $1 and campaign_id = $5 and role = 'include'
           ), batch as materialized (
               select * from deliveries
               where workspace_id = $1 and batch_id = $2 and state in ('queued', 'deferred', 'unknown', 'sending')
           )
           select (select count(*) from batch) as "n_open!", d.id, d.recipient_id, d.address, d.address_key, d.state, d.attempt, d.n_resends, d.relay_id,
                  d.first_attempt_at, r.attributes as "attributes?", s.lists as "subscribed?", u.lists as "suppressed?"
           from (select * from batch where id > $3 and state <> 'sending' order by id limit $4) d
           left join lateral (select attributes from recipients
                              where workspace_id = $1 and id = d.recipient_id offset 0) r on true
           cross join lateral (
               select array_agg(s.list_id) as lists from lists l join subscriptions s
                 on s.workspace_id = $1 and s.list_id = l.list_id and s.recipient_id = d.recipient_id
               where s.state = 'subscribed') s
           cross join lateral (
               select array_agg(list_id) as lists from suppressions
               where workspace_id = $1 and address_key = d.address_key and (expires_at is null or expires_at > $6)) u
           order by d.id"#,
        claim.workspace.0,
        claim.batch.0,
        after.map_or(NIL, |after| after.0),
        limit,
        claim.campaign.0,
        now
    )
    .fetch_all(connection)
    .await?;
    let is_whole = rows.first().is_some_and(|row| usize::try_from(row.n_open) == Ok(rows.len()));
    let deliveries = rows
        .into_iter()
        .map(|row| {
            let mut lists = row.subscribed.unwrap_or_default();
            let suppressed = row.suppressed.unwrap_or_default();
            let is_subscribed = !lists.is_empty();
            lists.retain(|list| !suppressed.contains(list));
            let blocked = match (&row.attributes, suppressed.contains(&NIL), is_subscribed, lists.is_empty()) {
                (None, ..) => Some(Blocked::RecipientDeleted),
                (_, true, ..) | (_, _, true, true) => Some(Blocked::Suppressed),
                (_, _, false, _) => Some(Blocked::Unsubscribed),
                _ => None,
            };
            Ok(Claimed {
                delivery: row.id.into(),
                recipient: row.recipient_id.into(),
                address: row.address,
                address_key: row.address_key,
                state: DeliveryState::parse(&row.state).ok_or(StoreError::Corrupt("deliveries.state"))?,
                attempt: row.attempt,
                n_resends: row.n_resends,
                relay: row.relay_id.map(RelayId),
                provider: None,
                first_attempt_at: row.first_attempt_at,
                attributes: row.attributes.unwrap_or_default(),
                lists: lists.into_iter().map(ListId).collect(),
                blocked,
            })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(Content { deliveries, is_whole })
}

/// Hold these batches for longer. Answers those whose lease is still this node's.
pub async fn renew(
    connection: &mut Connection,
    workspace: WorkspaceId,
    node: NodeId,
    batches: &[(BatchId, i64)],
    lease_seconds: f64,
) -> Result<Vec<BatchId>, StoreError> {
    let (ids, epochs): (Vec<_>, Vec<_>) = batches.iter().map(|(batch, epoch)| (batch.0, *epoch)).unzip();
    let rows = sqlx::query_scalar!(
        "update batches b set lease_until = clock_timestamp() + make_interval(secs => $5)
         from unnest($3::uuid[], $4::bigint[]) as x (id, epoch)
         where b.workspace_id = $1 and b.id = x.id and b.epoch = x.epoch and b.owner = $2
           and b.lease_until > clock_timestamp()
         returning b.id",
        workspace.0,
        node.0,
        &ids,
        &epochs,
        lease_seconds
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(BatchId).collect())
}

/// End a batch of which this claim saw all deliveries and knows that none is open any more. Nothing when it wasn't this
/// claim's any more.
pub async fn end(connection: &mut Connection, claim: &Claim, node: NodeId) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from batches where workspace_id = $1 and id = $2 and owner = $3 and epoch = $4",
        claim.workspace.0,
        claim.batch.0,
        node.0,
        claim.epoch
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Give a batch back, to be claimed again from `due_at` on; an empty one goes. False when it wasn't this claim's any more.
///
/// The caller has settled what it submitted. Anything still `sending` is left to the rescue: the lease then stays.
pub async fn release(
    connection: &mut Connection,
    claim: &Claim,
    node: NodeId,
    due_at: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let mut transaction = super::begin_on(connection).await?;
    // A statement of its own: it may wait for an intent that holds the batch for share, and the next one has to see that.
    let mine = sqlx::query!(
        "select id from batches where workspace_id = $1 and id = $2 and owner = $3 and epoch = $4 for update",
        claim.workspace.0,
        claim.batch.0,
        node.0,
        claim.epoch
    )
    .fetch_optional(&mut *transaction)
    .await?;
    if mine.is_none() {
        return Ok(false);
    }
    sqlx::query!(
        "with rest as (
               select coalesce(bool_or(d.state = 'sending'), false) as in_flight, count(*) as n
               from deliveries d
               where d.workspace_id = $1 and d.batch_id = $2
                 and d.state in ('queued', 'deferred', 'unknown', 'sending')
           ), freed as (
               update batches b set owner = null, lease_until = null, due_at = $3
               from rest where b.workspace_id = $1 and b.id = $2 and rest.n > 0 and not rest.in_flight
           )
           delete from batches b using rest where b.workspace_id = $1 and b.id = $2 and rest.n = 0",
        claim.workspace.0,
        claim.batch.0,
        due_at
    )
    .execute(&mut *transaction)
    .await?;
    super::commit(transaction).await?;
    Ok(true)
}
