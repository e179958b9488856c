//! One recipient's state of consent on one list, with the record of the consent.
//!
//! Who unsubscribed comes back only by a consent that is newer; leaving is an act of obedience, and its change is appended
//! here. Not here: the unsubscribe link (`track`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Connection, StoreError,
    changes::{self, Change},
};
use crate::domain::id::{CampaignId, ListId, RecipientId, WorkspaceId};

/// A subscription as it stands.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// To which list.
    pub list_id: Uuid,
    /// Whose.
    pub recipient_id: Uuid,
    /// The recipient's address.
    pub address: String,
    /// `pending`, `subscribed`, `unsubscribed`.
    pub state: String,
    /// Where the consent was given; none: there is no record.
    pub consent_source: Option<String>,
    /// When.
    pub consent_at: Option<DateTime<Utc>>,
    /// From which IP address.
    pub consent_ip: Option<String>,
    /// To which words.
    pub consent_text: Option<String>,
    /// When it was left.
    pub unsubscribed_at: Option<DateTime<Utc>>,
    /// How: `api`, `one_click`, `page`.
    pub unsubscribed_by: Option<String>,
    /// By the link of which campaign.
    pub unsubscribed_campaign_id: Option<Uuid>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// The record of a consent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Where it was given.
    pub source: String,
    /// When.
    pub at: DateTime<Utc>,
    /// From which IP address.
    pub ip: Option<String>,
    /// To which words.
    pub text: Option<String>,
}

/// Find a subscription.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    list: ListId,
    recipient: RecipientId,
) -> Result<Option<Subscription>, StoreError> {
    Ok(sqlx::query_as!(
        Subscription,
        "select s.list_id, s.recipient_id, r.address, s.state, s.consent_source, s.consent_at, s.consent_ip,
                s.consent_text, s.unsubscribed_at, s.unsubscribed_by, s.unsubscribed_campaign_id, s.created_at,
                s.updated_at
         from subscriptions s join recipients r on r.workspace_id = $1 and r.id = s.recipient_id
         where s.workspace_id = $1 and s.list_id = $2 and s.recipient_id = $3",
        workspace.0,
        list.0,
        recipient.0
    )
    .fetch_optional(connection)
    .await?)
}

