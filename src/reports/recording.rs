//! Reading fetched reports and writing what follows, one transaction each.
//!
//! A report is counted as tried before it is looked into, so that one which ends the process is noticed; those that
//! were tried are taken alone, so that it takes no others with it.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use tokio::sync::Semaphore;

use super::{
    attribution::signed_deliveries,
    context::Context,
    error::ReportsError,
    judgement::{Consequence, judge},
};
use crate::{
    domain::{
        bounce::{Description, Severity, describe},
        id::{MailboxId, ReportId, WorkspaceId},
    },
    mail::report::{InspectError, Inspection, inspect},
    store::{
        self, Connection, StoreError,
        bounces::{self, Bounce, Subject},
        reports::{self, Recorded, Unread},
    },
};

/// Bytes of raw reports in memory at a time, about.
const BATCH_MAX_BYTES: i64 = 8_000_000;
/// A report takes milliseconds to read, and nothing inside the limits more than a second; what takes longer is as good as
/// one that never ends. Only the first try is so strict: the machine may have stood still.
const INSPECT_SECONDS: [u64; 3] = [1, 4, 16];
/// Reports of one mailbox that are read at the same time, each in a transaction of its own.
const N_AT_A_TIME: usize = 4;
/// The same for all mailboxes of this process together: the rest of the pool is for HTTP.
static TRANSACTIONS: Semaphore = Semaphore::const_new(6);
/// Transactions that collide are tried again at once so many times.
const N_COLLISIONS_MAX: usize = 5;

/// Reads and records what was fetched.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    /// Counted as tried, but it was Postgres that failed: to be uncounted.
    innocent: Vec<ReportId>,
}

impl Recorder {
    /// Read some reports of the mailbox. None when there are none; else how many were looked at.
    pub(super) async fn step(
        &mut self,
        context: &Context,
        workspace: WorkspaceId,
        mailbox: MailboxId,
        now: DateTime<Utc>,
    ) -> Result<Option<usize>, ReportsError> {
        let mut connection = context.store.acquire().await?;
        if !self.innocent.is_empty() {
            reports::count_tries(&mut connection, workspace, &self.innocent, -1).await?;
            self.innocent.clear();
        }
        let limit = i64::from(context.settings.batch_size);
        let unread = reports::unread(&mut connection, workspace, mailbox, limit, BATCH_MAX_BYTES).await?;
        let Some(first) = unread.first() else { return Ok(None) };
        if first.n_tries >= context.settings.max_tries {
            let reason = format!("it could not be read in {} tries", first.n_tries);
            set_aside(&mut connection, workspace, first.report, &reason, now).await?;
            return Ok(Some(1));
        }
        let ids: Vec<ReportId> = unread.iter().map(|one| one.report).collect();
        reports::count_tries(&mut connection, workspace, &ids, 1).await?;
        drop(connection);
        let mut open: HashSet<ReportId> = ids.into_iter().collect();
        let n_reports = open.len();
        let tries = unread.into_iter().map(|one| async { (one.report, read(context, workspace, one, now).await) });
        let mut tries = stream::iter(tries).buffer_unordered(N_AT_A_TIME);
        while let Some((report, outcome)) = tries.next().await {
            match outcome {
                Err(ReportsError::Store(error)) if !error.is_unavailable() => {
                    // It stays counted: what can't be written is set aside like what can't be read.
                    tracing::error!(%workspace, %mailbox, %report, %error, "a report could not be recorded");
                }
                Err(error) => {
                    self.innocent = open.into_iter().collect();
                    return Err(error);
                }
                Ok(()) => {}
            }
            open.remove(&report);
        }
        Ok(Some(n_reports))
    }
}

async fn read(context: &Context, workspace: WorkspaceId, one: Unread, now: DateTime<Utc>) -> Result<(), ReportsError> {
    let report = one.report;
    let _permit = TRANSACTIONS.acquire().await;
    match look_into(one.raw, one.n_tries).await {
        Some(Ok((inspection, description))) => {
            let mut n_collisions = 0;
            loop {
                match record(context, workspace, report, &inspection, &description, now).await {
                    Err(StoreError::Collision(_)) if n_collisions < N_COLLISIONS_MAX => n_collisions += 1,
                    outcome => return Ok(outcome?),
                }
            }
        }
        Some(Err(unfit)) => {
            let mut connection = context.store.acquire().await?;
            set_aside(&mut connection, workspace, report, &unfit.to_string(), now).await
        }
        None => {
            tracing::warn!(%workspace, %report, "a report could not be read and will be tried again");
            Ok(())
        }
    }
}

