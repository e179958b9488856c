//! From the server into Postgres: list, fetch, and commit raw bytes and cursor together.
//!
//! Messages are fetched many at a time. Where that fails they are fetched one by one, so that a message which the server
//! doesn't hand out, or which ends the session, is found. When others come through and it doesn't, it is set aside
//! without its bytes and the cursor passes it; while nothing comes through, it is the server that fails, and nothing is
//! passed.

use std::collections::{BTreeMap, HashMap, VecDeque};

use chrono::{DateTime, Utc};

use super::{
    context::Context,
    error::ReportsError,
    fate::{Decision, Fate},
    server::Server,
};
use crate::{
    domain::id::{MailboxId, WorkspaceId},
    mailbox::{Cause, Folder, Listed, MailboxError, Message},
    store::{
        self, StoreError,
        mailbox_reads::{self, Cursor},
        maildrops,
        reports::{self, Found, Place},
    },
};

/// Bytes of messages that are fetched together, by the sizes that the server tells.
const GROUP_MAX_BYTES: u64 = 4_000_000;

/// Whose folder it is that is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) context: &'a Context,
    pub(super) workspace: WorkspaceId,
    pub(super) mailbox: MailboxId,
    /// The folder and its server.
    pub(super) folder_url: &'a str,
    /// The same of all that are read.
    pub(super) folder_urls: &'a [String],
    pub(super) folder: Folder,
}

impl<'a> Source<'a> {
    pub(super) fn place(&self) -> Place<'a> {
        Place {
            mailbox: self.mailbox,
            folder: self.folder_url,
            folders: self.folder_urls,
            uidvalidity: self.folder.uidvalidity,
        }
    }
}

/// Where the reader stands in the folder.
#[derive(Debug, Default)]
pub(super) struct Fetcher {
    /// Listed and not yet fetched.
    backlog: VecDeque<Listed>,
    /// Times that a message could not be had, by UID.
    n_failures: HashMap<u32, u32>,
    /// Fetch one by one: something went wrong with several at once.
    is_careful: bool,
}

impl Fetcher {
    /// These are to be fetched: a maildrop is listed once a session, when it is opened.
    pub(super) fn begin(&mut self, listed: Vec<Listed>) {
        self.backlog = listed.into();
    }

    /// Forget what was listed: the session is over, or UIDs mean something else now.
    pub(super) fn reset(&mut self) {
        self.backlog.clear();
    }

    /// Fetch and commit some messages. None when there are no new ones; else how many rows were written.
    pub(super) async fn step(
        &mut self,
        source: Source<'_>,
        server: &mut Server,
        now: DateTime<Utc>,
    ) -> Result<Option<usize>, ReportsError> {
        if self.backlog.is_empty() {
            if let Server::Imap(session) = server {
                let above = last_uid(source).await?;
                self.backlog = session.list(&source.folder, above).await?.into();
            }
            if self.backlog.is_empty() {
                self.n_failures.clear();
                self.is_careful = false;
                return Ok(None);
            }
        }
        let group = self.next_group(source.context);
        let (mut fates, mut wanted) = sort_by_size(source.context, &group);
        if !self.is_careful {
            match server.fetch(&wanted).await {
                Ok(messages) => take(&mut fates, messages, source.context),
                Err(error) => {
                    self.is_careful = true;
                    if !error.is_refusal() {
                        return Err(error.into());
                    }
                }
            }
            wanted.retain(|uid| !fates.contains_key(uid));
        }
        let mut fault = None;
        if !wanted.is_empty() {
            wanted.sort_by_key(|uid| (self.n_failures.get(uid).copied().unwrap_or(0), *uid));
            fault = fetch_apart(server, &wanted, &mut fates, source.context).await.err().map(ReportsError::from);
        }
        for (uid, _) in fates.iter().filter(|(_, fate)| matches!(fate, Fate::Withheld(_))) {
            *self.n_failures.entry(*uid).or_default() += 1;
        }
        let (n_written, withheld) = self.commit(source, matches!(server, Server::Pop3(_)), &group, fates, now).await?;
        let fault = fault.or(withheld);
        self.is_careful = fault.is_some();
        fault.map_or(Ok(Some(n_written)), Err)
    }

    /// The next messages that fit together; when something is wrong at least two, so that one can be held against the
    /// other.
    fn next_group(&self, context: &Context) -> Vec<Listed> {
        let n_least = if self.is_careful { 2 } else { 1 };
        let (mut group, mut n_bytes) = (Vec::new(), 0);
        for listed in self.backlog.iter().take((context.settings.batch_size as usize).max(n_least)) {
            n_bytes += u64::from(listed.size_bytes.min(context.settings.max_message_bytes));
            if group.len() >= n_least && n_bytes > GROUP_MAX_BYTES {
                break;
            }
            group.push(*listed);
        }
        group
    }

