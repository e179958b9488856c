//! Sender domains: the domains of a From, their return path and the base of their links.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::domain::id::{CampaignId, SenderDomainId, WorkspaceId};

/// A sender domain as it stands.
#[derive(Debug, Clone)]
pub struct SenderDomain {
    /// Its id.
    pub id: Uuid,
    /// A-labels in lower case.
    pub domain: String,
    /// The domain of MAIL FROM.
    pub return_path_domain: String,
    /// Where its reports arrive.
    pub mailbox_id: Option<Uuid>,
    /// Base of its links; none: the installation's.
    pub link_base_url: Option<String>,
    /// The rate of all that is sent from it: so many messages…
    pub rate_messages: Option<i32>,
    /// …in so many seconds.
    pub rate_per_seconds: Option<i32>,
    /// The relays over which its mail goes; none: all.
    pub relay_ids: Vec<Uuid>,
    /// When one of its keys was last seen in DNS; none: none is published.
    pub verified_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub updated_at: DateTime<Utc>,
    /// Counts edits.
    pub revision: i64,
}

/// Select sender domains; `$1` is the workspace.
macro_rules! sender_domains {
    ($tail:tt, $($parameter:expr),*) => {
        sqlx::query_as!(
            SenderDomain,
            "select id, domain, return_path_domain, mailbox_id, link_base_url, rate_messages, rate_per_seconds, relay_ids,
                    (select max(k.verified_at) from dkim_keys k
                     where k.workspace_id = $1 and k.sender_domain_id = sender_domains.id) as verified_at,
                    created_at, updated_at, revision
             from sender_domains where workspace_id = $1 " + $tail,
            $($parameter),*
        )
    };
}

/// Make a sender domain. False, and nothing written: the workspace has one of this domain.
pub async fn insert(
    connection: &mut Connection,
    workspace: WorkspaceId,
    new: &SenderDomain,
) -> Result<bool, StoreError> {
    let done = sqlx::query!(
        "insert into sender_domains
             (workspace_id, id, domain, return_path_domain, mailbox_id, link_base_url, rate_messages, rate_per_seconds,
              created_at, updated_at, relay_ids)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) on conflict (workspace_id, domain) do nothing",
        workspace.0,
        new.id,
        new.domain,
        new.return_path_domain,
        new.mailbox_id,
        new.link_base_url,
        new.rate_messages,
        new.rate_per_seconds,
        new.created_at,
        new.updated_at,
        &new.relay_ids
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Find a sender domain.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: SenderDomainId,
) -> Result<Option<SenderDomain>, StoreError> {
    Ok(sender_domains!("and id = $2", workspace.0, id.0).fetch_optional(connection).await?)
}

/// Find a sender domain and hold its row for an edit or a removal.
pub async fn lock(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: SenderDomainId,
) -> Result<Option<SenderDomain>, StoreError> {
    Ok(sender_domains!("and id = $2 for update", workspace.0, id.0).fetch_optional(connection).await?)
}

/// Find the sender domain of this name (A-labels in lower case).
pub async fn find_by_name(
    connection: &mut Connection,
    workspace: WorkspaceId,
    domain: &str,
) -> Result<Option<SenderDomain>, StoreError> {
    Ok(sender_domains!("and domain = $2", workspace.0, domain).fetch_optional(connection).await?)
}

/// Find the sender domain of this name (A-labels in lower case), so held that it can't be removed meanwhile.
pub async fn hold(
    connection: &mut Connection,
    workspace: WorkspaceId,
    domain: &str,
) -> Result<Option<SenderDomain>, StoreError> {
    Ok(sender_domains!("and domain = $2 for key share", workspace.0, domain).fetch_optional(connection).await?)
}

/// A page of sender domains, oldest first.
pub async fn page(
    connection: &mut Connection,
    workspace: WorkspaceId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<SenderDomain>, StoreError> {
    Ok(sender_domains!("and ($2::uuid is null or id > $2) order by id limit $3", workspace.0, after, limit)
        .fetch_all(connection)
        .await?)
}

/// Write an edit of a locked sender domain; answers its new revision. The domain itself stays.
pub async fn update(
    connection: &mut Connection,
    workspace: WorkspaceId,
    domain: &SenderDomain,
) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar!(
        "update sender_domains
         set return_path_domain = $3, mailbox_id = $4, link_base_url = $5, rate_messages = $6, rate_per_seconds = $7, updated_at = $8,
             relay_ids = $9, revision = revision + 1
         where workspace_id = $1 and id = $2 returning revision",
        workspace.0,
        domain.id,
        domain.return_path_domain,
        domain.mailbox_id,
        domain.link_base_url,
        domain.rate_messages,
        domain.rate_per_seconds,
        domain.updated_at,
        &domain.relay_ids
    )
    .fetch_one(connection)
    .await?)
}

/// Campaigns that send from this domain, now or at their time. Ten at most.
pub async fn campaigns_in_need(
    connection: &mut Connection,
    workspace: WorkspaceId,
    domain: &str,
) -> Result<Vec<CampaignId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select id from campaigns
         where workspace_id = $1 and from_domain = $2 and state in ('scheduled', 'sending', 'paused') order by id limit 10",
        workspace.0,
        domain
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(CampaignId).collect())
}

/// Remove a locked sender domain.
pub async fn delete(connection: &mut Connection, workspace: WorkspaceId, id: SenderDomainId) -> Result<(), StoreError> {
    sqlx::query!("delete from sender_domains where workspace_id = $1 and id = $2", workspace.0, id.0)
        .execute(connection)
        .await?;
    Ok(())
}
