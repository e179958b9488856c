//! Recipients: people, identified by address within their workspace.
//!
//! A domain that first appears gets its row in `domains` here, with its provider by name, to be looked up where the name says nothing. Not here: consent (`subscriptions`).

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::{
    domain::{
        id::{RecipientId, WorkspaceId},
        provider,
    },
    mail::address::Address,
};

/// A recipient as it stands.
#[derive(Debug, Clone)]
pub struct Recipient {
    /// Its id.
    pub id: Uuid,
    /// As it was given.
    pub address: String,
    /// What identifies it.
    pub address_key: String,
    /// A-label form.
    pub domain: String,
    /// A JSON object.
    pub attributes: Value,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last edited.
    pub updated_at: DateTime<Utc>,
    /// Counts edits.
    pub revision: i64,
}

/// What a page of recipients is narrowed by; every part may be absent.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// A part of the address key, lower case.
    pub address_contains: Option<String>,
    /// The domain in A-label form.
    pub domain: Option<String>,
    /// Has a subscription to this list.
    pub list: Option<Uuid>,
    /// … in this state.
    pub state: Option<String>,
}

/// Make recipients; an address that is there already is passed over. Answers those that were made.
pub async fn insert(
    connection: &mut Connection,
    workspace: WorkspaceId,
    new: &[(&Address, Value)],
    now: DateTime<Utc>,
) -> Result<Vec<Recipient>, StoreError> {
    note_domains(connection, new.iter().map(|(address, _)| address.domain())).await?;
    Ok(sqlx::query_as!(
        Recipient,
        "insert into recipients (workspace_id, id, address, address_key, domain, attributes, created_at, updated_at)
         select $1, x.id, x.address, x.address_key, x.domain, x.attributes, $7, $7
         from unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::jsonb[])
              as x (id, address, address_key, domain, attributes)
         order by x.address_key
         on conflict (workspace_id, address_key) do nothing
         returning id, address, address_key, domain, attributes, created_at, updated_at, revision",
        workspace.0,
        &new.iter().map(|_| RecipientId::new().0).collect::<Vec<_>>(),
        &new.iter().map(|(address, _)| address.as_given().to_owned()).collect::<Vec<_>>(),
        &new.iter().map(|(address, _)| address.key().to_owned()).collect::<Vec<_>>(),
        &new.iter().map(|(address, _)| address.domain().to_owned()).collect::<Vec<_>>(),
        &new.iter().map(|(_, attributes)| attributes.clone()).collect::<Vec<_>>(),
        now
    )
    .fetch_all(connection)
    .await?)
}

