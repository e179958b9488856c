//! `/v1/mailboxes`: the IMAP and POP3 accounts in which bounces and complaints arrive.
//!
//! Not here: host, login and secret of one (`peer`), tokens instead of a secret (`mailbox_grants`), how it is read (`mailbox_terms`), trying it (`probes`), reading it
//! (`reports`).

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    call::{Answer, Call},
    endpoint::Endpoint,
    mailbox_grants::{self, NewGrant},
    mailbox_terms::{self, Terms},
    page::Page,
    peer::{self, Edited, Peer},
    problem::{self, Problem},
    reader::{Patch, Reader},
};
use crate::{
    domain::id::{MailboxId, SenderDomainId},
    mailbox::Kind,
    store::{
        Connection,
        mailbox_grants::{self as grants, MailboxGrant},
        mailboxes::{self, Mailbox},
        secret_binding,
    },
};

/// Ways to log in, the default first.
const AUTHS: &[&str] = &["login", "plain", "xoauth2"];
/// What is spoken, the default first.
const KINDS: &[&str] = &["imap", "pop3"];

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
    let kind = reader.keep_or_set("kind", reader.word("kind", KINDS)).unwrap_or("imap");
    let grant = mailbox_grants::read(&reader, Kind::parse(kind).unwrap_or(Kind::Imap));
    let edited = peer::read(call, &reader, None, AUTHS, reader.has("oauth"));
    check_grant(&reader, edited.as_ref(), None);
    let mut mailbox = blank(kind, call.now);
    let terms = Terms::read(&reader, &mailbox);
    let (name, edited) = reader.finish(|| name.zip(edited))?;
    mailbox.name = name;
    apply(call, &mut mailbox, edited, terms)?;
    mailboxes::insert(connection, workspace, &mailbox).await?;
    let id = MailboxId(mailbox.id);
    let grant = give(call, connection, &mailbox, grant, None).await?;
    Ok(Answer::created(format!("/v1/mailboxes/{id}"), show(&mailbox, grant.as_ref())).revision(mailbox.revision))
}

/// A mailbox of this kind with what holds where nothing is said.
fn blank(kind: &str, now: DateTime<Utc>) -> Mailbox {
    Mailbox {
        id: MailboxId::new().0,
        name: String::new(),
        kind: kind.to_owned(),
        host: String::new(),
        port: 0,
        tls: String::new(),
        auth: String::new(),
        username: String::new(),
        secret: None,
        secret_key_id: None,
        allow_plaintext_auth: false,
        folders: vec!["INBOX".to_owned()],
        filing: if kind == "imap" { "move" } else { "leave" }.to_owned(),
        filed_folder: "Postrider".to_owned(),
        filed_flag: "\\Seen".to_owned(),
        delete_after_days: 7,
        poll_seconds: 60,
        enabled: true,
        health: "untested".to_owned(),
        last_error: None,
        last_error_at: None,
        checked_at: None,
        last_read_at: None,
        created_at: now,
        updated_at: now,
        revision: 1,
    }
}

async fn page(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let query = call.query();
    let page = Page::read(call, &query, "mailboxes");
    query.finish(|| Some(()))?;
    let rows = mailboxes::page(connection, call.workspace()?, page.after::<Uuid>(0)?, page.fetch()).await?;
    let ids: Vec<Uuid> = rows.iter().map(|mailbox| mailbox.id).collect();
    let grants = grants::of(connection, call.workspace()?, &ids).await?;
    let show = |mailbox: &Mailbox| show(mailbox, grants.iter().find(|grant| grant.mailbox_id == mailbox.id));
    Ok(Answer::ok(page.answer(call, rows, |mailbox| vec![mailbox.id.to_string()], show)))
}

async fn read(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let id = call.id("mailbox_id", "mailbox")?;
    let mailbox = mailboxes::find(connection, call.workspace()?, id).await?;
    let mailbox = mailbox.ok_or_else(|| Problem::not_found("mailbox"))?;
    let grant = grants::find(connection, call.workspace()?, id).await?;
    Ok(Answer::ok(show(&mailbox, grant.as_ref())).revision(mailbox.revision))
}

