//! The loop: finds mailboxes that nobody reads, and keeps a reader for each until it is edited, taken or told to stop.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{
    context::Context,
    error::ReportsError,
    events::keep_reading,
    reader::{LEASE_SECONDS, Reader, Step, renewal},
    reading::warm_up,
};
use crate::store::{
    StoreError,
    mailbox_reads::{self, Renewal},
};

/// Between two looks for mailboxes that nobody reads.
const SCAN: Duration = Duration::from_secs(1);
/// Mailboxes taken on in one look.
const N_TAKEN_MAX: i64 = 100;
/// Rounds under way at a time: each has a session open and reports in memory.
const N_ROUNDS_MAX: usize = 16;

/// Read every mailbox that no other node reads, until `shutdown` says true; then give the leases back.
pub async fn run(context: Arc<Context>, mut shutdown: watch::Receiver<bool>) {
    warm_up().await;
    let rounds = Arc::new(Semaphore::new(N_ROUNDS_MAX));
    let told = shutdown.clone();
    let mut readers = JoinSet::new();
    readers.spawn(keep_reading(Arc::clone(&context), told.clone()));
    let mut ticks = interval(SCAN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = told_to_stop(&mut shutdown) => break,
            Some(done) = readers.join_next() => report_panic(done),
            _ = ticks.tick() => match take_on(&context).await {
                Ok(taken) => {
                    for reader in taken {
                        readers.spawn(keep(reader, Arc::clone(&rounds), told.clone()));
                    }
                }
                Err(error) if error.is_unavailable() => tracing::debug!(%error, "no look for mailboxes"),
                Err(error) => tracing::error!(%error, "the look for mailboxes failed"),
            },
        }
    }
    while let Some(done) = readers.join_next().await {
        report_panic(done);
    }
}

/// Also when whoever could tell is gone. The guard that was awaited is dropped in here: it can't change threads.
async fn told_to_stop(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|stop| *stop).await;
}

fn report_panic(done: Result<(), tokio::task::JoinError>) {
    if let Err(error) = done {
        // Its lease runs out, and the mailbox is taken on again.
        tracing::error!(%error, "a mailbox's reader ended unexpectedly");
    }
}

async fn take_on(context: &Arc<Context>) -> Result<Vec<Reader>, StoreError> {
    let mut connection = context.store.acquire().await?;
    let due = mailbox_reads::due(&mut connection, Utc::now(), N_TAKEN_MAX).await?;
    drop(connection);
    let mut taken = Vec::new();
    for (workspace, mailbox) in due {
        taken.extend(Reader::lease(Arc::clone(context), workspace, mailbox).await?);
    }
    Ok(taken)
}

/// Read this mailbox for as long as it is this node's.
async fn keep(mut reader: Reader, rounds: Arc<Semaphore>, mut shutdown: watch::Receiver<bool>) {
    let wanted = Arc::new(Notify::new());
    let held = hold(&reader, Arc::clone(&wanted));
    // Every step can be dropped where it stands: what isn't committed is done again.
    tokio::select! {
        () = told_to_stop(&mut shutdown) => {}
        () = held => {}
        () = read(&mut reader, &rounds, &wanted) => {}
    }
    if let Err(error) = reader.close().await {
        tracing::debug!(%error, "the mailbox's lease could not be given back and runs out");
    }
}

/// Renews the lease until it is lost, or the mailbox was edited; passes on that it is wanted.
fn hold(reader: &Reader, wanted: Arc<Notify>) -> impl Future<Output = ()> + use<> {
    let context = Arc::clone(&reader.context);
    let (workspace, mailbox) = (reader.workspace, reader.mailbox);
    let (holder, revision) = (reader.holder, reader.row.revision);
    async move {
        loop {
            sleep(renewal()).await;
            let renewed = async {
                let mut connection = context.store.acquire().await?;
                mailbox_reads::renew(&mut connection, workspace, mailbox, holder, revision, LEASE_SECONDS).await
            };
            // While Postgres is away nobody else can take the lease either.
            match renewed.await {
                Ok(Renewal::Lost) => return,
                Ok(Renewal::Wanted) => wanted.notify_one(),
                Ok(Renewal::Held) | Err(_) => {}
            }
        }
    }
}

/// Round after round; ends only with Postgres.
async fn read(reader: &mut Reader, rounds: &Semaphore, wanted: &Notify) {
    loop {
        let Ok(permit) = rounds.acquire().await else { return };
        loop {
            match reader.step(Utc::now()).await {
                Ok(Step::Idle) => break,
                Ok(_) => {}
                Err(ReportsError::Store(_)) => return,
                // It stands on the mailbox and in the log.
                Err(_) => break,
            }
        }
        drop(permit);
        reader.wait_for_news(wanted).await;
    }
}
