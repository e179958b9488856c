//! The secret that a reader logs in with: the mailbox's own, or an access token that is had for its grant and kept until
//! it ends.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};

use super::{context::Context, error::ReportsError};
use crate::{
    domain::id::{MailboxId, WorkspaceId},
    keyring::KeyringError,
    mailbox::{Grant, MailboxError, Stage, is_fresh, renew},
    network::HttpsClient,
    store::{
        mailbox_grants::{self, NewTokens},
        mailbox_reads::LeasedMailbox,
        secret_binding,
    },
};

/// The secret of a session with this mailbox.
pub(super) async fn secret(
    context: &Context,
    (workspace, mailbox): (WorkspaceId, MailboxId),
    row: &LeasedMailbox,
    now: DateTime<Utc>,
) -> Result<SecretString, ReportsError> {
    if let Some(sealed) = &row.secret {
        let secret = context.keyring.open(&secret_binding("mailboxes", mailbox), sealed)?;
        return Ok(String::from_utf8(secret).map_err(|_| KeyringError::Sealed)?.into());
    }
    let mut connection = context.store.acquire().await?;
    let grant = mailbox_grants::find(&mut connection, workspace, mailbox).await?.ok_or(ReportsError::NoSecret)?;
    drop(connection);
    let opened = grant.open(&context.keyring)?;
    if let Some(token) = opened.access_token
        && grant.expires_at.is_some_and(|until| is_fresh(until, now))
    {
        return Ok(token.into());
    }
    let asked = Grant {
        token_url: grant.token_url.clone(),
        client_id: grant.client_id.clone(),
        client_secret: opened.client_secret.map(SecretString::from),
        refresh_token: opened.refresh_token.into(),
        scope: grant.scope.clone(),
    };
    let https = HttpsClient::new(context.policy.clone(), context.extra_ca_pem.clone());
    let tokens = renew(&https, &asked, now).await?;
    let (access, refresh) = (tokens.access_token.expose_secret(), tokens.refresh_token.as_ref());
    let refresh = refresh.map(ExposeSecret::expose_secret);
    let new = NewTokens::seal(&context.keyring, mailbox, access, tokens.expires_at, refresh)?;
    let mut connection = context.store.acquire().await?;
    mailbox_grants::renewed(&mut connection, workspace, &grant, &new).await?;
    Ok(tokens.access_token)
}

/// After a login that the server refused: a token that was kept may have been revoked.
pub(super) async fn doubt(
    context: &Context,
    (workspace, mailbox): (WorkspaceId, MailboxId),
    row: &LeasedMailbox,
    error: &MailboxError,
) -> Result<(), ReportsError> {
    if row.secret.is_none() && error.stage == Stage::Login && error.is_refusal() {
        let mut connection = context.store.acquire().await?;
        mailbox_grants::forget_access(&mut connection, workspace, mailbox).await?;
    }
    Ok(())
}
