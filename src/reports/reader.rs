//! One reader of one mailbox: it holds the lease, keeps the session, and takes one step after the other.
//!
//! A round is: record what was fetched, fetch what is new, file away what is done with. It begins with what needs no
//! server, so that a server that is down holds nothing up that has arrived.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    context::Context,
    error::ReportsError,
    fetching::{Fetcher, Source},
    recording::Recorder,
    settings,
};
use crate::{
    domain::id::{MailboxId, ReportId, WorkspaceId},
    mailbox::{Folder, Session},
    store::{
        StoreError,
        mailbox_reads::{self, LeasedMailbox},
        reports,
    },
};

/// Seconds for which a lease holds; it is renewed three times as often. So long a mailbox rests after its node died.
pub(super) const LEASE_SECONDS: f64 = 30.0;
/// The first wait after a failure, in seconds; each further failure doubles it.
const FIRST_BACKOFF_SECONDS: u64 = 2;
/// Messages moved on the server in one step.
const N_FILED_MAX: i64 = 500;

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many reports were read and recorded, or set aside.
    Recorded(usize),
    /// So many new messages were fetched and committed.
    Fetched(usize),
    /// So many messages were moved away on the server.
    Filed(usize),
    /// There was nothing left to do: the round is over.
    Idle,
}

/// The reader of one mailbox, which has its lease.
#[derive(Debug)]
pub struct Reader {
    pub(super) context: Arc<Context>,
    pub(super) workspace: WorkspaceId,
    pub(super) mailbox: MailboxId,
    /// Holds the lease; each reader has its own.
    pub(super) holder: Uuid,
    pub(super) row: LeasedMailbox,
    /// The folder and its server: what cursor and reports are kept under, so that those of another are not mistaken.
    folder_url: String,
    pub(super) session: Option<Session>,
    /// The folder as it was opened in this round.
    folder: Option<Folder>,
    /// The folder was read to its end in this round.
    is_read: bool,
    recorder: Recorder,
    fetcher: Fetcher,
}

impl Reader {
    /// Take the mailbox's lease. None when another has it, or the mailbox is disabled or gone.
    ///
    /// # Errors
    /// Postgres.
    pub async fn lease(
        context: Arc<Context>,
        workspace: WorkspaceId,
        mailbox: MailboxId,
    ) -> Result<Option<Self>, StoreError> {
        let holder = Uuid::now_v7();
        let mut connection = context.store.acquire().await?;
        let leased = mailbox_reads::lease(&mut connection, workspace, mailbox, holder, LEASE_SECONDS).await?;
        drop(connection);
        Ok(leased.map(|row| Self {
            folder_url: format!("imap://{}@{}:{}/{}", row.username, row.host, row.port, row.folder),
            context,
            workspace,
            mailbox,
            holder,
            row,
            session: None,
            folder: None,
            is_read: false,
            recorder: Recorder::default(),
            fetcher: Fetcher::default(),
        }))
    }

    /// Take one step of a round. The mailbox's health follows: a round that comes to its end is a good one, a step that
    /// fails ends the round and makes the mailbox wait.
    ///
    /// # Errors
    /// What failed; the next call begins a new round.
    pub async fn step(&mut self, now: DateTime<Utc>) -> Result<Step, ReportsError> {
        match self.try_step(now).await {
            Ok(Step::Idle) => {
                self.end_round();
                self.succeed(now).await?;
                Ok(Step::Idle)
            }
            Ok(step) => Ok(step),
            Err(error) => {
                self.end_round();
                self.fail(&error, now).await?;
                Err(error)
            }
        }
    }

