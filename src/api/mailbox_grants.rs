//! The `oauth` of a mailbox: how it gets its access tokens, instead of a password.
//!
//! It is given as a whole or not at all: a stored refresh token goes to no endpoint that it wasn't given for. Not here:
//! getting a token (`mailbox`).

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{call::Call, problem::Problem, reader::Reader};
use crate::{
    domain::id::MailboxId,
    mailbox::{self, Authority, Kind, Tokens, is_fresh, renew},
    network::{HttpsClient, is_https_url},
    store::mailbox_grants::{self, MailboxGrant, NewTokens},
};

const SECRET_MAX_CHARACTERS: usize = 4096;

/// A grant that a body gives.
#[derive(Debug)]
pub struct NewGrant {
    token_url: String,
    client_id: String,
    client_secret: Option<SecretString>,
    refresh_token: SecretString,
    scope: Option<String>,
}

impl NewGrant {
    /// Sealed, for this mailbox.
    pub fn seal(&self, call: &Call, mailbox: MailboxId) -> Result<MailboxGrant, Problem> {
        let place = (self.token_url.clone(), self.client_id.clone(), self.scope.clone());
        let secret = self.client_secret.as_ref().map(ExposeSecret::expose_secret);
        let refresh = self.refresh_token.expose_secret();
        Ok(MailboxGrant::seal(&call.context.keyring, mailbox, place, secret, refresh)?)
    }
}

/// Read `oauth` of a mailbox of this kind. Where there is a fault it is noted.
pub fn read(reader: &Reader<'_>, kind: Kind) -> Option<NewGrant> {
    let found = reader.object("oauth").and_then(|oauth| {
        let authority = oauth.word("authority", &Authority::WORDS).and_then(Authority::parse);
        let token_url = oauth.parsed("token_url", "bad_format", parse_url);
        if authority.is_none() && !oauth.has("token_url") && !oauth.has("authority") {
            oauth.note("token_url", "required", "an endpoint, or an `authority` that has one, is required");
        }
        let client_id = oauth.required_line("client_id", 1..=500);
        let client_secret = read_secret(&oauth, "client_secret");
        let refresh_token = read_secret(&oauth, "refresh_token");
        if !oauth.has("refresh_token") {
            oauth.note("refresh_token", "required", "this field is required");
        }
        let scope = oauth.line("scope", 1..=1000);
        oauth.close();
        Some(NewGrant {
            token_url: token_url.or_else(|| authority.map(|one| one.token_url().to_owned()))?,
            client_id: client_id?,
            client_secret,
            refresh_token: refresh_token?,
            scope: scope.or_else(|| authority.and_then(|one| one.scope(kind)).map(str::to_owned)),
        })
    });
    let found = reader.keep_or_set("oauth", found);
    if reader.has("oauth") && reader.has("password") {
        reader.note("oauth", "conflict", "either a password or `oauth`");
    }
    found
}

fn parse_url(text: &str) -> Result<String, &'static str> {
    is_https_url(text).then(|| text.to_owned()).ok_or("an https URL without a user is expected")
}

/// A secret, of which no fault repeats anything.
fn read_secret(reader: &Reader<'_>, name: &'static str) -> Option<SecretString> {
    match reader.raw(name)? {
        Value::String(text) if (1..=SECRET_MAX_CHARACTERS).contains(&text.len()) && text.bytes().all(is_visible) => {
            return Some(text.clone().into());
        }
        Value::String(_) => reader.note(name, "bad_format", "1 to 4096 visible ASCII characters"),
        _ => reader.note(name, "wrong_type", "a string is expected"),
    }
    None
}

fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic()
}

/// Show a grant without its secrets; null where there is none.
pub fn show(grant: Option<&MailboxGrant>) -> Value {
    grant.map_or(Value::Null, |grant| {
        json!({
            "token_url": grant.token_url,
            "client_id": grant.client_id,
            "scope": grant.scope,
            "has_client_secret": grant.has_client_secret(),
            "expires_at": grant.expires_at,
        })
    })
}

/// The access token of a mailbox, had anew where the kept one has ended; else what is wrong, in words.
pub async fn token(call: &Call, mailbox: MailboxId) -> Result<SecretString, TokenFault> {
    let (context, workspace) = (&call.context, call.workspace()?);
    let mut connection = context.store.acquire().await.map_err(Problem::from)?;
    let grant = mailbox_grants::find(&mut connection, workspace, mailbox).await.map_err(Problem::from)?;
    drop(connection);
    let grant = grant.ok_or_else(|| TokenFault::Words("it has neither a password nor `oauth`: send one".to_owned()))?;
    let closed =
        |_| TokenFault::Words("its `oauth` does not open with this installation's keys: send it again".to_owned());
    let opened = grant.open(&context.keyring).map_err(closed)?;
    if let Some(token) = opened.access_token
        && grant.expires_at.is_some_and(|until| is_fresh(until, call.now))
    {
        return Ok(token.into());
    }
    let asked = mailbox::Grant {
        token_url: grant.token_url.clone(),
        client_id: grant.client_id.clone(),
        client_secret: opened.client_secret.map(SecretString::from),
        refresh_token: opened.refresh_token.into(),
        scope: grant.scope.clone(),
    };
    let https = HttpsClient::new(context.settings.network.policy(), context.extra_ca_pem.clone());
    let tokens = renew(&https, &asked, call.now).await.map_err(|error| TokenFault::Words(error.to_string()))?;
    keep(call, mailbox, &grant, &tokens).await?;
    Ok(tokens.access_token)
}

async fn keep(call: &Call, mailbox: MailboxId, grant: &MailboxGrant, tokens: &Tokens) -> Result<(), Problem> {
    let (context, workspace) = (&call.context, call.workspace()?);
    let refresh = tokens.refresh_token.as_ref().map(ExposeSecret::expose_secret);
    let access = tokens.access_token.expose_secret();
    let new = NewTokens::seal(&context.keyring, mailbox, access, tokens.expires_at, refresh)?;
    let mut connection = context.store.acquire().await?;
    Ok(mailbox_grants::renewed(&mut connection, workspace, grant, &new).await?)
}

/// Why there is no token.
pub enum TokenFault {
    /// In words, for the mailbox's health.
    Words(String),
    /// A fault of the call.
    Problem(Problem),
}

impl From<Problem> for TokenFault {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}
