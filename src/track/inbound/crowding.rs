//! How many events of an inbound webhook wait to be read, so that more than can be read for a long while are not taken: the
//! service keeps them, and comes again. Counted at most once in a second for each.

use std::{
    collections::HashMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    domain::id::{InboundWebhookId, WorkspaceId},
    store::{Store, StoreError, inbound_events},
};

/// So many are read within a minute or so.
const N_WAITING_MAX: i64 = 50_000;
const COUNTED_FOR: Duration = Duration::from_secs(1);
const MAX_WEBHOOKS: usize = 1_000;

/// What the last counts came to.
#[derive(Debug, Default)]
pub struct Crowding {
    counted: Mutex<HashMap<InboundWebhookId, (Instant, bool)>>,
}

impl Crowding {
    /// Whether more wait for this inbound webhook than are taken.
    pub(super) async fn is_crowded(
        &self,
        store: &Store,
        (workspace, webhook): (WorkspaceId, InboundWebhookId),
    ) -> Result<bool, StoreError> {
        if let Some(counted) = self.get(webhook) {
            return Ok(counted);
        }
        let mut connection = store.acquire().await?;
        let is_crowded = inbound_events::has_waiting(&mut connection, workspace, webhook, N_WAITING_MAX).await?;
        self.put(webhook, is_crowded);
        Ok(is_crowded)
    }

    fn get(&self, webhook: InboundWebhookId) -> Option<bool> {
        let counted = self.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        counted.get(&webhook).filter(|(at, _)| at.elapsed() < COUNTED_FOR).map(|(_, is_crowded)| *is_crowded)
    }

    fn put(&self, webhook: InboundWebhookId, is_crowded: bool) {
        let mut counted = self.counted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if counted.len() >= MAX_WEBHOOKS {
            counted.clear();
        }
        counted.insert(webhook, (Instant::now(), is_crowded));
    }
}