    async fn try_step(&mut self, now: DateTime<Utc>) -> Result<Step, ReportsError> {
        let context = Arc::clone(&self.context);
        if let Some(n_reports) = self.recorder.step(&context, self.workspace, self.mailbox, now).await? {
            return Ok(Step::Recorded(n_reports));
        }
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::open(&settings::open(&context, self.mailbox, &self.row)?, &context.policy).await?,
        };
        let step = self.work(&mut session, now).await?;
        // After an error the session is not trusted with another command.
        self.session = Some(session);
        Ok(step)
    }

    async fn work(&mut self, session: &mut Session, now: DateTime<Utc>) -> Result<Step, ReportsError> {
        let folder = match self.folder {
            Some(folder) => folder,
            None => *self.folder.insert(session.select(&self.row.folder).await?),
        };
        let source = Source {
            context: &self.context,
            workspace: self.workspace,
            mailbox: self.mailbox,
            folder_url: &self.folder_url,
            folder,
        };
        if !self.is_read {
            if let Some(n_reports) = self.fetcher.step(source, session, now).await? {
                return Ok(Step::Fetched(n_reports));
            }
            self.is_read = true;
            let mut connection = self.context.store.acquire().await?;
            reports::give_up_filing_elsewhere(&mut connection, self.workspace, source.place(), now).await?;
        }
        let n_reports = file(source, &self.row, session, now).await?;
        Ok(if n_reports == 0 { Step::Idle } else { Step::Filed(n_reports) })
    }

    fn end_round(&mut self) {
        self.folder = None;
        self.is_read = false;
        self.fetcher.reset();
    }

    async fn succeed(&mut self, now: DateTime<Utc>) -> Result<(), ReportsError> {
        let (workspace, mailbox) = (self.workspace, self.mailbox);
        if self.row.n_failures > 0 {
            tracing::info!(%workspace, %mailbox, name = self.row.name, "the mailbox can be read again");
        }
        self.row.n_failures = 0;
        let next = now + self.wait();
        let mut connection = self.context.store.acquire().await?;
        Ok(mailbox_reads::succeed(&mut connection, workspace, mailbox, self.row.revision, next, now).await?)
    }

    async fn fail(&mut self, error: &ReportsError, now: DateTime<Utc>) -> Result<(), ReportsError> {
        let (workspace, mailbox) = (self.workspace, self.mailbox);
        if let ReportsError::Store(error) = error
            && error.is_unavailable()
        {
            // Not the mailbox's fault, and there is nowhere to say so.
            return Ok(());
        }
        self.row.n_failures = self.row.n_failures.saturating_add(1);
        let (next, name) = (now + self.wait(), &self.row.name);
        let words = match error {
            ReportsError::Store(error) => {
                tracing::error!(%workspace, %mailbox, name, %error, "the mailbox's reader had a fault of its own");
                "the reader had a fault of its own; the log of the service tells more".to_owned()
            }
            error => {
                tracing::warn!(%workspace, %mailbox, name, %error, next_try = %next, "the mailbox can't be read");
                error.to_string()
            }
        };
        let mut connection = self.context.store.acquire().await?;
        let revision = self.row.revision;
        Ok(mailbox_reads::fail(&mut connection, workspace, mailbox, revision, &words, next, now).await?)
    }

    /// From the end of a round to the next: the mailbox's interval, or ever longer after failures.
    pub(super) fn wait(&self) -> TimeDelta {
        let seconds = match u32::try_from(self.row.n_failures) {
            Ok(0) | Err(_) => u64::try_from(self.row.poll_seconds).unwrap_or(1),
            Ok(n_failures) => 2_u64
                .saturating_pow(n_failures - 1)
                .saturating_mul(FIRST_BACKOFF_SECONDS)
                .min(self.context.settings.max_backoff_seconds),
        };
        TimeDelta::seconds(i64::try_from(seconds).unwrap_or(i64::MAX).min(86_400))
    }

    /// Log out for now.
    pub(super) async fn rest(&mut self) {
        if let Some(session) = self.session.take() {
            session.close().await;
        }
    }

    /// Log out and give the lease back.
    ///
    /// # Errors
    /// Postgres: the lease then ends by itself.
    pub async fn close(mut self) -> Result<(), StoreError> {
        self.rest().await;
        let mut connection = self.context.store.acquire().await?;
        mailbox_reads::release(&mut connection, self.workspace, self.mailbox, self.holder).await
    }
}

/// Move some of what is done with out of the folder. Answers how many.
async fn file(
    source: Source<'_>,
    row: &LeasedMailbox,
    session: &mut Session,
    now: DateTime<Utc>,
) -> Result<usize, ReportsError> {
    let context = source.context;
    let mut connection = context.store.acquire().await?;
    let unfiled = reports::unfiled(&mut connection, source.workspace, source.place(), N_FILED_MAX).await?;
    drop(connection);
    if unfiled.is_empty() {
        return Ok(0);
    }
    let (ids, uids): (Vec<ReportId>, Vec<u32>) = unfiled.into_iter().unzip();
    // Moved to where it stands, a message would be new again, for ever.
    if !is_same_folder(&row.filed_folder, &row.folder) {
        session.file(&uids, &row.filed_folder).await?;
    }
    let mut connection = context.store.acquire().await?;
    reports::filed(&mut connection, source.workspace, &ids, now).await?;
    Ok(ids.len())
}

fn is_same_folder(a: &str, b: &str) -> bool {
    a == b || (a.eq_ignore_ascii_case("INBOX") && b.eq_ignore_ascii_case("INBOX"))
}

/// How often a lease is renewed.
pub(super) fn renewal() -> Duration {
    Duration::from_secs_f64(LEASE_SECONDS / 3.0)
}
