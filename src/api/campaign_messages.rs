//! `POST /v1/campaigns/{campaign_id}/test`: the campaign's content to a few addresses, now, outside the ledger.
//!
//! Everything is made before anything is sent, so a fault sends nothing. A test message is no delivery: its return path
//! and its unsubscribe link are signed for ids that nothing stands behind, and nothing in it is tracked.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    call::{Answer, Call},
    campaign_content::{self, Tracking},
    campaign_view::state,
    content,
    endpoint::{BodyKind, Endpoint, LONG},
    problem::{Fault, Kind, Problem},
    reader::Reader,
    route,
    sample::{self, Sample},
};
use crate::{
    domain::{
        campaign::{CampaignMove, StartFault},
        delivery::Outcome,
        id::{CampaignId, DeliveryId, RecipientId, RelayId},
    },
    mail::{address::Address, dkim::Signer},
    relay::{Attempted, Connector, Door, submit_once},
    render::Recipient,
    smtp::{Envelope, Phase, PreparedMessage},
    store::{Connection, campaigns, dkim_keys, routes, routes::Route, sender_domains, suppressions},
};

const MAX_ADDRESSES: usize = 10;
/// For all messages together; what is in flight then is told as unknown.
const WHOLE_LIMIT: Duration = Duration::from_secs(45);

/// The routes of test messages.
pub fn endpoints() -> Vec<Endpoint> {
    let test = Endpoint::probe("/v1/campaigns/{campaign_id}/test", "campaigns.send", BodyKind::Json, LONG, test);
    vec![test.keyed()]
}

async fn test(call: &Call) -> Result<Answer, Problem> {
    let mut connection = call.context.store.acquire().await?;
    let plan = plan(call, &mut connection).await?;
    drop(connection);
    let deadline = Instant::now() + WHOLE_LIMIT;
    let n_at_once = usize::try_from(plan.n_connections).unwrap_or(1).clamp(1, MAX_ADDRESSES);
    let plan = &plan;
    let outcomes: Vec<Value> = futures::stream::iter(&plan.messages)
        .map(|message| async move { send(plan, message, deadline).await })
        .buffered(n_at_once)
        .collect()
        .await;
    Ok(Answer::ok(json!({"outcomes": outcomes})))
}

/// What will be sent, by which relays.
struct Plan {
    connector: Connector,
    /// The relays to try, the best first.
    relays: Vec<(RelayId, Result<Door, &'static str>)>,
    n_connections: u32,
    messages: Vec<Message>,
}

/// One address.
struct Message {
    address: Address,
    /// None: the address is suppressed, for this reason.
    content: Result<(Envelope, Arc<[u8]>), String>,
}

async fn plan(call: &Call, connection: &mut Connection) -> Result<Plan, Problem> {
    let (workspace, id) = (call.workspace()?, call.id::<CampaignId>("campaign_id", "campaign")?);
    let campaign = campaigns::find(connection, workspace, id).await?;
    let campaign = campaign.ok_or_else(|| Problem::not_found("campaign"))?;
    let reader = call.reader();
    let addresses = read_addresses(&reader);
    let sample = sample::read(call, connection, &reader).await?;
    let (addresses, sample) = reader.finish(|| addresses.zip(sample))?;

    let mut reasons = Vec::new();
    let domain = sender_domains::find_by_name(connection, workspace, &campaign.from_domain).await?;
    let mut routes = routes::enabled(connection, workspace).await?;
    if let Some(domain) = domain.as_ref().filter(|domain| !domain.relay_ids.is_empty()) {
        routes.retain(|route| domain.relay_ids.contains(&route.relay.0));
    }
    let mut note = |fault: &StartFault| {
        reasons.push(Fault::at(fault.pointer(), fault.code(), fault.to_string()));
    };
    if domain.is_none() {
        note(&StartFault::NoSenderDomain { domain: campaign.from_domain.clone() });
    }
    if routes.is_empty() {
        note(&StartFault::NoRelay);
    }
    let compiled = match campaign_content::find(connection, workspace, &campaign).await? {
        Err(faults) => Err(faults),
        Ok(found) => campaign_content::compile(call, &campaign, domain.as_ref(), &found.content, Tracking::Off)?,
    };
    let (compiled, domain) = match (compiled, domain) {
        (Ok(compiled), Some(domain)) if reasons.is_empty() => (compiled, domain),
        (compiled, _) => {
            reasons.extend(compiled.err().unwrap_or_default());
            let state = state(&campaign)?;
            return Err(Problem::not_ready(state.as_str(), &CampaignMove::allowed(state), reasons));
        }
    };

    let may_be_unverified = call.context.settings.sender_domains.allow_unverified;
    let key = dkim_keys::signing(connection, workspace, &domain.domain, may_be_unverified).await?;
    let signer = key.map(|key| key.open(&call.context.keyring, &domain.domain)).transpose().map_err(|fault| {
        tracing::error!(%workspace, fault, "a DKIM key can't be used");
        Problem::new(Kind::Internal, "The sender domain's DKIM key can't be used")
    })?;
    let frame = Frame { return_path_domain: &domain.return_path_domain, signer: signer.as_ref() };
    let keys: Vec<_> = addresses.iter().map(|address| address.key().to_owned()).collect();
    let suppressed = suppressions::check(connection, workspace, &keys, None, call.now).await?;
    let mut messages = Vec::with_capacity(addresses.len());
    for address in addresses {
        let content = match suppressed.iter().find(|one| one.address_key == address.key()) {
            Some(one) => Err(format!("a suppression of the workspace stands in the way: {}", one.reason)),
            None => Ok(compose(call, &compiled, &frame, &address, &sample)?),
        };
        messages.push(Message { address, content });
    }
    Ok(Plan {
        connector: route::connector(&call.context),
        n_connections: routes.first().map_or(1, |first| first.max_connections),
        relays: routes.iter().map(|one: &Route| (one.relay, route::open(&call.context, one))).collect(),
        messages,
    })
}

fn read_addresses(reader: &Reader<'_>) -> Option<Vec<Address>> {
    if !reader.has("addresses") {
        reader.note("addresses", "required", "this field is required");
    }
    let mut found: Vec<Address> = Vec::new();
    let list = reader.list("addresses", 1..=MAX_ADDRESSES, |element, place, item| {
        match item.as_str().map(Address::parse) {
            Some(Ok(address)) if found.contains(&address) => element.note(place, "duplicate", "once is enough"),
            Some(Ok(address)) => found.push(address),
            Some(Err(error)) => element.note(place, "bad_format", error.to_string()),
            None => element.note(place, "wrong_type", "a string is expected"),
        }
        None::<()>
    });
    reader.keep_or_set("addresses", list).map(|_| found)
}

/// What the sender domain gives to a message.
struct Frame<'a> {
    return_path_domain: &'a str,
    signer: Option<&'a Signer>,
}

