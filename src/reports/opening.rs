//! Opening a folder to be read. A maildrop has none: what waits in it is listed and numbered instead.

use chrono::{DateTime, Utc};

use super::{context::Context, error::ReportsError, fetching::Fetcher, server::Server};
use crate::{
    domain::id::{MailboxId, WorkspaceId},
    mailbox::{Folder, Listed, Maildrop},
    store::{self, maildrops},
};

/// One of the folders that are read, over all rounds.
#[derive(Debug)]
pub(super) struct Spot {
    /// As the server calls it.
    pub(super) name: String,
    /// The folder and its server: what cursor and reports are kept under, so that those of another are not mistaken.
    pub(super) url: String,
    pub(super) fetcher: Fetcher,
    /// As it was opened when it was last read to its end.
    pub(super) read: Option<Folder>,
}

impl Spot {
    /// Open it, by its name.
    pub(super) async fn open(
        &mut self,
        context: &Context,
        (workspace, mailbox): (WorkspaceId, MailboxId),
        server: &mut Server,
        now: DateTime<Utc>,
    ) -> Result<Folder, ReportsError> {
        match server {
            Server::Imap(session) => Ok(session.select(&self.name).await?),
            Server::Pop3(maildrop) => {
                let (n_messages, unread) = number(context, (workspace, mailbox), &self.url, maildrop, now).await?;
                self.fetcher.begin(unread);
                Ok(Folder {
                    uidvalidity: maildrops::UIDVALIDITY,
                    uid_next: None,
                    highest_modseq: None,
                    n_messages,
                    is_read_only: false,
                })
            }
        }
    }
}

/// How many messages wait, and those of them that were not read yet, by numbers that last.
async fn number(
    context: &Context,
    (workspace, mailbox): (WorkspaceId, MailboxId),
    url: &str,
    maildrop: &mut Maildrop,
    now: DateTime<Utc>,
) -> Result<(u32, Vec<Listed>), ReportsError> {
    let waiting = maildrop.list().await?;
    let mut seen = std::collections::HashMap::with_capacity(waiting.len());
    let mut keys = Vec::with_capacity(waiting.len());
    for message in &waiting {
        if seen.insert(message.key, message.size_bytes).is_none() {
            keys.push(message.key);
        }
    }
    let mut transaction = context.store.begin().await?;
    let known = maildrops::take_stock(&mut transaction, workspace, mailbox, url, &keys, now).await?;
    store::commit(transaction).await?;
    let uids: std::collections::HashMap<_, _> = known.iter().map(|one| (one.key, one.uid)).collect();
    maildrop.call(&waiting, |key| uids.get(key).copied());
    let unread = known.iter().filter(|one| !one.is_read).filter_map(|one| {
        let size_bytes = *seen.get(&one.key)?;
        Some(Listed { uid: one.uid, size_bytes })
    });
    Ok((u32::try_from(waiting.len()).unwrap_or(u32::MAX), unread.collect()))
}
