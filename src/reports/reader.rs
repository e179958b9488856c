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
    filing::file,
    opening::Spot,
    recording::Recorder,
    secret,
    server::Server,
    settings,
    source::Origin,
};
use crate::{
    domain::id::{MailboxId, WorkspaceId},
    mailbox::{Folder, MailboxError},
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

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// So many reports were read and recorded, or set aside.
    Recorded(usize),
    /// So many new messages were fetched and committed.
    Fetched(usize),
    /// So many messages were moved away, marked or deleted on the server, as the mailbox says.
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
    /// The folders that are read.
    pub(super) spots: Vec<Spot>,
    urls: Vec<String>,
    pub(super) session: Option<Server>,
    /// Folders that this round is done with.
    n_done: usize,
    /// The folder as it was opened in this round.
    folder: Option<Folder>,
    /// The first folder as it was opened last.
    pub(super) first: Option<Folder>,
    /// The folder was read to its end in this round.
    is_read: bool,
    /// A folder of several that could not be opened in this round.
    fault: Option<MailboxError>,
    recorder: Recorder,
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
        let Some(row) = leased else { return Ok(None) };
        let folders = settings::folders(&row)?;
        let urls = folders.iter().map(|(_, url)| url.clone()).collect();
        let spots = folders
            .into_iter()
            .map(|(name, url)| Spot { name, url, fetcher: Fetcher::default(), read: None })
            .collect();
        Ok(Some(Self {
            spots,
            urls,
            context,
            workspace,
            mailbox,
            holder,
            row,
            session: None,
            n_done: 0,
            folder: None,
            first: None,
            is_read: false,
            fault: None,
            recorder: Recorder::default(),
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
                if matches!(self.session, Some(Server::Pop3(_))) {
                    // It sees nothing that arrives, and locks others out.
                    self.rest().await;
                }
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
        if let Some(n_reports) =
            self.recorder.step(&context, self.workspace, Origin::Mailbox(self.mailbox), now).await?
        {
            return Ok(Step::Recorded(n_reports));
        }
        if self.n_done == self.spots.len() && self.fault.is_none() {
            return Ok(Step::Idle);
        }
        let server = match self.session.take() {
            Some(server) => server,
            None => self.log_in(now).await?,
        };
        // After an error the session is not trusted with another command.
        let (step, server) = self.work(server, now).await?;
        self.session = server;
        Ok(step)
    }

    async fn log_in(&mut self, now: DateTime<Utc>) -> Result<Server, ReportsError> {
        let (context, place) = (&*self.context, (self.workspace, self.mailbox));
        let secret = secret::secret(context, place, &self.row, now).await?;
        let opened = Server::open(&settings::open(context, &self.row, secret)?, &context.policy).await;
        if let Err(error) = &opened {
            secret::doubt(context, place, &self.row, error).await?;
        }
        Ok(opened?)
    }

    /// One folder after the other. Answers the session too, if it goes on.
    async fn work(&mut self, mut server: Server, now: DateTime<Utc>) -> Result<(Step, Option<Server>), ReportsError> {
        let (context, n_spots) = (&*self.context, self.spots.len());
        while let Some(spot) = self.spots.get_mut(self.n_done) {
            let folder = match self.folder {
                Some(folder) => folder,
                None => match spot.open(context, (self.workspace, self.mailbox), &mut server, now).await {
                    Ok(folder) => *self.folder.insert(folder),
                    // The other folders are read all the same.
                    Err(ReportsError::Mailbox(refused)) if refused.is_refusal() && n_spots > 1 => {
                        self.fault.get_or_insert(refused);
                        self.n_done += 1;
                        continue;
                    }
                    Err(error) => return Err(error),
                },
            };
            if self.n_done == 0 {
                self.first = Some(folder);
            }
            let source = Source {
                context,
                workspace: self.workspace,
                mailbox: self.mailbox,
                folder_url: &spot.url,
                folder_urls: &self.urls,
                folder,
            };
            if !self.is_read {
                // Nothing is listed in a folder that tells that it hasn't changed since it was read to its end.
                if !spot.read.is_some_and(|read| read.is_unchanged(&folder))
                    && let Some(n_reports) = spot.fetcher.step(source, &mut server, now).await?
                {
                    return Ok((Step::Fetched(n_reports), Some(server)));
                }
                (self.is_read, spot.read) = (true, Some(folder));
                let mut connection = context.store.acquire().await?;
                reports::give_up_filing_elsewhere(&mut connection, self.workspace, source.place(), now).await?;
            }
            let filing = settings::filing(&self.row)?;
            let (n_reports, left) = file(source, &filing, &self.row.folders, server, now).await?;
            let goes_on = left.is_some();
            if n_reports == 0 || !goes_on {
                (self.n_done, self.folder, self.is_read) = (self.n_done + 1, None, false);
            }
            match left {
                Some(left) if n_reports == 0 => server = left,
                left => return Ok((Step::Filed(n_reports), left)),
            }
        }
        match self.fault.take() {
            Some(fault) => Err(fault.into()),
            None => Ok((Step::Idle, Some(server))),
        }
    }

    fn end_round(&mut self) {
        (self.n_done, self.folder, self.is_read, self.fault) = (0, None, false, None);
        for spot in &mut self.spots {
            spot.fetcher.reset();
        }
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

/// How often a lease is renewed.
pub(super) fn renewal() -> Duration {
    Duration::from_secs_f64(LEASE_SECONDS / 3.0)
}
