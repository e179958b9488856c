//! `/v1/inbound-webhooks`: where mail services tell by HTTP of bounces, complaints and unsubscribes, and how it is known that
//! they speak.
//!
//! Not here: taking what they tell (`track`), reading it (`reports`).

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    call::{Answer, Call},
    endpoint::Endpoint,
    page::Page,
    problem::Problem,
    reader::Reader,
};
use crate::{
    domain::id::{InboundWebhookId, WorkspaceId},
    keyring::is_p256_key,
    mail::{report::Service, token::Inbound},
    store::{
        Connection,
        inbound_webhooks::{self, InboundWebhook},
        secret_binding,
    },
};

/// Who logs in where nobody is named.
const USERNAME: &str = "postrider";
/// What each service needs, with what it is.
const NEEDS: [(Service, &str, &str); 4] = [
    (Service::AmazonSes, "topic_arn", "the SNS topic whose messages are taken"),
    (Service::SendGrid, "public_key", "the verification key of SendGrid's Signed Event Webhook"),
    (Service::Mailgun, "secret", "Mailgun's HTTP webhook signing key"),
    (Service::Postmark, "secret", "a password for the HTTP authentication that Postmark is given"),
];
/// Fields that mean something to one service or two.
const OF_SERVICES: [(&str, &[Service]); 4] = [
    ("topic_arn", &[Service::AmazonSes]),
    ("public_key", &[Service::SendGrid]),
    ("username", &[Service::Postmark]),
    ("secret", &[Service::Mailgun, Service::Postmark]),
];

/// The routes of inbound webhooks.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/inbound-webhooks", "inbound_webhooks.write", create),
        Endpoint::get("/v1/inbound-webhooks", "inbound_webhooks.read", page),
        Endpoint::get("/v1/inbound-webhooks/{inbound_webhook_id}", "inbound_webhooks.read", read),
        Endpoint::patch("/v1/inbound-webhooks/{inbound_webhook_id}", "inbound_webhooks.write", edit),
        Endpoint::delete("/v1/inbound-webhooks/{inbound_webhook_id}", "inbound_webhooks.write", delete),
    ]
}

async fn create(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let reader = call.reader();
    let name = reader.required_line("name", 1..=200);
    let service = reader.required_word("kind", &Service::WORDS).and_then(Service::parse);
    let terms = Terms::read(&reader, service);
    if let Some((_, needed, what)) = NEEDS.iter().find(|(needs, _, _)| Some(*needs) == service)
        && !reader.has(needed)
    {
        reader.note(needed, "required", format!("{what} is required"));
    }
    let (name, service) = reader.finish(|| name.zip(service))?;
    let mut webhook = blank(service, call.now);
    webhook.name = name;
    terms.apply(call, &mut webhook)?;
    inbound_webhooks::insert(connection, workspace, &webhook).await?;
    let id = InboundWebhookId(webhook.id);
    let shown = show(call, workspace, &webhook);
    Ok(Answer::created(format!("/v1/inbound-webhooks/{id}"), shown).revision(webhook.revision))
}

fn blank(service: Service, now: DateTime<Utc>) -> InboundWebhook {
    InboundWebhook {
        id: InboundWebhookId::new().0,
        name: String::new(),
        kind: service.as_str().to_owned(),
        topic_arn: None,
        subscribed_at: None,
        public_key: None,
        username: (service == Service::Postmark).then(|| USERNAME.to_owned()),
        secret: None,
        secret_key_id: None,
        enabled: true,
        last_event_at: None,
        last_error: None,
        last_error_at: None,
        created_at: now,
        updated_at: now,
        revision: 1,
    }
}

async fn page(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let query = call.query();
    let page = Page::read(call, &query, "inbound webhooks");
    query.finish(|| Some(()))?;
    let rows = inbound_webhooks::page(connection, workspace, page.after::<Uuid>(0)?, page.fetch()).await?;
    let show = |webhook: &InboundWebhook| show(call, workspace, webhook);
    Ok(Answer::ok(page.answer(call, rows, |webhook| vec![webhook.id.to_string()], show)))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, webhook_id(call)?);
    let webhook = inbound_webhooks::find(connection, workspace, id).await?.ok_or_else(not_found)?;
    Ok(Answer::ok(show(call, workspace, &webhook)).revision(webhook.revision))
}

async fn edit(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, webhook_id(call)?);
    let mut webhook = inbound_webhooks::lock(connection, workspace, id).await?.ok_or_else(not_found)?;
    let reader = call.reader();
    let name = reader.keep_or_set("name", reader.line("name", 1..=200));
    let terms = Terms::read(&reader, Service::parse(&webhook.kind));
    reader.finish(|| Some(()))?;
    call.check_revision(webhook.revision)?;
    webhook.name = name.unwrap_or(webhook.name);
    terms.apply(call, &mut webhook)?;
    webhook.updated_at = call.now;
    webhook.revision = inbound_webhooks::update(connection, workspace, &webhook).await?;
    Ok(Answer::ok(show(call, workspace, &webhook)).revision(webhook.revision))
}