    /// Write rows for what is decided, and the cursor up to the first message that isn't. Answers how many rows are new,
    /// and what is to be tried again.
    async fn commit(
        &mut self,
        source: Source<'_>,
        is_maildrop: bool,
        group: &[Listed],
        mut fates: BTreeMap<u32, Fate>,
        now: DateTime<Utc>,
    ) -> Result<(usize, Option<ReportsError>), ReportsError> {
        let others_come_through = fates.values().any(|fate| matches!(fate, Fate::Fetched(_)));
        let (mut rows, mut decided, mut passed, mut is_open, mut withheld) =
            (Vec::new(), Vec::new(), None, false, None);
        for listed in group {
            let n_failures = self.n_failures.get(&listed.uid).copied().unwrap_or(0);
            let enough = others_come_through && n_failures >= source.context.settings.max_tries;
            match fates.remove(&listed.uid).map(|fate| fate.decide(*listed, enough, source.context)) {
                Some(Decision::Row(row)) => {
                    decided.push(listed.uid);
                    rows.push(row);
                }
                Some(Decision::Pass) => decided.push(listed.uid),
                Some(Decision::TryAgain(words)) => {
                    withheld.get_or_insert(ReportsError::Withheld { uid: listed.uid, words });
                    is_open = true;
                }
                // The session was over before its turn came.
                None => is_open = true,
            }
            if !is_open {
                passed = Some(listed.uid);
            }
        }
        let progress = if is_maildrop { Progress::Read(decided) } else { Progress::Passed(passed) };
        let n_written = write(source, rows, progress, now).await?;
        if let Some(passed) = passed {
            self.backlog.retain(|listed| listed.uid > passed);
            self.n_failures.retain(|uid, _| *uid > passed);
        }
        if is_open {
            self.backlog.clear();
        }
        Ok((n_written, withheld))
    }
}

/// How far it has come.
enum Progress {
    /// In a folder: everything up to this UID.
    Passed(Option<u32>),
    /// In a maildrop: these.
    Read(Vec<u32>),
}

async fn write(
    source: Source<'_>,
    rows: Vec<Found>,
    progress: Progress,
    now: DateTime<Utc>,
) -> Result<usize, StoreError> {
    for row in &rows {
        if let Some(reason) = &row.quarantined {
            let (workspace, mailbox) = (source.workspace, source.mailbox);
            tracing::warn!(%workspace, %mailbox, uid = row.uid, reason, "a message was set aside unread");
        }
    }
    let mut transaction = source.context.store.begin().await?;
    let n_written = reports::insert(&mut transaction, source.workspace, source.place(), rows, now).await?;
    let (workspace, folder) = (source.workspace, source.folder_url);
    match progress {
        Progress::Passed(None) => {}
        Progress::Passed(Some(last_uid)) => {
            let to = Cursor { uidvalidity: source.folder.uidvalidity, last_uid };
            mailbox_reads::advance(&mut transaction, workspace, source.mailbox, folder, to, now).await?;
        }
        Progress::Read(uids) => {
            maildrops::set_read(&mut transaction, workspace, source.mailbox, folder, &uids).await?;
        }
    }
    store::commit(transaction).await?;
    Ok(n_written)
}

/// Up to which UID everything is committed; 0 in a folder whose UIDs were given anew.
async fn last_uid(source: Source<'_>) -> Result<u32, StoreError> {
    let mut connection = source.context.store.acquire().await?;
    let (workspace, folder) = (source.workspace, source.folder_url);
    let cursor = mailbox_reads::cursor(&mut connection, workspace, source.mailbox, folder).await?;
    let same = cursor.filter(|cursor| cursor.uidvalidity == source.folder.uidvalidity);
    if cursor.is_some() && same.is_none() {
        let mailbox = source.mailbox;
        tracing::warn!(%workspace, %mailbox, folder, "the folder's UIDVALIDITY changed; it is read from its beginning");
    }
    Ok(same.map_or(0, |cursor| cursor.last_uid))
}

/// The fates that sizes decide, and the UIDs to be fetched, ascending.
fn sort_by_size(context: &Context, group: &[Listed]) -> (BTreeMap<u32, Fate>, Vec<u32>) {
    let max = context.settings.max_message_bytes;
    let (large, small): (Vec<&Listed>, Vec<&Listed>) = group.iter().partition(|listed| listed.size_bytes > max);
    let too_large = |listed: &&Listed| (listed.uid, Fate::TooLarge { size_bytes: listed.size_bytes.into() });
    (large.iter().map(too_large).collect(), small.iter().map(|listed| listed.uid).collect())
}

fn take(fates: &mut BTreeMap<u32, Fate>, messages: Vec<Message>, context: &Context) {
    let over = u64::from(context.settings.max_message_bytes) + 1;
    for message in messages {
        fates.insert(message.uid, message.raw.map_or(Fate::TooLarge { size_bytes: over }, Fate::Fetched));
    }
}

/// One by one. An error means that the session is over; what it was about has its fate, what came behind has none.
async fn fetch_apart(
    server: &mut Server,
    wanted: &[u32],
    fates: &mut BTreeMap<u32, Fate>,
    context: &Context,
) -> Result<(), MailboxError> {
    for uid in wanted {
        let words = match server.fetch(&[*uid]).await {
            Ok(messages) if !messages.is_empty() => {
                take(fates, messages, context);
                continue;
            }
            Ok(_) => "it sent nothing".to_owned(),
            Err(error) if error.is_refusal() => error.to_string(),
            Err(error) => {
                // What was before it ended the session.
                if !matches!(error.cause, Cause::Spent) {
                    fates.insert(*uid, Fate::Withheld(error.to_string()));
                }
                return Err(error);
            }
        };
        let is_there = server.holds(*uid).await?;
        fates.insert(*uid, if is_there { Fate::Withheld(words) } else { Fate::Gone });
    }
    Ok(())
}
