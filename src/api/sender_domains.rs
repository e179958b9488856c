//! `/v1/sender-domains`: the domains of a From, each with its return path and the base of its links.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    call::{Answer, Call},
    endpoint::Endpoint,
    page::Page,
    problem::{Kind, Problem},
    reader::Reader,
    throttle,
};
use crate::{
    config::PublicUrl,
    domain::id::{CampaignId, MailboxId, RelayId, SenderDomainId, WorkspaceId},
    mail::address::parse_domain,
    store::{
        Connection, mailboxes, relays,
        sender_domains::{self, SenderDomain},
    },
};

/// The most relays to which one is bound.
const MAX_RELAYS: usize = 50;

/// The routes of sender domains.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/sender-domains", "sender_domains.write", create),
        Endpoint::get("/v1/sender-domains", "sender_domains.read", page),
        Endpoint::get("/v1/sender-domains/{sender_domain_id}", "sender_domains.read", read),
        Endpoint::patch("/v1/sender-domains/{sender_domain_id}", "sender_domains.write", edit),
        Endpoint::delete("/v1/sender-domains/{sender_domain_id}", "sender_domains.write", delete),
    ]
}

async fn create(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let reader = call.reader();
    let domain = reader.required_parsed("domain", "bad_format", parse_domain);
    let return_path_domain = reader.required_parsed("return_path_domain", "bad_format", parse_domain);
    let mailbox = reader.id::<MailboxId>("mailbox_id");
    let link_base_url = read_link_base_url(&reader);
    let rate = throttle::read(&reader, "rate").set();
    check_mailbox(connection, workspace, &reader, mailbox).await?;
    let relays = read_relays(connection, workspace, &reader).await?;
    let (domain, return_path_domain) = reader.finish(|| domain.zip(return_path_domain))?;
    let id = SenderDomainId::new();
    let new = SenderDomain {
        id: id.0,
        domain,
        return_path_domain,
        mailbox_id: mailbox.map(|id| id.0),
        link_base_url,
        rate_messages: rate.map(|rate| rate.0),
        rate_per_seconds: rate.map(|rate| rate.1),
        relay_ids: relays.unwrap_or_default(),
        verified_at: None,
        created_at: call.now,
        updated_at: call.now,
        revision: 1,
    };
    if !sender_domains::insert(connection, workspace, &new).await? {
        let stands = sender_domains::hold(connection, workspace, &new.domain).await?;
        let problem = Problem::new(Kind::AlreadyExists, format!("There is a sender domain {} already", new.domain));
        return Err(match stands {
            Some(stands) => problem.existing(&SenderDomainId(stands.id)),
            None => problem,
        });
    }
    Ok(Answer::created(format!("/v1/sender-domains/{id}"), show(&new)).revision(new.revision))
}

async fn page(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let query = call.query();
    let page = Page::read(call, &query, "sender domains");
    query.finish(|| Some(()))?;
    let rows = sender_domains::page(connection, call.workspace()?, page.after::<Uuid>(0)?, page.fetch()).await?;
    Ok(Answer::ok(page.answer(call, rows, |domain| vec![domain.id.to_string()], show)))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id = call.id("sender_domain_id", "sender domain")?;
    let domain = sender_domains::find(connection, call.workspace()?, id).await?;
    let domain = domain.ok_or_else(|| Problem::not_found("sender domain"))?;
    Ok(Answer::ok(show(&domain)).revision(domain.revision))
}

