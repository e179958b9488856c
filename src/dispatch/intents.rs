//! Committing intents in groups: what is granted goes back to its connection, what is refused is let go.
//!
//! Not here: the statement (`store::intents`), the last look before MAIL FROM (`gate`).

use std::time::Duration;

use chrono::Utc;
use tokio::sync::mpsc::UnboundedSender;

use super::{
    flight::Ready,
    group::{Group, by_key},
    link::Link,
    settler::Entry,
};
use crate::{
    domain::id::WorkspaceId,
    relay::Attempted,
    smtp::Phase,
    store::{intents, transitions::Writer},
};

/// A commit that takes longer counts as failed.
const LIMIT: Duration = Duration::from_secs(10);
/// After a failure.
const PAUSE: Duration = Duration::from_millis(200);

/// Messages of one connection that are about to be submitted.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) ready: Vec<Ready>,
    /// Where the granted ones go, in one piece, also when there are none.
    pub(super) reply: UnboundedSender<Vec<Ready>>,
}

/// Commit until nothing can come any more.
pub(super) async fn run(group: &Group<Request>, mut link: Link, lane: u8, settler: UnboundedSender<Entry>) {
    let mut requests = Vec::new();
    while group.collect(&mut requests).await {
        let workspace_of =
            |request: &Request| request.ready.first().map(|ready| ready.flight.work.claim.held.workspace);
        for (workspace, requests) in by_key(requests.drain(..), workspace_of) {
            if let Some(workspace) = workspace {
                grant(&mut link, lane, workspace, requests, &settler).await;
            }
        }
    }
}

async fn grant(
    link: &mut Link,
    lane: u8,
    workspace: WorkspaceId,
    requests: Vec<Request>,
    settler: &UnboundedSender<Entry>,
) {
    let intents: Vec<_> =
        requests.iter().flat_map(|request| &request.ready).map(|ready| ready.flight.intent()).collect();
    let commit = link.within(LIMIT, async |connection, node| {
        intents::commit(connection, workspace, Writer { node, lane }, &intents, Utc::now()).await
    });
    match commit.await {
        Ok(granted) => {
            for Request { ready, reply } in requests {
                let ready = ready.into_iter().filter(|ready| granted.contains(&ready.flight.work.claimed.delivery));
                if let Err(returned) = reply.send(ready.collect()) {
                    // Its connection ended meanwhile.
                    for Ready { flight, .. } in returned.0 {
                        let attempted = Attempted::not_submitted(Phase::Mail, "the connection ended before its turn");
                        let _ = settler.send(Entry::Attempt { flight, attempted, tls: None });
                    }
                }
            }
        }
        Err(error) => {
            tracing::debug!(%error, n = intents.len(), "intents could not be committed");
            for Request { ready, reply } in requests {
                for Ready { flight, .. } in ready {
                    // Whether the commit arrived is not known: the settler takes back what did.
                    let _ = settler.send(Entry::Revoke { flight });
                }
                let _ = reply.send(Vec::new());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
