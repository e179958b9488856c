//! `/v1/sender-domains/{sender_domain_id}/dkim-keys`: the keys that sign a domain's messages, made here or imported, and the
//! DNS record that each needs.
//!
//! Private parts come in and never go out. Not here: asking DNS for the records (`verification`), signing (`dispatch`).

use serde_json::{Value, json};

use super::{
    call::{Answer, Call},
    endpoint::Endpoint,
    problem::{Fault, Kind, Problem},
    reader::Reader,
};
use crate::{
    domain::id::{DkimKeyId, SenderDomainId, WorkspaceId, encode},
    keyring::{SigningAlgorithm, SigningKey, SigningKeyError},
    mail::dkim::record,
    store::{
        Connection,
        dkim_keys::{self, DkimKey},
        sender_domains::{self, SenderDomain},
    },
};

const ALGORITHMS: &[&str] = &["rsa", "ed25519"];
/// Of one domain: the one that signs, the one that will, and some that are still being verified.
const MAX_KEYS: usize = 10;
const PEM_MAX_CHARACTERS: usize = 8000;

/// The routes of keys.
pub fn endpoints() -> Vec<Endpoint> {
    const ALL: &str = "/v1/sender-domains/{sender_domain_id}/dkim-keys";
    const ONE: &str = "/v1/sender-domains/{sender_domain_id}/dkim-keys/{dkim_key_id}";
    vec![
        Endpoint::post(ALL, "sender_domains.write", create),
        Endpoint::get(ALL, "sender_domains.read", list),
        Endpoint::get(ONE, "sender_domains.read", read),
        Endpoint::delete(ONE, "sender_domains.write", delete),
    ]
}

async fn create(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let domain = hold(call, connection, workspace).await?;
    let reader = call.reader();
    let algorithm = reader.keep_or_set("algorithm", reader.word("algorithm", ALGORITHMS));
    let selector = reader.keep_or_set("selector", reader.parsed("selector", "bad_format", parse_selector));
    let imported = read_private_key(&reader);
    match &imported {
        Some(Err(error)) => reader.note("private_key", "bad_format", error.to_string()),
        Some(Ok(key)) if algorithm.is_some_and(|asked| asked != word(key.algorithm())) => {
            reader.note("algorithm", "conflict", "the private key is of another kind; it need not be named");
        }
        _ => {}
    }
    reader.finish(|| Some(()))?;
    let key = match imported {
        Some(key) => key,
        None => {
            make(if algorithm == Some("ed25519") { SigningAlgorithm::Ed25519 } else { SigningAlgorithm::Rsa }).await
        }
    };
    let key = key.map_err(|_| Problem::new(Kind::Internal, "The key could not be made"))?;
    let internal = |_: SigningKeyError| Problem::new(Kind::Internal, "The key could not be written down");
    let id = DkimKeyId::new();
    let new = DkimKey {
        id: id.0,
        selector: selector.unwrap_or_else(|| selector_of(id)),
        algorithm: word(key.algorithm()).to_owned(),
        public_key: key.public_key().map_err(internal)?,
        verified_at: None,
        checked_at: None,
        last_error: None,
        created_at: call.now,
    };
    let sealed = call.context.keyring.seal(&dkim_keys::binding(id.0), &key.to_pkcs8().map_err(internal)?)?;
    let sender_domain = SenderDomainId(domain.id);
    let stands = dkim_keys::of_domain(connection, workspace, sender_domain).await?;
    if stands.len() >= MAX_KEYS {
        let hint = format!("the domain has {MAX_KEYS} keys: delete one that signs no more");
        return Err(Problem::validation(vec![Fault::at("", "too_many", hint)]));
    }
    if !dkim_keys::insert(connection, workspace, sender_domain, &new, &sealed).await? {
        let problem =
            Problem::new(Kind::AlreadyExists, format!("The domain has a key with the selector {}", new.selector));
        let same = stands.iter().find(|key| key.selector == new.selector);
        return Err(match same {
            Some(key) => problem.existing(&DkimKeyId(key.id)),
            None => problem,
        });
    }
    Ok(Answer::created(format!("/v1/sender-domains/{sender_domain}/dkim-keys/{id}"), show(&domain, &new)))
}

