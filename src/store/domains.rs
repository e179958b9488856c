//! The domains of recipients: whose mail servers are to be looked up, and who was found to run their mailboxes.
//!
//! Not here: their rows, which are made where a domain first appears (`recipients`), asking DNS (`dispatch`), which mail server is
//! whose (`domain::provider`).

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{Connection, StoreError};
use crate::domain::provider::OTHER;

/// What was found out about a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookedUp {
    /// Which.
    pub domain: String,
    /// Who runs its mailboxes; none: DNS did not say, and what was known before stays.
    pub provider: Option<String>,
    /// Why DNS did not say.
    pub fault: Option<String>,
    /// When to look again.
    pub again_at: DateTime<Utc>,
}

/// Take up to `limit` domains that are to be looked up now. Nobody else takes them before `again_at`.
pub async fn take(
    connection: &mut Connection,
    limit: i64,
    again_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<String>, StoreError> {
    Ok(sqlx::query_scalar!(
        "update domains set look_up_at = $2
         where domain in (select domain from domains where look_up_at <= $3 order by look_up_at limit $1
                          for update skip locked)
         returning domain",
        limit,
        again_at,
        now
    )
    .fetch_all(connection)
    .await?)
}

/// Note what was found.
pub async fn note(connection: &mut Connection, found: &[LookedUp], now: DateTime<Utc>) -> Result<(), StoreError> {
    sqlx::query!(
        "update domains d
         set provider = coalesce(x.provider, d.provider), look_up_error = x.fault, look_up_at = x.again_at, looked_up_at = $5
         from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) as x (domain, provider, fault, again_at)
         where d.domain = x.domain and d.look_up_at is not null",
        &found.iter().map(|one| one.domain.clone()).collect::<Vec<_>>(),
        &found.iter().map(|one| one.provider.clone()).collect::<Vec<_>>() as &[Option<String>],
        &found.iter().map(|one| one.fault.clone()).collect::<Vec<_>>() as &[Option<String>],
        &found.iter().map(|one| one.again_at).collect::<Vec<_>>(),
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Of these domains those that somebody known runs, and who.
pub async fn providers(connection: &mut Connection, domains: &[String]) -> Result<HashMap<String, String>, StoreError> {
    let rows =
        sqlx::query!("select domain, provider from domains where domain = any($1) and provider <> $2", domains, OTHER)
            .fetch_all(connection)
            .await?;
    Ok(rows.into_iter().map(|row| (row.domain, row.provider)).collect())
}
