//! Opening a folder.
//!
//! RFC 3501 §6.3.1, §6.3.2, §2.3.1.1 (UIDVALIDITY); RFC 7162 §3.1.2 and §3.1.8 (HIGHESTMODSEQ).

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
    /// Grows with every change of the folder; of a server that has CONDSTORE.
    pub highest_modseq: Option<u64>,
    /// Messages in it.
    pub n_messages: u32,
    /// Messages can't be moved away.
    pub is_read_only: bool,
}

impl Folder {
    /// Whether nothing has changed in it between this opening and a later one, as far as the server tells.
    pub fn is_unchanged(&self, later: &Self) -> bool {
        self.highest_modseq.is_some()
            && (self.uidvalidity, self.uid_next, self.highest_modseq)
                == (later.uidvalidity, later.uid_next, later.highest_modseq)
    }
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
        let mut opened =
            Folder { uidvalidity: 0, uid_next: None, highest_modseq: None, n_messages: 0, is_read_only: false };
        let condstore = if self.has_condstore { " (CONDSTORE)" } else { "" };
        self.run(Stage::Folder, &format!("{command} {quoted}{condstore}"), |response| match response {
            Response::MailboxData(MailboxDatum::Exists(n_messages)) => opened.n_messages = *n_messages,
            Response::Data { outcome, .. } | Response::Done { outcome, .. } => match outcome.code {
                Some(ResponseCode::UidValidity(value)) => uidvalidity = Some(value),
                Some(ResponseCode::UidNext(value)) => opened.uid_next = Some(value),
                Some(ResponseCode::HighestModSeq(value)) => opened.highest_modseq = Some(value),
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
