//! The events that came by inbound webhooks: read and recorded like a mailbox's reports, by one node at a time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};
use uuid::Uuid;

use super::{context::Context, error::ReportsError, recording::Recorder, source::Origin};
use crate::{
    domain::id::{InboundWebhookId, WorkspaceId},
    mail::report::Service,
    store::inbound_events,
};

/// Between two looks for events.
const SCAN: Duration = Duration::from_secs(1);
/// Seconds for which a lease holds; it is renewed with each step. So long events rest after their node died.
const LEASE_SECONDS: f64 = 30.0;
/// Inbound webhooks that are looked at in one round.
const N_WEBHOOKS_MAX: i64 = 1_000;
/// Steps of one inbound webhook before the others have their turn.
const N_STEPS_MAX: usize = 20;
/// At so many inbound webhooks in a row Postgres is away: then it is so for the others too.
const N_AWAY_MAX: usize = 3;

/// Read events until `shutdown` says true.
pub(super) async fn keep_reading(context: Arc<Context>, mut shutdown: watch::Receiver<bool>) {
    let mut reader = EventReader::new(context);
    let mut ticks = interval(SCAN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let rounds = async {
        loop {
            ticks.tick().await;
            match reader.round(Utc::now()).await {
                Ok(_) => {}
                Err(ReportsError::Store(error)) if error.is_unavailable() => {
                    tracing::debug!(%error, "no look for events")
                }
                Err(error) => tracing::error!(%error, "events of inbound webhooks could not be read"),
            }
        }
    };
    // A round can be dropped where it stands: what isn't committed is done again.
    tokio::select! {
        _ = shutdown.wait_for(|stop| *stop) => {}
        () = rounds => {}
    }
}

/// Reads what came by inbound webhooks.
#[derive(Debug)]
pub struct EventReader {
    context: Arc<Context>,
    /// Of those whose last step failed, also where another node has the lease since: they know what it wasn't the fault of.
    recorders: HashMap<InboundWebhookId, Recorder>,
}

impl EventReader {
    /// A reader.
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, recorders: HashMap::new() }
    }

    /// Read what waits at inbound webhooks that no other node reads. Answers how many events were looked at. One at which
    /// something goes wrong doesn't hold up the others.
    ///
    /// # Errors
    /// Postgres is away; what was not read is read in another round.
    pub async fn round(&mut self, now: DateTime<Utc>) -> Result<usize, ReportsError> {
        let mut connection = self.context.store.acquire().await?;
        let due = inbound_events::due(&mut connection, N_WEBHOOKS_MAX).await?;
        drop(connection);
        let (mut n_events, mut n_away) = (0, 0);
        for (workspace, webhook, kind) in due {
            let Some(service) = Service::parse(&kind) else {
                tracing::error!(%workspace, inbound_webhook = %webhook, kind, "an inbound webhook of an unknown kind");
                continue;
            };
            let mut recorder = self.recorders.remove(&webhook).unwrap_or_default();
            let drained = self.drain(&mut recorder, workspace, webhook, service, &mut n_events, now).await;
            if !recorder.is_done() {
                self.recorders.insert(webhook, recorder);
            }
            match drained {
                Ok(()) => n_away = 0,
                Err(ReportsError::Store(error)) if error.is_unavailable() => {
                    tracing::debug!(%workspace, inbound_webhook = %webhook, %error, "events are left for another round");
                    n_away += 1;
                    if n_away == N_AWAY_MAX {
                        return Err(error.into());
                    }
                }
                Err(error) => {
                    tracing::error!(%workspace, inbound_webhook = %webhook, %error, "events could not be read");
                }
            }
        }
        Ok(n_events)
    }

    async fn drain(
        &self,
        recorder: &mut Recorder,
        workspace: WorkspaceId,
        webhook: InboundWebhookId,
        service: Service,
        n_events: &mut usize,
        now: DateTime<Utc>,
    ) -> Result<(), ReportsError> {
        let (context, holder) = (&*self.context, Uuid::now_v7());
        for _ in 0..N_STEPS_MAX {
            let mut connection = context.store.acquire().await?;
            if !inbound_events::lease(&mut connection, workspace, webhook, holder, LEASE_SECONDS).await? {
                return Ok(());
            }
            drop(connection);
            match recorder.step(context, workspace, Origin::Webhook(webhook, service), now).await? {
                Some(n) => *n_events += n,
                None => break,
            }
        }
        let mut connection = context.store.acquire().await?;
        Ok(inbound_events::release(&mut connection, workspace, webhook, holder).await?)
    }
}
