//! A started campaign's lists become deliveries, in steps that a crash can't tear: each step is one transaction that
//! writes the next recipients (by id), their batches, their counters and the cursor.
//!
//! The walk by recipient id makes the audience distinct by itself. The provider of a domain is joined, never resolved.
//! Not here: who may be mailed later (`batches::deliveries` looks again at every claim).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Connection, NIL, StoreError,
    transitions::{Transition, Transitions},
};
use crate::domain::{
    delivery::DeliveryState,
    id::{CampaignId, DeliveryId, NodeId, WorkspaceId},
};

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expanded {
    /// Subscriptions' recipients looked at.
    pub n_read: i64,
    /// Deliveries made, suppressed ones included.
    pub n_deliveries: i64,
    /// Whether the audience is complete now. Also true when there was nothing to do here (another node is at it, or the
    /// campaign is not sending).
    pub done: bool,
}

/// The campaigns of every workspace whose audience is still to be expanded.
pub async fn open_campaigns(connection: &mut Connection) -> Result<Vec<(WorkspaceId, CampaignId)>, StoreError> {
    let rows = sqlx::query!(
        "select workspace_id, id from campaigns where state = 'sending' and not audience_complete order by started_at"
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.workspace_id.into(), row.id.into())).collect())
}

/// Expand the next `n_recipients` recipients of a campaign, in batches of at most `batch_size`. The caller commits.
pub async fn step(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    node: NodeId,
    n_recipients: i64,
    batch_size: i64,
    now: DateTime<Utc>,
) -> Result<Expanded, StoreError> {
    let Some(open) = sqlx::query!(
        "select audience_cursor from campaigns
         where workspace_id = $1 and id = $2 and state = 'sending' and not audience_complete
         for no key update skip locked",
        workspace.0,
        campaign.0
    )
    .fetch_optional(&mut *connection)
    .await?
    else {
        return Ok(Expanded { done: true, ..Expanded::default() });
    };
    let page = write_page(connection, workspace, campaign, open.audience_cursor, n_recipients, batch_size, now).await?;
    let complete = page.n_read < n_recipients;
    sqlx::query!(
        "update campaigns set audience_cursor = coalesce($3, audience_cursor), audience_complete = $4,
             n_unsubscribed = n_unsubscribed + $5, n_unconfirmed = n_unconfirmed + $6, n_excluded = n_excluded + $7
         where workspace_id = $1 and id = $2",
        workspace.0,
        campaign.0,
        page.last,
        complete,
        page.n_unsubscribed,
        page.n_unconfirmed,
        page.n_excluded
    )
    .execute(&mut *connection)
    .await?;
    page.transitions.write(connection, workspace, node, now).await?;
    Ok(Expanded { n_read: page.n_read, n_deliveries: page.n_deliveries, done: complete })
}

/// Let the planner learn what the ledger looks like, as long as what it knows is of an empty one. With such knowledge every
/// index looks alike, since all begin with the workspace, and statements that look up fifty rows would read all of them: that
/// made the first campaign of an installation cost Postgres twice as much. Later autovacuum sees to it.
///
/// Outside of a transaction. Does nothing where the ledger belongs to another user of the database.
pub async fn introduce(connection: &mut Connection) -> Result<(), StoreError> {
    let is_unknown = sqlx::query_scalar!(
        r#"select reltuples < 1000 as "is_unknown!" from pg_class where oid = 'deliveries'::regclass"#
    )
    .fetch_one(&mut *connection)
    .await?;
    if is_unknown {
        sqlx::query("analyze deliveries, batches").execute(connection).await?;
    }
    Ok(())
}

struct Page {
    n_read: i64,
    n_deliveries: i64,
    n_unsubscribed: i64,
    n_unconfirmed: i64,
    n_excluded: i64,
    last: Option<Uuid>,
    transitions: Transitions,
}

