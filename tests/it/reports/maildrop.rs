//! The reader on a POP3 maildrop: the same promises as on folders, though messages have no numbers that last.

use chrono::{TimeDelta, Utc};
use postrider::{domain::delivery::DeliveryState as State, reports::Step};

use super::scene::{Scene, hard};
use crate::support::{imap_peer::PASSWORD, pop3_peer::Pop3Peer};

/// A maildrop with a bounce of each address, and a mailbox that reads it and files so.
async fn with_bounces(addresses: &[&str], filing: &str, after_days: i32) -> (Pop3Peer, Scene) {
    let peer = Pop3Peer::start().await;
    let scene = Scene::on(peer.port(), "bounces", PASSWORD, "none", addresses).await;
    scene.put_all(State::Accepted).await;
    sqlx::query("update mailboxes set kind = 'pop3', filing = $1, delete_after_days = $2")
        .bind(filing)
        .bind(after_days)
        .execute(scene.pool())
        .await
        .unwrap();
    for address in addresses {
        peer.deliver(hard(&scene.return_path(address).await, address));
    }
    (peer, scene)
}

async fn assert_each_counted_once(scene: &Scene, n_bounced: i64) {
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, n_bounced)]);
    for table in ["reports", "suppressions", "events", "changes"] {
        assert_eq!(scene.count(table).await, n_bounced, "{table}");
    }
    assert_eq!(scene.health().await.0, "ok");
}

#[tokio::test]
async fn what_is_left_there_is_read_once_and_what_comes_after_it_too() {
    let (peer, scene) = with_bounces(&["a@x.test", "b@x.test"], "leave", 0).await;
    scene.drain().await;
    assert_each_counted_once(&scene, 2).await;
    assert!(scene.reports().await.iter().all(|report| report.is_filed));
    let n_fetched = peer.n_asked("RETR");
    // The numbers of POP3 are others now; what was read is known by its unique id.
    let kept = peer.messages();
    peer.clear();
    peer.deliver("Subject: new\r\n\r\n");
    for (id, raw) in kept {
        peer.deliver_as(&id, raw);
    }
    scene.drain().await;
    assert_eq!((peer.n_asked("RETR"), scene.count("reports").await), (n_fetched + 1, 3));
    assert!(scene.drain().await.is_empty());
    assert_eq!((peer.messages().len(), peer.n_asked("DELE")), (3, 0));
    assert_eq!(peer.n_asked("QUIT"), 3, "no session outlives its round");
}

#[tokio::test]
async fn what_is_to_be_deleted_is_deleted_in_its_time() {
    let (peer, scene) = with_bounces(&["a@x.test", "b@x.test"], "delete", 3).await;
    let now = Utc::now();
    scene.drain_at(now).await.unwrap();
    scene.drain_at(now + TimeDelta::hours(71)).await.unwrap();
    assert_eq!((peer.messages().len(), peer.n_asked("DELE")), (2, 0));
    peer.deliver("Subject: new\r\n\r\n");
    scene.drain_at(now + TimeDelta::hours(73)).await.unwrap();
    assert_eq!((peer.messages().len(), peer.n_asked("DELE")), (1, 2));
    scene.drain_at(now + TimeDelta::days(9)).await.unwrap();
    assert_eq!((peer.messages().len(), scene.count("reports").await), (0, 3));
    // A unique id that is gone for a month is forgotten.
    scene.drain_at(now + TimeDelta::days(50)).await.unwrap();
    scene.drain_at(now + TimeDelta::days(90)).await.unwrap();
    assert_eq!(scene.count("maildrop_messages").await, 0);
}

#[tokio::test]
async fn a_server_that_forgets_its_messages_for_a_moment_makes_none_count_twice() {
    let (peer, scene) = with_bounces(&["a@x.test"], "leave", 0).await;
    scene.drain().await;
    peer.behave(|ways| ways.forgets = true);
    scene.drain().await;
    peer.behave(|ways| ways.forgets = false);
    scene.drain().await;
    assert_each_counted_once(&scene, 1).await;
    assert_eq!(peer.n_asked("RETR"), 1);
}

#[tokio::test]
async fn a_reader_that_is_killed_at_any_point_counts_each_report_once() {
    let (peer, scene) = with_bounces(&["a@x.test", "b@x.test", "c@x.test"], "delete", 0).await;
    let scene = scene.with(|context| context.settings.max_tries = 1000);
    let n_deaths = scene.drain_in_short_lives().await;
    assert!(n_deaths > 10, "it died only {n_deaths} times");
    assert_each_counted_once(&scene, 3).await;
    assert!(peer.messages().is_empty());
}

#[tokio::test]
async fn a_connection_cut_at_any_command_loses_and_doubles_nothing() {
    for command in ["USER", "PASS", "LIST", "UIDL", "RETR", "DELE", "QUIT"] {
        for before in [true, false] {
            let (peer, scene) = with_bounces(&["a@x.test", "b@x.test"], "delete", 0).await;
            peer.behave(|ways| {
                let cut = if before { &mut ways.cut_before } else { &mut ways.cut_after };
                *cut = Some(command);
            });
            scene.drain_at(Utc::now()).await.unwrap_err();
            scene.drain().await;
            assert_each_counted_once(&scene, 2).await;
            assert!(peer.messages().is_empty(), "{command}");
            assert!(scene.reports().await.iter().all(|report| report.is_filed), "{command}");
        }
    }
}

#[tokio::test]
async fn a_message_that_is_withheld_or_larger_than_told_holds_nothing_up() {
    let (peer, scene) = with_bounces(&["a@x.test"], "delete", 0).await;
    let scene = scene.with(|context| context.settings.max_message_bytes = 100_000);
    let withheld = peer.deliver("Subject: broken on disk\r\n\r\n");
    peer.behave(|ways| ways.withheld.insert(withheld));
    let understated = peer.deliver(b"x\r\n".repeat(100_000));
    peer.behave(|ways| ways.told_sizes.insert(understated, 10));
    peer.deliver(b"y\r\n".repeat(100_000));
    let last = hard(&scene.return_path("a@x.test").await, "a@x.test");
    peer.deliver(last + "Received: once more\r\n");
    let mut reader = scene.reader().await;
    let mut n_failed = 0;
    loop {
        match reader.step(Utc::now()).await {
            Ok(Step::Idle) => break,
            Ok(_) => {}
            Err(_) => {
                n_failed += 1;
                assert!(n_failed < 10);
                // While nothing comes through it is the server that fails.
                peer.deliver("Subject: fine\r\n\r\n");
            }
        }
    }
    let states: Vec<_> = scene.reports().await.into_iter().map(|report| (report.state, report.has_raw)).collect();
    let n_aside = states.iter().filter(|state| **state == ("quarantined".into(), false)).count();
    assert_eq!((states.len(), n_aside), (5 + n_failed, 3), "{states:?}");
    assert!(peer.messages().is_empty(), "they are deleted all the same");
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 1)]);
}
