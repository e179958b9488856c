//! Why a step of a reader failed.

use crate::{
    keyring::KeyringError,
    mailbox::{MailboxError, OAuthError},
    store::StoreError,
};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum ReportsError {
    /// The mailbox: it stands as failing, with these words, and is tried again later.
    #[error(transparent)]
    Mailbox(#[from] MailboxError),
    /// The mailbox's password doesn't open: the key file is not the one that sealed it.
    #[error("the stored password can't be opened: {0}")]
    Secret(#[from] KeyringError),
    /// The mailbox has neither a password nor a grant.
    #[error("the mailbox has no password, and no `oauth` either")]
    NoSecret,
    /// There is no access token for it.
    #[error(transparent)]
    OAuth(#[from] OAuthError),
    /// The server has these messages and doesn't hand them out.
    #[error("the server lists message {uid} and does not hand it out: {words}")]
    Withheld {
        /// The first of them.
        uid: u32,
        /// The server's words, if it said any.
        words: String,
    },
    /// Postgres.
    #[error(transparent)]
    Store(#[from] StoreError),
}