/// A page of subscriptions of a list or of a recipient, the newest recipient (or list) first, after this one.
pub async fn page(
    connection: &mut Connection,
    workspace: WorkspaceId,
    of: Of,
    state: Option<&str>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Subscription>, StoreError> {
    let last = after.unwrap_or(Uuid::max());
    Ok(match of {
        Of::List(list) => {
            sqlx::query_as!(
                Subscription,
                "select s.list_id, s.recipient_id, r.address, s.state, s.consent_source, s.consent_at, s.consent_ip,
                        s.consent_text, s.unsubscribed_at, s.unsubscribed_by, s.unsubscribed_campaign_id,
                        s.created_at, s.updated_at
                 from subscriptions s join recipients r on r.workspace_id = $1 and r.id = s.recipient_id
                 where s.workspace_id = $1 and s.list_id = $2 and ($3::text is null or s.state = $3)
                   and s.recipient_id < $4
                 order by s.recipient_id desc limit $5",
                workspace.0,
                list.0,
                state,
                last,
                limit
            )
            .fetch_all(connection)
            .await?
        }
        Of::Recipient(recipient) => {
            sqlx::query_as!(
                Subscription,
                "select s.list_id, s.recipient_id, r.address, s.state, s.consent_source, s.consent_at, s.consent_ip,
                        s.consent_text, s.unsubscribed_at, s.unsubscribed_by, s.unsubscribed_campaign_id,
                        s.created_at, s.updated_at
                 from subscriptions s join recipients r on r.workspace_id = $1 and r.id = s.recipient_id
                 where s.workspace_id = $1 and s.recipient_id = $2 and ($3::text is null or s.state = $3)
                   and s.list_id < $4
                 order by s.list_id desc limit $5",
                workspace.0,
                recipient.0,
                state,
                last,
                limit
            )
            .fetch_all(connection)
            .await?
        }
    })
}

/// Whose subscriptions.
#[derive(Debug, Clone, Copy)]
pub enum Of {
    /// Those to a list.
    List(ListId),
    /// Those of a recipient.
    Recipient(RecipientId),
}

/// Subscribe recipients to lists, each with its consent, where it has one. `returns` says that a consent newer than the
/// leaving brings an unsubscribed one back; without it none comes back. Answers who is still unsubscribed, and from which list.
pub async fn subscribe(
    connection: &mut Connection,
    workspace: WorkspaceId,
    lists: &[ListId],
    recipients: &[(RecipientId, Option<&Consent>)],
    state: &str,
    returns: bool,
    now: DateTime<Utc>,
) -> Result<Vec<(RecipientId, ListId)>, StoreError> {
    let lists: Vec<Uuid> = lists.iter().map(|list| list.0).collect();
    let ids: Vec<Uuid> = recipients.iter().map(|(recipient, _)| recipient.0).collect();
    let consents = || recipients.iter().map(|(_, consent)| *consent);
    sqlx::query!(
        "insert into subscriptions as s (workspace_id, list_id, recipient_id, state, consent_source, consent_at,
                                         consent_ip, consent_text, created_at, updated_at)
         select $1, l.id, x.id, $3, x.source, x.at, x.ip, x.text, $10, $10
         from unnest($2::uuid[]) as l (id)
         cross join unnest($4::uuid[], $5::text[], $6::timestamptz[], $7::text[], $8::text[])
              as x (id, source, at, ip, text)
         order by l.id, x.id
         on conflict (workspace_id, list_id, recipient_id) do update
         set state = excluded.state, updated_at = excluded.updated_at,
             consent_source = coalesce(excluded.consent_source, s.consent_source),
             consent_at = case when excluded.consent_source is null then s.consent_at else excluded.consent_at end,
             consent_ip = case when excluded.consent_source is null then s.consent_ip else excluded.consent_ip end,
             consent_text = case when excluded.consent_source is null then s.consent_text else excluded.consent_text end,
             unsubscribed_at = null, unsubscribed_by = null, unsubscribed_campaign_id = null
         where case when s.state = 'unsubscribed' then $9 and excluded.consent_at > s.unsubscribed_at
                    else excluded.consent_source is not null or s.state <> excluded.state end",
        workspace.0,
        &lists,
        state,
        &ids,
        &consents().map(|consent| consent.map(|consent| consent.source.clone())).collect::<Vec<_>>() as &[Option<String>],
        &consents().map(|consent| consent.map(|consent| consent.at)).collect::<Vec<_>>() as &[Option<DateTime<Utc>>],
        &consents().map(|consent| consent.and_then(|consent| consent.ip.clone())).collect::<Vec<_>>()
            as &[Option<String>],
        &consents().map(|consent| consent.and_then(|consent| consent.text.clone())).collect::<Vec<_>>()
            as &[Option<String>],
        returns,
        now
    )
    .execute(&mut *connection)
    .await?;
    let rows = sqlx::query!(
        "select recipient_id, list_id from subscriptions
         where workspace_id = $1 and list_id = any($2) and recipient_id = any($3) and state = 'unsubscribed'",
        workspace.0,
        &lists,
        &ids
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.recipient_id.into(), row.list_id.into())).collect())
}

/// End a recipient's subscriptions to these lists (one that isn't there is made, so that it stays ended) and append the
/// changes. What had ended before stays as it was. Answers whether anything changed.
pub async fn unsubscribe(
    connection: &mut Connection,
    workspace: WorkspaceId,
    recipient: RecipientId,
    lists: &[ListId],
    by: &str,
    campaign: Option<CampaignId>,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let ended = sqlx::query_scalar!(
        "insert into subscriptions as s (workspace_id, list_id, recipient_id, state, unsubscribed_at, unsubscribed_by,
                                         unsubscribed_campaign_id, created_at, updated_at)
         select $1, l.id, $2, 'unsubscribed', $6, $4, $5, $6, $6 from unnest($3::uuid[]) as l (id)
         where exists (select from lists where workspace_id = $1 and id = l.id)
         order by l.id
         on conflict (workspace_id, list_id, recipient_id) do update
         set state = 'unsubscribed', unsubscribed_at = $6, unsubscribed_by = $4, unsubscribed_campaign_id = $5,
             updated_at = $6
         where s.state <> 'unsubscribed'
         returning s.list_id",
        workspace.0,
        recipient.0,
        &lists.iter().map(|list| list.0).collect::<Vec<_>>(),
        by,
        campaign.map(|campaign| campaign.0),
        now
    )
    .fetch_all(&mut *connection)
    .await?;
    let acts: Vec<_> = ended.iter().map(|list| Change::Unsubscribe { recipient, list: ListId(*list) }).collect();
    changes::append(connection, workspace, &acts).await?;
    Ok(!ended.is_empty())
}

/// The lists of a campaign's audience to which a recipient has a subscription, in whatever state.
pub async fn lists_of_audience(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    recipient: RecipientId,
) -> Result<Vec<ListId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select l.list_id from campaign_lists l join subscriptions s
           on s.workspace_id = $1 and s.list_id = l.list_id and s.recipient_id = $3
         where l.workspace_id = $1 and l.campaign_id = $2 and l.role = 'include' order by l.list_id",
        workspace.0,
        campaign.0,
        recipient.0
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(ListId).collect())
}
