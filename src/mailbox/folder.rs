//! Opening a folder.
//!
//! RFC 3501 §6.3.1, §6.3.2, §2.3.1.1 (UIDVALIDITY).

use async_imap::imap_proto::{MailboxDatum, Response, ResponseCode};

use super::{
    error::{Cause, MailboxError, Stage},
    name,
    session::Session,
};

/// A folder that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Folder {
    /// As long as it stays the same, a UID means the same message.
    pub uidvalidity: u32,
    /// One more than the highest UID so far, if the server says it.
    pub uid_next: Option<u32>,
    /// Messages in it.
    pub n_messages: u32,
    /// Messages can't be moved away.
    pub is_read_only: bool,
}

impl Session {
    /// Open this folder for reading and filing.
    ///
    /// # Errors
    /// [`Cause::Refused`] when there is none of that name; otherwise as for every command.
    pub async fn select(&mut self, folder: &str) -> Result<Folder, MailboxError> {
        self.open_folder("SELECT", folder).await
    }

    /// Look into this folder without changing anything.
    ///
    /// # Errors
    /// As for [`Self::select`].
    pub async fn examine(&mut self, folder: &str) -> Result<Folder, MailboxError> {
        self.open_folder("EXAMINE", folder).await
    }

    async fn open_folder(&mut self, command: &str, folder: &str) -> Result<Folder, MailboxError> {
        let quoted = name::quote(folder).ok_or_else(|| Cause::Setting("folder").at(Stage::Folder))?;
        let mut uidvalidity = None;
        let mut opened = Folder { uidvalidity: 0, uid_next: None, n_messages: 0, is_read_only: false };
        self.run(Stage::Folder, &format!("{command} {quoted}"), |response| match response {
            Response::MailboxData(MailboxDatum::Exists(n_messages)) => opened.n_messages = *n_messages,
            Response::Data { outcome, .. } | Response::Done { outcome, .. } => match outcome.code {
                Some(ResponseCode::UidValidity(value)) => uidvalidity = Some(value),
                Some(ResponseCode::UidNext(value)) => opened.uid_next = Some(value),
                Some(ResponseCode::ReadOnly) => opened.is_read_only = true,
                _ => {}
            },
            _ => {}
        })
        .await?;
        (self.n_messages, self.has_news) = (opened.n_messages, false);
        opened.uidvalidity = uidvalidity.ok_or_else(|| Cause::NoUidValidity.at(Stage::Folder))?;
        Ok(opened)
    }
}
