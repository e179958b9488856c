//! `POST /v1/relays/{relay_id}/test` and `POST /v1/mailboxes/{mailbox_id}/test`: what is reached, step by step, in words.
//!
//! No transaction is open while a network is waited for, and what was found goes to the resource's health unless it was
//! edited meanwhile.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    call::{Answer, Call},
    endpoint::{BodyKind, Endpoint, LONG},
    mailbox_grants::{self, TokenFault},
    problem::Problem,
    route,
};
use crate::{
    domain::id::{MailboxId, RelayId},
    mailbox::{self, Auth, Filing, Limits, TlsMode},
    relay,
    store::{mailboxes, mailboxes::Mailbox, relays, routes, secret_binding, sender_domains},
};

/// For all of a test; a name with many addresses that don't answer would take longer.
const WHOLE_LIMIT: Duration = Duration::from_secs(40);
/// For connecting to a mailbox's server.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// For each of its answers.
const COMMAND_LIMIT: Duration = Duration::from_secs(15);
const TEXT_MAX_CHARACTERS: usize = 4000;

/// The routes of tests.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::probe("/v1/relays/{relay_id}/test", "relays.write", BodyKind::None, LONG, test_relay),
        Endpoint::probe("/v1/mailboxes/{mailbox_id}/test", "mailboxes.write", BodyKind::None, LONG, test_mailbox),
    ]
}

/// How far a test came.
struct Outcome {
    ok: bool,
    summary: String,
    steps: Vec<Value>,
}

impl Outcome {
    /// It ended with this step, for this reason.
    fn failed(step: &str, detail: &str) -> Self {
        Self { ok: false, summary: detail.to_owned(), steps: vec![show_step(step, false, detail, None)] }
    }

    fn took_too_long() -> Self {
        Self::failed("connect", &format!("no end after {} s; the test was given up", WHOLE_LIMIT.as_secs()))
    }

    /// Why it failed, if it did.
    fn fault(&self) -> Option<&str> {
        Some(self.summary.as_str()).filter(|_| !self.ok)
    }

    fn answer(self, call: &Call) -> Answer {
        Answer::ok(json!({"ok": self.ok, "summary": self.summary, "steps": self.steps, "tested_at": call.now}))
    }
}

fn show_step(step: &str, ok: bool, detail: &str, duration_ms: Option<u64>) -> Value {
    json!({"step": step, "ok": ok, "detail": shorten(detail), "duration_ms": duration_ms})
}

fn shorten(text: &str) -> String {
    text.chars().take(TEXT_MAX_CHARACTERS).collect()
}

async fn test_relay(call: &Call) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id::<RelayId>("relay_id", "relay")?);
    let mut connection = call.context.store.acquire().await?;
    let found = routes::find(&mut connection, workspace, id).await?.ok_or_else(|| Problem::not_found("relay"))?;
    // A relay without a server is tried with the mail servers of a domain that is the workspace's own.
    let own = sender_domains::page(&mut connection, workspace, None, 1).await?;
    drop(connection);
    let outcome = match route::open(&call.context, &found) {
        Err(reason) => Outcome::failed("auth", reason),
        Ok(door) => {
            let connector = route::connector(&call.context);
            let trial = async {
                match &door {
                    relay::Door::Server(settings) => relay::probe(&connector, settings).await,
                    relay::Door::MailServers => {
                        relay::probe_direct(&connector, own.first().map(|own| own.domain.as_str())).await
                    }
                }
            };
            match timeout(WHOLE_LIMIT, trial).await {
                Err(_) => Outcome::took_too_long(),
                Ok(probe) => Outcome {
                    ok: probe.is_ok,
                    summary: shorten(&probe.summary),
                    steps: probe.steps.iter().map(|one| show_step(one.name, one.is_ok, &one.text, None)).collect(),
                },
            }
        }
    };
    let mut connection = call.context.store.acquire().await?;
    relays::note_test(&mut connection, workspace, id, found.revision, outcome.fault(), call.now).await?;
    if let Some(reason) = outcome.fault() {
        tracing::info!(%workspace, relay = %id, reason, "a test did not reach the relay");
    }
    Ok(outcome.answer(call))
}

async fn test_mailbox(call: &Call) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id::<MailboxId>("mailbox_id", "mailbox")?);
    let mut connection = call.context.store.acquire().await?;
    let found = mailboxes::find(&mut connection, workspace, id).await?;
    let found = found.ok_or_else(|| Problem::not_found("mailbox"))?;
    drop(connection);
    let secret = match mailbox_secret(call, &found).await {
        Err(TokenFault::Problem(problem)) => return Err(problem),
        Err(TokenFault::Words(words)) => Err(words),
        Ok(secret) => Ok(secret),
    };
    let opened = secret.and_then(|secret| open_mailbox(call, &found, secret).map_err(str::to_owned));
    let outcome = match opened {
        Err(reason) => Outcome::failed("auth", &reason),
        Ok(settings) => {
            let policy = call.context.settings.network.policy();
            match timeout(WHOLE_LIMIT, mailbox::probe(&settings, &policy)).await {
                Err(_) => Outcome::took_too_long(),
                Ok(probe) => Outcome {
                    ok: probe.ok,
                    summary: shorten(&probe.summary),
                    steps: probe
                        .steps
                        .iter()
                        .map(|one| show_step(one.step, one.ok, &one.detail, Some(one.duration_ms)))
                        .collect(),
                },
            }
        }
    };
    let mut connection = call.context.store.acquire().await?;
    mailboxes::note_test(&mut connection, workspace, &found, outcome.fault(), call.now).await?;
    if let Some(reason) = outcome.fault() {
        tracing::info!(%workspace, mailbox = %id, reason, "a test did not reach the mailbox");
    }
    Ok(outcome.answer(call))
}

/// Its password, or an access token.
async fn mailbox_secret(call: &Call, row: &Mailbox) -> Result<SecretString, TokenFault> {
    let Some(sealed) = row.sealed() else { return mailbox_grants::token(call, MailboxId(row.id)).await };
    let opened = call.context.keyring.open(&secret_binding("mailboxes", row.id), &sealed).ok();
    let secret = opened.and_then(|bytes| String::from_utf8(bytes).ok()).map(SecretString::from);
    let closed = "its password does not open with this installation's keys: send it again";
    secret.ok_or_else(|| TokenFault::Words(closed.to_owned()))
}

fn open_mailbox(call: &Call, row: &Mailbox, secret: SecretString) -> Result<mailbox::Settings, &'static str> {
    Ok(mailbox::Settings {
        kind: mailbox::Kind::parse(&row.kind).ok_or("its kind is not known")?,
        host: row.host.clone(),
        port: u16::try_from(row.port).map_err(|_| "its port is not known")?,
        tls: TlsMode::parse(&row.tls).ok_or("its kind of TLS is not known")?,
        extra_ca_pem: call.context.extra_ca_pem.clone(),
        auth: Auth::parse(&row.auth).ok_or("its kind of login is not known")?,
        username: row.username.clone(),
        secret,
        allow_plaintext_auth: row.allow_plaintext_auth,
        folders: row.folders.clone(),
        filing: Filing::parse(
            &row.filing,
            &row.filed_folder,
            &row.filed_flag,
            u32::try_from(row.delete_after_days).unwrap_or_default(),
        )
        .ok_or("its kind of filing is not known")?,
        limits: Limits { connect: CONNECT_LIMIT, command: COMMAND_LIMIT, ..Limits::default() },
    })
}
