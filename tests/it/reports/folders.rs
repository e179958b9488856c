//! Several folders, and what becomes of a message on the server once its report is recorded.

use chrono::{TimeDelta, Utc};
use postrider::domain::delivery::DeliveryState as State;
use tokio::sync::watch;

use super::scene::{Scene, hard};
use crate::support::imap_peer::ImapPeer;

async fn set(scene: &Scene, change: &'static str) {
    let sql = sqlx::AssertSqlSafe(format!("update mailboxes set {change}"));
    sqlx::query(sql).execute(scene.pool()).await.unwrap();
}

/// A peer with a bounce in each of these folders, and a mailbox that is to read them.
async fn with_folders(folders: &[&str]) -> (ImapPeer, Scene) {
    let peer = ImapPeer::start().await;
    let addresses: Vec<String> = (0..folders.len()).map(|n| format!("gone{n}@x.test")).collect();
    let scene = Scene::new(&peer, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for (folder, address) in folders.iter().zip(&addresses) {
        peer.deliver(folder, hard(&scene.return_path(address).await, address));
    }
    sqlx::query("update mailboxes set folders = $1").bind(folders).execute(scene.pool()).await.unwrap();
    (peer, scene)
}

#[tokio::test]
async fn every_folder_is_read_and_filed_with_cursors_of_their_own() {
    let (peer, scene) = with_folders(&["INBOX", "Junk", "Bounces"]).await;
    // The same numbers and the same bytes in two folders are two messages, and count once.
    let copy = peer.messages("Junk")[0].clone();
    peer.deliver("Bounces", copy);
    scene.drain().await;
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 3)]);
    assert_eq!((scene.count("reports").await, scene.suppressions().await.len()), (4, 3));
    assert_eq!(peer.messages("Postrider").len(), 4);
    assert!(["INBOX", "Junk", "Bounces"].iter().all(|folder| peer.messages(folder).is_empty()));
    assert!(scene.drain().await.is_empty());
    assert_eq!(scene.count("mailbox_cursors").await, 3);
}

#[tokio::test]
async fn a_folder_that_is_missing_is_told_and_holds_no_other_up() {
    let (peer, scene) = with_folders(&["INBOX", "Junk"]).await;
    set(&scene, "folders = '{INBOX,Nowhere,Junk}'").await;
    let error = scene.drain_at(Utc::now()).await.unwrap_err().to_string();
    assert!(error.contains("there is no Nowhere"), "{error}");
    assert_eq!(scene.health().await, ("failing".into(), Some(error)));
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 2)]);
    assert_eq!(peer.messages("Postrider").len(), 2);
}

#[tokio::test]
async fn a_message_that_is_withheld_in_a_later_folder_is_set_aside_too() {
    let (peer, scene) = with_folders(&["INBOX", "Junk"]).await;
    let uid = peer.deliver("Junk", "Subject: broken on disk\r\n\r\n");
    // One that comes through, without which it would be the server that fails.
    peer.deliver("Junk", "Subject: fine\r\n\r\n");
    peer.behave(|ways| ways.withheld.insert(uid));
    let mut reader = scene.reader().await;
    let mut n_failed = 0;
    loop {
        match reader.step(Utc::now()).await {
            Ok(postrider::reports::Step::Idle) => break,
            Ok(_) => {}
            Err(_) => n_failed += 1,
        }
        assert!(n_failed < 10);
    }
    assert_eq!((n_failed, scene.count("reports").await), (2, 4));
}

#[tokio::test]
async fn marked_or_left_a_message_stays_and_is_not_read_again() {
    for (filing, flags) in [("mark", vec!["\\Seen"]), ("leave", vec![])] {
        let (peer, scene) = with_folders(&["INBOX"]).await;
        sqlx::query("update mailboxes set filing = $1").bind(filing).execute(scene.pool()).await.unwrap();
        scene.drain().await;
        assert!(scene.drain().await.is_empty(), "{filing}");
        let kept = peer.folder("INBOX", |folder| folder.messages.clone());
        assert_eq!((kept.len(), &kept[0].flags), (1, &flags.iter().map(ToString::to_string).collect()), "{filing}");
        assert!(scene.reports().await[0].is_filed);
        assert_eq!(scene.count("reports").await, 1);
    }
}