async fn edit(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let workspace = call.workspace()?;
    let id = call.id("mailbox_id", "mailbox")?;
    let mailbox = mailboxes::lock(connection, workspace, id).await?;
    let mut mailbox = mailbox.ok_or_else(|| Problem::not_found("mailbox"))?;
    let reader = call.reader();
    let name = reader.keep_or_set("name", reader.line("name", 1..=200));
    let stands = grants::find(connection, workspace, id).await?;
    let grant = mailbox_grants::read(&reader, Kind::parse(&mailbox.kind).unwrap_or(Kind::Imap));
    let edited = peer::read(call, &reader, Some(&peer_of(&mailbox, stands.as_ref())), AUTHS, reader.has("oauth"));
    check_grant(&reader, edited.as_ref(), stands.as_ref());
    let terms = Terms::read(&reader, &mailbox);
    let edited = reader.finish(|| edited)?;
    call.check_revision(mailbox.revision)?;
    mailbox.name = name.unwrap_or(mailbox.name);
    apply(call, &mut mailbox, edited, terms)?;
    if grant.is_some() {
        (mailbox.secret, mailbox.secret_key_id) = (None, None);
    }
    mailbox.updated_at = call.now;
    mailbox.revision = mailboxes::update(connection, workspace, &mailbox).await?;
    let grant = give(call, connection, &mailbox, grant, stands).await?;
    Ok(Answer::ok(show(&mailbox, grant.as_ref())).revision(mailbox.revision))
}

async fn delete(call: &Call, connection: &mut Connection) -> Result<Answer, Problem> {
    let (workspace, id) = (call.workspace()?, call.id("mailbox_id", "mailbox")?);
    mailboxes::lock(connection, workspace, id).await?.ok_or_else(|| Problem::not_found("mailbox"))?;
    let domains = mailboxes::sender_domains_in_need(connection, workspace, id).await?;
    if !domains.is_empty() {
        let ids: Vec<_> = domains.iter().map(SenderDomainId::to_string).collect();
        return Err(Problem::new(problem::Kind::InUse, "The reports of sender domains arrive in it").used_by(&ids));
    }
    mailboxes::delete(connection, workspace, id).await?;
    Ok(Answer::deleted())
}

/// What a grant and the login must have to do with each other.
fn check_grant(reader: &Reader<'_>, edited: Option<&Edited>, stands: Option<&MailboxGrant>) {
    let Some(edited) = edited.filter(|edited| edited.peer.auth != "xoauth2") else { return };
    if reader.has("oauth") {
        reader.note("oauth", "conflict", "it is of use only where `auth` is `xoauth2`");
    } else if stands.is_some() && matches!(edited.secret, Patch::Keep) {
        reader.note("password", "required", "`auth` needs a password");
    }
}

/// Give the mailbox this grant; where it has a password it has none. Answers the one that holds.
async fn give(
    call: &Call,
    connection: &mut Connection,
    mailbox: &Mailbox,
    new: Option<NewGrant>,
    stands: Option<MailboxGrant>,
) -> Result<Option<MailboxGrant>, Problem> {
    let (workspace, id) = (call.workspace()?, MailboxId(mailbox.id));
    if let Some(new) = new {
        let grant = new.seal(call, id)?;
        grants::put(connection, workspace, &grant).await?;
        return Ok(Some(grant));
    }
    if stands.is_some() && mailbox.secret.is_some() {
        grants::remove(connection, workspace, id).await?;
        return Ok(None);
    }
    Ok(stands)
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
    terms.apply(mailbox);
    Ok(())
}

fn peer_of(mailbox: &Mailbox, grant: Option<&MailboxGrant>) -> Peer {
    Peer {
        host: mailbox.host.clone(),
        port: mailbox.port,
        tls: mailbox.tls.clone(),
        auth: mailbox.auth.clone(),
        username: Some(mailbox.username.clone()),
        has_secret: mailbox.secret.is_some() || grant.is_some(),
        allow_plaintext_auth: mailbox.allow_plaintext_auth,
    }
}

fn show(mailbox: &Mailbox, grant: Option<&MailboxGrant>) -> Value {
    let mut shown = json!({
        "id": MailboxId(mailbox.id),
        "name": mailbox.name,
        "kind": mailbox.kind,
        "host": mailbox.host,
        "port": mailbox.port,
        "tls": mailbox.tls,
        "auth": mailbox.auth,
        "username": mailbox.username,
        "has_password": mailbox.secret.is_some(),
        "oauth": mailbox_grants::show(grant),
        "allow_plaintext_auth": mailbox.allow_plaintext_auth,
        "health": {
            "status": mailbox.health,
            "last_error": mailbox.last_error,
            "last_error_at": mailbox.last_error_at,
            "checked_at": mailbox.checked_at,
            "last_read_at": mailbox.last_read_at,
        },
        "created_at": mailbox.created_at,
        "updated_at": mailbox.updated_at,
    });
    mailbox_terms::show(mailbox, &mut shown);
    shown
}
