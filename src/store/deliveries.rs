//! The ledger as people read it: deliveries of a campaign or a recipient, and one with all that is known of it.
//!
//! Not here: writing it (`expansions`, `intents`, `settles`, `rescues`, `bounces`), its sums (`transitions`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::domain::id::{CampaignId, DeliveryId, RecipientId, WorkspaceId};

/// One recipient's copy as it stands.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its id; made when the audience was taken.
    pub id: Uuid,
    /// Of which campaign.
    pub campaign_id: Uuid,
    /// Whose.
    pub recipient_id: Uuid,
    /// The address as it is mailed.
    pub address: String,
    /// Who runs its mailbox.
    pub provider: String,
    /// A state of `domain::delivery`.
    pub state: String,
    /// Why, in a word.
    pub reason: Option<String>,
    /// Why, in a sentence.
    pub reason_text: Option<String>,
    /// Attempts begun.
    pub attempt: i32,
    /// By which relay last.
    pub relay_id: Option<Uuid>,
    /// The first attempt.
    pub first_attempt_at: Option<DateTime<Utc>>,
    /// The last attempt.
    pub attempt_at: Option<DateTime<Utc>>,
    /// When it is tried again.
    pub due_at: Option<DateTime<Utc>>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// One SMTP try whose outcome is known.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// From 1.
    pub n: i32,
    /// By which relay.
    pub relay_id: Option<Uuid>,
    /// An outcome of `domain::delivery`.
    pub outcome: String,
    /// Where the session stood.
    pub phase: String,
    /// The reply.
    pub code: Option<i16>,
    /// RFC 3463.
    pub enhanced: Option<String>,
    /// The relay's words.
    pub text: String,
    /// The version of TLS.
    pub tls: Option<String>,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// What it took.
    pub duration_ms: i32,
}

/// Something that happened to a delivery beside its attempts.
#[derive(Debug, Clone)]
pub struct Happening {
    /// `opened`, `clicked`, `unsubscribed`, `complained` or `bounced`.
    pub kind: String,
    /// When, for touches the first time.
    pub at: DateTime<Utc>,
    /// Of a click.
    pub link_n: Option<i32>,
    /// Of a bounce or complaint.
    pub report_id: Option<String>,
    /// The words of a report.
    pub text: Option<String>,
}

/// Select deliveries of this source; `$1` is the workspace.
macro_rules! deliveries {
    ($source:tt, $tail:tt, $($parameter:expr),*) => {
        sqlx::query_as!(
            Delivery,
            "select d.id, d.campaign_id, d.recipient_id, d.address, d.provider, d.state, d.reason, d.reason_text, d.attempt,
                    d.relay_id, d.first_attempt_at, d.attempt_at, d.due_at, d.updated_at
             from " + $source + " d where d.workspace_id = $1 " + $tail,
            $($parameter),*
        )
    };
}

/// What narrows a page of a campaign's deliveries.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Stand in this state.
    pub state: Option<&'a str>,
    /// Go to this provider.
    pub provider: Option<&'a str>,
}

/// A page of a campaign's deliveries in the order in which the audience was taken (that of recipients' ids), after the one
/// of the recipient `after`. At most `n_scanned` are looked at for those that fit: no index has the states, because they
/// change with every message. [`scan_end`] tells where the look ended.
pub async fn page_of_campaign(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    filter: Filter<'_>,
    after: Option<Uuid>,
    limit: i64,
    n_scanned: i64,
) -> Result<Vec<Delivery>, StoreError> {
    Ok(deliveries!(
        "(select * from deliveries where workspace_id = $1 and campaign_id = $2
              and recipient_id > coalesce($5, '00000000-0000-0000-0000-000000000000'::uuid)
          order by recipient_id limit $7)",
        "and ($3::text is null or d.state = $3) and ($4::text is null or d.provider = $4)
         order by d.recipient_id limit $6",
        workspace.0,
        campaign.0,
        filter.state,
        filter.provider,
        after,
        limit,
        n_scanned
    )
    .fetch_all(connection)
    .await?)
}

