//! Soft failures of an address, counted until there are as many within some days as its workspace bears.
//!
//! A failure is a delivery that ended: by a report, or by the relay's own words. The same one is counted once, however it
//! is told. Not here: which failure is soft (`domain::bounce`), the suppression that follows (`bounces`, `settles`).

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};

use super::{Connection, StoreError};
use crate::domain::id::{DeliveryId, WorkspaceId};

/// Locks that the addresses of a workspace share: a power of two.
const N_LOCKS: i32 = 64;

/// Note that these deliveries (to the address of this key) failed softly. Answers those addresses of them that have failed
/// so often that they are to be suppressed.
pub async fn count(
    connection: &mut Connection,
    workspace: WorkspaceId,
    failed: &[(&str, DeliveryId)],
    now: DateTime<Utc>,
) -> Result<HashSet<String>, StoreError> {
    // In key order, so that two who count the same addresses don't wait for each other crosswise.
    let failed: BTreeSet<_> = failed.iter().map(|(address_key, delivery)| (*address_key, delivery.0)).collect();
    if failed.is_empty() {
        return Ok(HashSet::new());
    }
    let keys: Vec<_> = failed.iter().map(|(address_key, _)| (*address_key).to_owned()).collect();
    // Two who count the same address at the same time would each miss what the other has written, and neither would see that
    // it is enough. A lock for each of many addresses would be more than Postgres has, so some addresses share one.
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtext($1::uuid::text), x.slot) from (
             select distinct hashtext(k.address_key) & $3 as slot from unnest($2::text[]) as k (address_key)
             order by slot) x",
        workspace.0,
        &keys,
        N_LOCKS - 1
    )
    .fetch_all(&mut *connection)
    .await?;
    // What is older than any workspace counts is forgotten with the next one of the same address.
    sqlx::query!(
        "delete from soft_bounces
         where workspace_id = $1 and address_key = any($2) and bounced_at < $3::timestamptz - interval '365 days'",
        workspace.0,
        &keys,
        now
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!(
        "insert into soft_bounces (workspace_id, address_key, delivery_id, bounced_at)
         select $1, x.address_key, x.delivery_id, $4 from unnest($2::text[], $3::uuid[]) as x (address_key, delivery_id)
         on conflict do nothing",
        workspace.0,
        &keys,
        &failed.iter().map(|(_, delivery)| *delivery).collect::<Vec<_>>(),
        now
    )
    .execute(&mut *connection)
    .await?;
    let enough = sqlx::query_scalar!(
        "select b.address_key from soft_bounces b join workspaces w on w.id = $1
         where b.workspace_id = $1 and b.address_key = any($2)
               and b.bounced_at > $3::timestamptz - make_interval(days => w.soft_bounce_days)
         group by b.address_key, w.soft_bounce_count having count(*) >= w.soft_bounce_count",
        workspace.0,
        &keys,
        now
    )
    .fetch_all(connection)
    .await?;
    Ok(enough.into_iter().collect())
}
