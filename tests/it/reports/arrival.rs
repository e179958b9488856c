//! How soon the reader learns that something arrived: at once where the server tells, by the clock where it doesn't.

use std::{sync::Arc, time::Duration};

use postrider::{domain::delivery::DeliveryState as State, reports};
use tokio::sync::watch;

use super::scene::{Scene, hard};
use crate::support::imap_peer::ImapPeer;

async fn filed(peer: &ImapPeer, n_messages: usize) {
    let waiting = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while peer.messages("Postrider").len() < n_messages {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it was never filed");
}

#[tokio::test]
async fn what_arrives_between_two_rounds_is_read_at_once_on_the_session_that_waited() {
    let peer = ImapPeer::start().await;
    peer.behave(|ways| ways.capabilities.push("IDLE"));
    let scene = Scene::new(&peer, &["a@x.test", "b@x.test"]).await;
    // By the clock alone the test would take an hour.
    sqlx::query("update mailboxes set poll_seconds = 3600").execute(scene.pool()).await.unwrap();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(reports::run(Arc::clone(&scene.context), stopped));
    peer.until_asked("+ idling", 1).await;
    peer.deliver("INBOX", hard(&scene.return_path("a@x.test").await, "a@x.test"));
    filed(&peer, 1).await;
    assert_eq!(scene.outcome("a@x.test").await.0, State::Bounced);

    // An edit that only wants the mailbox to be read is heard of with the next renewal, while it idles.
    peer.until_asked("+ idling", 2).await;
    sqlx::query("update mailboxes set next_read_at = null").execute(scene.pool()).await.unwrap();
    peer.until_asked("+ idling", 3).await;
    peer.deliver("INBOX", hard(&scene.return_path("b@x.test").await, "b@x.test"));
    filed(&peer, 2).await;
    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("it stops").unwrap();
    assert_eq!(peer.n_asked("LOGIN"), 1, "the session was kept");
}
