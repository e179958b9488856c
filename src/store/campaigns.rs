//! Campaigns as people write and read them.
//!
//! Not here: their moves (`moves`), what is sent of them (`contents`), what became of them (`stats`, `deliveries`).

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::domain::id::{CampaignId, ListId, WorkspaceId};

/// A campaign as it stands.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// Its id.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// A state of `domain::campaign`.
    pub state: String,
    /// Why it is paused, where no person paused it.
    pub state_reason: Option<String>,
    /// The name in front of the From address; may be empty.
    pub from_name: String,
    /// The From address as it was given.
    pub from_address: String,
    /// Its domain as A-labels.
    pub from_domain: String,
    /// Where answers go, if elsewhere.
    pub reply_to: Option<String>,
    /// The template that its content comes from.
    pub template_id: Option<Uuid>,
    /// The version that is pinned.
    pub template_version_id: Option<Uuid>,
    /// Its own subject, or the pinned one.
    pub subject: Option<String>,
    /// Its own HTML, or the pinned one.
    pub html: Option<String>,
    /// Its own text, or the pinned one.
    pub text: Option<String>,
    /// Since when the content can't change.
    pub pinned_at: Option<DateTime<Utc>>,
    /// Whether a pixel is added.
    pub track_opens: bool,
    /// Whether links are rewritten.
    pub track_clicks: bool,
    /// `retry_once` or `never_resend`.
    pub on_unknown: String,
    /// `now` or `at`.
    pub delivery_kind: String,
    /// When it starts by itself.
    pub start_at: Option<DateTime<Utc>>,
    /// Its rate: so many messages…
    pub rate_messages: Option<i32>,
    /// …in so many seconds.
    pub rate_per_seconds: Option<i32>,
    /// `low`, `normal` or `high`.
    pub priority: String,
    /// When it was started.
    pub started_at: Option<DateTime<Utc>>,
    /// When it was sent or cancelled.
    pub finished_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last edited or moved.
    pub updated_at: DateTime<Utc>,
    /// Counts edits and moves.
    pub revision: i64,
    /// The lists of its audience.
    pub lists: Vec<Uuid>,
    /// The lists that are left out.
    pub exclude_lists: Vec<Uuid>,
}

/// Select campaigns with these columns for the content; `$1` is the workspace.
macro_rules! campaigns {
    ($content:tt, $tail:tt, $($parameter:expr),*) => {
        sqlx::query_as!(
            Campaign,
            "select c.id, c.name, c.state, c.state_reason, c.from_name, c.from_address, c.from_domain, c.reply_to,
                    c.template_id, c.template_version_id, " + $content + r#", c.pinned_at, c.track_opens, c.track_clicks,
                    c.on_unknown, c.delivery_kind, c.start_at, c.rate_messages, c.rate_per_seconds, c.priority, c.started_at,
                    c.finished_at, c.created_at, c.updated_at, c.revision,
                    array(select l.list_id from campaign_lists l
                          where l.workspace_id = $1 and l.campaign_id = c.id and l.role = 'include'
                          order by l.list_id) as "lists!",
                    array(select l.list_id from campaign_lists l
                          where l.workspace_id = $1 and l.campaign_id = c.id and l.role = 'exclude'
                          order by l.list_id) as "exclude_lists!"
             from campaigns c where c.workspace_id = $1 "# + $tail,
            $($parameter),*
        )
    };
}

/// Make a draft.
pub async fn insert(connection: &mut Connection, workspace: WorkspaceId, new: &Campaign) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into campaigns
             (workspace_id, id, name, from_name, from_address, from_domain, reply_to, template_id, subject, html, text,
              track_opens, track_clicks, on_unknown, delivery_kind, start_at, rate_messages, rate_per_seconds, priority,
              created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)",
        workspace.0,
        new.id,
        new.name,
        new.from_name,
        new.from_address,
        new.from_domain,
        new.reply_to,
        new.template_id,
        new.subject,
        new.html,
        new.text,
        new.track_opens,
        new.track_clicks,
        new.on_unknown,
        new.delivery_kind,
        new.start_at,
        new.rate_messages,
        new.rate_per_seconds,
        new.priority,
        new.created_at,
        new.updated_at
    )
    .execute(&mut *connection)
    .await?;
    set_lists(connection, workspace, new).await
}

