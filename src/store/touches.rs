//! Opens and clicks: recorded in batches, counted per campaign and link, in total and by delivery.
//!
//! `link_n` is 0 for opens, from 1 on for a link, and -1 for the clicks of a delivery on any link, so that "unique clicks" is
//! a count of rows like every other. Not here: who sees the tokens (`track`).

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Connection, StoreError};
use crate::domain::id::{CampaignId, DeliveryId, WorkspaceId};

/// The `link_n` of an open.
pub const OPEN: i32 = 0;
/// The `link_n` under which all clicks of a delivery stand together.
pub const ANY_LINK: i32 = -1;

/// One open or click.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// Whose.
    pub workspace: WorkspaceId,
    /// Of which campaign.
    pub campaign: CampaignId,
    /// Of which delivery.
    pub delivery: DeliveryId,
    /// Which link; [`OPEN`] for an open.
    pub link_n: i32,
    /// When.
    pub at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy)]
struct Sum {
    n: i64,
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
}

/// Record touches of one workspace and add them to the counters. Touches of deliveries that aren't there count for nothing.
pub async fn record(connection: &mut Connection, workspace: WorkspaceId, touches: &[Touch]) -> Result<(), StoreError> {
    let sums = sum(touches);
    let pick = |part: fn(&(Uuid, Uuid, i32)) -> Uuid| sums.keys().map(part).collect::<Vec<_>>();
    let written = sqlx::query!(
        r#"insert into touches as t (workspace_id, campaign_id, delivery_id, link_n, n, first_at, last_at)
           select $1, x.campaign_id, x.delivery_id, x.link_n, x.n, x.first_at, x.last_at
           from unnest($2::uuid[], $3::uuid[], $4::int[], $5::bigint[], $6::timestamptz[], $7::timestamptz[])
                as x (campaign_id, delivery_id, link_n, n, first_at, last_at)
           where exists (select from deliveries d
                         where d.workspace_id = $1 and d.id = x.delivery_id and d.campaign_id = x.campaign_id)
           order by x.campaign_id, x.delivery_id, x.link_n
           on conflict (workspace_id, campaign_id, delivery_id, link_n, verdict) do update
           set n = t.n + excluded.n, last_at = greatest(t.last_at, excluded.last_at)
           returning campaign_id, delivery_id, link_n, (xmax = 0) as "is_new!""#,
        workspace.0,
        &pick(|key| key.0),
        &pick(|key| key.1),
        &sums.keys().map(|key| key.2).collect::<Vec<_>>(),
        &sums.values().map(|sum| sum.n).collect::<Vec<_>>(),
        &sums.values().map(|sum| sum.first_at).collect::<Vec<_>>(),
        &sums.values().map(|sum| sum.last_at).collect::<Vec<_>>()
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut counters: BTreeMap<(Uuid, i32), (i64, i64)> = BTreeMap::new();
    for row in written {
        let n = sums.get(&(row.campaign_id, row.delivery_id, row.link_n)).map_or(0, |sum| sum.n);
        let counter = counters.entry((row.campaign_id, row.link_n)).or_default();
        counter.0 += n;
        counter.1 += i64::from(row.is_new);
    }
    sqlx::query!(
        "insert into touch_counters as c (workspace_id, campaign_id, link_n, verdict, n_total, n_unique)
         select $1, x.campaign_id, x.link_n, 'unknown', x.n_total, x.n_unique
         from unnest($2::uuid[], $3::int[], $4::bigint[], $5::bigint[]) as x (campaign_id, link_n, n_total, n_unique)
         order by x.campaign_id, x.link_n
         on conflict (workspace_id, campaign_id, link_n, verdict) do update
         set n_total = c.n_total + excluded.n_total, n_unique = c.n_unique + excluded.n_unique",
        workspace.0,
        &counters.keys().map(|key| key.0).collect::<Vec<_>>(),
        &counters.keys().map(|key| key.1).collect::<Vec<_>>(),
        &counters.values().map(|counter| counter.0).collect::<Vec<_>>(),
        &counters.values().map(|counter| counter.1).collect::<Vec<_>>()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Touches by campaign, delivery and link; a click also counts as [`ANY_LINK`]. In key order, so that writers can't deadlock.
fn sum(touches: &[Touch]) -> BTreeMap<(Uuid, Uuid, i32), Sum> {
    let mut sums: BTreeMap<_, Sum> = BTreeMap::new();
    for touch in touches {
        let places = [Some(touch.link_n), (touch.link_n > OPEN).then_some(ANY_LINK)];
        for link_n in places.into_iter().flatten() {
            let sum = sums.entry((touch.campaign.0, touch.delivery.0, link_n)).or_insert(Sum {
                n: 0,
                first_at: touch.at,
                last_at: touch.at,
            });
            sum.n += 1;
            sum.first_at = sum.first_at.min(touch.at);
            sum.last_at = sum.last_at.max(touch.at);
        }
    }
    sums
}

/// The links of a campaign without variables, by number: what a click token without a URL leads to.
pub async fn links(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> Result<Vec<(u16, String)>, StoreError> {
    let rows = sqlx::query!(
        "select n, url_template from campaign_links where workspace_id = $1 and campaign_id = $2 and not has_variables",
        workspace.0,
        campaign.0
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| Ok((u16::try_from(row.n).map_err(|_| StoreError::Corrupt("campaign_links.n"))?, row.url_template)))
        .collect()
}
