//! A campaign as a body writes it: what is there is judged whole, every fault at once, ids of other workspaces included.
//!
//! Not here: showing one (`campaign_view`), what of it can be sent (`campaign_content`).

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    call::Call,
    content::{self, Content},
    problem::Problem,
    reader::{Patch, Reader},
    throttle,
};
use crate::{
    domain::{
        campaign::OnUnknown,
        id::{ListId, TemplateId, WorkspaceId},
        priority::Priority,
    },
    mail::{address::Address, header},
    store::{
        Connection,
        campaigns::{self, Campaign},
        templates,
    },
};

const MAX_LISTS: usize = 20;
/// How far ahead a campaign may start.
const MAX_DAYS_AHEAD: i64 = 366;

/// What a body says of a campaign; none keeps what stands.
#[derive(Debug)]
pub struct Edit {
    name: Option<String>,
    from: Option<(String, Address)>,
    reply_to: Patch<Address>,
    source: Option<Source>,
    audience: Option<(Vec<ListId>, Vec<ListId>)>,
    tracking: Option<(bool, bool)>,
    on_unknown: Option<OnUnknown>,
    priority: Option<&'static str>,
    plan: Option<Plan>,
}

#[derive(Debug)]
enum Source {
    Template(TemplateId),
    Own(Content),
}

#[derive(Debug)]
struct Plan {
    start_at: Option<DateTime<Utc>>,
    rate: Option<throttle::Columns>,
}

impl Edit {
    /// Read a body. Faults are noted on the reader.
    pub async fn read(
        call: &Call,
        connection: &mut Connection,
        reader: &Reader<'_>,
        is_new: bool,
    ) -> Result<Self, Problem> {
        let workspace = call.workspace()?;
        if is_new {
            for name in ["name", "from", "audience"].into_iter().filter(|name| !reader.has(name)) {
                reader.note(name, "required", "this field is required");
            }
        }
        Ok(Self {
            name: reader.keep_or_set("name", reader.line("name", 1..=200)),
            from: reader.keep_or_set("from", read_from(reader)),
            reply_to: reader.patch(
                "reply_to",
                reader.address("reply_to").filter(|address| fits(reader, "reply_to", "Reply-To", "", address)),
            ),
            source: read_source(connection, workspace, reader, is_new).await?,
            audience: reader.keep_or_set("audience", read_audience(connection, workspace, reader).await?),
            tracking: reader.keep_or_set("tracking", read_tracking(reader)),
            on_unknown: reader
                .keep_or_set("on_unknown", reader.word("on_unknown", &["retry_once", "never_resend"]))
                .and_then(OnUnknown::parse),
            priority: reader.keep_or_set("priority", reader.word("priority", &Priority::ALL.map(Priority::as_str))),
            plan: reader.keep_or_set("delivery", read_plan(reader, call.now)),
        })
    }

    /// Put it over a draft.
    pub fn apply(self, campaign: &mut Campaign) {
        if let Some(name) = self.name {
            campaign.name = name;
        }
        if let Some((name, address)) = self.from {
            campaign.from_name = name;
            campaign.from_domain = address.domain().to_owned();
            campaign.from_address = address.into();
        }
        campaign.reply_to = match self.reply_to {
            Patch::Keep => campaign.reply_to.take(),
            Patch::Clear => None,
            Patch::Set(address) => Some(address.into()),
        };
        match self.source {
            Some(Source::Template(template)) => {
                campaign.template_id = Some(template.0);
                (campaign.subject, campaign.html, campaign.text) = (None, None, None);
            }
            Some(Source::Own(content)) => {
                campaign.template_id = None;
                (campaign.subject, campaign.html, campaign.text) = (Some(content.subject), content.html, content.text);
            }
            None => {}
        }
        if let Some((lists, exclude_lists)) = self.audience {
            campaign.lists = lists.into_iter().map(|list| list.0).collect();
            campaign.exclude_lists = exclude_lists.into_iter().map(|list| list.0).collect();
        }
        if let Some((opens, clicks)) = self.tracking {
            (campaign.track_opens, campaign.track_clicks) = (opens, clicks);
        }
        if let Some(on_unknown) = self.on_unknown {
            on_unknown.as_str().clone_into(&mut campaign.on_unknown);
        }
        if let Some(priority) = self.priority {
            priority.clone_into(&mut campaign.priority);
        }
        if let Some(plan) = self.plan {
            let kind = if plan.start_at.is_some() { "at" } else { "now" };
            kind.clone_into(&mut campaign.delivery_kind);
            campaign.start_at = plan.start_at;
            (campaign.rate_messages, campaign.rate_per_seconds) = plan.rate.unzip();
        }
    }
}