#[tokio::test]
async fn a_message_is_deleted_so_many_days_after_it_was_recorded_and_not_before() {
    for capabilities in [vec!["UIDPLUS"], vec![]] {
        let (peer, scene) = with_folders(&["INBOX"]).await;
        peer.behave(|ways| ways.capabilities.clone_from(&capabilities));
        let uid = peer.deliver("INBOX", "Subject: somebody else's, marked by them\r\n\r\n");
        set(&scene, "filing = 'delete', delete_after_days = 3").await;
        let now = Utc::now();
        scene.drain_at(now).await.unwrap();
        scene.drain_at(now + TimeDelta::hours(71)).await.unwrap();
        assert_eq!((peer.messages("INBOX").len(), peer.n_asked("UID STORE")), (2, 0));
        peer.folder("INBOX", |folder| folder.messages.retain(|kept| kept.uid != uid));
        scene.drain_at(now + TimeDelta::hours(73)).await.unwrap();
        let left = peer.folder("INBOX", |folder| folder.messages.clone());
        assert!(if capabilities.is_empty() { left[0].is_deleted } else { left.is_empty() }, "{left:?}");
        assert!(scene.reports().await.iter().all(|report| report.is_filed));
        assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 1)]);
    }
}

#[tokio::test]
async fn a_folder_that_is_no_longer_read_is_left_alone_and_what_moved_on_is_recognised() {
    let (peer, scene) = with_folders(&["INBOX"]).await;
    set(&scene, "filing = 'delete', delete_after_days = 30").await;
    scene.drain().await;
    // Somebody reads another folder from now on, and has moved everything there.
    let raw = peer.messages("INBOX")[0].clone();
    peer.folder("INBOX", |folder| folder.messages.clear());
    peer.deliver("Elsewhere", raw);
    set(&scene, "folders = '{Elsewhere}', revision = revision + 1, filing = 'move'").await;
    scene.drain().await;
    assert_eq!((scene.count("reports").await, peer.messages("Postrider").len()), (1, 1));
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 1)]);
}

#[tokio::test]
async fn of_several_folders_the_first_is_watched() {
    let (peer, scene) = with_folders(&["INBOX", "Junk"]).await;
    peer.behave(|ways| ways.capabilities.push("IDLE"));
    set(&scene, "poll_seconds = 3600").await;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(postrider::reports::run(std::sync::Arc::clone(&scene.context), stopped));
    peer.until_asked("+ idling", 1).await;
    peer.deliver("INBOX", "Subject: news\r\n\r\n");
    peer.until_asked("+ idling", 2).await;
    assert_eq!((peer.messages("INBOX").len(), peer.messages("Postrider").len()), (0, 3));
    stop.send(true).unwrap();
    tokio::time::timeout(std::time::Duration::from_secs(60), running).await.expect("it stops").unwrap();
}

#[tokio::test]
async fn a_folder_that_has_not_changed_is_not_listed_again_where_the_server_tells_that() {
    for (capability, has_no_modseq, is_spared) in
        [("CONDSTORE", false, true), ("CONDSTORE", true, false), ("MOVE", false, false)]
    {
        let (peer, scene) = with_folders(&["INBOX", "Junk"]).await;
        set(&scene, "filing = 'leave'").await;
        peer.behave(|ways| {
            ways.capabilities = vec!["UIDPLUS", capability];
            ways.has_no_modseq = has_no_modseq;
        });
        // Numbers that were given and are gone are asked for in every round else.
        peer.folder("Junk", |folder| folder.uid_next += 10);
        let mut reader = scene.reader().await;
        let round = async |reader: &mut postrider::reports::Reader| {
            while reader.step(Utc::now()).await.unwrap() != postrider::reports::Step::Idle {}
        };
        round(&mut reader).await;
        let n_listed = peer.n_asked("UID FETCH");
        round(&mut reader).await;
        round(&mut reader).await;
        assert_eq!(peer.n_asked("UID FETCH") == n_listed, is_spared, "{capability}: {:?}", peer.asked());
        let address = "gone0@x.test";
        peer.deliver("Junk", hard(&scene.return_path(address).await, address));
        round(&mut reader).await;
        assert_eq!(scene.count("reports").await, 3, "what arrives is found all the same");
        reader.close().await.unwrap();
    }
}
