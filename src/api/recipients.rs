//! `/v1/recipients`: people, identified by address. Not here: many at once (`recipient_bulk`), consent (`subscriptions`).

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    attributes,
    call::{Answer, Call},
    endpoint::Endpoint,
    page::{AGES, Page},
    problem::{Fault, Kind, Problem},
    subscriptions::STATES,
};
use crate::{
    domain::id::{ListId, RecipientId},
    mail::address::{self, Address},
    store::{
        Connection,
        recipients::{self, Filter, Recipient},
        suppressions,
    },
};

/// The routes of recipients.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/recipients", "recipients.write", create),
        Endpoint::get("/v1/recipients", "recipients.read", search),
        Endpoint::get("/v1/recipients/by-address/{address}", "recipients.read", read_by_address),
        Endpoint::put("/v1/recipients/by-address/{address}", "recipients.write", put_by_address),
        Endpoint::get("/v1/recipients/{recipient_id}", "recipients.read", read),
        Endpoint::patch("/v1/recipients/{recipient_id}", "recipients.write", edit),
        Endpoint::delete("/v1/recipients/{recipient_id}", "recipients.write", delete),
    ]
}

const ADDRESS_KEY: &str = "recipients_workspace_id_address_key_key";

async fn create(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let reader = call.reader();
    let address = reader.required_address("address");
    let attributes = attributes::read(&reader);
    let (address, attributes) = reader.finish(|| address.zip(attributes))?;
    let attributes = merged(&json!({}), &attributes)?;
    match recipients::insert(connection, workspace, &[(&address, attributes)], call.now).await?.pop() {
        Some(made) => Ok(Answer::created(location(&made), show(&made)).revision(made.revision)),
        None => {
            let there = recipients::find_by_key(connection, workspace, address.key()).await?;
            Err(exists(there.as_ref()))
        }
    }
}

fn exists(there: Option<&Recipient>) -> Problem {
    let problem = Problem::new(Kind::AlreadyExists, "A recipient with this address is there already");
    match there {
        Some(there) => problem.existing(&RecipientId(there.id)),
        None => problem,
    }
}

async fn search(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let query = call.query();
    let sort = query.word("sort", AGES).unwrap_or("-created_at");
    let filter = Filter {
        address_contains: query.line("address_contains", 3..=254).map(|text| text.to_lowercase()),
        domain: query.parsed("domain", "bad_format", address::parse_domain),
        list: query.id::<ListId>("list_id").map(Uuid::from),
        state: query.word("state", STATES).map(str::to_owned),
    };
    let page = Page::read(call, &query, &format!("recipients {sort} {filter:?}"));
    query.finish(|| Some(()))?;
    let descending = sort.starts_with('-');
    let after = page.after(0)?;
    let rows = recipients::page(connection, call.workspace()?, &filter, descending, after, page.fetch()).await?;
    Ok(Answer::ok(page.answer(call, rows, |recipient| vec![recipient.id.to_string()], show)))
}

async fn read_by_address(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let address = Address::parse(call.segment("address")).map_err(|_| Problem::not_found("recipient"))?;
    let found = recipients::find_by_key(connection, call.workspace()?, address.key()).await?;
    let recipient = found.ok_or_else(|| Problem::not_found("recipient"))?;
    Ok(Answer::ok(show(&recipient)).revision(recipient.revision))
}

async fn put_by_address(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let address = Address::parse(call.segment("address"))
        .map_err(|error| Problem::validation(vec![Fault::of("address", "bad_format", error.to_string())]))?;
    let reader = call.reader();
    let attributes = attributes::read(&reader);
    let edit = reader.finish(|| attributes)?;
    let made = recipients::insert(connection, workspace, &[(&address, merged(&json!({}), &edit)?)], call.now).await?;
    if let [made] = made.as_slice() {
        return Ok(Answer::created(location(made), upserted("created", made)).revision(made.revision));
    }
    let keys = [address.key().to_owned()];
    let Some(there) = recipients::lock_by_keys(connection, workspace, &keys).await?.pop() else {
        return Err(Problem::new(Kind::Unavailable, "It was deleted meanwhile; please try again").retry_after(1));
    };
    let attributes = merged(&there.attributes, &edit)?;
    if attributes == there.attributes {
        return Ok(Answer::ok(upserted("unchanged", &there)).revision(there.revision));
    }
    recipients::update_attributes(connection, workspace, &[(there.id, attributes)], call.now).await?;
    let found = recipients::find(connection, workspace, RecipientId(there.id)).await?;
    let recipient = found.ok_or_else(|| Problem::not_found("recipient"))?;
    Ok(Answer::ok(upserted("updated", &recipient)).revision(recipient.revision))
}

fn upserted(result: &str, recipient: &Recipient) -> Value {
    json!({"result": result, "recipient": show(recipient)})
}

fn merged(old: &Value, edit: &Map<String, Value>) -> Result<Value, Problem> {
    attributes::merge(old, edit)
        .ok_or_else(|| Problem::validation(vec![Fault::at("/attributes", "too_many", attributes::TOO_MANY)]))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id = call.id("recipient_id", "recipient")?;
    let found = recipients::find(connection, call.workspace()?, id).await?;
    let recipient = found.ok_or_else(|| Problem::not_found("recipient"))?;
    Ok(Answer::ok(show(&recipient)).revision(recipient.revision))
}

async fn edit(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("recipient_id", "recipient")?);
    let reader = call.reader();
    let address = reader.keep_or_set("address", reader.address("address"));
    let attributes = attributes::read(&reader);
    let there = recipients::lock(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("recipient"))?;
    let edit = reader.finish(|| attributes)?;
    call.check_revision(there.revision)?;
    let stored = || Address::parse(&there.address).map_err(|error| Problem::internal(&error));
    let address = address.map_or_else(stored, Ok)?;
    if let Some(other) = recipients::find_by_key(connection, workspace, address.key()).await?
        && other.id != there.id
    {
        return Err(exists(Some(&other)));
    }
    let attributes = merged(&there.attributes, &edit)?;
    if address.key() != there.address_key {
        suppressions::keep_opt_outs(connection, workspace, id, &there.address_key, call.now).await?;
    }
    let recipient = recipients::update(connection, workspace, id, &address, &attributes, call.now)
        .await
        .map_err(|error| if error.violates(ADDRESS_KEY) { exists(None) } else { error.into() })?;
    Ok(Answer::ok(show(&recipient)).revision(recipient.revision))
}

async fn delete(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("recipient_id", "recipient")?);
    let there = recipients::lock(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("recipient"))?;
    suppressions::keep_opt_outs(connection, workspace, id, &there.address_key, call.now).await?;
    recipients::delete(connection, workspace, id).await?;
    Ok(Answer::deleted())
}

fn location(recipient: &Recipient) -> String {
    format!("/v1/recipients/{}", RecipientId(recipient.id))
}

fn show(recipient: &Recipient) -> Value {
    json!({
        "id": RecipientId(recipient.id),
        "address": recipient.address,
        "domain": recipient.domain,
        "attributes": recipient.attributes,
        "created_at": recipient.created_at,
        "updated_at": recipient.updated_at,
    })
}
