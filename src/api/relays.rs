//! `/v1/relays`: the SMTP servers that messages are submitted to, or that they go straight to the recipients' mail servers.
//!
//! Not here: host, login and secret of one (`peer`), its limits and holds (`relay_limits`), trying it (`probes`).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    call::{Answer, Call},
    endpoint::Endpoint,
    page::Page,
    peer::{self, Edited, Peer},
    problem::{Kind, Problem},
    reader::{Patch, Reader},
    relay_limits, throttle,
};
use crate::{
    domain::{
        id::{RelayId, SenderDomainId},
        provider_limit::ProviderLimit,
    },
    store::{
        Connection,
        holds::{self, Standing},
        relays::{self, Relay},
        secret_binding,
    },
};

/// Ways to log in, the default first.
const AUTHS: &[&str] = &["none", "plain", "login", "cram_md5", "scram_sha_256", "xoauth2"];

/// What a relay hands messages to, the default first: a server, or the mail servers of the recipients' domains.
const KINDS: &[&str] = &["smtp", MX];
const MX: &str = "mx";
/// What a relay without a server has not.
const OF_SERVERS: [&str; 7] = ["host", "port", "tls", "auth", "username", "password", "allow_plaintext_auth"];

/// The routes of relays.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/relays", "relays.write", create),
        Endpoint::get("/v1/relays", "relays.read", page),
        Endpoint::get("/v1/relays/{relay_id}", "relays.read", read),
        Endpoint::patch("/v1/relays/{relay_id}", "relays.write", edit),
        Endpoint::delete("/v1/relays/{relay_id}", "relays.write", delete),
    ]
}

async fn create(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let reader = call.reader();
    let name = reader.required_line("name", 1..=200);
    let kind = reader.keep_or_set("kind", reader.word("kind", KINDS)).unwrap_or("smtp");
    let edited = if kind == MX {
        refuse_server(&reader);
        if !call.context.settings.mx.enabled {
            reader.note("kind", "not_allowed", "the setting mx.enabled does not allow relays of this kind");
        }
        Some(None)
    } else {
        peer::read(call, &reader, None, AUTHS, false).map(Some)
    };
    let terms = Terms::read(&reader);
    let (name, edited) = reader.finish(|| name.zip(edited))?;
    let id = RelayId::new();
    let mut relay = Relay {
        id: id.0,
        name,
        kind: kind.to_owned(),
        host: None,
        port: None,
        tls: None,
        auth: "none".to_owned(),
        username: None,
        secret: None,
        secret_key_id: None,
        allow_plaintext_auth: false,
        max_connections: 8,
        messages_per_connection: 1000,
        rate_messages: None,
        rate_per_seconds: None,
        provider_limits: Value::Array(Vec::new()),
        priority: 100,
        weight: None,
        enabled: true,
        health: "untested".to_owned(),
        last_error: None,
        last_error_at: None,
        checked_at: None,
        created_at: call.now,
        updated_at: call.now,
        revision: 1,
    };
    apply(call, &mut relay, edited, terms)?;
    relays::insert(connection, workspace, &relay).await?;
    Ok(Answer::created(format!("/v1/relays/{id}"), show(&relay, &[], call.now)).revision(relay.revision))
}

async fn page(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let query = call.query();
    let page = Page::read(call, &query, "relays");
    query.finish(|| Some(()))?;
    let rows = relays::page(connection, call.workspace()?, page.after::<Uuid>(0)?, page.fetch()).await?;
    let standing = holds::of_workspace(connection, call.workspace()?).await?;
    let show = |relay: &Relay| show(relay, &standing, call.now);
    Ok(Answer::ok(page.answer(call, rows, |relay| vec![relay.id.to_string()], show)))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id = call.id("relay_id", "relay")?;
    let relay = relays::find(connection, call.workspace()?, id).await?.ok_or_else(|| Problem::not_found("relay"))?;
    let standing = holds::of_workspace(connection, call.workspace()?).await?;
    Ok(Answer::ok(show(&relay, &standing, call.now)).revision(relay.revision))
}

async fn edit(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let id = call.id("relay_id", "relay")?;
    let mut relay = relays::lock(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("relay"))?;
    let reader = call.reader();
    let name = reader.keep_or_set("name", reader.line("name", 1..=200));
    let edited = match peer_of(&relay) {
        Some(stands) => peer::read(call, &reader, Some(&stands), AUTHS, false).map(Some),
        None => {
            refuse_server(&reader);
            Some(None)
        }
    };
    let terms = Terms::read(&reader);
    let edited = reader.finish(|| edited)?;
    call.check_revision(relay.revision)?;
    relay.name = name.unwrap_or(relay.name);
    apply(call, &mut relay, edited, terms)?;
    relay.updated_at = call.now;
    relay.revision = relays::update(connection, workspace, &relay).await?;
    let standing = holds::of_workspace(connection, workspace).await?;
    Ok(Answer::ok(show(&relay, &standing, call.now)).revision(relay.revision))
}

