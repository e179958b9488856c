//! `POST /v1/campaigns/{campaign_id}/start | schedule | pause | resume | cancel | revert`: each in one transaction with its
//! checks, so that what is answered with 2xx is what every node obeys.
//!
//! Not here: which moves are legal (`domain::campaign`), what a node does with them (`dispatch`).

use chrono::{DateTime, Utc};

use super::{
    call::{Answer, Call},
    campaign_body::read_start,
    campaign_content::{self, Tracking},
    campaign_view::show,
    endpoint::Endpoint,
    problem::{Fault, Problem},
};
use crate::{
    domain::{
        campaign::{CampaignMove, CampaignState, StartFault},
        id::{CampaignId, ListId, WorkspaceId},
    },
    store::{
        Connection,
        campaigns::{self, Campaign},
        moves, sender_domains,
    },
};

/// The routes of moves.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::act("/v1/campaigns/{campaign_id}/start", "campaigns.send", start),
        Endpoint::post("/v1/campaigns/{campaign_id}/schedule", "campaigns.send", schedule),
        Endpoint::act("/v1/campaigns/{campaign_id}/pause", "campaigns.send", pause),
        Endpoint::act("/v1/campaigns/{campaign_id}/resume", "campaigns.send", resume),
        Endpoint::act("/v1/campaigns/{campaign_id}/cancel", "campaigns.send", cancel),
        Endpoint::act("/v1/campaigns/{campaign_id}/revert", "campaigns.send", revert),
    ]
}

async fn start(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let standing = lock(call, connection, CampaignMove::Start).await?;
    check_ready(call, connection, &standing).await?;
    make(call, connection, &standing, None).await
}

async fn schedule(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let reader = call.reader();
    let at = reader.keep_or_set("at", read_start(&reader, call.now));
    let body = reader.finish(|| Some(()));
    // Whether there is such a campaign comes before what is asked of it.
    let standing = match body {
        Ok(()) => lock(call, connection, CampaignMove::Schedule).await?,
        Err(problem) => {
            find(connection, call.workspace()?, call.id("campaign_id", "campaign")?).await?;
            return Err(problem);
        }
    };
    let own = standing.campaign.start_at;
    let at = at.or(own.filter(|at| *at > call.now)).ok_or_else(|| {
        let (code, hint) = match own {
            Some(_) => ("in_the_past", "the campaign's own time has passed: name another"),
            None => ("required", "the campaign has no time of its own: name one"),
        };
        Problem::validation(vec![Fault::at("/at", code, hint)])
    })?;
    check_ready(call, connection, &standing).await?;
    make(call, connection, &standing, Some(at)).await
}

async fn pause(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let standing = lock(call, connection, CampaignMove::Pause).await?;
    make(call, connection, &standing, None).await
}

async fn resume(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let standing = lock(call, connection, CampaignMove::Resume).await?;
    check_ready(call, connection, &standing).await?;
    make(call, connection, &standing, None).await
}

async fn cancel(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let standing = lock(call, connection, CampaignMove::Cancel).await?;
    make(call, connection, &standing, None).await
}

async fn revert(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let standing = lock(call, connection, CampaignMove::Revert).await?;
    make(call, connection, &standing, None).await
}

/// A campaign that is locked in a state in which the move is legal.
struct Standing {
    campaign: Campaign,
    state: CampaignState,
    step: CampaignMove,
}

async fn find(connection: &mut Connection, workspace: WorkspaceId, id: CampaignId) -> Result<Campaign, Problem> {
    campaigns::find(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("campaign"))
}

async fn lock(call: &Call, connection: &mut Connection, step: CampaignMove) -> Result<Standing, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("campaign_id", "campaign")?);
    let state = moves::lock(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("campaign"))?;
    if step.apply(state).is_none() {
        return Err(Problem::illegal_move(step.as_str(), state.as_str(), &CampaignMove::allowed(state)));
    }
    let campaign = find(connection, workspace, id).await?;
    Ok(Standing { campaign, state, step })
}

/// Make the move and answer with the campaign.
async fn make(
    call: &Call,
    connection: &mut Connection,
    standing: &Standing,
    start_at: Option<DateTime<Utc>>,
) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, CampaignId(standing.campaign.id));
    moves::apply(connection, workspace, id, standing.state, standing.step, start_at, call.now).await?;
    let campaign = find(connection, workspace, id).await?;
    Ok(Answer::ok(show(&campaign)).revision(campaign.revision))
}

/// Pin the content where it isn't yet, and refuse the move with everything that is in its way. What the campaign needs is
/// held until the transaction ends, so that none of it is removed meanwhile.
async fn check_ready(call: &Call, connection: &mut Connection, standing: &Standing) -> Result<(), Problem> {
    let (workspace, campaign) = (call.workspace()?, &standing.campaign);
    let id = CampaignId(campaign.id);
    let mut reasons = Vec::new();
    let domain = sender_domains::hold(connection, workspace, &campaign.from_domain).await?;
    if campaign.pinned_at.is_none() {
        match campaign_content::find(connection, workspace, campaign).await? {
            Err(faults) => reasons.extend(faults),
            Ok(found) => {
                match campaign_content::compile(call, campaign, domain.as_ref(), &found.content, Tracking::AsSet)? {
                    Err(faults) => reasons.extend(faults),
                    Ok(compiled) => {
                        let content = campaign_content::pinned(found, &compiled);
                        moves::pin(connection, workspace, id, &content, call.now).await?;
                    }
                }
            }
        }
    }
    let is_content_bad = !reasons.is_empty();
    for (pointer, lists) in [("/audience/lists", &campaign.lists), ("/audience/exclude_lists", &campaign.exclude_lists)]
    {
        let found = campaigns::hold_lists(connection, workspace, lists).await?;
        let gone = lists.iter().copied().map(ListId).filter(|list| !found.contains(list));
        reasons.extend(gone.map(|list| Fault::at(pointer, "list_gone", format!("the list {list} was deleted"))));
    }
    let may_be_unverified = call.context.settings.sender_domains.allow_unverified;
    let faults = moves::start_faults(connection, workspace, id, may_be_unverified).await?;
    let faults = faults.iter().filter(|fault| !(is_content_bad && **fault == StartFault::NoContent));
    reasons.extend(faults.map(|fault| Fault::at(fault.pointer(), fault.code(), fault.to_string())));
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Problem::not_ready(standing.state.as_str(), &CampaignMove::allowed(standing.state), reasons))
}
