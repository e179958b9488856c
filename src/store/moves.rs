//! The moves of a campaign: pinning its content, starting, scheduling, pausing, resuming, cancelling, reverting, ending.
//!
//! Each is part of the caller's transaction; pause and cancel append their change there, so that what was answered with
//! 2xx is obeyed everywhere. Not here: which moves are legal (`domain::campaign`), editing (`campaigns`).

use chrono::{DateTime, Utc};

use super::{
    Connection, StoreError,
    changes::{self, Change},
};
use crate::domain::{
    campaign::{CampaignMove, CampaignState, StartFault},
    id::{CampaignId, TemplateVersionId, WorkspaceId},
};

/// One link of a campaign's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedLink {
    /// From 1.
    pub n: i32,
    /// As written.
    pub url_template: String,
    /// Whether it has variables.
    pub has_variables: bool,
}

/// The content that will be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedContent {
    /// The template's version, when it comes from a template.
    pub version: Option<TemplateVersionId>,
    /// Subject, as a template.
    pub subject: String,
    /// HTML part, as a template.
    pub html: Option<String>,
    /// Text part, as a template.
    pub text: Option<String>,
    /// The links of the HTML part, numbered.
    pub links: Vec<PinnedLink>,
}

/// Lock a campaign's row for a move and tell its state; none when the workspace has no such campaign.
pub async fn lock(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> Result<Option<CampaignState>, StoreError> {
    let state = sqlx::query_scalar!(
        "select state from campaigns where workspace_id = $1 and id = $2 for no key update",
        workspace.0,
        campaign.0
    )
    .fetch_optional(connection)
    .await?;
    state.map(|state| CampaignState::parse(&state).ok_or(StoreError::Corrupt("campaigns.state"))).transpose()
}

/// Pin the content of a locked draft or scheduled campaign; what was pinned before is replaced.
pub async fn pin(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    content: &PinnedContent,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update campaigns set template_version_id = $3, subject = $4, html = $5, text = $6, pinned_at = $7
         where workspace_id = $1 and id = $2",
        workspace.0,
        campaign.0,
        content.version.map(|version| version.0),
        content.subject,
        content.html,
        content.text,
        now
    )
    .execute(&mut *connection)
    .await?;
    sqlx::query!("delete from campaign_links where workspace_id = $1 and campaign_id = $2", workspace.0, campaign.0)
        .execute(&mut *connection)
        .await?;
    sqlx::query!(
        "insert into campaign_links (workspace_id, campaign_id, n, url_template, has_variables)
         select $1, $2, x.n, x.url_template, x.has_variables
         from unnest($3::int[], $4::text[], $5::bool[]) as x (n, url_template, has_variables)",
        workspace.0,
        campaign.0,
        &content.links.iter().map(|link| link.n).collect::<Vec<_>>(),
        &content.links.iter().map(|link| link.url_template.clone()).collect::<Vec<_>>(),
        &content.links.iter().map(|link| link.has_variables).collect::<Vec<_>>()
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What keeps a campaign from starting now, all of it; empty when nothing does. `may_be_unverified`: a sender domain needs no
/// published key.
pub async fn start_faults(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    may_be_unverified: bool,
) -> Result<Vec<StartFault>, StoreError> {
    let facts = sqlx::query!(
        r#"select c.from_domain, c.pinned_at is not null as "pinned!",
                  exists (select from sender_domains s
                          where s.workspace_id = $1 and s.domain = c.from_domain) as "sender_domain!",
                  exists (select from sender_domains s
                          join dkim_keys k on k.workspace_id = s.workspace_id and k.sender_domain_id = s.id
                          where s.workspace_id = $1 and s.domain = c.from_domain and k.verified_at is not null)
                      as "verified!",
                  exists (select from relays r
                          where r.workspace_id = $1 and r.enabled
                            and not exists (select from sender_domains s
                                            where s.workspace_id = $1 and s.domain = c.from_domain
                                              and s.relay_ids <> '{}' and r.id <> all(s.relay_ids))) as "relay!",
                  exists (select from campaign_lists l
                          where l.workspace_id = $1 and l.campaign_id = $2 and l.role = 'include') as "audience!"
           from campaigns c where c.workspace_id = $1 and c.id = $2"#,
        workspace.0,
        campaign.0
    )
    .fetch_one(connection)
    .await?;
    let faults = [
        (!facts.pinned).then_some(StartFault::NoContent),
        match (facts.sender_domain, facts.verified || may_be_unverified) {
            (false, _) => Some(StartFault::NoSenderDomain { domain: facts.from_domain }),
            (true, false) => Some(StartFault::UnverifiedDomain { domain: facts.from_domain }),
            (true, true) => None,
        },
        (!facts.relay).then_some(StartFault::NoRelay),
        (!facts.audience).then_some(StartFault::NoAudience),
    ];
    Ok(faults.into_iter().flatten().collect())
}

/// Make a move with a campaign that the caller has locked in `from`. None when it is illegal there: nothing is changed.
///
/// `start_at` belongs to a schedule. Content is pinned before a start or schedule, and [`start_faults`] looked at.
pub async fn apply(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    from: CampaignState,
    step: CampaignMove,
    start_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Option<CampaignState>, StoreError> {
    let Some(to) = step.apply(from) else { return Ok(None) };
    if from == CampaignState::Paused {
        note_pause(connection, workspace, campaign, now).await?;
    }
    sqlx::query!(
        "update campaigns
         set state = $3, state_reason = null, updated_at = $5, revision = revision + 1,
             start_at = case when $4::timestamptz is not null then $4
                             when $3 = 'draft' then null else start_at end,
             delivery_kind = case when $4::timestamptz is not null then 'at' else delivery_kind end,
             started_at = case when $3 = 'sending' then coalesce(started_at, $5) else started_at end,
             finished_at = case when $3 = 'cancelled' then $5 end,
             paused_at = case when $3 = 'paused' then $5 end,
             sweep_due = $3 = 'cancelled' and started_at is not null,
             template_version_id = case when $3 = 'draft' then null else template_version_id end,
             pinned_at = case when $3 = 'draft' then null else pinned_at end,
             subject = case when $3 = 'draft' and template_id is not null then null else subject end,
             html = case when $3 = 'draft' and template_id is not null then null else html end,
             text = case when $3 = 'draft' and template_id is not null then null else text end
         where workspace_id = $1 and id = $2",
        workspace.0,
        campaign.0,
        to.as_str(),
        start_at,
        now
    )
    .execute(&mut *connection)
    .await?;
    let change = match step {
        CampaignMove::Pause => Some(Change::Pause(campaign)),
        CampaignMove::Cancel => Some(Change::Cancel(campaign)),
        _ => None,
    };
    changes::append(connection, workspace, change.as_slice()).await?;
    Ok(Some(to))
}

/// Keep the pause that ends now: from when to when.
async fn note_pause(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "insert into campaign_pauses (workspace_id, campaign_id, paused_at, resumed_at)
         select workspace_id, id, paused_at, $3 from campaigns
         where workspace_id = $1 and id = $2 and paused_at < $3
         on conflict do nothing",
        workspace.0,
        campaign.0,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Pause a scheduled campaign whose start failed a check, with the reason in words.
pub async fn fail_start(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "update campaigns set state = 'paused', state_reason = $3, paused_at = $4, updated_at = $4,
             revision = revision + 1
         where workspace_id = $1 and id = $2 and state = 'scheduled'",
        workspace.0,
        campaign.0,
        reason,
        now
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Pause a campaign that the caller has locked while it was sending, with the reason in words: it can't be sent as it is.
pub async fn stop(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    apply(connection, workspace, campaign, CampaignState::Sending, CampaignMove::Pause, None, now).await?;
    sqlx::query!(
        "update campaigns set state_reason = $3 where workspace_id = $1 and id = $2",
        workspace.0,
        campaign.0,
        reason
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Scheduled campaigns whose time has come.
pub async fn due_scheduled(
    connection: &mut Connection,
    now: DateTime<Utc>,
) -> Result<Vec<(WorkspaceId, CampaignId)>, StoreError> {
    let rows = sqlx::query!(
        "select workspace_id, id from campaigns where state = 'scheduled' and start_at <= $1 order by start_at",
        now
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.workspace_id.into(), row.id.into())).collect())
}

/// When the next scheduled campaign starts.
pub async fn next_scheduled(connection: &mut Connection) -> Result<Option<DateTime<Utc>>, StoreError> {
    Ok(sqlx::query_scalar!("select min(start_at) from campaigns where state = 'scheduled'")
        .fetch_one(connection)
        .await?)
}

/// Workspaces with a campaign whose audience is complete and that is still being sent.
pub async fn workspaces_with_sending(connection: &mut Connection) -> Result<Vec<WorkspaceId>, StoreError> {
    let rows = sqlx::query_scalar!(
        "select distinct workspace_id from campaigns where state = 'sending' and audience_complete"
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(WorkspaceId::from).collect())
}

/// End every sending campaign of a workspace with nothing left to do. An `unknown` that waits for its resend is something.
///
/// The counters have the last word: if they know of open deliveries that stand in no batch and wait for no time, which should
/// never be, their batches are put back for the rescue, and the campaign goes on.
pub async fn finish_idle(
    connection: &mut Connection,
    workspace: WorkspaceId,
    now: DateTime<Utc>,
) -> Result<Vec<CampaignId>, StoreError> {
    let idle = sqlx::query!(
        r#"select c.id,
                  (select coalesce(sum(case when t.to_state in ('queued', 'sending', 'deferred') then t.n else 0 end
                                     - case when t.from_state in ('queued', 'sending', 'deferred') then t.n else 0 end), 0)
                   from transitions t where t.workspace_id = $1 and t.campaign_id = c.id) > 0 as "has_open!"
           from campaigns c
           where c.workspace_id = $1 and c.state = 'sending' and c.audience_complete
             and not exists (select from batches b where b.workspace_id = $1 and b.campaign_id = c.id)
             and not exists (select from deliveries d
                             where d.workspace_id = $1 and d.due_at is not null and d.campaign_id = c.id)"#,
        workspace.0
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut over = Vec::with_capacity(idle.len());
    for row in idle {
        if !row.has_open || put_back(connection, workspace, CampaignId(row.id), now).await? == 0 {
            over.push(row.id);
        }
    }
    if over.is_empty() {
        return Ok(Vec::new());
    }
    let ended = sqlx::query_scalar!(
        "update campaigns c set state = 'sent', finished_at = $2, updated_at = $2, revision = revision + 1
         where c.workspace_id = $1 and c.id = any($3) and c.state = 'sending'
           and not exists (select from batches b where b.workspace_id = $1 and b.campaign_id = c.id)
           and not exists (select from deliveries d
                           where d.workspace_id = $1 and d.due_at is not null and d.campaign_id = c.id)
         returning c.id",
        workspace.0,
        now,
        &over
    )
    .fetch_all(connection)
    .await?;
    Ok(ended.into_iter().map(CampaignId::from).collect())
}

/// Put the batches of a campaign's stray deliveries back, as ones whose lease has run out: the rescue sees to what is in them. Answers
/// how many deliveries those are, of the first few thousand.
async fn put_back(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
    now: DateTime<Utc>,
) -> Result<i64, StoreError> {
    // An epoch beyond all that were given: whoever held such a batch holds it no more.
    let n = sqlx::query_scalar!(
        r#"with strays as materialized (
               select d.id, d.provider, coalesce(d.batch_id, d.id) as batch_id from deliveries d
               where d.workspace_id = $1 and d.campaign_id = $2 and d.state in ('queued', 'sending', 'deferred')
               limit 5000 for no key update skip locked
           ), batched as (
               update deliveries d set batch_id = s.batch_id, updated_at = $3 from strays s
               where d.workspace_id = $1 and d.id = s.id and d.batch_id is null
           ), rows as (
               insert into batches (workspace_id, id, campaign_id, provider, n_deliveries, due_at, owner, epoch, lease_until)
               select $1, batch_id, $2, min(provider), count(*)::int, $3, $4, extract(epoch from $3::timestamptz)::bigint,
                      clock_timestamp()
               from strays group by batch_id
               on conflict (workspace_id, id) do nothing
           )
           select count(*) as "n!" from strays"#,
        workspace.0,
        campaign.0,
        now,
        super::NIL
    )
    .fetch_one(connection)
    .await?;
    tracing::error!(%workspace, %campaign, n, "the counters know of open deliveries outside of all batches; their batches are put back");
    Ok(n)
}