async fn delete(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("relay_id", "relay")?);
    relays::lock(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("relay"))?;
    let domains = relays::sender_domains_in_need(connection, workspace, id).await?;
    if !domains.is_empty() {
        let ids: Vec<_> = domains.iter().map(SenderDomainId::to_string).collect();
        return Err(Problem::new(Kind::InUse, "Sender domains are bound to it").used_by(&ids));
    }
    relays::delete(connection, workspace, id).await?;
    Ok(Answer::deleted())
}

/// How much a relay is given; none keeps what stands.
struct Terms {
    max_connections: Option<i32>,
    messages_per_connection: Option<i32>,
    rate: Patch<throttle::Columns>,
    provider_limits: Option<Vec<ProviderLimit>>,
    priority: Option<i32>,
    weight: Patch<i32>,
    enabled: Option<bool>,
}

impl Terms {
    fn read(reader: &Reader<'_>) -> Self {
        let number = |name, range| {
            let found = reader.keep_or_set(name, reader.integer(name, range));
            found.and_then(|number| i32::try_from(number).ok())
        };
        Self {
            max_connections: number("max_connections", 1..=1000),
            messages_per_connection: number("messages_per_connection", 1..=1_000_000),
            rate: throttle::read(reader, "rate"),
            provider_limits: relay_limits::read(reader),
            priority: number("priority", 0..=1000),
            weight: reader
                .patch("weight", reader.integer("weight", 1..=1000).and_then(|number| i32::try_from(number).ok())),
            enabled: reader.keep_or_set("enabled", reader.boolean("enabled")),
        }
    }
}

fn apply(call: &Call, relay: &mut Relay, edited: Option<Edited>, terms: Terms) -> Result<(), Problem> {
    if let Some(edited) = edited {
        relay.set_secret(edited.seal(call, &secret_binding("relays", relay.id), relay.sealed())?);
        if edited.is_another {
            "untested".clone_into(&mut relay.health);
        }
        let Edited { peer, .. } = edited;
        (relay.host, relay.port, relay.tls) = (Some(peer.host), Some(peer.port), Some(peer.tls));
        relay.auth = peer.auth;
        relay.username = peer.username;
        relay.allow_plaintext_auth = peer.allow_plaintext_auth;
    }
    relay.max_connections = terms.max_connections.unwrap_or(relay.max_connections);
    relay.messages_per_connection = terms.messages_per_connection.unwrap_or(relay.messages_per_connection);
    let rate = terms.rate.apply(relay.rate_messages.zip(relay.rate_per_seconds));
    (relay.rate_messages, relay.rate_per_seconds) = rate.unzip();
    if let Some(limits) = terms.provider_limits {
        relay.provider_limits = json!(limits);
    }
    relay.priority = terms.priority.unwrap_or(relay.priority);
    relay.weight = terms.weight.apply(relay.weight);
    relay.enabled = terms.enabled.unwrap_or(relay.enabled);
    Ok(())
}

/// A relay without a server has nothing that speaks of one.
fn refuse_server(reader: &Reader<'_>) {
    for name in OF_SERVERS.into_iter().filter(|name| reader.raw(name).is_some()) {
        reader.note(name, "conflict", "a relay of kind `mx` has no server");
    }
}

/// Its server; none where it has none.
fn peer_of(relay: &Relay) -> Option<Peer> {
    Some(Peer {
        host: relay.host.clone()?,
        port: relay.port?,
        tls: relay.tls.clone()?,
        auth: relay.auth.clone(),
        username: relay.username.clone(),
        has_secret: relay.secret.is_some(),
        allow_plaintext_auth: relay.allow_plaintext_auth,
    })
}

fn show(relay: &Relay, standing: &[Standing], now: DateTime<Utc>) -> Value {
    json!({
        "id": RelayId(relay.id),
        "name": relay.name,
        "kind": relay.kind,
        "host": relay.host,
        "port": relay.port,
        "tls": relay.tls,
        "auth": relay.auth,
        "username": relay.username,
        "has_password": relay.secret.is_some(),
        "allow_plaintext_auth": relay.allow_plaintext_auth,
        "max_connections": relay.max_connections,
        "messages_per_connection": relay.messages_per_connection,
        "rate": throttle::show(relay.rate_messages, relay.rate_per_seconds),
        "provider_limits": relay_limits::show(&relay.provider_limits),
        "holds": relay_limits::show_holds(RelayId(relay.id), standing, now),
        "priority": relay.priority,
        "weight": relay.weight,
        "enabled": relay.enabled,
        "health": {
            "status": relay.health,
            "last_error": relay.last_error,
            "last_error_at": relay.last_error_at,
            "checked_at": relay.checked_at,
        },
        "created_at": relay.created_at,
        "updated_at": relay.updated_at,
    })
}
