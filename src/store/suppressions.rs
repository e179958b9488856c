//! Addresses that may not be mailed. Keyed by address, so they outlive the recipient.
//!
//! Adding one is an act of obedience: the change is appended here, in the same transaction. Not here: which bounce
//! condemns (`domain::bounce`).

use chrono::{DateTime, Utc};

use super::{
    Connection, NIL, StoreError,
    changes::{self, Change},
};
use crate::domain::{
    id::{ListId, SuppressionId, WorkspaceId},
    suppression::SuppressionReason,
};

/// A suppression to be added.
#[derive(Debug, Clone)]
pub struct NewSuppression<'a> {
    /// The identity of the address (`Address::key`).
    pub address_key: &'a str,
    /// Only by way of this list; none: the whole workspace.
    pub list: Option<ListId>,
    /// Why.
    pub reason: SuppressionReason,
    /// What caused it, as the API shows it.
    pub origin: serde_json::Value,
    /// When it ends by itself; none: never.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Add a suppression and append its change. Where one stands already for the address and scope, the older stays,
/// unless it has expired by `now` or ends sooner than the new one: then the new one takes its place.
/// Answers the id that now stands and whether it is new.
pub async fn add(
    connection: &mut Connection,
    workspace: WorkspaceId,
    new: &NewSuppression<'_>,
    now: DateTime<Utc>,
) -> Result<(SuppressionId, bool), StoreError> {
    let list = new.list.map_or(NIL, |list| list.0);
    let written = sqlx::query_scalar!(
        "insert into suppressions as s (workspace_id, id, address_key, list_id, reason, origin, expires_at, created_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (workspace_id, address_key, list_id) do update
         set id = excluded.id, reason = excluded.reason, origin = excluded.origin, expires_at = excluded.expires_at,
             created_at = excluded.created_at
         where s.expires_at is not null and (s.expires_at <= $8 or excluded.expires_at is null
               or excluded.expires_at > s.expires_at)
         returning id",
        workspace.0,
        SuppressionId::new().0,
        new.address_key,
        list,
        new.reason.as_str(),
        new.origin,
        new.expires_at,
        now
    )
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(id) = written {
        let act = Change::Suppression { address_key: new.address_key.to_owned(), list: new.list };
        changes::append(connection, workspace, &[act]).await?;
        return Ok((SuppressionId(id), true));
    }
    let id = sqlx::query_scalar!(
        "select id from suppressions where workspace_id = $1 and address_key = $2 and list_id = $3",
        workspace.0,
        new.address_key,
        list
    )
    .fetch_one(connection)
    .await?;
    Ok((SuppressionId(id), false))
}