async fn note_domains(connection: &mut Connection, domains: impl Iterator<Item = &str>) -> Result<(), StoreError> {
    let mut names: Vec<String> = domains.map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    let providers: Vec<String> = names.iter().map(|name| provider::of_domain(name).to_owned()).collect();
    sqlx::query!(
        "insert into domains (domain, provider, look_up_at)
         select x.domain, x.provider, case when x.provider = $3 then now() end
         from unnest($1::text[], $2::text[]) as x (domain, provider)
         where not exists (select from domains d where d.domain = x.domain)
         order by x.domain
         on conflict do nothing",
        &names,
        &providers,
        provider::OTHER
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Find a recipient.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: RecipientId,
) -> Result<Option<Recipient>, StoreError> {
    Ok(sqlx::query_as!(
        Recipient,
        "select id, address, address_key, domain, attributes, created_at, updated_at, revision from recipients
         where workspace_id = $1 and id = $2",
        workspace.0,
        id.0
    )
    .fetch_optional(connection)
    .await?)
}

/// Find a recipient by what identifies its address.
pub async fn find_by_key(
    connection: &mut Connection,
    workspace: WorkspaceId,
    address_key: &str,
) -> Result<Option<Recipient>, StoreError> {
    Ok(sqlx::query_as!(
        Recipient,
        "select id, address, address_key, domain, attributes, created_at, updated_at, revision from recipients
         where workspace_id = $1 and address_key = $2",
        workspace.0,
        address_key
    )
    .fetch_optional(connection)
    .await?)
}

/// Find a recipient and hold its row for an edit.
pub async fn lock(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: RecipientId,
) -> Result<Option<Recipient>, StoreError> {
    Ok(sqlx::query_as!(
        Recipient,
        "select id, address, address_key, domain, attributes, created_at, updated_at, revision from recipients
         where workspace_id = $1 and id = $2 for update",
        workspace.0,
        id.0
    )
    .fetch_optional(connection)
    .await?)
}

/// Find recipients by what identifies their addresses and hold their rows, in key order.
pub async fn lock_by_keys(
    connection: &mut Connection,
    workspace: WorkspaceId,
    address_keys: &[String],
) -> Result<Vec<Recipient>, StoreError> {
    Ok(sqlx::query_as!(
        Recipient,
        "select id, address, address_key, domain, attributes, created_at, updated_at, revision from recipients
         where workspace_id = $1 and address_key = any($2) order by address_key for no key update",
        workspace.0,
        address_keys
    )
    .fetch_all(connection)
    .await?)
}

/// Write attributes of held recipients.
pub async fn update_attributes(
    connection: &mut Connection,
    workspace: WorkspaceId,
    changed: &[(Uuid, Value)],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update recipients r set attributes = x.attributes, updated_at = $4, revision = r.revision + 1
         from unnest($2::uuid[], $3::jsonb[]) as x (id, attributes)
         where r.workspace_id = $1 and r.id = x.id",
        workspace.0,
        &changed.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        &changed.iter().map(|(_, attributes)| attributes.clone()).collect::<Vec<_>>(),
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Write an edit of a held recipient. A unique violation means that another one has the address.
pub async fn update(
    connection: &mut Connection,
    workspace: WorkspaceId,
    id: RecipientId,
    address: &Address,
    attributes: &Value,
    now: DateTime<Utc>,
) -> Result<Recipient, StoreError> {
    note_domains(connection, std::iter::once(address.domain())).await?;
    Ok(sqlx::query_as!(
        Recipient,
        "update recipients set address = $3, address_key = $4, domain = $5, attributes = $6, updated_at = $7,
             revision = revision + 1
         where workspace_id = $1 and id = $2
         returning id, address, address_key, domain, attributes, created_at, updated_at, revision",
        workspace.0,
        id.0,
        address.as_given(),
        address.key(),
        address.domain(),
        attributes,
        now
    )
    .fetch_one(connection)
    .await?)
}

/// Remove a recipient with its subscriptions. False when it was not there.
pub async fn delete(connection: &mut Connection, workspace: WorkspaceId, id: RecipientId) -> Result<bool, StoreError> {
    let done = sqlx::query!("delete from recipients where workspace_id = $1 and id = $2", workspace.0, id.0)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// A page of recipients by age, after the row with this id. `descending`: the newest first.
pub async fn page(
    connection: &mut Connection,
    workspace: WorkspaceId,
    filter: &Filter,
    descending: bool,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Recipient>, StoreError> {
    // Two statements, so that each can walk the key's index in its own direction. (strpos, since LIKE has patterns.)
    macro_rules! page {
        ($sql:literal) => {
            sqlx::query_as!(
                Recipient,
                $sql,
                workspace.0,
                after,
                filter.address_contains,
                filter.domain,
                filter.list,
                filter.state,
                limit
            )
            .fetch_all(connection)
            .await?
        };
    }
    Ok(if descending {
        page!(
            "select id, address, address_key, domain, attributes, created_at, updated_at, revision from recipients r
             where r.workspace_id = $1 and ($2::uuid is null or r.id < $2)
               and ($3::text is null or strpos(r.address_key, $3) > 0) and ($4::text is null or r.domain = $4)
               and (($5::uuid is null and $6::text is null) or exists (
                   select from subscriptions s where s.workspace_id = $1 and s.recipient_id = r.id
                   and ($5 is null or s.list_id = $5) and ($6 is null or s.state = $6)))
             order by r.id desc limit $7"
        )
    } else {
        page!(
            "select id, address, address_key, domain, attributes, created_at, updated_at, revision from recipients r
             where r.workspace_id = $1 and ($2::uuid is null or r.id > $2)
               and ($3::text is null or strpos(r.address_key, $3) > 0) and ($4::text is null or r.domain = $4)
               and (($5::uuid is null and $6::text is null) or exists (
                   select from subscriptions s where s.workspace_id = $1 and s.recipient_id = r.id
                   and ($5 is null or s.list_id = $5) and ($6 is null or s.state = $6)))
             order by r.id limit $7"
        )
    })
}
