//! A connection to Postgres of one's own, for the few that use it all the time; taken anew after any failure.
//!
//! Not here: the pool (`store`).

use std::{sync::Arc, time::Duration};

use super::pulse::Pulse;
use crate::{
    domain::id::NodeId,
    store::{Connection, Held, Store, StoreError},
};

/// A long-lived connection.
pub(super) struct Link {
    store: Store,
    node: NodeId,
    pulse: Arc<Pulse>,
    connection: Option<Held>,
}

impl Link {
    /// Connects when it is first used.
    pub(super) fn new(store: Store, node: NodeId, pulse: Arc<Pulse>) -> Self {
        Self { store, node, pulse, connection: None }
    }

    /// Do something with the connection, in no longer than `limit`. After a failure the connection is given up, so
    /// nothing half done is left on it; and if Postgres is away, everybody hears of it.
    pub(super) async fn within<T>(
        &mut self,
        limit: Duration,
        act: impl AsyncFnOnce(&mut Connection, NodeId) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let all = async {
            let mut connection = match self.connection.take() {
                Some(connection) => connection,
                None => self.store.acquire().await?,
            };
            let result = act(&mut connection, self.node).await;
            Ok((connection, result))
        };
        let result = match tokio::time::timeout(limit, all).await {
            Ok(Ok((connection, Ok(value)))) => {
                self.connection = Some(connection);
                return Ok(value);
            }
            Ok(Ok((mut connection, Err(error)))) => {
                connection.close_on_drop();
                Err(error)
            }
            Ok(Err(error)) => Err(error),
            // The statement under way is dropped with its connection.
            Err(_) => Err(StoreError::timed_out()),
        };
        result.inspect_err(|error| self.pulse.doubt(error))
    }
}