/// The recipient of the last delivery that [`page_of_campaign`] looks at; none when there are fewer than `n_scanned`.
pub async fn scan_end(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    after: Option<Uuid>,
    n_scanned: i64,
) -> Result<Option<Uuid>, StoreError> {
    Ok(sqlx::query_scalar!(
        "select recipient_id from deliveries where workspace_id = $1 and campaign_id = $2
             and recipient_id > coalesce($3, '00000000-0000-0000-0000-000000000000'::uuid)
         order by recipient_id offset $4 limit 1",
        workspace.0,
        campaign.0,
        after,
        n_scanned.saturating_sub(1)
    )
    .fetch_optional(connection)
    .await?)
}

/// A page of a recipient's deliveries, newest first, after the one with this id; `state` narrows it. Each campaign of the
/// workspace is asked for the recipient's, by key.
pub async fn page_of_recipient(
    connection: &mut Connection,
    workspace: WorkspaceId,
    recipient: RecipientId,
    state: Option<&str>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Delivery>, StoreError> {
    Ok(deliveries!(
        "(select d.* from campaigns c cross join lateral (
              select * from deliveries where workspace_id = $1 and campaign_id = c.id and recipient_id = $2 offset 0) d
          where c.workspace_id = $1 and c.started_at is not null)",
        "and ($3::text is null or d.state = $3)
           and d.id < coalesce($4, 'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid)
         order by d.id desc limit $5",
        workspace.0,
        recipient.0,
        state,
        after,
        limit
    )
    .fetch_all(connection)
    .await?)
}

/// Find a delivery.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: DeliveryId,
) -> Result<Option<Delivery>, StoreError> {
    Ok(deliveries!("deliveries", "and d.id = $2", workspace.0, id.0).fetch_optional(connection).await?)
}

/// The attempts at a delivery whose outcome is known, in their order; `limit` at most.
pub async fn attempts(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: DeliveryId,
    limit: i64,
) -> Result<Vec<Attempt>, StoreError> {
    Ok(sqlx::query_as!(
        Attempt,
        r#"select n as "n!", relay_id, outcome as "outcome!", phase as "phase!", code, enhanced, text as "text!", tls,
                  started_at as "started_at!", duration_ms as "duration_ms!"
           from every_attempt where workspace_id = $1 and delivery_id = $2 order by n limit $3"#,
        workspace.0,
        id.0,
        limit
    )
    .fetch_all(connection)
    .await?)
}

/// What happened to a delivery beside its attempts, in order; `limit` at most.
pub async fn happenings(
    connection: &mut Connection,
    workspace: WorkspaceId,
    delivery: &Delivery,
    limit: i64,
) -> Result<Vec<Happening>, StoreError> {
    Ok(sqlx::query_as!(
        Happening,
        r#"select x.kind as "kind!", x.at as "at!", x.link_n as "link_n?", x.report_id as "report_id?", x.text as "text?"
           from (select case link_n when 0 then 'opened' else 'clicked' end as kind, min(first_at) as at,
                        nullif(link_n, 0) as link_n, null::text as report_id, null::text as text
                 from touches where workspace_id = $1 and campaign_id = $2 and delivery_id = $3 group by link_n
                 union all
                 select 'unsubscribed', created_at, null, null, null from opt_outs
                 where workspace_id = $1 and campaign_id = $2 and recipient_id = $4 and kind = 'unsubscribe'
                 union all
                 select case kind when 'delivery.bounced' then 'bounced' else 'complained' end, created_at, null,
                        data ->> 'report_id', data ->> 'text'
                 from events where workspace_id = $1 and delivery_id = $3
                   and kind in ('delivery.bounced', 'recipient.complained')) x
           order by x.at, x.kind, x.link_n limit $5"#,
        workspace.0,
        delivery.campaign_id,
        delivery.id,
        delivery.recipient_id,
        limit
    )
    .fetch_all(connection)
    .await?)
}
