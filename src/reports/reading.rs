//! Reading one report, apart from everything else, so that a stranger's message can neither stop nor end the reader.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::{attribution::signed_deliveries, context::Context, source::Origin};
use crate::{
    domain::{
        bounce::describe,
        id::{DeliveryId, ReportId, WorkspaceId},
    },
    mail::report::{InspectError, Inspection, inspect},
    store::reports::Unread,
};

/// A report takes milliseconds to read, and nothing inside the limits more than a second; what takes longer is as good as
/// one that never ends. Only the first try is so strict: the machine may have stood still.
const INSPECT_SECONDS: [u64; 3] = [1, 4, 16];
/// Reports that are read at the same time in this process: the processors have other work too.
static READERS: Semaphore = Semaphore::const_new(6);
/// What the facts of a report take in memory beside their texts, for the report and for each recipient; about.
const REPORT_BYTES: usize = 2_000;
const RECIPIENT_BYTES: usize = 500;

/// A report that was looked into.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) report: ReportId,
    pub(super) outcome: Outcome,
    /// What it takes in memory, about.
    pub(super) n_bytes: usize,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It says this.
    Read(Box<Facts>),
    /// It exceeds a limit.
    Unfit(InspectError),
    /// The parser panicked or took too long.
    Lost,
}

/// What a report says.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) inspection: Inspection,
    /// What the API shows of it.
    pub(super) view: Value,
    /// The class of its first failure.
    pub(super) class: Option<&'static str>,
    /// The deliveries that it is signed for; whether they exist is still to be asked.
    pub(super) signed: Vec<DeliveryId>,
    /// It counts only for an address that it names.
    pub(super) must_name_address: bool,
}

/// Look into a report. It is read on a thread of its own, and not waited for longer than a limit.
pub(super) async fn look_into(
    context: &Context,
    workspace: WorkspaceId,
    origin: Origin,
    one: Unread,
    now: DateTime<Utc>,
) -> Reading {
    let (report, raw, keyring) = (one.report, one.raw, Arc::clone(&context.keyring));
    let _permit = READERS.acquire().await;
    let work = tokio::task::spawn_blocking(move || -> Result<Facts, InspectError> {
        let inspection = origin.inspect(&raw)?;
        let description = describe(&inspection);
        let failure = description.recipients.iter().find(|one| one.severity.is_some());
        Ok(Facts {
            class: failure.and_then(|one| one.class),
            view: serde_json::to_value(&description).unwrap_or_default(),
            signed: signed_deliveries(&inspection, &keyring, workspace, now),
            must_name_address: origin.must_name_address(),
            inspection,
        })
    });
    let place = usize::try_from(one.n_tries).unwrap_or(usize::MAX);
    let seconds = INSPECT_SECONDS.get(place).or(INSPECT_SECONDS.last()).copied().unwrap_or(1);
    let outcome = match tokio::time::timeout(Duration::from_secs(seconds), work).await {
        Ok(Ok(Ok(facts))) => Outcome::Read(Box::new(facts)),
        Ok(Ok(Err(unfit))) => Outcome::Unfit(unfit),
        Ok(Err(_)) | Err(_) => Outcome::Lost,
    };
    let n_bytes = if let Outcome::Read(facts) = &outcome { weight(&facts.inspection) } else { 0 };
    Reading { report, outcome, n_bytes }
}

/// The facts and their view; their words are in both.
fn weight(inspection: &Inspection) -> usize {
    let recipients = inspection.recipients.iter().map(|one| {
        let texts = [&one.address, &one.original, &one.diagnostic, &one.remote_mta];
        RECIPIENT_BYTES + 2 * texts.into_iter().flatten().map(String::len).sum::<usize>()
    });
    let headers = inspection.original.headers.iter().map(|(name, value)| name.len() + value.len());
    REPORT_BYTES + recipients.sum::<usize>() + headers.sum::<usize>()
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
