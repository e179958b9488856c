//! `/v1/mailboxes`: the IMAP accounts in which bounces and complaints arrive.
//!
//! Not here: host, login and secret of one (`peer`), trying it (`probes`), reading it (`reports`).

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    call::{Answer, Call},
    endpoint::Endpoint,
    page::Page,
    peer::{self, Edited, Peer},
    problem::{Fault, Kind, Problem},
    reader::Reader,
};
use crate::{
    domain::id::{MailboxId, SenderDomainId},
    store::{
        Connection,
        mailboxes::{self, Mailbox},
        secret_binding,
    },
};

/// Ways to log in, the default first.
const AUTHS: &[&str] = &["login", "plain", "xoauth2"];
/// What is read.
const KINDS: &[&str] = &["imap"];

/// The routes of mailboxes.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/mailboxes", "mailboxes.write", create),
        Endpoint::get("/v1/mailboxes", "mailboxes.read", page),
        Endpoint::get("/v1/mailboxes/{mailbox_id}", "mailboxes.read", read),
        Endpoint::patch("/v1/mailboxes/{mailbox_id}", "mailboxes.write", edit),
        Endpoint::delete("/v1/mailboxes/{mailbox_id}", "mailboxes.write", delete),
    ]
}

async fn create(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let reader = call.reader();
    let name = reader.required_line("name", 1..=200);
    reader.keep_or_set("kind", reader.word("kind", KINDS));
    let edited = peer::read(call, &reader, None, AUTHS);
    let terms = Terms::read(&reader);
    let (name, edited) = reader.finish(|| name.zip(edited))?;
    let id = MailboxId::new();
    let mut mailbox = Mailbox {
        id: id.0,
        name,
        kind: "imap".to_owned(),
        host: String::new(),
        port: 0,
        tls: String::new(),
        auth: String::new(),
        username: String::new(),
        secret: None,
        secret_key_id: None,
        allow_plaintext_auth: false,
        folder: "INBOX".to_owned(),
        filed_folder: "Postrider".to_owned(),
        poll_seconds: 60,
        enabled: true,
        health: "untested".to_owned(),
        last_error: None,
        last_error_at: None,
        checked_at: None,
        last_read_at: None,
        created_at: call.now,
        updated_at: call.now,
        revision: 1,
    };
    apply(call, &mut mailbox, edited, terms)?;
    mailboxes::insert(connection, workspace, &mailbox).await?;
    Ok(Answer::created(format!("/v1/mailboxes/{id}"), show(&mailbox)).revision(mailbox.revision))
}

async fn page(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let query = call.query();
    let page = Page::read(call, &query, "mailboxes");
    query.finish(|| Some(()))?;
    let rows = mailboxes::page(connection, call.workspace()?, page.after::<Uuid>(0)?, page.fetch()).await?;
    Ok(Answer::ok(page.answer(call, rows, |mailbox| vec![mailbox.id.to_string()], show)))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id = call.id("mailbox_id", "mailbox")?;
    let mailbox = mailboxes::find(connection, call.workspace()?, id).await?;
    let mailbox = mailbox.ok_or_else(|| Problem::not_found("mailbox"))?;
    Ok(Answer::ok(show(&mailbox)).revision(mailbox.revision))
}

async fn edit(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let id = call.id("mailbox_id", "mailbox")?;
    let mailbox = mailboxes::lock(connection, workspace, id).await?;
    let mut mailbox = mailbox.ok_or_else(|| Problem::not_found("mailbox"))?;
    let reader = call.reader();
    let name = reader.keep_or_set("name", reader.line("name", 1..=200));
    let edited = peer::read(call, &reader, Some(&peer_of(&mailbox)), AUTHS);
    let terms = Terms::read(&reader);
    let edited = reader.finish(|| edited)?;
    call.check_revision(mailbox.revision)?;
    mailbox.name = name.unwrap_or(mailbox.name);
    apply(call, &mut mailbox, edited, terms)?;
    mailbox.updated_at = call.now;
    mailbox.revision = mailboxes::update(connection, workspace, &mailbox).await?;
    Ok(Answer::ok(show(&mailbox)).revision(mailbox.revision))
}