async fn write_page(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    cursor: Option<Uuid>,
    n_recipients: i64,
    batch_size: i64,
    now: DateTime<Utc>,
) -> Result<Page, StoreError> {
    // One statement: read the next recipients off each list's index, find them, judge them (on which of their lists they are
    // suppressed is looked up only where a suppression is found), number the good ones into batches by provider, write
    // batches and deliveries, and answer the sums. `offset 0` keeps the planner from reading the whole table instead.
    let rows = sqlx::query!(
        r#"
        with lists as (
            select list_id, role from campaign_lists where workspace_id = $1 and campaign_id = $2
        ), page as materialized (
            select s.recipient_id, bool_or(s.state = 'subscribed') as subscribed, bool_or(s.state = 'pending') as pending
            from lists l cross join lateral (
                select recipient_id, state from subscriptions
                where workspace_id = $1 and list_id = l.list_id and recipient_id > $3
                order by recipient_id limit $4) s
            where l.role = 'include'
            group by s.recipient_id order by s.recipient_id limit $4
        ), found as materialized (
            select p.subscribed, p.pending, r.id, r.address, r.address_key, r.domain
            from page p cross join lateral (
                select id, address, address_key, domain from recipients
                where workspace_id = $1 and id = p.recipient_id offset 0) r
        ), verdicts as materialized (
            select f.id, f.address, f.address_key, coalesce(d.provider, 'other') as provider,
                   case when exists (select from lists l join subscriptions s
                                     on s.workspace_id = $1 and s.list_id = l.list_id and s.recipient_id = f.id
                                     where l.role = 'exclude' and s.state <> 'unsubscribed') then 'excluded'
                        when not f.subscribed and f.pending then 'unconfirmed'
                        when not f.subscribed then 'unsubscribed'
                        when u.lists is null then 'queued'
                        when $5 = any(u.lists) then 'suppressed'
                        when exists (select from lists l join subscriptions s
                                     on s.workspace_id = $1 and s.list_id = l.list_id and s.recipient_id = f.id
                                     where l.role = 'include' and s.state = 'subscribed' and s.list_id <> all(u.lists))
                        then 'queued' else 'suppressed' end as verdict
            from found f
            left join domains d on d.domain = f.domain
            cross join lateral (select array_agg(list_id) as lists from suppressions
                                where workspace_id = $1 and address_key = f.address_key
                                  and (expires_at is null or expires_at > $6)) u
        ), numbered as (
            select id, address, address_key, provider, verdict,
                   row_number() over (order by verdict, provider, id) as n,
                   (row_number() over (partition by verdict, provider order by id) - 1) / $7 as place
            from verdicts where verdict in ('queued', 'suppressed')
        ), new_batches as materialized (
            select uuid_v7() as id, provider, place, count(*)::int as n from numbered where verdict = 'queued'
            group by provider, place
        ), batch_rows as (
            insert into batches (workspace_id, id, campaign_id, provider, n_deliveries, due_at)
            select $1, id, $2, provider, n, $6 from new_batches
        ), delivery_rows as (
            insert into deliveries (workspace_id, id, campaign_id, recipient_id, batch_id, state, provider, address,
                                    address_key, reason, updated_at)
            select $1, ($8::uuid[])[n.n], $2, n.id, b.id, n.verdict, n.provider, n.address, n.address_key,
                   case n.verdict when 'suppressed' then 'suppressed' end, $6
            from numbered n left join new_batches b
              on n.verdict = 'queued' and b.provider = n.provider and b.place = n.place
            order by n.n
        )
        select v.verdict as "verdict!", v.provider as "provider!", count(*) as "n!",
               (select count(*) from page) as "n_read!",
               (select recipient_id from page order by recipient_id desc limit 1) as last
        from verdicts v group by v.verdict, v.provider
        "#,
        workspace.0,
        campaign.0,
        cursor.unwrap_or(NIL),
        n_recipients,
        NIL,
        now,
        batch_size,
        // In order, so that the rows of a batch stand together in the table and in its indexes.
        &DeliveryId::series(usize::try_from(n_recipients).unwrap_or(0)).into_iter().map(|id| id.0).collect::<Vec<_>>()
    )
    .fetch_all(connection)
    .await?;
    let mut page = Page {
        n_read: 0,
        n_deliveries: 0,
        n_unsubscribed: 0,
        n_unconfirmed: 0,
        n_excluded: 0,
        last: None,
        transitions: Transitions::new(),
    };
    for row in rows {
        page.n_read = row.n_read;
        page.last = row.last;
        match row.verdict.as_str() {
            "excluded" => page.n_excluded += row.n,
            "unconfirmed" => page.n_unconfirmed += row.n,
            "unsubscribed" => page.n_unsubscribed += row.n,
            verdict => {
                let state = DeliveryState::parse(verdict).ok_or(StoreError::Corrupt("verdict"))?;
                page.n_deliveries += row.n;
                let made =
                    Transition { campaign, provider: &row.provider, relay: None, from: None, to: state, class: "" };
                page.transitions.count(made, row.n);
            }
        }
    }
    Ok(page)
}
