//! `/v1/campaigns`: one content to one audience, written as a draft.
//!
//! Not here: reading a body (`campaign_body`), moves (`campaign_moves`), test messages (`campaign_messages`), statistics
//! (`stats`).

use uuid::Uuid;

use super::{
    call::{Answer, Call},
    campaign_body::Edit,
    campaign_view::{show, show_summary, state},
    endpoint::Endpoint,
    page::{AGES, Page},
    problem::Problem,
};
use crate::{
    domain::{
        campaign::{CampaignMove, CampaignState},
        id::{CampaignId, WorkspaceId},
        priority::Priority,
    },
    store::{
        Connection,
        campaigns::{self, Campaign},
        moves,
    },
};

const NAME_MAX_CHARACTERS: usize = 200;
const COPY: &str = " (copy)";

/// The routes of campaigns.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/campaigns", "campaigns.write", create),
        Endpoint::get("/v1/campaigns", "campaigns.read", page),
        Endpoint::get("/v1/campaigns/{campaign_id}", "campaigns.read", read),
        Endpoint::patch("/v1/campaigns/{campaign_id}", "campaigns.write", edit),
        Endpoint::delete("/v1/campaigns/{campaign_id}", "campaigns.write", delete),
        Endpoint::act("/v1/campaigns/{campaign_id}/duplicate", "campaigns.write", duplicate),
    ]
}

async fn create(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let reader = call.reader();
    let edit = Edit::read(call, connection, &reader, true).await?;
    reader.finish(|| Some(()))?;
    let mut campaign = blank(call);
    edit.apply(&mut campaign);
    made(call, connection, &campaign).await
}

fn blank(call: &Call) -> Campaign {
    Campaign {
        id: CampaignId::new().0,
        name: String::new(),
        state: CampaignState::Draft.as_str().to_owned(),
        state_reason: None,
        from_name: String::new(),
        from_address: String::new(),
        from_domain: String::new(),
        reply_to: None,
        template_id: None,
        template_version_id: None,
        subject: None,
        html: None,
        text: None,
        pinned_at: None,
        track_opens: true,
        track_clicks: true,
        on_unknown: "retry_once".to_owned(),
        delivery_kind: "now".to_owned(),
        start_at: None,
        rate_messages: None,
        rate_per_seconds: None,
        priority: Priority::default().as_str().to_owned(),
        started_at: None,
        finished_at: None,
        created_at: call.now,
        updated_at: call.now,
        revision: 1,
        lists: Vec::new(),
        exclude_lists: Vec::new(),
    }
}

/// Store a new draft and answer with it.
async fn made(call: &Call, connection: &mut Connection, campaign: &Campaign) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, CampaignId(campaign.id));
    campaigns::insert(connection, workspace, campaign).await?;
    let campaign = find(connection, workspace, id).await?;
    Ok(Answer::created(format!("/v1/campaigns/{id}"), show(&campaign)).revision(campaign.revision))
}

async fn find(connection: &mut Connection, workspace: WorkspaceId, id: CampaignId) -> Result<Campaign, Problem> {
    campaigns::find(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("campaign"))
}

async fn page(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let query = call.query();
    let sort = query.word("sort", AGES).unwrap_or("-created_at");
    let state = query.word("state", &CampaignState::ALL.map(CampaignState::as_str));
    let page = Page::read(call, &query, &format!("campaigns {sort} {state:?}"));
    query.finish(|| Some(()))?;
    let (descending, after) = (sort.starts_with('-'), page.after::<Uuid>(0)?);
    let rows = campaigns::page(connection, call.workspace()?, state, descending, after, page.fetch()).await?;
    Ok(Answer::ok(page.answer(call, rows, |campaign| vec![campaign.id.to_string()], show_summary)))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let campaign = find(connection, call.workspace()?, call.id("campaign_id", "campaign")?).await?;
    Ok(Answer::ok(show(&campaign)).revision(campaign.revision))
}

/// Lock a campaign that `step` is only possible with while it is a draft.
async fn lock_draft(call: &Call, connection: &mut Connection) -> Result<Campaign, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("campaign_id", "campaign")?);
    moves::lock(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("campaign"))?;
    find(connection, workspace, id).await
}

fn check_draft(campaign: &Campaign, step: &str) -> Result<(), Problem> {
    match state(campaign)? {
        CampaignState::Draft => Ok(()),
        other => Err(Problem::illegal_move(step, other.as_str(), &CampaignMove::allowed(other))),
    }
}

async fn edit(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let mut campaign = lock_draft(call, connection).await?;
    let reader = call.reader();
    let edit = Edit::read(call, connection, &reader, false).await?;
    reader.finish(|| Some(()))?;
    check_draft(&campaign, "edit")?;
    call.check_revision(campaign.revision)?;
    edit.apply(&mut campaign);
    campaign.updated_at = call.now;
    campaigns::update(connection, workspace, &campaign).await?;
    let campaign = find(connection, workspace, CampaignId(campaign.id)).await?;
    Ok(Answer::ok(show(&campaign)).revision(campaign.revision))
}

async fn delete(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let campaign = lock_draft(call, connection).await?;
    check_draft(&campaign, "delete")?;
    campaigns::delete(connection, call.workspace()?, CampaignId(campaign.id)).await?;
    Ok(Answer::deleted())
}

async fn duplicate(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let old = find(connection, call.workspace()?, call.id("campaign_id", "campaign")?).await?;
    let kept = NAME_MAX_CHARACTERS - COPY.chars().count();
    let name: String = old.name.chars().take(kept).chain(COPY.chars()).collect();
    let is_own = old.template_id.is_none();
    let copy = Campaign {
        name,
        subject: old.subject.filter(|_| is_own),
        html: old.html.filter(|_| is_own),
        text: old.text.filter(|_| is_own),
        from_name: old.from_name,
        from_address: old.from_address,
        from_domain: old.from_domain,
        reply_to: old.reply_to,
        template_id: old.template_id,
        track_opens: old.track_opens,
        track_clicks: old.track_clicks,
        on_unknown: old.on_unknown,
        rate_messages: old.rate_messages,
        rate_per_seconds: old.rate_per_seconds,
        priority: old.priority,
        lists: old.lists,
        exclude_lists: old.exclude_lists,
        ..blank(call)
    };
    made(call, connection, &copy).await
}
