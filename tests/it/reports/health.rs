//! A mailbox that fails: it says why, it is tried again later each time, it recovers by itself, and nothing is lost.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use postrider::{
    domain::delivery::DeliveryState as State,
    reports::{self, Step},
    store::mailbox_reads,
};
use tokio::sync::watch;

use super::scene::{Scene, hard};
use crate::support::imap_peer::ImapPeer;

async fn next_read_at(scene: &Scene) -> Option<DateTime<Utc>> {
    sqlx::query_scalar("select next_read_at from mailboxes").fetch_one(scene.pool()).await.unwrap()
}

#[tokio::test]
async fn a_mailbox_that_is_down_for_an_hour_waits_longer_each_time_and_loses_nothing() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["before@x.test", "during@x.test"]).await;
    peer.deliver("INBOX", hard(&scene.return_path("before@x.test").await, "before@x.test"));
    scene.drain().await;
    peer.behave(|ways| ways.is_down = true);
    peer.deliver("INBOX", hard(&scene.return_path("during@x.test").await, "during@x.test"));

    let began = Utc::now();
    let (mut now, mut waits) = (began, Vec::new());
    let mut reader = scene.reader().await;
    while now - began < TimeDelta::hours(1) {
        let error = reader.step(now).await.unwrap_err().to_string();
        assert!(error.contains("closed the connection"), "{error}");
        let next = next_read_at(&scene).await.unwrap();
        // Postgres keeps microseconds.
        waits.push((next - now + TimeDelta::milliseconds(500)).num_seconds());
        now = next;
    }
    assert_eq!(&waits[..8], [2, 4, 8, 16, 32, 64, 128, 256]);
    assert!(waits[8..].iter().all(|wait| *wait == 300), "{waits:?}");
    let (health, error) = scene.health().await;
    assert_eq!(health, "failing");
    assert!(error.unwrap().contains("closed the connection (while waiting for the greeting)"));

    peer.behave(|ways| ways.is_down = false);
    while reader.step(now).await.unwrap() != Step::Idle {}
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 2)]);
    assert_eq!(scene.health().await.0, "ok");
    let next = next_read_at(&scene).await.unwrap();
    assert_eq!((next - now).num_milliseconds().abs() / 1000, 1, "back to its own interval");
}

#[tokio::test]
async fn what_is_wrong_stands_on_the_mailbox_in_words() {
    let peer = ImapPeer::start().await;
    for (set_up, sql, said) in [
        (
            "nothing listens",
            "update mailboxes set port = 1",
            "nothing listens there (connection refused) (while connecting)",
        ),
        (
            "a private network",
            "update mailboxes set host = '10.0.0.1'",
            "10.0.0.1 is refused: 10.0.0.1 is a private address, which the setting network.allow does not list",
        ),
        (
            "there is no such folder",
            "update mailboxes set folders = '{Nowhere}'",
            "there is no Nowhere (while opening the folder)",
        ),
        ("no password", "update mailboxes set secret = null", "has no password"),
        ("a password of another key", "update mailboxes set secret = '\\x0102'", "the stored password can't be opened"),
        ("no certificate", "update mailboxes set tls = 'implicit'", "TLS handshake failed"),
        ("no starttls", "update mailboxes set tls = 'starttls'", "certificate"),
    ] {
        let scene = Scene::new(&peer, &[]).await;
        sqlx::query(sql).execute(scene.pool()).await.unwrap();
        let error = scene.drain_at(Utc::now()).await.unwrap_err().to_string();
        assert!(error.contains(said), "{set_up}: {error}");
        assert_eq!(scene.health().await, ("failing".into(), Some(error)), "{set_up}");
    }
    let scene = Scene::on(peer.port(), "bounces", "wrong", "none", &[]).await;
    let error = scene.drain_at(Utc::now()).await.unwrap_err().to_string();
    assert_eq!(error, "the server refused: Authentication failed. (while logging in)");
}

