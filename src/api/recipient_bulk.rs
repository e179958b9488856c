//! `POST /v1/recipients/bulk`: up to 10,000 recipients in a call, each with an outcome of its own.
//!
//! Set by set: the items are judged in memory, new ones are written in one statement, changed ones in another. An address
//! that occurs twice is worked in order, so its second item meets what the first one made.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    attributes,
    call::{Answer, Call},
    endpoint::Endpoint,
    problem::{Fault, Problem},
    reader::Reader,
    subscriptions::read_consent,
};
use crate::{
    domain::id::{ListId, RecipientId, WorkspaceId},
    mail::address::Address,
    store::{
        Connection, lists, recipients,
        subscriptions::{self, Consent},
    },
};

const MAX_ITEMS: usize = 10_000;
const MAX_LISTS: usize = 20;

/// The route.
pub fn endpoints() -> Vec<Endpoint> {
    vec![Endpoint::post("/v1/recipients/bulk", "recipients.write", upsert).bulk()]
}

struct Item {
    index: usize,
    address: Address,
    attributes: Map<String, Value>,
    consent: Option<Consent>,
}

/// What is known of an address while the items are worked.
struct Standing {
    /// None: not stored yet.
    id: Option<Uuid>,
    attributes: Value,
    changed: bool,
}

struct Outcome {
    result: &'static str,
    recipient: Option<Uuid>,
    still_unsubscribed: Vec<ListId>,
    errors: Vec<Fault>,
}

impl Outcome {
    fn of(result: &'static str, errors: Vec<Fault>) -> Self {
        Self { result, recipient: None, still_unsubscribed: Vec::new(), errors }
    }
}

async fn upsert(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let reader = call.reader();
    let list_ids = reader.keep_or_set("list_ids", reader.ids::<ListId>("list_ids", 0..=MAX_LISTS)).unwrap_or_default();
    let shared =
        reader.keep_or_set("consent", reader.object("consent")).and_then(|consent| read_consent(&consent, call.now));
    let raw = reader.raw("items");
    check_items(&reader, raw);
    for (index, list) in list_ids.iter().enumerate() {
        if lists::find(connection, workspace, *list).await?.is_none() {
            reader.note_at(&format!("/list_ids/{index}"), "not_found", "there is no such list");
        }
    }
    reader.finish(|| Some(()))?;
    let (items, mut outcomes) = judge(call, raw.and_then(Value::as_array).map_or(&[], Vec::as_slice));
    let standings = store(connection, workspace, call, &items, &mut outcomes).await?;
    if !list_ids.is_empty() {
        subscribe(connection, workspace, call, &list_ids, &items, shared.as_ref(), &standings, &mut outcomes).await?;
    }
    Ok(Answer::ok(show(&outcomes)))
}

fn check_items(reader: &Reader<'_>, raw: Option<&Value>) {
    match raw {
        None | Some(Value::Null) => reader.note("items", "required", "this field is required"),
        Some(Value::Array(items)) if items.is_empty() => reader.note("items", "too_few", "1 to 10000 elements"),
        Some(Value::Array(items)) if items.len() > MAX_ITEMS => reader.note("items", "too_many", "1 to 10000 elements"),
        Some(Value::Array(_)) => {}
        Some(_) => reader.note("items", "wrong_type", "a list is expected"),
    }
}

fn judge(call: &Call, raw: &[Value]) -> (Vec<Item>, Vec<Outcome>) {
    let mut items = Vec::with_capacity(raw.len());
    let mut outcomes = Vec::with_capacity(raw.len());
    for (index, value) in raw.iter().enumerate() {
        let reader = Reader::of_element(value, &format!("/items/{index}"));
        let address = reader.required_address("address");
        let attributes = attributes::read(&reader);
        let consent = reader
            .keep_or_set("consent", reader.object("consent"))
            .and_then(|consent| read_consent(&consent, call.now));
        reader.close();
        let errors = reader.take_faults();
        match (address, attributes) {
            (Some(address), Some(attributes)) if errors.is_empty() => {
                items.push(Item { index, address, attributes, consent });
                outcomes.push(Outcome::of("unchanged", errors));
            }
            _ => outcomes.push(Outcome::of("invalid", errors)),
        }
    }
    (items, outcomes)
}