fn read_from(reader: &Reader<'_>) -> Option<(String, Address)> {
    let from = reader.object("from")?;
    let name = from.keep_or_set("name", from.line("name", 0..=200)).unwrap_or_default();
    let address = from.required_address("address");
    from.close();
    let address = address.filter(|address| fits(&from, "address", "From", &name, address))?;
    Some((name, address))
}

/// Whether a message to anybody can carry this header.
fn fits(reader: &Reader<'_>, field: &str, header: &'static str, name: &str, address: &Address) -> bool {
    let hint = if address.needs_smtputf8() {
        "the part before the @ must be ASCII: most relays could take no message with it".to_owned()
    } else {
        match header::write_mailbox(header, name, address, &mut Vec::new()) {
            Ok(()) => return true,
            Err(error) => error.to_string(),
        }
    };
    reader.note(field, "bad_format", hint);
    false
}

async fn read_source(
    connection: &mut Connection,
    workspace: WorkspaceId,
    reader: &Reader<'_>,
    is_new: bool,
) -> Result<Option<Source>, Problem> {
    let template = reader.keep_or_set("template_id", reader.id::<TemplateId>("template_id"));
    let content = reader.keep_or_set("content", reader.object("content")).and_then(|object| {
        let content = content::read(&object);
        object.close();
        content
    });
    match (reader.has("template_id"), reader.has("content")) {
        (true, true) => reader.note("content", "conflict", "either `template_id` or `content`"),
        (false, false) if is_new => reader.note("content", "required", "either `template_id` or `content` is needed"),
        _ => {}
    }
    if let Some(id) = template {
        if templates::find(connection, workspace, id).await?.is_none() {
            reader.note("template_id", "not_found", "there is no such template");
        }
        return Ok(Some(Source::Template(id)));
    }
    Ok(content.map(Source::Own))
}

async fn read_audience(
    connection: &mut Connection,
    workspace: WorkspaceId,
    reader: &Reader<'_>,
) -> Result<Option<(Vec<ListId>, Vec<ListId>)>, Problem> {
    let Some(audience) = reader.object("audience") else { return Ok(None) };
    if !audience.has("lists") {
        audience.note("lists", "required", "this field is required");
    }
    let lists = audience.keep_or_set("lists", audience.ids::<ListId>("lists", 1..=MAX_LISTS)).unwrap_or_default();
    let excluded = audience.keep_or_set("exclude_lists", audience.ids::<ListId>("exclude_lists", 0..=MAX_LISTS));
    let excluded = excluded.unwrap_or_default();
    audience.close();
    if excluded.iter().any(|list| lists.contains(list)) {
        audience.note("exclude_lists", "conflict", "a list of `lists` is among them");
    }
    let named: Vec<_> = lists.iter().chain(&excluded).map(|list| list.0).collect();
    let found = campaigns::hold_lists(connection, workspace, &named).await?;
    for (name, ids) in [("lists", &lists), ("exclude_lists", &excluded)] {
        for id in ids.iter().filter(|id| !found.contains(id)) {
            audience.note(name, "not_found", format!("there is no list {id}"));
        }
    }
    Ok(Some((lists, excluded)))
}

fn read_tracking(reader: &Reader<'_>) -> Option<(bool, bool)> {
    let tracking = reader.object("tracking")?;
    let switch = |name| tracking.keep_or_set(name, tracking.boolean(name)).unwrap_or(true);
    let switches = (switch("opens"), switch("clicks"));
    tracking.close();
    Some(switches)
}

fn read_plan(reader: &Reader<'_>, now: DateTime<Utc>) -> Option<Plan> {
    let plan = reader.object("delivery")?;
    let kind = plan.keep_or_set("kind", plan.word("kind", &["now", "at"])).unwrap_or("now");
    let at = read_start(&plan, now);
    let is_given = plan.raw("at").is_some_and(|value| !value.is_null());
    match (kind, is_given) {
        ("now", true) => plan.note("at", "conflict", "a time goes with `kind` `at`"),
        ("at", false) => plan.note("at", "required", "`kind` `at` needs a time"),
        _ => {}
    }
    let rate = throttle::read(&plan, "rate").set();
    plan.close();
    Some(Plan { start_at: at, rate })
}

/// Read `at`: a time to come, within a year.
pub fn read_start(reader: &Reader<'_>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let at = reader.time("at")?;
    if at <= now {
        reader.note("at", "in_the_past", "a time to come is expected");
    } else if at > now + TimeDelta::days(MAX_DAYS_AHEAD) {
        reader.note("at", "out_of_range", "within a year");
    }
    Some(at)
}
