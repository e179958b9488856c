//! A mailbox's row as the settings of a session: words become types. Not here: its secret (`secret`).

use secrecy::SecretString;

use super::context::Context;
use crate::{
    mailbox::{Auth, Filing, Kind, Settings, TlsMode},
    store::{StoreError, mailbox_reads::LeasedMailbox},
};

/// The settings of a session with this mailbox, to be logged in to with this secret.
pub(super) fn open(context: &Context, row: &LeasedMailbox, secret: SecretString) -> Result<Settings, StoreError> {
    Ok(Settings {
        kind: kind(row)?,
        host: row.host.clone(),
        port: row.port,
        tls: TlsMode::parse(&row.tls).ok_or(StoreError::Corrupt("mailboxes.tls"))?,
        extra_ca_pem: context.extra_ca_pem.clone(),
        auth: Auth::parse(&row.auth).ok_or(StoreError::Corrupt("mailboxes.auth"))?,
        username: row.username.clone(),
        secret,
        allow_plaintext_auth: row.allow_plaintext_auth,
        folders: row.folders.clone(),
        filing: filing(row)?,
        limits: context.limits(),
    })
}

/// What is spoken.
pub(super) fn kind(row: &LeasedMailbox) -> Result<Kind, StoreError> {
    Kind::parse(&row.kind).ok_or(StoreError::Corrupt("mailboxes.kind"))
}

/// What becomes of a message that was read.
pub(super) fn filing(row: &LeasedMailbox) -> Result<Filing, StoreError> {
    let filing = Filing::parse(&row.filing, &row.filed_folder, &row.filed_flag, row.delete_after_days);
    filing.ok_or(StoreError::Corrupt("mailboxes.filing"))
}

/// The name and the URL of every folder that is read.
pub(super) fn folders(row: &LeasedMailbox) -> Result<Vec<(String, String)>, StoreError> {
    let at = format!("{}@{}:{}", row.username, row.host, row.port);
    Ok(match kind(row)? {
        Kind::Imap => row.folders.iter().map(|name| (name.clone(), format!("imap://{at}/{name}"))).collect(),
        Kind::Pop3 => vec![(String::new(), format!("pop3://{at}"))],
    })
}
