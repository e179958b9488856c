//! Messages that can't be read: each is set aside with its reason, and the reader goes on.

use chrono::Utc;
use postrider::{
    domain::{delivery::DeliveryState as State, id::ReportId},
    store::report_views,
};

use super::scene::{Scene, hard};
use crate::support::imap_peer::ImapPeer;

/// A mailbox with something bad between two genuine bounces.
async fn between_two(bad: impl Into<Vec<u8>>) -> (ImapPeer, Scene, u32) {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["first@x.test", "last@x.test"]).await;
    peer.deliver("INBOX", hard(&scene.return_path("first@x.test").await, "first@x.test"));
    let uid = peer.deliver("INBOX", bad);
    peer.deliver("INBOX", hard(&scene.return_path("last@x.test").await, "last@x.test"));
    (peer, scene, uid)
}

/// Rounds until the mailbox is healthy; how many failed.
async fn drain_patiently(scene: &Scene) -> usize {
    for n_failed in 0..10 {
        if scene.drain_at(Utc::now()).await.is_ok() {
            return n_failed;
        }
    }
    panic!("the mailbox never got well: {:?}", scene.health().await);
}

async fn assert_set_aside(scene: &Scene, peer: &ImapPeer, reason: &str, has_raw: bool) {
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 2)]);
    let reports = scene.reports().await;
    let bad: Vec<_> = reports.iter().filter(|report| report.state == "quarantined").collect();
    assert_eq!((reports.len(), bad.len()), (3, 1), "{reports:?}");
    assert!(bad[0].state_reason.as_ref().unwrap().contains(reason), "{:?}", bad[0].state_reason);
    assert_eq!((bad[0].has_raw, bad[0].is_filed), (has_raw, true));
    assert_eq!((peer.messages("INBOX").len(), peer.messages("Postrider").len()), (0, 3));
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_set_aside_without_being_fetched() {
    let (peer, scene, _) = between_two(vec![b'x'; 200_000]).await;
    let scene = scene.with(|context| context.settings.max_message_bytes = 100_000);
    scene.drain().await;
    assert_set_aside(&scene, &peer, "larger than 100000 bytes", false).await;
    assert!(peer.asked().iter().all(|asked| !asked.starts_with("UID FETCH 2 (UID BODY")), "{:?}", peer.asked());
}

#[tokio::test]
async fn a_server_that_understates_a_size_is_not_believed() {
    let (peer, scene, uid) = between_two(vec![b'x'; 200_000]).await;
    let scene = scene.with(|context| context.settings.max_message_bytes = 100_000);
    peer.behave(|ways| ways.told_sizes.insert(uid, 10));
    scene.drain().await;
    assert_set_aside(&scene, &peer, "larger than 100000 bytes", false).await;
}

#[tokio::test]
async fn a_message_nested_beyond_the_limit_is_set_aside() {
    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(35_000);
    let (peer, scene, _) = between_two(nested).await;
    scene.drain().await;
    assert_set_aside(&scene, &peer, "nested deeper", true).await;
}

#[tokio::test]
async fn a_report_that_ends_the_process_is_set_aside_after_three_lives() {
    let (peer, scene, _) = between_two("Subject: poison\r\n\r\n").await;
    // What a crash in the parser leaves behind: counted, not recorded.
    let mut reader = scene.reader().await;
    reader.step(Utc::now()).await.unwrap();
    drop(reader);
    sqlx::query("update reports set n_tries = 3 where convert_from(raw, 'UTF8') like '%poison%'")
        .execute(scene.pool())
        .await
        .unwrap();
    // The innocent that died with it once are read alone, and well.
    sqlx::query("update reports set n_tries = 1 where n_tries = 0").execute(scene.pool()).await.unwrap();
    scene.drain().await;
    assert_set_aside(&scene, &peer, "could not be read in 3 tries", true).await;
}

#[tokio::test]
async fn a_report_that_can_not_be_written_takes_no_other_with_it_and_is_set_aside_in_the_end() {
    let (peer, scene, _) =
        between_two("From: a@x.test\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\n\r\naway\r\n").await;
    // A fault of our own that nobody has thought of.
    sqlx::query("alter table reports add check (kind is distinct from 'auto_reply')")
        .execute(scene.pool())
        .await
        .unwrap();
    let mut reader = scene.reader().await;
    while !matches!(reader.step(Utc::now()).await.unwrap(), postrider::reports::Step::Recorded(_)) {}
    assert_eq!(scene.count("reports where state = 'recorded'").await, 2, "the others are written at once");
    drop(reader);
    scene.drain().await;
    assert_set_aside(&scene, &peer, "could not be read in 3 tries", true).await;
}

