//! What follows from reports, in one transaction with their rows: all of it, or nothing.
//!
//! Not here: what a report says (`reading`), what that means for its delivery (`judgement`), the rows (`store`).

use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;

use super::{
    context::Context,
    judgement::{Consequence, is_about, judge},
    reading::Facts,
};
use crate::{
    domain::{
        bounce::Severity,
        id::{ReportId, WorkspaceId},
    },
    store::{
        self, StoreError,
        bounces::{self, Bounce, Complaint},
        opt_outs,
        reports::{self, Recorded},
    },
};

/// Transactions of all mailboxes of this process together: the rest of the pool is for HTTP.
static TRANSACTIONS: Semaphore = Semaphore::const_new(6);
/// Transactions that collide are tried again at once so many times.
const N_COLLISIONS_MAX: usize = 5;

/// Write the rows of these reports and everything that follows from them. Those that were recorded meanwhile, or set aside,
/// are passed over.
pub(super) async fn write(
    context: &Context,
    workspace: WorkspaceId,
    read: &[(ReportId, &Facts)],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if read.is_empty() {
        return Ok(());
    }
    let _permit = TRANSACTIONS.acquire().await;
    let mut n_collisions = 0;
    loop {
        match try_write(context, workspace, read, now).await {
            Err(StoreError::Collision(_)) if n_collisions < N_COLLISIONS_MAX => n_collisions += 1,
            outcome => return outcome,
        }
    }
}

async fn try_write(
    context: &Context,
    workspace: WorkspaceId,
    read: &[(ReportId, &Facts)],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let mut transaction = context.store.begin().await?;
    let signed: Vec<_> = read.iter().flat_map(|(_, facts)| facts.signed.iter().copied()).collect();
    let subjects = bounces::lock_all(&mut transaction, workspace, &signed).await?;
    let subject_of = |facts: &Facts| {
        let found = facts.signed.iter().find_map(|delivery| subjects.get(delivery));
        found.filter(|one| !facts.must_name_address || is_about(&facts.inspection, &one.address_key))
    };
    let rows: Vec<_> = read
        .iter()
        .map(|(report, facts)| Recorded {
            report: *report,
            kind: facts.inspection.kind.as_str(),
            inspection: &facts.view,
            class: facts.class,
            delivery: subject_of(facts).map(|subject| subject.delivery),
        })
        .collect();
    let recorded = reports::record_all(&mut transaction, workspace, &rows, now).await?;
    let (mut bounced, mut complained, mut unsubscribed) = (Vec::new(), Vec::new(), Vec::new());
    for (report, facts) in read.iter().filter(|(report, _)| recorded.contains(report)) {
        let (report, Some(subject)) = (*report, subject_of(facts)) else { continue };
        match judge(&facts.inspection, &subject.address_key) {
            Consequence::Nothing => {}
            Consequence::Bounced(failure) => {
                let bounce = Bounce {
                    report,
                    class: failure.class,
                    severity: failure.severity.as_str(),
                    status: failure.status,
                    text: failure.text,
                    condemned: failure.severity == Severity::Hard,
                };
                bounced.push((subject, bounce));
            }
            Consequence::Complained(feedback) => {
                complained.push((subject, Complaint { report, feedback: feedback.as_str() }));
            }
            Consequence::Unsubscribed => unsubscribed.push((subject, report)),
        }
    }
    let bounced = bounces::bounce_all(&mut transaction, workspace, context.node, &bounced, now).await?;
    let complained = bounces::complain_all(&mut transaction, workspace, &complained, now).await?;
    // In key order, as the others are written.
    unsubscribed.sort_by(|one, other| one.0.address_key.cmp(&other.0.address_key));
    for (subject, report) in &unsubscribed {
        opt_outs::unsubscribe(&mut transaction, workspace, subject, *report, now).await?;
    }
    store::commit(transaction).await?;
    let (n_reports, n_bounced, n_complained) = (recorded.len(), bounced.len(), complained.len());
    let n_unsubscribed = unsubscribed.len();
    tracing::debug!(%workspace, n_reports, n_bounced, n_complained, n_unsubscribed, "recorded reports");
    Ok(())
}