/// Find a campaign.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: CampaignId,
) -> Result<Option<Campaign>, StoreError> {
    Ok(campaigns!("c.subject, c.html, c.text", "and c.id = $2", workspace.0, id.0).fetch_optional(connection).await?)
}

/// A page of campaigns by age, without their content; `state` narrows it.
pub async fn page(
    connection: &mut Connection,
    workspace: WorkspaceId,
    state: Option<&str>,
    descending: bool,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Campaign>, StoreError> {
    Ok(campaigns!(
        "null::text as subject, null::text as html, null::text as text",
        "and ($2::text is null or c.state = $2)
           and ($4::uuid is null or case when $3 then c.id < $4 else c.id > $4 end)
         order by case when $3 then c.id end desc, c.id limit $5",
        workspace.0,
        state,
        descending,
        after,
        limit
    )
    .fetch_all(connection)
    .await?)
}

/// Write an edit of a locked draft; answers its new revision.
pub async fn update(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: &Campaign,
) -> Result<i64, StoreError> {
    let revision = sqlx::query_scalar!(
        "update campaigns
         set name = $3, from_name = $4, from_address = $5, from_domain = $6, reply_to = $7, template_id = $8, subject = $9,
             html = $10, text = $11, track_opens = $12, track_clicks = $13, on_unknown = $14, delivery_kind = $15,
             start_at = $16, rate_messages = $17, rate_per_seconds = $18, priority = $19, updated_at = $20,
             revision = revision + 1
         where workspace_id = $1 and id = $2 returning revision",
        workspace.0,
        campaign.id,
        campaign.name,
        campaign.from_name,
        campaign.from_address,
        campaign.from_domain,
        campaign.reply_to,
        campaign.template_id,
        campaign.subject,
        campaign.html,
        campaign.text,
        campaign.track_opens,
        campaign.track_clicks,
        campaign.on_unknown,
        campaign.delivery_kind,
        campaign.start_at,
        campaign.rate_messages,
        campaign.rate_per_seconds,
        campaign.priority,
        campaign.updated_at
    )
    .fetch_one(&mut *connection)
    .await?;
    set_lists(connection, workspace, campaign).await?;
    Ok(revision)
}

async fn set_lists(connection: &mut Connection, workspace: WorkspaceId, campaign: &Campaign) -> Result<(), StoreError> {
    sqlx::query!("delete from campaign_lists where workspace_id = $1 and campaign_id = $2", workspace.0, campaign.id)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "insert into campaign_lists (workspace_id, campaign_id, list_id, role)
         select $1::uuid, $2::uuid, x.list_id, 'include' from unnest($3::uuid[]) as x (list_id)
         union all select $1, $2, x.list_id, 'exclude' from unnest($4::uuid[]) as x (list_id)",
        workspace.0,
        campaign.id,
        &campaign.lists,
        &campaign.exclude_lists
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Remove a locked draft.
pub async fn delete(connection: &mut Connection, workspace: WorkspaceId, id: CampaignId) -> Result<(), StoreError> {
    sqlx::query!("delete from campaigns where workspace_id = $1 and id = $2", workspace.0, id.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Which of these lists there are. They are held, so that none is removed before the caller's transaction ends.
pub async fn hold_lists(
    connection: &mut Connection,
    workspace: WorkspaceId,
    lists: &[Uuid],
) -> Result<Vec<ListId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select id from lists where workspace_id = $1 and id = any($2) order by id for key share",
        workspace.0,
        lists
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(ListId).collect())
}