async fn delete(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("mailbox_id", "mailbox")?);
    mailboxes::lock(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("mailbox"))?;
    let domains = mailboxes::sender_domains_in_need(connection, workspace, id).await?;
    if !domains.is_empty() {
        let ids: Vec<_> = domains.iter().map(SenderDomainId::to_string).collect();
        return Err(Problem::new(Kind::InUse, "The reports of sender domains arrive in it").used_by(&ids));
    }
    mailboxes::delete(connection, workspace, id).await?;
    Ok(Answer::deleted())
}

/// How a mailbox is read; none keeps what stands.
struct Terms {
    folder: Option<String>,
    filed_folder: Option<String>,
    poll_seconds: Option<i32>,
    enabled: Option<bool>,
}

impl Terms {
    fn read(reader: &Reader<'_>) -> Self {
        let folder = |name| reader.keep_or_set(name, reader.line(name, 1..=200));
        let poll_seconds = reader.keep_or_set("poll_seconds", reader.integer("poll_seconds", 1..=86_400));
        Self {
            folder: folder("folder"),
            filed_folder: folder("filed_folder"),
            poll_seconds: poll_seconds.and_then(|seconds| i32::try_from(seconds).ok()),
            enabled: reader.keep_or_set("enabled", reader.boolean("enabled")),
        }
    }
}

fn apply(call: &Call, mailbox: &mut Mailbox, edited: Edited, terms: Terms) -> Result<(), Problem> {
    if let Some(sealed) = edited.seal(call, &secret_binding("mailboxes", mailbox.id), mailbox.sealed())? {
        mailbox.set_secret(sealed);
    }
    if edited.is_another {
        "untested".clone_into(&mut mailbox.health);
    }
    let Edited { peer, .. } = edited;
    mailbox.host = peer.host;
    mailbox.port = peer.port;
    mailbox.tls = peer.tls;
    mailbox.auth = peer.auth;
    mailbox.username = peer.username.unwrap_or_default();
    mailbox.allow_plaintext_auth = peer.allow_plaintext_auth;
    mailbox.poll_seconds = terms.poll_seconds.unwrap_or(mailbox.poll_seconds);
    mailbox.enabled = terms.enabled.unwrap_or(mailbox.enabled);
    if let Some(folder) = terms.folder {
        mailbox.folder = folder;
    }
    if let Some(folder) = terms.filed_folder {
        mailbox.filed_folder = folder;
    }
    if mailbox.folder == mailbox.filed_folder {
        let hint = "read reports are moved away: another folder is needed";
        return Err(Problem::validation(vec![Fault::at("/filed_folder", "conflict", hint)]));
    }
    Ok(())
}

fn peer_of(mailbox: &Mailbox) -> Peer {
    Peer {
        host: mailbox.host.clone(),
        port: mailbox.port,
        tls: mailbox.tls.clone(),
        auth: mailbox.auth.clone(),
        username: Some(mailbox.username.clone()),
        has_secret: mailbox.secret.is_some(),
        allow_plaintext_auth: mailbox.allow_plaintext_auth,
    }
}

fn show(mailbox: &Mailbox) -> Value {
    json!({
        "id": MailboxId(mailbox.id),
        "name": mailbox.name,
        "kind": mailbox.kind,
        "host": mailbox.host,
        "port": mailbox.port,
        "tls": mailbox.tls,
        "auth": mailbox.auth,
        "username": mailbox.username,
        "has_password": mailbox.secret.is_some(),
        "allow_plaintext_auth": mailbox.allow_plaintext_auth,
        "folder": mailbox.folder,
        "filed_folder": mailbox.filed_folder,
        "poll_seconds": mailbox.poll_seconds,
        "enabled": mailbox.enabled,
        "health": {
            "status": mailbox.health,
            "last_error": mailbox.last_error,
            "last_error_at": mailbox.last_error_at,
            "checked_at": mailbox.checked_at,
            "last_read_at": mailbox.last_read_at,
        },
        "created_at": mailbox.created_at,
        "updated_at": mailbox.updated_at,
    })
}