/// One message, as a recipient like the sample would get it.
fn compose(
    call: &Call,
    compiled: &crate::render::CampaignContent,
    frame: &Frame<'_>,
    address: &Address,
    sample: &Sample,
) -> Result<(Envelope, Arc<[u8]>), Problem> {
    let recipient = Recipient {
        // Nobody's: an unsubscribe by the link of a test message must not reach the recipient whose values it shows.
        id: RecipientId::new(),
        address,
        attributes: &sample.attributes,
        delivery: DeliveryId::new(),
        date: call.now,
    };
    let mut message = Vec::new();
    let composed = compiled
        .compose(&call.context.keyring, &recipient, &mut message)
        .map_err(|error| content::rendering_failed(&error))?;
    let envelope = Envelope {
        return_path: format!("{}@{}", composed.return_path, frame.return_path_domain),
        recipient: address.envelope().into_owned(),
    };
    let mut message = PreparedMessage::new(message);
    if let Some(signer) = frame.signer {
        let field = signer.sign(message.content());
        let field = field.map_err(|_| Problem::new(Kind::Internal, "The message could not be signed"))?;
        message = message.with_field(&field);
    }
    Ok((envelope, message.content().into()))
}

/// Submit one message by the first relay that can be reached, and tell what became of it.
async fn send(plan: &Plan, message: &Message, deadline: Instant) -> Value {
    let began = Instant::now();
    let (envelope, bytes) = match &message.content {
        Ok(content) => content,
        Err(reason) => return show(message, None, None, Outcome::Suppressed, reason, began),
    };
    let mut last = (None, None, "no time was left".to_owned());
    for (id, door) in &plan.relays {
        if Instant::now() >= deadline {
            break;
        }
        let door = match door {
            Ok(door) => door,
            Err(reason) => {
                last = (Some(*id), None, (*reason).to_owned());
                continue;
            }
        };
        let submission = submit_once(&plan.connector, door, envelope, bytes::Bytes::from(bytes.to_vec()));
        match timeout_at(deadline, submission).await {
            Ok(Ok(attempted)) => return show_attempted(message, *id, &attempted, began),
            Ok(Err(error)) => match error.attempted() {
                Some(refused) if refused.outcome == Outcome::Rejected => {
                    return show_attempted(message, *id, &refused, began);
                }
                _ => last = (Some(*id), error.phase(), error.to_string()),
            },
            Err(_) => {
                let text = format!("no end after {} s; it may have been taken", WHOLE_LIMIT.as_secs());
                return show(message, Some(*id), None, Outcome::Unknown, &text, began);
            }
        }
    }
    let (relay, phase, text) = last;
    show(message, relay, phase, Outcome::NotSubmitted, &text, began)
}

fn show(
    message: &Message,
    relay: Option<RelayId>,
    phase: Option<Phase>,
    outcome: Outcome,
    text: &str,
    began: Instant,
) -> Value {
    json!({
        "address": message.address.as_given(),
        "outcome": outcome.as_str(),
        "relay_id": relay,
        "phase": phase.map(Phase::as_str),
        "code": null,
        "enhanced": null,
        "text": text,
        "duration_ms": milliseconds_since(began),
    })
}

fn show_attempted(message: &Message, relay: RelayId, attempted: &Attempted, began: Instant) -> Value {
    json!({
        "address": message.address.as_given(),
        "outcome": attempted.outcome.as_str(),
        "relay_id": relay,
        "phase": attempted.phase,
        "code": attempted.code,
        "enhanced": attempted.enhanced,
        "text": attempted.text,
        "duration_ms": milliseconds_since(began),
    })
}

fn milliseconds_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
