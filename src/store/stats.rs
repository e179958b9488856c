//! What became of a campaign besides the states of its deliveries: who was left out, opens and clicks, opt-outs.
//!
//! Not here: the states (`transitions`), the rows behind the sums (`deliveries`).

use super::{Connection, StoreError};
use crate::domain::id::{CampaignId, WorkspaceId};

/// A campaign in numbers.
#[derive(Debug, Clone)]
pub struct Stats {
    /// A state of `domain::campaign`.
    pub state: String,
    /// Whether every recipient of the audience has its delivery.
    pub audience_complete: bool,
    /// On a list, but unsubscribed.
    pub n_unsubscribed: i64,
    /// On a list, but not yet confirmed.
    pub n_unconfirmed: i64,
    /// On a list that is left out.
    pub n_excluded: i64,
    /// Recipients that unsubscribed by a link of it.
    pub n_unsubscribes: i64,
    /// Recipients that complained of it.
    pub n_complaints: i64,
}

/// Hits of one thing, and the deliveries that had one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Touches {
    /// Hits.
    pub n_total: i64,
    /// Deliveries.
    pub n_unique: i64,
}

/// A link with its clicks.
#[derive(Debug, Clone)]
pub struct Link {
    /// From 1.
    pub n: i32,
    /// As written in the template.
    pub url_template: String,
    /// Its clicks.
    pub clicks: Touches,
}

/// Make every statement of the transaction that was just begun see one moment, so that numbers of several agree.
pub async fn see_one_moment(connection: &mut Connection) -> Result<(), StoreError> {
    sqlx::query!("set transaction isolation level repeatable read, read only").execute(connection).await?;
    Ok(())
}

/// A campaign's numbers; none when the workspace has no such campaign.
pub async fn find(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> Result<Option<Stats>, StoreError> {
    Ok(sqlx::query_as!(
        Stats,
        r#"select c.state, c.audience_complete, c.n_unsubscribed, c.n_unconfirmed, c.n_excluded,
                  (select count(*) from opt_outs o where o.workspace_id = $1 and o.campaign_id = $2
                   and o.kind = 'unsubscribe') as "n_unsubscribes!",
                  (select count(*) from opt_outs o where o.workspace_id = $1 and o.campaign_id = $2
                   and o.kind = 'complaint') as "n_complaints!"
           from campaigns c where c.workspace_id = $1 and c.id = $2"#,
        workspace.0,
        campaign.0
    )
    .fetch_optional(connection)
    .await?)
}

/// Opens and clicks of a campaign, over all verdicts.
pub async fn touches(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> Result<(Touches, Touches), StoreError> {
    let rows = sqlx::query!(
        r#"select link_n, sum(n_total)::bigint as "n_total!", sum(n_unique)::bigint as "n_unique!" from touch_counters
           where workspace_id = $1 and campaign_id = $2 and link_n in (-1, 0) group by link_n"#,
        workspace.0,
        campaign.0
    )
    .fetch_all(connection)
    .await?;
    let of = |link_n: i32| {
        let row = rows.iter().find(|row| row.link_n == link_n);
        row.map(|row| Touches { n_total: row.n_total, n_unique: row.n_unique }).unwrap_or_default()
    };
    Ok((of(0), of(-1)))
}

/// The links of a campaign's pinned content with their clicks, in their order, after the one numbered `after`.
pub async fn links(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    after: Option<i32>,
    limit: i64,
) -> Result<Vec<Link>, StoreError> {
    let rows = sqlx::query!(
        r#"select l.n, l.url_template, coalesce(sum(t.n_total), 0)::bigint as "n_total!",
                  coalesce(sum(t.n_unique), 0)::bigint as "n_unique!"
           from (select n, url_template from campaign_links
                 where workspace_id = $1 and campaign_id = $2 and n > coalesce($3, 0) order by n limit $4) l
           left join touch_counters t on t.workspace_id = $1 and t.campaign_id = $2 and t.link_n = l.n
           group by l.n, l.url_template order by l.n"#,
        workspace.0,
        campaign.0,
        after,
        limit
    )
    .fetch_all(connection)
    .await?;
    let link = |(n, url_template, n_total, n_unique)| Link { n, url_template, clicks: Touches { n_total, n_unique } };
    Ok(rows.into_iter().map(|row| link((row.n, row.url_template, row.n_total, row.n_unique))).collect())
}
