//! The reader stopped anywhere: nothing is lost, nothing counts twice.

use chrono::Utc;
use postrider::{
    domain::{
        delivery::{DeliveryState as State, Outcome},
        id::RecipientId,
    },
    reports::Step,
    store::{self, settles},
};

use super::scene::{Scene, arf, hard};
use crate::support::imap_peer::ImapPeer;

async fn assert_each_counted_once(scene: &Scene, peer: &ImapPeer, n_bounced: i64) {
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, n_bounced)]);
    assert_eq!(scene.suppressions().await.len() as i64, n_bounced);
    for table in ["reports", "events", "changes"] {
        assert_eq!(scene.count(table).await, n_bounced, "{table}");
    }
    let reports = scene.reports().await;
    assert!(reports.iter().all(|report| report.state == "recorded" && report.is_filed), "{reports:?}");
    assert_eq!((peer.messages("INBOX").len(), peer.messages("Postrider").len() as i64), (0, n_bounced));
}

#[tokio::test]
async fn a_reader_that_is_killed_at_any_point_counts_each_report_once() {
    let peer = ImapPeer::start().await;
    let addresses: Vec<String> = (0..4).map(|n| format!("gone{n}@x.test")).collect();
    let scene = Scene::new(&peer, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    // So many deaths are nobody's fault but the test's.
    let scene = scene.with(|context| context.settings.max_tries = 1000);
    for address in &addresses {
        peer.deliver("INBOX", hard(&scene.return_path(address).await, address));
    }
    let n_deaths = scene.drain_in_short_lives().await;
    assert!(n_deaths > 10, "it died only {n_deaths} times");
    assert_each_counted_once(&scene, &peer, 4).await;
}

#[tokio::test]
async fn a_reader_killed_between_commit_and_filing_counts_once_and_files_later() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["gone@x.test"]).await;
    peer.deliver("INBOX", hard(&scene.return_path("gone@x.test").await, "gone@x.test"));
    let mut reader = scene.reader().await;
    while !matches!(reader.step(Utc::now()).await.unwrap(), Step::Recorded(_)) {}
    drop(reader);
    assert_eq!((scene.count("suppressions").await, peer.messages("INBOX").len()), (1, 1));
    scene.drain().await;
    assert_each_counted_once(&scene, &peer, 1).await;
}

#[tokio::test]
async fn a_connection_cut_at_any_command_loses_and_doubles_nothing() {
    let peer = ImapPeer::start().await;
    for has_move in [true, false] {
        peer.behave(|ways| ways.capabilities = if has_move { vec!["MOVE", "UIDPLUS"] } else { vec!["UIDPLUS"] });
        for command in
            ["LOGIN", "CAPABILITY", "SELECT", "UID FETCH", "UID MOVE", "CREATE", "UID COPY", "UID STORE", "UID EXPUNGE"]
        {
            for before in [true, false] {
                for name in ["INBOX", "Postrider"] {
                    peer.folder(name, |folder| folder.messages.clear());
                }
                let scene = Scene::new(&peer, &["gone@x.test"]).await;
                peer.deliver("INBOX", hard(&scene.return_path("gone@x.test").await, "gone@x.test"));
                peer.behave(|ways| {
                    let cut = if before { &mut ways.cut_before } else { &mut ways.cut_after };
                    *cut = Some(command);
                });
                let _ = scene.drain_at(Utc::now()).await;
                peer.behave(|ways| (ways.cut_before, ways.cut_after) = (None, None));
                scene.drain().await;
                // A copy that was made before the cut is made again: filed twice on the server, counted once.
                peer.folder("Postrider", |folder| folder.messages.truncate(1));
                assert_each_counted_once(&scene, &peer, 1).await;
                assert_eq!(scene.health().await.0, "ok");
            }
        }
    }
}

