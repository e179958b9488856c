//! Reports as people look at them: pages, one of them, its raw text, and the wish to have one read anew.
//!
//! Not here: what the mailbox reader does with them (`reports`).

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::domain::id::{InboundWebhookId, MailboxId, ReportId, WorkspaceId};

/// A report without its text.
#[derive(Debug, Clone)]
pub struct ReportView {
    /// Which one.
    pub id: Uuid,
    /// The mailbox in which it was found.
    pub mailbox_id: Option<Uuid>,
    /// Or the inbound webhook by which it came.
    pub inbound_webhook_id: Option<Uuid>,
    /// `fetched`, `recorded` or `quarantined`.
    pub state: String,
    /// Why it was set aside.
    pub state_reason: Option<String>,
    /// `dsn`, `arf`, `auto_reply` or `other`; none while it wasn't read.
    pub kind: Option<String>,
    /// The class of its first failure.
    pub class: Option<String>,
    /// The parsed view; none while it wasn't read.
    pub inspection: Option<Value>,
    /// Whose it is.
    pub delivery_id: Option<Uuid>,
    /// Its size in bytes.
    pub size_bytes: i64,
    /// Whether its text is kept.
    pub has_raw: bool,
    /// Times that somebody began to read it.
    pub n_tries: i32,
    /// When it was found.
    pub fetched_at: DateTime<Utc>,
    /// When it was read, or set aside.
    pub recorded_at: Option<DateTime<Utc>>,
    /// When it was filed away on the server.
    pub filed_at: Option<DateTime<Utc>>,
}

/// What a page is narrowed to; none: everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this state.
    pub state: Option<&'static str>,
    /// Of this kind.
    pub kind: Option<&'static str>,
    /// Of this class.
    pub class: Option<String>,
    /// Whether it is known whose it is.
    pub attributed: Option<bool>,
    /// Found in this mailbox.
    pub mailbox: Option<MailboxId>,
    /// Came by this inbound webhook.
    pub inbound_webhook: Option<InboundWebhookId>,
    /// Found at this time or later.
    pub fetched_from: Option<DateTime<Utc>>,
    /// Found before this time.
    pub fetched_before: Option<DateTime<Utc>>,
}

/// Select reports as views; `$1` is the workspace.
macro_rules! views {
    ($tail:tt, $($parameter:expr),*) => {
        sqlx::query_as!(
            ReportView,
            r#"select id, mailbox_id, inbound_webhook_id, state, state_reason, kind, class, inspection, delivery_id, size_bytes,
                      raw is not null as "has_raw!", n_tries, fetched_at, recorded_at, filed_at
               from reports where workspace_id = $1 "# + $tail,
            $($parameter),*
        )
    };
}

/// A page of reports by age, from the row after `after` on.
pub async fn page(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &Filter,
    descending: bool,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<ReportView>, StoreError> {
    Ok(views!(
        r#"and ($2::uuid is null or case when $3 then id < $2 else id > $2 end)
           and ($4::text is null or state = $4) and ($5::text is null or kind = $5) and ($6::text is null or class = $6)
           and ($7::bool is null or (delivery_id is not null) = $7) and ($8::uuid is null or mailbox_id = $8)
           and ($9::timestamptz is null or fetched_at >= $9) and ($10::timestamptz is null or fetched_at < $10)
           and ($12::uuid is null or inbound_webhook_id = $12)
           order by case when $3 then id end desc, id limit $11"#,
        workspace.0,
        after,
        descending,
        filter.state,
        filter.kind,
        filter.class,
        filter.attributed,
        filter.mailbox.map(|mailbox| mailbox.0),
        filter.fetched_from,
        filter.fetched_before,
        limit,
        filter.inbound_webhook.map(|webhook| webhook.0)
    )
    .fetch_all(connection)
    .await?)
}

/// One report.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    report: ReportId,
) -> Result<Option<ReportView>, StoreError> {
    Ok(views!("and id = $2", workspace.0, report.0).fetch_optional(connection).await?)
}

/// The bytes of a report, none where they are not kept; none at all when the workspace has no such report.
pub async fn raw(
    connection: &mut Connection,
    workspace: WorkspaceId,
    report: ReportId,
) -> Result<Option<Option<Vec<u8>>>, StoreError> {
    Ok(sqlx::query_scalar!("select raw from reports where workspace_id = $1 and id = $2", workspace.0, report.0)
        .fetch_optional(connection)
        .await?)
}

/// Have a report that was read, or set aside, read anew by its reader; a mailbox's is told. False when that can't be:
/// it is still to be read, or its bytes are not kept.
pub async fn reprocess(
    connection: &mut Connection,
    workspace: WorkspaceId,
    report: ReportId,
) -> Result<bool, StoreError> {
    let mailbox = sqlx::query_scalar!(
        "update reports set state = 'fetched', state_reason = null, n_tries = 0, recorded_at = null
         where workspace_id = $1 and id = $2 and state <> 'fetched' and raw is not null
         returning mailbox_id",
        workspace.0,
        report.0
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some(mailbox) = mailbox else { return Ok(false) };
    // An event's reader sees it by itself.
    let Some(mailbox) = mailbox else { return Ok(true) };
    sqlx::query!("update mailboxes set next_read_at = null where workspace_id = $1 and id = $2", workspace.0, mailbox)
        .execute(connection)
        .await?;
    Ok(true)
}
