//! Addresses that may not be mailed. Keyed by address, so they outlive the recipient.
//!
//! Adding one is an act of obedience: the change is appended here, in the same transaction. Not here: which bounce
//! condemns (`domain::bounce`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Connection, NIL, StoreError,
    changes::{self, Change},
};
use crate::domain::{
    id::{ListId, RecipientId, SuppressionId, WorkspaceId},
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

/// Add suppressions without an end, as [`add`] does: where one stands already that never ends, the older stays. Of several
/// for one address and scope the first counts.
pub async fn add_all(
    connection: &mut Connection,
    workspace: WorkspaceId,
    new: &[NewSuppression<'_>],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    // In key order, so that two who add the same addresses don't wait for each other crosswise.
    let mut rows: BTreeMap<(&str, Uuid), &NewSuppression<'_>> = BTreeMap::new();
    for one in new {
        rows.entry((one.address_key, one.list.map_or(NIL, |list| list.0))).or_insert(one);
    }
    if rows.is_empty() {
        return Ok(());
    }
    let written = sqlx::query!(
        "insert into suppressions as s (workspace_id, id, address_key, list_id, reason, origin, expires_at, created_at)
         select $1, x.id, x.address_key, x.list_id, x.reason, x.origin, null, $7
         from unnest($2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::jsonb[])
              as x (id, address_key, list_id, reason, origin)
         on conflict (workspace_id, address_key, list_id) do update
         set id = excluded.id, reason = excluded.reason, origin = excluded.origin, expires_at = null,
             created_at = excluded.created_at
         where s.expires_at is not null
         returning address_key, list_id",
        workspace.0,
        &rows.keys().map(|_| SuppressionId::new().0).collect::<Vec<_>>(),
        &rows.keys().map(|key| key.0).collect::<Vec<_>>() as &[&str],
        &rows.keys().map(|key| key.1).collect::<Vec<_>>(),
        &rows.values().map(|one| one.reason.as_str()).collect::<Vec<_>>() as &[&str],
        &rows.values().map(|one| one.origin.clone()).collect::<Vec<_>>(),
        now
    )
    .fetch_all(&mut *connection)
    .await?;
    let acts: Vec<_> = written
        .into_iter()
        .map(|row| {
            let list = (row.list_id != NIL).then_some(ListId(row.list_id));
            Change::Suppression { address_key: row.address_key, list }
        })
        .collect();
    changes::append(connection, workspace, &acts).await
}

/// A suppression as it stands.
#[derive(Debug, Clone)]
pub struct Suppression {
    /// Its id.
    pub id: Uuid,
    /// What identifies the address.
    pub address_key: String,
    /// Of which list; the nil UUID: of the whole workspace.
    pub list_id: Uuid,
    /// Why.
    pub reason: String,
    /// What caused it.
    pub origin: Value,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// What a page of suppressions is narrowed by; every part may be absent.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// What identifies the address.
    pub address_key: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// `Some(false)`: of the workspace; `Some(true)`: of a list.
    pub of_a_list: Option<bool>,
    /// Of this list.
    pub list: Option<Uuid>,
}

/// Find a suppression that has not expired by `now`.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: SuppressionId,
    now: DateTime<Utc>,
) -> Result<Option<Suppression>, StoreError> {
    Ok(sqlx::query_as!(
        Suppression,
        "select id, address_key, list_id, reason, origin, expires_at, created_at from suppressions
         where workspace_id = $1 and id = $2 and (expires_at is null or expires_at > $3)",
        workspace.0,
        id.0,
        now
    )
    .fetch_optional(connection)
    .await?)
}

/// A page of suppressions that have not expired by `now`, by age, after the row with this id.
pub async fn page(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &Filter,
    descending: bool,
    after: Option<Uuid>,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<Suppression>, StoreError> {
    Ok(sqlx::query_as!(
        Suppression,
        "select id, address_key, list_id, reason, origin, expires_at, created_at from suppressions
         where workspace_id = $1 and (expires_at is null or expires_at > $2)
           and ($3::uuid is null or case when $4 then id < $3 else id > $3 end)
           and ($5::text is null or address_key = $5) and ($6::text is null or reason = $6)
           and ($7::bool is null or (list_id <> $9) = $7) and ($8::uuid is null or list_id = $8)
         order by case when $4 then id end desc, id limit $10",
        workspace.0,
        now,
        after,
        descending,
        filter.address_key,
        filter.reason,
        filter.of_a_list,
        filter.list,
        NIL,
        limit
    )
    .fetch_all(connection)
    .await?)
}

/// The suppressions of these addresses in the workspace, and in this list's scope, that have not expired by `now`.
pub async fn check(
    connection: &mut Connection,
    workspace: WorkspaceId,
    address_keys: &[String],
    list: Option<ListId>,
    now: DateTime<Utc>,
) -> Result<Vec<Suppression>, StoreError> {
    Ok(sqlx::query_as!(
        Suppression,
        "select id, address_key, list_id, reason, origin, expires_at, created_at from suppressions
         where workspace_id = $1 and address_key = any($2) and (list_id = $3 or list_id = $4)
           and (expires_at is null or expires_at > $5)
         order by id",
        workspace.0,
        address_keys,
        NIL,
        list.map(|list| list.0),
        now
    )
    .fetch_all(connection)
    .await?)
}

/// Lift a suppression. False when it was not there.
pub async fn delete(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: SuppressionId,
) -> Result<bool, StoreError> {
    let done = sqlx::query!("delete from suppressions where workspace_id = $1 and id = $2", workspace.0, id.0)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Lift what [`keep_opt_outs`] wrote for a list before `consent_at`: the recipient has consented again since.
pub async fn lift_opt_out(
    connection: &mut Connection,
    workspace: WorkspaceId,
    address_key: &str,
    list: ListId,
    consent_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "delete from suppressions
         where workspace_id = $1 and address_key = $2 and list_id = $3 and reason = 'unsubscribe' and created_at < $4",
        workspace.0,
        address_key,
        list.0,
        consent_at
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Keep what a recipient said who is about to be deleted or to get another address: each list that was left becomes a
/// suppression of the address on that list, so that an import can't bring it back.
pub async fn keep_opt_outs(
    connection: &mut Connection,
    workspace: WorkspaceId,
    recipient: RecipientId,
    address_key: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let lists = sqlx::query_scalar!(
        "select list_id from subscriptions
         where workspace_id = $1 and recipient_id = $2 and state = 'unsubscribed' order by list_id",
        workspace.0,
        recipient.0
    )
    .fetch_all(&mut *connection)
    .await?;
    for list in lists {
        let new = NewSuppression {
            address_key,
            list: Some(ListId(list)),
            reason: SuppressionReason::Unsubscribe,
            origin: serde_json::json!({"kind": "api", "note": "left this list before the recipient was deleted or moved"}),
            expires_at: None,
        };
        add(connection, workspace, &new, now).await?;
    }
    Ok(())
}