#[tokio::test]
async fn a_message_that_the_server_withholds_holds_nothing_up() {
    let (peer, scene, uid) = between_two("Subject: broken on disk\r\n\r\n").await;
    peer.behave(|ways| ways.withheld.insert(uid));
    let mut reader = scene.reader().await;
    let mut n_failed = 0;
    loop {
        match reader.step(Utc::now()).await {
            Ok(postrider::reports::Step::Idle) => break,
            Ok(_) => {}
            Err(error) => {
                assert!(
                    error.to_string().contains("[SERVERBUG]") || error.to_string().contains("is broken"),
                    "{error}"
                );
                n_failed += 1;
            }
        }
        assert!(n_failed < 10);
    }
    assert_eq!(n_failed, 2, "the third try sets it aside");
    assert_set_aside(&scene, &peer, "did not hand it out in 3 tries", false).await;
}

#[tokio::test]
async fn a_message_that_ends_the_connection_holds_nothing_up() {
    let (peer, scene, uid) = between_two("Subject: deadly\r\n\r\n").await;
    peer.behave(|ways| ways.deadly.insert(uid));
    let mut reader = scene.reader().await;
    let mut n_failed = 0;
    while !matches!(reader.step(Utc::now()).await, Ok(postrider::reports::Step::Idle)) {
        n_failed += 1;
        assert!(n_failed < 20);
    }
    assert_set_aside(&scene, &peer, "did not hand it out", false).await;
}

#[tokio::test]
async fn while_a_server_hands_nothing_out_nothing_is_given_up() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["a@x.test", "b@x.test"]).await;
    for address in ["a@x.test", "b@x.test"] {
        let uid = peer.deliver("INBOX", hard(&scene.return_path(address).await, address));
        peer.behave(|ways| ways.withheld.insert(uid));
    }
    let mut reader = scene.reader().await;
    for _ in 0..10 {
        reader.step(Utc::now()).await.unwrap_err();
    }
    assert_eq!(scene.count("reports").await, 0);
    peer.behave(|ways| ways.withheld.clear());
    drop(reader);
    assert_eq!(drain_patiently(&scene).await, 0);
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 2)]);
}

#[tokio::test]
async fn a_message_that_somebody_else_removed_is_passed() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["a@x.test"]).await;
    let uid = peer.deliver("INBOX", "Subject: soon gone\r\n\r\n");
    peer.deliver("INBOX", hard(&scene.return_path("a@x.test").await, "a@x.test"));
    // Refused, as RFC 2180 lets a server do, and no longer listed when asked again.
    peer.behave(|ways| ways.withheld.insert(uid));
    let mut reader = scene.reader().await;
    reader.step(Utc::now()).await.unwrap_err();
    peer.folder("INBOX", |folder| folder.messages.retain(|kept| kept.uid != uid));
    while reader.step(Utc::now()).await.unwrap() != postrider::reports::Step::Idle {}
    assert_eq!((scene.count("reports").await, scene.health().await.0.as_str()), (1, "ok"));
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 1)]);
}

#[tokio::test]
async fn a_backlog_is_read_in_steps_of_bounded_size() {
    let peer = ImapPeer::start().await;
    let addresses: Vec<String> = (0..25).map(|n| format!("gone{n}@x.test")).collect();
    let scene = Scene::new(&peer, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let scene = scene.with(|context| context.settings.batch_size = 10);
    for address in &addresses {
        peer.deliver("INBOX", hard(&scene.return_path(address).await, address));
    }
    let steps = scene.drain().await;
    let at_most_ten = |step: &postrider::reports::Step| match step {
        postrider::reports::Step::Recorded(n) | postrider::reports::Step::Fetched(n) => *n <= 10,
        _ => true,
    };
    assert!(steps.iter().all(at_most_ten), "{steps:?}");
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 25)]);
}

#[tokio::test]
async fn a_report_that_was_set_aside_is_read_anew_when_it_is_asked_for_and_counts_once() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["a@x.test"]).await;
    let bounce = hard(&scene.return_path("a@x.test").await, "a@x.test");
    peer.deliver("INBOX", bounce.clone());
    scene.drain().await;
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 1)]);
    for set in ["state = 'quarantined', kind = null, delivery_id = null", "n_tries = 3"] {
        let sql = format!("update reports set {set}");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(scene.pool()).await.unwrap();
        let report = sqlx::query_scalar("select id from reports").fetch_one(scene.pool()).await.unwrap();
        let mut connection = scene.campaign.store.acquire().await.unwrap();
        assert!(report_views::reprocess(&mut connection, scene.workspace(), ReportId(report)).await.unwrap());
        scene.drain().await;
        let read = scene.reports().await.remove(0);
        assert_eq!((read.state.as_str(), read.kind.as_deref()), ("recorded", Some("dsn")));
        assert!(read.delivery_id.is_some() && read.is_filed);
    }
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 1)]);
    assert_eq!((scene.count("events").await, scene.suppressions().await.len()), (1, 1));
}