async fn list(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (domain, keys) = find(call, connection).await?;
    let items: Vec<_> = keys.iter().map(|key| show(&domain, key)).collect();
    Ok(Answer::ok(json!({"items": items})))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id: DkimKeyId = call.id("dkim_key_id", "DKIM key")?;
    let (domain, keys) = find(call, connection).await?;
    let key = keys.iter().find(|key| key.id == id.0).ok_or_else(|| Problem::not_found("DKIM key"))?;
    Ok(Answer::ok(show(&domain, key)))
}

async fn delete(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("dkim_key_id", "DKIM key")?);
    let domain = hold(call, connection, workspace).await?;
    if !dkim_keys::delete(connection, workspace, SenderDomainId(domain.id), id).await? {
        return Err(Problem::not_found("DKIM key"));
    }
    Ok(Answer::deleted())
}

/// The sender domain of the path and its keys.
async fn find(call: &Call, connection: &mut Connection) -> Result<(SenderDomain, Vec<DkimKey>), Problem> {
    let (workspace, id) = (call.workspace()?, call.id("sender_domain_id", "sender domain")?);
    let domain = sender_domains::find(connection, workspace, id).await?;
    let domain = domain.ok_or_else(|| Problem::not_found("sender domain"))?;
    let keys = dkim_keys::of_domain(connection, workspace, id).await?;
    Ok((domain, keys))
}

/// The sender domain of the path, its row held.
async fn hold(call: &Call, connection: &mut Connection, workspace: WorkspaceId) -> Result<SenderDomain, Problem> {
    let id = call.id("sender_domain_id", "sender domain")?;
    sender_domains::lock(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("sender domain"))
}

/// Off the async threads: an RSA key takes a good part of a second to find.
async fn make(algorithm: SigningAlgorithm) -> Result<SigningKey, SigningKeyError> {
    tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await.unwrap_or(Err(SigningKeyError::Failed))
}

/// A selector that no other key has: short, and of a form that every DNS console takes.
fn selector_of(id: DkimKeyId) -> String {
    let text = encode(id.0);
    format!("pr-{}", text.get(text.len().saturating_sub(10)..).unwrap_or_default())
}

/// The key that a body brings. What was sent is never sent back in a fault.
fn read_private_key(reader: &Reader<'_>) -> Option<Result<SigningKey, SigningKeyError>> {
    let is_control = |character: char| character.is_control() && !matches!(character, '\t' | '\r' | '\n');
    let (code, hint) = match reader.raw("private_key")? {
        Value::String(text) if text.is_empty() => ("too_short", "1 to 8000 characters"),
        Value::String(text) if text.chars().count() > PEM_MAX_CHARACTERS => ("too_long", "1 to 8000 characters"),
        Value::String(text) if text.contains(is_control) => ("control_character", "no control character is allowed"),
        Value::String(text) => return Some(SigningKey::from_pem(text)),
        _ => ("wrong_type", "a string is expected"),
    };
    reader.note("private_key", code, hint);
    None
}

/// One label of a host name, in lower case.
fn parse_selector(text: &str) -> Result<String, &'static str> {
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=63).contains(&text.len()) && text.bytes().all(is_legal) && !text.starts_with('-') && !text.ends_with('-') {
        return Ok(text.to_owned());
    }
    Err("up to 63 letters a to z, digits and hyphens, no hyphen at an end")
}

fn word(algorithm: SigningAlgorithm) -> &'static str {
    match algorithm {
        SigningAlgorithm::Rsa => "rsa",
        SigningAlgorithm::Ed25519 => "ed25519",
    }
}

/// How a stored key signs.
pub(super) fn algorithm_of(key: &DkimKey) -> SigningAlgorithm {
    if key.algorithm == "ed25519" { SigningAlgorithm::Ed25519 } else { SigningAlgorithm::Rsa }
}

fn show(domain: &SenderDomain, key: &DkimKey) -> Value {
    json!({
        "id": DkimKeyId(key.id),
        "selector": key.selector,
        "algorithm": key.algorithm,
        "record": {
            "type": "TXT",
            "name": record::name(&key.selector, &domain.domain),
            "value": record::value(algorithm_of(key), &key.public_key),
        },
        "verified_at": key.verified_at,
        "checked_at": key.checked_at,
        "last_error": key.last_error,
        "created_at": key.created_at,
    })
}
