//! Renewing the leases of everything that this node holds. What can't be renewed runs out by itself, on both sides.
//!
//! Not here: taking and giving back (`claims`), whether a lease holds (`claim`).

use super::{held::Held, link::Link, moment::Moment, settings::Settings};
use crate::store::batches;

/// Renew the leases of everything held, for ever.
pub(super) async fn renew(held: &Held, settings: &Settings, mut link: Link) {
    loop {
        tokio::time::sleep(settings.lease / 3).await;
        for (workspace, claims) in held.by_workspace() {
            let live: Vec<_> = claims.iter().filter(|claim| !claim.is_lost()).collect();
            let keys: Vec<_> = live.iter().map(|claim| (claim.held.batch, claim.held.epoch)).collect();
            let asked_at = Moment::now();
            let renewed = link.within(settings.lease / 3, async |connection, node| {
                batches::renew(connection, workspace, node, &keys, settings.lease.as_secs_f64()).await
            });
            match renewed.await {
                Ok(renewed) => {
                    for claim in live {
                        if renewed.contains(&claim.held.batch) {
                            claim.renew(asked_at);
                        } else {
                            claim.lose();
                        }
                    }
                }
                // The leases run out by themselves, on both sides.
                Err(error) => tracing::warn!(%error, %workspace, "leases could not be renewed"),
            }
        }
    }
}