async fn store(
    connection: &mut Connection,
    workspace: WorkspaceId,
    call: &Call,
    items: &[Item],
    outcomes: &mut [Outcome],
) -> Result<HashMap<String, Uuid>, Problem> {
    let mut keys: Vec<String> = items.iter().map(|item| item.address.key().to_owned()).collect();
    keys.sort_unstable();
    keys.dedup();
    // First make what is missing, empty: afterwards every row is there and held, whoever else is writing.
    let mut first: HashMap<&str, &Item> = HashMap::new();
    for item in items {
        first.entry(item.address.key()).or_insert(item);
    }
    let missing: Vec<(&Address, Value)> = first.values().map(|item| (&item.address, json!({}))).collect();
    let made = recipients::insert(connection, workspace, &missing, call.now).await?;
    let mut standings: HashMap<String, Standing> = made
        .into_iter()
        .map(|row| (row.address_key, Standing { id: None, attributes: row.attributes, changed: false }))
        .collect();
    let mut ids = HashMap::new();
    for row in recipients::lock_by_keys(connection, workspace, &keys).await? {
        ids.insert(row.address_key.clone(), row.id);
        let there = Standing { id: Some(row.id), attributes: row.attributes, changed: false };
        standings.entry(row.address_key).or_insert(there);
    }
    for item in items {
        let (Some(standing), Some(outcome)) = (standings.get_mut(item.address.key()), outcomes.get_mut(item.index))
        else {
            continue;
        };
        merge(standing, item, outcome);
        outcome.recipient = ids.get(item.address.key()).copied().filter(|_| outcome.result != "invalid");
    }
    let changed: Vec<(Uuid, Value)> = standings
        .into_iter()
        .filter(|(_, standing)| standing.changed)
        .filter_map(|(key, standing)| Some((*ids.get(&key)?, standing.attributes)))
        .collect();
    recipients::update_attributes(connection, workspace, &changed, call.now).await?;
    Ok(ids)
}

fn merge(standing: &mut Standing, item: &Item, outcome: &mut Outcome) {
    // A row made above counts as created by the first item that names it.
    let is_new = standing.id.is_none();
    standing.id = Some(standing.id.unwrap_or_default());
    let Some(merged) = attributes::merge(&standing.attributes, &item.attributes) else {
        let pointer = format!("/items/{}/attributes", item.index);
        *outcome = Outcome::of("invalid", vec![Fault::at(pointer, "too_many", attributes::TOO_MANY)]);
        return;
    };
    let differs = merged != standing.attributes;
    outcome.result = match (is_new, differs) {
        (true, _) => "created",
        (false, true) => "updated",
        (false, false) => "unchanged",
    };
    standing.changed |= differs;
    standing.attributes = merged;
}

#[allow(clippy::too_many_arguments)]
async fn subscribe(
    connection: &mut Connection,
    workspace: WorkspaceId,
    call: &Call,
    lists: &[ListId],
    items: &[Item],
    shared: Option<&Consent>,
    ids: &HashMap<String, Uuid>,
    outcomes: &mut [Outcome],
) -> Result<(), Problem> {
    // The last item of an address speaks for it. Only a consent of its own brings an unsubscribed one back.
    let mut last: HashMap<Uuid, &Item> = HashMap::new();
    for item in items.iter().filter(|item| outcomes.get(item.index).is_some_and(|one| one.result != "invalid")) {
        if let Some(id) = ids.get(item.address.key()) {
            last.insert(*id, item);
        }
    }
    let mut still: HashMap<Uuid, Vec<ListId>> = HashMap::new();
    for own in [true, false] {
        let group: Vec<(RecipientId, Option<&Consent>)> = last
            .iter()
            .filter(|(_, item)| item.consent.is_some() == own)
            .map(|(id, item)| (RecipientId(*id), item.consent.as_ref().or(shared)))
            .collect();
        let rows = subscriptions::subscribe(connection, workspace, lists, &group, "subscribed", own, call.now).await?;
        for (recipient, list) in rows {
            still.entry(recipient.0).or_default().push(list);
        }
    }
    for outcome in outcomes.iter_mut() {
        if let Some(lists) = outcome.recipient.and_then(|id| still.get(&id)) {
            outcome.still_unsubscribed = lists.clone();
        }
    }
    Ok(())
}

fn show(outcomes: &[Outcome]) -> Value {
    let n = |result: &str| outcomes.iter().filter(|outcome| outcome.result == result).count();
    let rows: Vec<Value> = outcomes
        .iter()
        .enumerate()
        .map(|(index, outcome)| {
            let mut row = json!({
                "index": index,
                "result": outcome.result,
                "recipient_id": outcome.recipient.map(RecipientId),
                "still_unsubscribed": outcome.still_unsubscribed,
            });
            if let Some(object) = row.as_object_mut().filter(|_| !outcome.errors.is_empty()) {
                object.insert("errors".into(), serde_json::to_value(&outcome.errors).unwrap_or_default());
            }
            row
        })
        .collect();
    json!({
        "n_created": n("created"),
        "n_updated": n("updated"),
        "n_unchanged": n("unchanged"),
        "n_invalid": n("invalid"),
        "outcomes": rows,
    })
}