async fn edit(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let id = call.id("sender_domain_id", "sender domain")?;
    let domain = sender_domains::lock(connection, workspace, id).await?;
    let mut domain = domain.ok_or_else(|| Problem::not_found("sender domain"))?;
    let reader = call.reader();
    let return_path_domain = reader.parsed("return_path_domain", "bad_format", parse_domain);
    let return_path_domain = reader.keep_or_set("return_path_domain", return_path_domain);
    let mailbox = reader.id::<MailboxId>("mailbox_id");
    check_mailbox(connection, workspace, &reader, mailbox).await?;
    let mailbox = reader.patch("mailbox_id", mailbox);
    let link_base_url = reader.patch("link_base_url", read_link_base_url(&reader));
    let rate = throttle::read(&reader, "rate");
    let relays = read_relays(connection, workspace, &reader).await?;
    reader.finish(|| Some(()))?;
    call.check_revision(domain.revision)?;
    domain.return_path_domain = return_path_domain.unwrap_or(domain.return_path_domain);
    domain.mailbox_id = mailbox.apply(domain.mailbox_id.map(MailboxId)).map(|id| id.0);
    domain.link_base_url = link_base_url.apply(domain.link_base_url);
    let rate = rate.apply(domain.rate_messages.zip(domain.rate_per_seconds));
    (domain.rate_messages, domain.rate_per_seconds) = rate.unzip();
    domain.relay_ids = relays.unwrap_or(domain.relay_ids);
    domain.updated_at = call.now;
    domain.revision = sender_domains::update(connection, workspace, &domain).await?;
    Ok(Answer::ok(show(&domain)).revision(domain.revision))
}

async fn delete(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("sender_domain_id", "sender domain")?);
    let domain = sender_domains::lock(connection, workspace, id).await?;
    let domain = domain.ok_or_else(|| Problem::not_found("sender domain"))?;
    let campaigns = sender_domains::campaigns_in_need(connection, workspace, &domain.domain).await?;
    if !campaigns.is_empty() {
        let ids: Vec<_> = campaigns.iter().map(CampaignId::to_string).collect();
        return Err(Problem::new(Kind::InUse, "Campaigns that have not ended send from it").used_by(&ids));
    }
    sender_domains::delete(connection, workspace, id).await?;
    Ok(Answer::deleted())
}

/// A base without a path, so that links stay short and `/u/…` is where the proxy expects it.
fn read_link_base_url(reader: &Reader<'_>) -> Option<String> {
    const FORM: &str = "https://links.example.org, perhaps with a port, without path, query or credentials";
    reader.parsed("link_base_url", "bad_format", |text| {
        let url = PublicUrl::try_from(text.to_owned()).map_err(|_| FORM)?;
        let host = url.as_str().split_once("://").map_or("", |(_, rest)| rest);
        if host.contains('/') || text.len() > 300 { Err(FORM) } else { Ok(url.as_str().to_owned()) }
    })
}

/// The mailbox has to be the workspace's own. It is held, so that it isn't deleted meanwhile.
async fn check_mailbox(
    connection: &mut Connection,
    workspace: WorkspaceId,
    reader: &Reader<'_>,
    mailbox: Option<MailboxId>,
) -> Result<(), Problem> {
    if let Some(id) = mailbox
        && !mailboxes::hold(connection, workspace, id).await?
    {
        reader.note("mailbox_id", "not_found", "there is no such mailbox");
    }
    Ok(())
}

/// The relays to which it is bound: the workspace's own. They are held, so that they aren't deleted meanwhile. None keeps what
/// stands.
async fn read_relays(
    connection: &mut Connection,
    workspace: WorkspaceId,
    reader: &Reader<'_>,
) -> Result<Option<Vec<Uuid>>, Problem> {
    let Some(ids) = reader.keep_or_set("relay_ids", reader.ids::<RelayId>("relay_ids", 0..=MAX_RELAYS)) else {
        return Ok(None);
    };
    let known = relays::hold(connection, workspace, &ids).await?;
    for (place, _) in ids.iter().enumerate().filter(|(_, id)| !known.contains(id)) {
        reader.note_at(&format!("/relay_ids/{place}"), "not_found", "there is no such relay");
    }
    Ok(Some(ids.into_iter().map(|id| id.0).collect()))
}

fn show(domain: &SenderDomain) -> Value {
    json!({
        "id": SenderDomainId(domain.id),
        "domain": domain.domain,
        "return_path_domain": domain.return_path_domain,
        "mailbox_id": domain.mailbox_id.map(MailboxId),
        "link_base_url": domain.link_base_url,
        "rate": throttle::show(domain.rate_messages, domain.rate_per_seconds),
        "relay_ids": domain.relay_ids.iter().copied().map(RelayId).collect::<Vec<_>>(),
        "verified_at": domain.verified_at,
        "created_at": domain.created_at,
        "updated_at": domain.updated_at,
    })
}
