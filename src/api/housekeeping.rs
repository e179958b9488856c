//! What the API throws away in time: kept answers of old requests, buckets of keys that nobody uses,
//! used tokens of inbound webhooks.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tokio::sync::watch;

use super::call::Context;
use crate::store::{StoreError, idempotency_keys, inbound_events};

/// Between two rounds.
const EVERY: Duration = Duration::from_secs(600);
/// Longer than any of them is believed (`track`).
const TOKENS_KEPT: TimeDelta = TimeDelta::days(1);

/// Keep house until `shutdown` becomes true.
pub async fn keep_house(context: &Context, mut shutdown: watch::Receiver<bool>) {
    loop {
        context.limits.prune();
        if let Err(error) = prune(context).await {
            tracing::warn!(%error, "kept answers could not be thrown away; the next round will");
        }
        if tokio::time::timeout(EVERY, shutdown.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
    }
}

async fn prune(context: &Context) -> Result<(), StoreError> {
    let kept = TimeDelta::hours(i64::from(context.settings.api.idempotency_hours));
    let mut connection = context.store.acquire().await?;
    idempotency_keys::prune(&mut connection, Utc::now() - kept).await?;
    inbound_events::forget_tokens(&mut connection, Utc::now() - TOKENS_KEPT).await?;
    Ok(())
}