#[tokio::test]
async fn a_server_that_does_not_let_reports_be_filed_holds_none_up() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["a@x.test", "b@x.test"]).await;
    peer.behave(|ways| ways.refuses_filing = Some("[OVERQUOTA] no room".into()));
    for address in ["a@x.test", "b@x.test"] {
        peer.deliver("INBOX", hard(&scene.return_path(address).await, address));
        let error = scene.drain_at(Utc::now()).await.unwrap_err().to_string();
        assert!(error.contains("no room") && error.contains("moving read messages away"), "{error}");
    }
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 2)]);
    assert_eq!(peer.messages("INBOX").len(), 2);
    peer.behave(|ways| ways.refuses_filing = None);
    scene.drain().await;
    assert_eq!((peer.messages("INBOX").len(), peer.messages("Postrider").len()), (0, 2));
}

#[tokio::test]
async fn reading_and_filing_into_the_same_folder_ends() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["a@x.test"]).await;
    sqlx::query("update mailboxes set filed_folder = 'inbox'").execute(scene.pool()).await.unwrap();
    peer.deliver("INBOX", hard(&scene.return_path("a@x.test").await, "a@x.test"));
    scene.drain().await;
    scene.drain().await;
    assert_eq!((scene.count("reports").await, peer.messages("INBOX").len()), (1, 1));
}

#[tokio::test]
async fn the_loop_reads_what_arrives_follows_an_edit_and_gives_the_lease_back() {
    let (old, new) = (ImapPeer::start().await, ImapPeer::start().await);
    let scene = Scene::new(&old, &["a@x.test", "b@x.test"]).await;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(reports::run(Arc::clone(&scene.context), stopped));

    old.deliver("INBOX", hard(&scene.return_path("a@x.test").await, "a@x.test"));
    until(|| async { old.messages("Postrider").len() == 1 }).await;
    assert_eq!(scene.outcome("a@x.test").await.0, State::Bounced);

    // Before the edit: a reader that is quick finds it in its first round.
    new.deliver("INBOX", hard(&scene.return_path("b@x.test").await, "b@x.test"));
    // An edit takes the lease from the reader, which notices when it renews; here at once, by another's hand.
    sqlx::query("update mailboxes set port = $1, revision = revision + 1, next_read_at = null, lease_until = null")
        .bind(i32::from(new.port()))
        .execute(scene.pool())
        .await
        .unwrap();
    until(|| async { new.messages("Postrider").len() == 1 }).await;
    assert_eq!(scene.outcome("b@x.test").await.0, State::Bounced);

    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("it stops").unwrap();
    let mut connection = scene.campaign.store.acquire().await.unwrap();
    let later = Utc::now() + TimeDelta::days(1);
    assert_eq!(mailbox_reads::due(&mut connection, later, 10).await.unwrap().len(), 1, "the lease was given back");
}

#[tokio::test]
async fn a_reader_learns_with_its_next_renewal_that_it_is_wanted_or_no_longer_is() {
    use mailbox_reads::Renewal;
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &[]).await;
    let (holder, other) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
    let mut connection = scene.campaign.store.acquire().await.unwrap();
    let (workspace, mailbox) = (scene.workspace(), scene.mailbox);
    let leased = mailbox_reads::lease(&mut connection, workspace, mailbox, holder, 30.0).await.unwrap().unwrap();
    for (change, holder, renewal) in [
        ("update mailboxes set next_read_at = now() + interval '5 minutes'", holder, Renewal::Held),
        ("update mailboxes set next_read_at = null", holder, Renewal::Wanted),
        ("select 1", other, Renewal::Lost),
        ("update mailboxes set enabled = false", holder, Renewal::Lost),
        ("update mailboxes set enabled = true, revision = revision + 1", holder, Renewal::Lost),
    ] {
        sqlx::query(change).execute(scene.pool()).await.unwrap();
        let got = mailbox_reads::renew(&mut connection, workspace, mailbox, holder, leased.revision, 30.0).await;
        assert_eq!(got.unwrap(), renewal, "{change}");
    }
}

/// Waits for a condition by asking again and again; the test's own time limit ends it.
async fn until<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let waiting = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !condition().await {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("it never came to that");
}
