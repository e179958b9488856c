//! Inbound webhooks as people edit them, and what came of the last requests.
//!
//! Not here: the events that came by them (`inbound_events`).

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::{
    domain::id::{InboundWebhookId, WorkspaceId},
    keyring::Sealed,
};

/// An inbound webhook as it stands.
#[derive(Debug, Clone)]
pub struct InboundWebhook {
    /// Its id.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// `amazon_ses`, `sendgrid`, `mailgun` or `postmark`.
    pub kind: String,
    /// The SNS topic, of Amazon SES.
    pub topic_arn: Option<String>,
    /// When the subscription to it was confirmed.
    pub subscribed_at: Option<DateTime<Utc>>,
    /// The key that signatures are checked with, of SendGrid: DER.
    pub public_key: Option<Vec<u8>>,
    /// Who logs in, of Postmark.
    pub username: Option<String>,
    /// Signing key or password, encrypted.
    pub secret: Option<Vec<u8>>,
    /// With which key.
    pub secret_key_id: Option<i16>,
    /// Whether requests are taken.
    pub enabled: bool,
    /// When a request was last taken.
    pub last_event_at: Option<DateTime<Utc>>,
    /// Why one was refused last.
    pub last_error: Option<String>,
    /// When that was.
    pub last_error_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub updated_at: DateTime<Utc>,
    /// Counts edits.
    pub revision: i64,
}

impl InboundWebhook {
    /// Its encrypted secret.
    pub fn sealed(&self) -> Option<Sealed> {
        let (bytes, key_id) = self.secret.clone().zip(self.secret_key_id)?;
        Some(Sealed { key_id: u8::try_from(key_id).ok()?, bytes })
    }

    /// Keep this secret from now on.
    pub fn set_secret(&mut self, sealed: Sealed) {
        (self.secret, self.secret_key_id) = (Some(sealed.bytes), Some(i16::from(sealed.key_id)));
    }
}

/// Select inbound webhooks; `$1` is the workspace.
macro_rules! webhooks {
    ($tail:tt, $($parameter:expr),*) => {
        sqlx::query_as!(
            InboundWebhook,
            "select id, name, kind, topic_arn, subscribed_at, public_key, username, secret, secret_key_id, enabled,
                    last_event_at, last_error, last_error_at, created_at, updated_at, revision
             from inbound_webhooks where workspace_id = $1 " + $tail,
            $($parameter),*
        )
    };
}

/// Make an inbound webhook.
pub async fn insert(
    connection: &mut Connection,
    workspace: WorkspaceId,
    new: &InboundWebhook,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into inbound_webhooks (workspace_id, id, name, kind, topic_arn, public_key, username, secret, secret_key_id,
                                       enabled, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        workspace.0,
        new.id,
        new.name,
        new.kind,
        new.topic_arn,
        new.public_key,
        new.username,
        new.secret,
        new.secret_key_id,
        new.enabled,
        new.created_at,
        new.updated_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Find an inbound webhook.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: InboundWebhookId,
) -> Result<Option<InboundWebhook>, StoreError> {
    Ok(webhooks!("and id = $2", workspace.0, id.0).fetch_optional(connection).await?)
}

/// Find an inbound webhook and hold its row for an edit.
pub async fn lock(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: InboundWebhookId,
) -> Result<Option<InboundWebhook>, StoreError> {
    Ok(webhooks!("and id = $2 for update", workspace.0, id.0).fetch_optional(connection).await?)
}

/// A page of inbound webhooks, oldest first.
pub async fn page(
    connection: &mut Connection,
    workspace: WorkspaceId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<InboundWebhook>, StoreError> {
    Ok(webhooks!("and ($2::uuid is null or id > $2) order by id limit $3", workspace.0, after, limit)
        .fetch_all(connection)
        .await?)
}

/// Write an edit of a locked inbound webhook; answers its new revision.
pub async fn update(
    connection: &mut Connection,
    workspace: WorkspaceId,
    webhook: &InboundWebhook,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        "update inbound_webhooks
         set name = $3, topic_arn = $4, subscribed_at = $5, public_key = $6, username = $7, secret = $8, secret_key_id = $9,
             enabled = $10, updated_at = $11, revision = revision + 1
         where workspace_id = $1 and id = $2 returning revision",
        workspace.0,
        webhook.id,
        webhook.name,
        webhook.topic_arn,
        webhook.subscribed_at,
        webhook.public_key,
        webhook.username,
        webhook.secret,
        webhook.secret_key_id,
        webhook.enabled,
        webhook.updated_at
    )
    .fetch_one(connection)
    .await?)
}

/// Remove an inbound webhook with the events that came by it. False when there is none.
pub async fn delete(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: InboundWebhookId,
) -> Result<bool, StoreError> {
    let done = sqlx::query!("delete from inbound_webhooks where workspace_id = $1 and id = $2", workspace.0, id.0)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Between two notes of one kind: whoever has the address can be refused as often as they like.
const NOTE_SECONDS: i64 = 10;

/// Note that a request was taken.
pub async fn note_taken(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: InboundWebhookId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update inbound_webhooks set last_event_at = $3
         where workspace_id = $1 and id = $2 and (last_event_at is null or last_event_at < $4)",
        workspace.0,
        id.0,
        now,
        now - TimeDelta::seconds(NOTE_SECONDS)
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Note why a request was refused.
pub async fn note_refused(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: InboundWebhookId,
    error: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update inbound_webhooks set last_error = $3, last_error_at = $4
         where workspace_id = $1 and id = $2 and (last_error_at is null or last_error_at < $5)",
        workspace.0,
        id.0,
        error,
        now,
        now - TimeDelta::seconds(NOTE_SECONDS)
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Note that the subscription to this topic was confirmed, or has ended (none).
pub async fn note_subscription(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: InboundWebhookId,
    topic_arn: &str,
    subscribed_at: Option<DateTime<Utc>>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update inbound_webhooks set subscribed_at = $4 where workspace_id = $1 and id = $2 and topic_arn = $3",
        workspace.0,
        id.0,
        topic_arn,
        subscribed_at
    )
    .execute(connection)
    .await?;
    Ok(())
}
