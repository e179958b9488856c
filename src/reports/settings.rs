//! A mailbox's row as the settings of a session: words become types, the secret is opened.

use secrecy::SecretString;

use super::{context::Context, error::ReportsError};
use crate::{
    domain::id::MailboxId,
    keyring::KeyringError,
    mailbox::{Auth, Settings, TlsMode},
    store::{StoreError, mailbox_reads::LeasedMailbox, secret_binding},
};

/// The settings of a session with this mailbox.
pub(super) fn open(context: &Context, mailbox: MailboxId, row: &LeasedMailbox) -> Result<Settings, ReportsError> {
    let sealed = row.secret.as_ref().ok_or(ReportsError::NoSecret)?;
    let secret = context.keyring.open(&secret_binding("mailboxes", mailbox), sealed)?;
    let secret = String::from_utf8(secret).map_err(|_| KeyringError::Sealed)?;
    Ok(Settings {
        host: row.host.clone(),
        port: row.port,
        tls: TlsMode::parse(&row.tls).ok_or(StoreError::Corrupt("mailboxes.tls"))?,
        extra_ca_pem: context.extra_ca_pem.clone(),
        auth: Auth::parse(&row.auth).ok_or(StoreError::Corrupt("mailboxes.auth"))?,
        username: row.username.clone(),
        secret: SecretString::from(secret),
        allow_plaintext_auth: row.allow_plaintext_auth,
        folder: row.folder.clone(),
        filed_folder: row.filed_folder.clone(),
        limits: context.limits(),
    })
}