#[tokio::test]
async fn a_new_uidvalidity_is_noticed_and_what_was_read_is_recognised() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["gone@x.test", "late@x.test", "angry@x.test"]).await;
    peer.deliver("INBOX", hard(&scene.return_path("gone@x.test").await, "gone@x.test"));
    peer.deliver("INBOX", arf(&scene.return_path("angry@x.test").await, "abuse"));
    peer.behave(|ways| ways.refuses_filing = Some("[OVERQUOTA] no room".into()));
    scene.drain_at(Utc::now()).await.unwrap_err();
    assert_eq!(scene.count("reports").await, 2);

    peer.folder("INBOX", |folder| folder.renumber(77));
    peer.deliver("INBOX", hard(&scene.return_path("late@x.test").await, "late@x.test"));
    peer.behave(|ways| ways.refuses_filing = None);
    scene.drain().await;
    assert_eq!((scene.count("reports").await, scene.count("events").await), (3, 3));
    assert_eq!(scene.campaign.checked_states().await, [(State::Accepted, 1), (State::Bounced, 2)]);
    assert_eq!((peer.messages("INBOX").len(), peer.messages("Postrider").len()), (0, 3));
    let places: Vec<(i64, i64)> =
        sqlx::query_as("select uidvalidity, uid from reports order by uid").fetch_all(scene.pool()).await.unwrap();
    assert_eq!(places, [(77, 1), (77, 2), (77, 3)]);
    assert!(scene.reports().await.iter().all(|report| report.is_filed));
}

#[tokio::test]
async fn what_vanished_with_its_uidvalidity_is_no_longer_waited_for() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["gone@x.test"]).await;
    peer.deliver("INBOX", hard(&scene.return_path("gone@x.test").await, "gone@x.test"));
    peer.behave(|ways| ways.refuses_filing = Some("no".into()));
    scene.drain_at(Utc::now()).await.unwrap_err();
    peer.folder("INBOX", |folder| {
        folder.messages.clear();
        folder.renumber(78);
    });
    peer.behave(|ways| ways.refuses_filing = None);
    scene.drain().await;
    assert!(scene.reports().await[0].is_filed);
    // A message that now has its UID is another one, and is not moved away unread.
    peer.deliver("INBOX", b"Subject: another\r\n\r\n".as_slice());
    scene.drain().await;
    assert_eq!(scene.reports().await.len(), 2);
}

#[tokio::test]
async fn two_readers_at_once_count_each_report_once() {
    let peer = ImapPeer::start().await;
    let addresses: Vec<String> = (0..40).map(|n| format!("gone{n}@x.test")).collect();
    let scene = Scene::new(&peer, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for address in &addresses {
        peer.deliver("INBOX", hard(&scene.return_path(address).await, address));
    }
    // As after a lease that ran out under a reader that was only slow.
    let (mut slow, mut quick) = (scene.reader().await, scene.reader().await);
    let drain = async |reader: &mut postrider::reports::Reader| {
        while reader.step(Utc::now()).await.unwrap() != Step::Idle {}
    };
    tokio::join!(drain(&mut slow), drain(&mut quick));
    assert_each_counted_once(&scene, &peer, 40).await;
}

#[tokio::test]
async fn only_one_node_reads_a_mailbox_at_a_time() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &[]).await;
    let first = scene.try_reader(scene.context.node).await.unwrap();
    let other = postrider::domain::id::NodeId::new();
    assert!(scene.try_reader(other).await.is_none());
    first.close().await.unwrap();
    assert!(scene.try_reader(other).await.is_some());
}

#[tokio::test]
async fn a_report_that_comes_before_the_settle_wins() {
    let peer = ImapPeer::start().await;
    let scene = Scene::in_state(&peer, &["gone@x.test"], State::Sending).await;
    peer.deliver("INBOX", hard(&scene.return_path("gone@x.test").await, "gone@x.test"));
    scene.drain().await;
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 1)]);

    let one = &scene.campaign;
    let settle = settles::Settle {
        delivery: scene.delivery("gone@x.test").await,
        recipient: RecipientId::new(),
        address_key: "gone@x.test".into(),
        campaign: one.campaign,
        provider: "other".into(),
        relay: one.relay,
        attempt: 1,
        outcome: Outcome::Accepted,
        phase: "dot",
        code: Some(250),
        enhanced: None,
        text: "2.0.0 queued".into(),
        tls: None,
        started_at: Utc::now(),
        duration_ms: 3,
        was_unknown: false,
        class: "",
        next: None,
        condemned: false,
        soft: false,
    };
    let mut tx = one.store.begin().await.unwrap();
    settles::commit(&mut tx, one.workspace, one.node, &[settle], Utc::now()).await.unwrap();
    store::commit(tx).await.unwrap();
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 1)]);
    assert_eq!(scene.outcome("gone@x.test").await.1, "no_such_user");
    assert_eq!(scene.count("attempts").await, 1, "the settle completes the attempt");
}