async fn delete(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    if !inbound_webhooks::delete(connection, call.workspace()?, webhook_id(call)?).await? {
        return Err(not_found());
    }
    Ok(Answer::deleted())
}

fn webhook_id(call: &Call) -> Result<InboundWebhookId, Problem> {
    call.id("inbound_webhook_id", "inbound webhook")
}

fn not_found() -> Problem {
    Problem::not_found("inbound webhook")
}

/// What a body says of it; none keeps what stands.
struct Terms {
    topic_arn: Option<String>,
    public_key: Option<Vec<u8>>,
    username: Option<String>,
    secret: Option<String>,
    enabled: Option<bool>,
}

impl Terms {
    fn read(reader: &Reader<'_>, service: Option<Service>) -> Self {
        for (name, services) in OF_SERVICES {
            if reader.has(name) && service.is_some_and(|service| !services.contains(&service)) {
                reader.note(name, "conflict", "it means nothing to this kind");
            }
        }
        Self {
            topic_arn: reader.keep_or_set("topic_arn", reader.parsed("topic_arn", "bad_format", parse_topic)),
            public_key: reader.keep_or_set("public_key", reader.parsed("public_key", "bad_format", parse_key)),
            username: reader.keep_or_set("username", reader.parsed("username", "bad_format", parse_username)),
            secret: read_secret(reader),
            enabled: reader.keep_or_set("enabled", reader.boolean("enabled")),
        }
    }

    fn apply(self, call: &Call, webhook: &mut InboundWebhook) -> Result<(), Problem> {
        if let Some(topic) = self.topic_arn {
            if webhook.topic_arn.as_ref() != Some(&topic) {
                webhook.subscribed_at = None;
            }
            webhook.topic_arn = Some(topic);
        }
        if let Some(key) = self.public_key {
            webhook.public_key = Some(key);
        }
        if let Some(username) = self.username {
            webhook.username = Some(username);
        }
        if let Some(secret) = self.secret {
            let binding = secret_binding("inbound_webhooks", webhook.id);
            webhook.set_secret(call.context.keyring.seal(&binding, secret.as_bytes())?);
        }
        webhook.enabled = self.enabled.unwrap_or(webhook.enabled);
        Ok(())
    }
}

fn parse_topic(text: &str) -> Result<String, &'static str> {
    let parts: Vec<&str> = text.split(':').collect();
    let is_plain = |part: &&str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
    };
    let is_topic = matches!(parts.as_slice(), ["arn", "aws" | "aws-cn" | "aws-us-gov", "sns", _, _, _])
        && parts.iter().all(is_plain)
        && text.len() <= 500;
    is_topic
        .then(|| text.to_owned())
        .ok_or("the ARN of an SNS topic is expected: arn:aws:sns:eu-west-1:123456789012:name")
}

/// A key as SendGrid shows it: DER in base64; the lines of PEM may stand around it.
fn parse_key(text: &str) -> Result<Vec<u8>, &'static str> {
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
    let key = STANDARD.decode(lines.collect::<String>()).ok().filter(|der| is_p256_key(der));
    key.ok_or("the verification key as SendGrid shows it is expected: a P-256 key in base64")
}

fn parse_username(text: &str) -> Result<String, &'static str> {
    let is_plain = (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    is_plain.then(|| text.to_owned()).ok_or("1 to 100 visible ASCII characters without a colon")
}

/// The secret, of which no fault repeats anything.
fn read_secret(reader: &Reader<'_>) -> Option<String> {
    match reader.raw("secret")? {
        Value::String(text) if (16..=200).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            return Some(text.clone());
        }
        Value::String(_) => reader.note("secret", "bad_format", "16 to 200 visible ASCII characters"),
        _ => reader.note("secret", "wrong_type", "a string is expected"),
    }
    None
}

fn show(call: &Call, workspace: WorkspaceId, webhook: &InboundWebhook) -> Value {
    let token = Inbound { workspace: workspace.0, webhook: webhook.id }.sign(&call.context.keyring);
    json!({
        "id": InboundWebhookId(webhook.id),
        "name": webhook.name,
        "kind": webhook.kind,
        "url": format!("{}/in/{token}", call.context.settings.server.base_url().as_str()),
        "topic_arn": webhook.topic_arn,
        "subscribed_at": webhook.subscribed_at,
        "public_key": webhook.public_key.as_ref().map(|key| STANDARD.encode(key)),
        "username": webhook.username,
        "has_secret": webhook.secret.is_some(),
        "enabled": webhook.enabled,
        "last_event_at": webhook.last_event_at,
        "last_error": webhook.last_error,
        "last_error_at": webhook.last_error_at,
        "created_at": webhook.created_at,
        "updated_at": webhook.updated_at,
    })
}
