//! Holds between this node and Postgres: what was noted here is written down, what was written down anywhere is followed here,
//! and what has had its time is eased.
//!
//! Not here: obeying them (`destinations`), the rules (`domain::hold`).

use chrono::Utc;

use super::{chance::chance, destinations::Destinations};
use crate::{
    domain::id::WorkspaceId,
    store::{
        Connection, StoreError,
        holds::{self, Standing},
    },
};

/// Write down what nobody was told of.
pub(super) async fn tell(connection: &mut Connection, of: &Destinations) -> Result<(), StoreError> {
    for (destination, hold) in of.untold() {
        let standing = Standing { relay: of.relay, destination, hold };
        holds::put(connection, of.workspace, &standing).await?;
        of.told(&standing.destination, &standing.hold);
    }
    Ok(())
}

/// What stands in a workspace now, eased where it is time.
pub(super) async fn read(connection: &mut Connection, workspace: WorkspaceId) -> Result<Vec<Standing>, StoreError> {
    let now = Utc::now();
    let mut all = Vec::new();
    for standing in holds::of_workspace(connection, workspace).await? {
        if standing.hold.until > now {
            all.push(standing);
            continue;
        }
        let eased = standing.hold.ease(now, chance());
        holds::ease(connection, workspace, &standing, eased.as_ref()).await?;
        tracing::info!(%workspace, relay = %standing.relay, provider = %standing.destination.provider(),
                       domain = standing.destination.domain(), per_minute = eased.as_ref().map(|hold| hold.per_minute),
                       "a destination is let go again");
        all.extend(eased.map(|hold| Standing { hold, ..standing }));
    }
    Ok(all)
}