/// A report and what the API shows of it. None when the parser panicked or took too long: it runs apart, so that it can do
/// neither to anything else.
async fn look_into(raw: Vec<u8>, n_tries: u32) -> Option<Result<(Inspection, Description), InspectError>> {
    let work = tokio::task::spawn_blocking(move || {
        inspect(&raw).map(|inspection| {
            let description = describe(&inspection);
            (inspection, description)
        })
    });
    let place = usize::try_from(n_tries).unwrap_or(usize::MAX);
    let seconds = INSPECT_SECONDS.get(place).or(INSPECT_SECONDS.last()).copied().unwrap_or(1);
    tokio::time::timeout(Duration::from_secs(seconds), work).await.ok()?.ok()
}

/// Compile the rules, which takes longer than any report, before the first one comes.
pub(super) async fn warm_up() {
    let work = tokio::task::spawn_blocking(|| {
        let notice =
            b"From: MAILER-DAEMON@localhost\nSubject: failure notice\n\n<a@example.org>: 550 5.1.1 user unknown\n";
        inspect(notice).map(|inspection| describe(&inspection))
    });
    let _ = work.await;
}

async fn set_aside(
    connection: &mut Connection,
    workspace: WorkspaceId,
    report: ReportId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), ReportsError> {
    tracing::warn!(%workspace, %report, reason, "a report was set aside");
    Ok(reports::quarantine(connection, workspace, report, reason, now).await?)
}

/// The report's row and everything that follows from it, or nothing.
async fn record(
    context: &Context,
    workspace: WorkspaceId,
    report: ReportId,
    inspection: &Inspection,
    description: &Description,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let signed = signed_deliveries(inspection, &context.keyring, workspace, now);
    let class = description.recipients.iter().find(|one| one.severity.is_some()).and_then(|one| one.class);
    let view = serde_json::to_value(description).unwrap_or_default();
    let mut transaction = context.store.begin().await?;
    let mut subject = None;
    for delivery in signed {
        subject = bounces::lock(&mut transaction, workspace, delivery).await?;
        if subject.is_some() {
            break;
        }
    }
    let delivery = subject.as_ref().map(|subject| subject.delivery);
    let recorded = Recorded { kind: inspection.kind.as_str(), inspection: &view, class, delivery };
    if !reports::record(&mut transaction, workspace, report, &recorded, now).await? {
        return Ok(());
    }
    let mut effect = "nothing";
    if let Some(subject) = &subject {
        effect = follow(context, &mut transaction, workspace, report, inspection, subject, now).await?;
    }
    store::commit(transaction).await?;
    let delivery = delivery.map(tracing::field::display);
    tracing::debug!(%workspace, %report, kind = %inspection.kind, delivery, effect, "recorded a report");
    Ok(())
}

async fn follow(
    context: &Context,
    connection: &mut Connection,
    workspace: WorkspaceId,
    report: ReportId,
    inspection: &Inspection,
    subject: &Subject,
    now: DateTime<Utc>,
) -> Result<&'static str, StoreError> {
    let (is_new, effect) = match judge(inspection, &subject.address_key) {
        Consequence::Nothing => (false, ""),
        Consequence::Bounced(failure) => {
            let bounce = Bounce {
                report,
                class: failure.class,
                severity: failure.severity.as_str(),
                status: failure.status,
                text: failure.text,
                condemned: failure.severity == Severity::Hard,
            };
            (bounces::bounce(connection, workspace, context.node, subject, &bounce, now).await?, "bounced")
        }
        Consequence::Complained(feedback) => {
            (bounces::complain(connection, workspace, subject, report, feedback.as_str(), now).await?, "complained")
        }
    };
    Ok(if is_new { effect } else { "nothing" })
}
