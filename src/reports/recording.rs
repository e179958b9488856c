//! From fetched to recorded: some reports are read at the same time, and what follows from them is written together.
//!
//! A report is counted as tried before it is looked into, so that one which ends the process is noticed; those that
//! were tried are taken alone, so that it takes no others with it. What can't be written together is written one by one.
//!
//! Not here: reading one (`reading`), the transaction (`consequences`).

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};

use super::{
    consequences::write,
    context::Context,
    error::ReportsError,
    reading::{Outcome, Reading, look_into},
    source::Origin,
};
use crate::{
    domain::id::{ReportId, WorkspaceId},
    store::{Connection, StoreError, reports},
};

/// Bytes of raw reports in memory at a time, about.
const BATCH_MAX_BYTES: i64 = 8_000_000;
/// Reports of one mailbox that are read at the same time.
const N_AT_A_TIME: usize = 4;
/// What was read waits in memory for the others up to so many bytes of it, about: a small report can say a lot.
const GROUP_MAX_BYTES: usize = 2_000_000;

/// Reads and records what was fetched.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    /// Counted as tried, but it was Postgres that failed: to be uncounted.
    innocent: Vec<ReportId>,
}

impl Recorder {
    /// Whether nothing is left to be uncounted.
    pub(super) fn is_done(&self) -> bool {
        self.innocent.is_empty()
    }

    /// Read some reports from there. None when there are none; else how many were looked at.
    pub(super) async fn step(
        &mut self,
        context: &Context,
        workspace: WorkspaceId,
        origin: Origin,
        now: DateTime<Utc>,
    ) -> Result<Option<usize>, ReportsError> {
        let mut connection = context.store.acquire().await?;
        if !self.innocent.is_empty() {
            reports::count_tries(&mut connection, workspace, &self.innocent, -1).await?;
            self.innocent.clear();
        }
        let limit = i64::from(context.settings.batch_size);
        let unread = origin.unread(&mut connection, workspace, limit, BATCH_MAX_BYTES).await?;
        let Some(first) = unread.first() else { return Ok(None) };
        if first.n_tries >= context.settings.max_tries {
            let reason = format!("it could not be read in {} tries", first.n_tries);
            set_aside(&mut connection, workspace, first.report, &reason, now).await?;
            return Ok(Some(1));
        }
        let ids: Vec<ReportId> = unread.iter().map(|one| one.report).collect();
        reports::count_tries(&mut connection, workspace, &ids, 1).await?;
        drop(connection);
        let n_reports = ids.len();
        let mut open: HashSet<ReportId> = ids.into_iter().collect();
        let looks = unread.into_iter().map(|one| look_into(context, workspace, origin, one, now));
        let mut looks = stream::iter(looks).buffered(N_AT_A_TIME);
        let (mut group, mut n_bytes) = (Vec::new(), 0);
        loop {
            let look = looks.next().await;
            let is_last = look.is_none();
            if let Some(look) = look {
                n_bytes += look.n_bytes;
                group.push(look);
            }
            if n_bytes < GROUP_MAX_BYTES && !is_last {
                continue;
            }
            let written: Vec<Reading> = std::mem::take(&mut group);
            n_bytes = 0;
            if let Err(error) = settle(context, workspace, origin, &written, now).await {
                self.innocent = open.into_iter().collect();
                return Err(error.into());
            }
            for one in written {
                open.remove(&one.report);
            }
            if is_last {
                return Ok(Some(n_reports));
            }
        }
    }
}

/// Write down what was read; an error means that Postgres is away. What can't be written stays counted as tried, and is set
/// aside in the end like what can't be read.
async fn settle(
    context: &Context,
    workspace: WorkspaceId,
    origin: Origin,
    group: &[Reading],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut read = Vec::new();
    for one in group {
        let report = one.report;
        match &one.outcome {
            Outcome::Read(facts) => read.push((report, &**facts)),
            Outcome::Unfit(unfit) => {
                let mut connection = context.store.acquire().await?;
                set_aside(&mut connection, workspace, report, &unfit.to_string(), now).await?;
            }
            Outcome::Lost => tracing::warn!(%workspace, %report, "a report could not be read and will be tried again"),
        }
    }
    match write(context, workspace, &read, now).await {
        Err(error) if error.is_unavailable() => return Err(error),
        Err(error) if read.len() > 1 => {
            tracing::warn!(%workspace, %origin, %error, "reports could not be recorded together and are recorded one by one");
        }
        Err(error) => {
            report_fault(workspace, origin, &read, &error);
            return Ok(());
        }
        Ok(()) => return Ok(()),
    }
    for one in read.chunks(1) {
        match write(context, workspace, one, now).await {
            Err(error) if error.is_unavailable() => return Err(error),
            Err(error) => report_fault(workspace, origin, one, &error),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn report_fault<T>(workspace: WorkspaceId, origin: Origin, read: &[(ReportId, T)], error: &StoreError) {
    for (report, _) in read {
        tracing::error!(%workspace, %origin, %report, %error, "a report could not be recorded");
    }
}

async fn set_aside(
    connection: &mut Connection,
    workspace: WorkspaceId,
    report: ReportId,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    tracing::warn!(%workspace, %report, reason, "a report was set aside");
    reports::quarantine(connection, workspace, report, reason, now).await
}
