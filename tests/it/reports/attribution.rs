//! Whose report it is, and what follows from it: once, and only for the one it belongs to.

use chrono::{TimeDelta, Utc};
use postrider::domain::{delivery::DeliveryState as State, id::DeliveryId};

use super::scene::{Scene, arf, dsn, hard};
use crate::support::imap_peer::ImapPeer;

#[tokio::test]
async fn a_genuine_bounce_is_recorded_counted_and_suppresses_in_one_go() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["Gone@Example.org", "ok@example.org"]).await;
    let path = scene.return_path("Gone@Example.org").await;
    peer.deliver("INBOX", hard(&path, "gone@example.org"));
    scene.drain().await;

    let (state, reason, words) = scene.outcome("Gone@Example.org").await;
    assert_eq!((state, reason.as_str()), (State::Bounced, "no_such_user"));
    assert_eq!(words, "550 5.1.1 <gone@example.org>: User unknown");
    assert_eq!(scene.campaign.checked_states().await, [(State::Accepted, 1), (State::Bounced, 1)]);
    assert_eq!(scene.suppressions().await, [("hard_bounce".into(), "gone@example.org".into())]);
    assert_eq!((scene.count("events").await, scene.count("changes").await), (1, 1));

    let report = scene.reports().await.remove(0);
    assert_eq!((report.state.as_str(), report.kind.as_deref()), ("recorded", Some("dsn")));
    assert_eq!(report.delivery_id, Some(scene.delivery("Gone@Example.org").await.0));
    let view = report.inspection.unwrap();
    assert_eq!(view["recipients"][0]["class"], "no_such_user");
    assert!(report.is_filed);
    let origin: serde_json::Value =
        sqlx::query_scalar("select origin from suppressions").fetch_one(scene.pool()).await.unwrap();
    assert_eq!(origin["kind"], "report");
    assert!(origin["report_id"].as_str().unwrap().starts_with("rep_"), "{origin}");
    assert!(origin["text"].as_str().unwrap().contains("User unknown"), "{origin}");
    let class: String =
        sqlx::query_scalar("select class from transitions where to_state = 'bounced' and from_state = 'accepted'")
            .fetch_one(scene.pool())
            .await
            .unwrap();
    assert_eq!(class, "no_such_user");
}

#[tokio::test]
async fn a_bounce_that_is_soft_or_about_us_condemns_nobody() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["full@x.test", "spam@x.test"]).await;
    let full = scene.return_path("full@x.test").await;
    let spam = scene.return_path("spam@x.test").await;
    peer.deliver("INBOX", dsn(&full, "full@x.test", "failed", "5.2.2", "552 5.2.2 mailbox full"));
    peer.deliver("INBOX", dsn(&spam, "spam@x.test", "failed", "5.7.1", "554 5.7.1 message looks like spam"));
    scene.drain().await;
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 2)]);
    assert_eq!(scene.outcome("full@x.test").await.1, "mailbox_full");
    assert!(scene.suppressions().await.is_empty());
    assert_eq!(scene.count("events").await, 2);
}

#[tokio::test]
async fn a_report_that_is_not_signed_for_a_delivery_of_the_workspace_changes_nothing() {
    let peer = ImapPeer::start().await;
    let addresses: Vec<String> = (0..3).map(|n| format!("gone{n}@x.test")).collect();
    let scene = Scene::new(&peer, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let genuine = scene.return_path("gone0@x.test").await;
    let (local, _) = genuine.split_once('@').unwrap();

    // Nobody signed it.
    peer.deliver("INBOX", hard("bounces@bounces.test", "gone0@x.test"));
    // Every character of the signed part, changed.
    for place in 2..local.len() {
        let mut forged: Vec<char> = local.chars().collect();
        forged[place] = if forged[place] == 'a' { 'b' } else { 'a' };
        peer.deliver("INBOX", hard(&format!("{}@bounces.test", String::from_iter(forged)), "gone0@x.test"));
    }
    // Signed for another workspace with our own key, by another installation, and for a delivery that never was.
    let delivery = scene.delivery("gone0@x.test").await;
    let elsewhere = postrider::mail::return_path::sign(&scene.keyring, uuid::Uuid::now_v7(), delivery.0).return_path;
    peer.deliver("INBOX", hard(&format!("{elsewhere}@bounces.test"), "gone0@x.test"));
    let stranger = postrider::keyring::Keyring::from_keys(&[(1, [9; 32])]).unwrap();
    let strange = postrider::mail::return_path::sign(&stranger, scene.workspace().0, delivery.0).return_path;
    peer.deliver("INBOX", hard(&format!("{strange}@bounces.test"), "gone0@x.test"));
    peer.deliver("INBOX", hard(&scene.return_path_of(DeliveryId::new()), "gone0@x.test"));
    // Of who has only read the message: what it carries, as a return path, and made to look like one.
    let in_message = scene.in_message("gone0@x.test").await;
    peer.deliver("INBOX", hard(&format!("{in_message}@bounces.test"), "gone0@x.test"));
    peer.deliver("INBOX", hard(&format!("b-{}@bounces.test", &in_message[2..]), "gone0@x.test"));
    // A complaint without a signature, and one that names somebody.
    peer.deliver("INBOX", arf("somebody@bounces.test", "abuse"));

    scene.drain().await;
    scene.assert_untouched().await;
    let reports = scene.reports().await;
    assert_eq!(reports.len(), 1 + (local.len() - 2) + 3 + 2 + 1);
    assert!(reports.iter().all(|report| report.state == "recorded" && report.delivery_id.is_none() && report.is_filed));
}

#[tokio::test]
async fn a_signed_return_path_condemns_its_own_delivery_and_never_whom_the_report_names() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["attacker@x.test", "victim@x.test"]).await;
    let path = scene.return_path("attacker@x.test").await;
    peer.deliver("INBOX", hard(&path, "victim@x.test"));
    scene.drain().await;
    assert_eq!(scene.outcome("victim@x.test").await.0, State::Accepted);
    assert_eq!(scene.suppressions().await, [("hard_bounce".into(), "attacker@x.test".into())]);
}

#[tokio::test]
async fn a_report_that_quotes_only_a_message_id_belongs_to_its_delivery_and_a_forged_one_to_nobody() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["gone@x.test", "angry@x.test", "victim@x.test"]).await;
    let (gone, angry) = (scene.in_message("gone@x.test").await, scene.in_message("angry@x.test").await);
    let victim = scene.in_message("victim@x.test").await;
    let bounce =
        |id: &str| hard("postmaster@x.test", "victim@x.test").replace("Subject: News", &format!("Message-ID: <{id}>"));
    let complaint = |id: &str| arf("somebody@x.test", "abuse").replace("Subject: News", &format!("Message-ID: <{id}>"));

    // Every bit of the signed part, turned; cut short; of another installation; by what anybody can know of a delivery.
    let mut forged = Vec::new();
    for place in 2..victim.len() {
        for bit in 0..5 {
            let mut bytes = victim.clone().into_bytes();
            bytes[place] ^= 1 << bit;
            forged.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    forged.push(victim[..victim.len() - 1].to_owned());
    let delivery = scene.delivery("victim@x.test").await;
    let stranger = postrider::keyring::Keyring::from_keys(&[(1, [9; 32])]).unwrap();
    forged.push(postrider::mail::return_path::sign(&stranger, scene.workspace().0, delivery.0).message);
    forged.push(postrider::mail::return_path::sign(&scene.keyring, uuid::Uuid::now_v7(), delivery.0).message);
    forged.push(scene.return_path("victim@x.test").await.split_once('@').unwrap().0.to_owned());
    forged.extend([delivery.0.simple().to_string(), delivery.to_string()]);
    for id in &forged {
        peer.deliver("INBOX", bounce(&format!("{id}@sender.test")));
        peer.deliver("INBOX", complaint(&format!("{id}@sender.test")));
    }
    scene.drain().await;
    scene.assert_untouched().await;
    let n_forged = 2 * forged.len() as i64;
    assert_eq!(scene.count("reports where delivery_id is null").await, n_forged);

    peer.deliver("INBOX", bounce(&format!("{gone}@sender.test")));
    peer.deliver("INBOX", complaint(&format!("{}@SENDER.test", angry.to_uppercase())));
    scene.drain().await;
    assert_eq!(scene.outcome("gone@x.test").await.0, State::Bounced);
    let mut suppressed = scene.suppressions().await;
    suppressed.sort();
    assert_eq!(suppressed, [("complaint".into(), "angry@x.test".into()), ("hard_bounce".into(), "gone@x.test".into())]);
    assert_eq!(scene.outcome("victim@x.test").await.0, State::Accepted, "whom they name");
}

#[tokio::test]
async fn an_expired_return_path_is_worth_nothing() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["gone@x.test"]).await;
    peer.deliver("INBOX", hard(&scene.return_path("gone@x.test").await, "gone@x.test"));
    scene.drain_at(Utc::now() + TimeDelta::days(91)).await.unwrap();
    scene.assert_untouched().await;
}

#[tokio::test]
async fn replays_and_duplicates_count_once() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["gone@x.test", "angry@x.test"]).await;
    let bounce = hard(&scene.return_path("gone@x.test").await, "gone@x.test");
    let complaint = arf(&scene.return_path("angry@x.test").await, "abuse");
    for raw in [&bounce, &bounce, &complaint, &complaint] {
        peer.deliver("INBOX", raw.as_bytes());
    }
    scene.drain().await;
    // An operator takes the suppressions back; whoever kept the reports can't bring them back.
    sqlx::query("delete from suppressions").execute(scene.pool()).await.unwrap();
    for raw in [&bounce, &complaint] {
        peer.deliver("INBOX", raw.as_bytes());
    }
    scene.drain().await;
    assert_eq!(scene.campaign.checked_states().await, [(State::Accepted, 1), (State::Bounced, 1)]);
    assert_eq!((scene.count("reports").await, scene.count("events").await, scene.count("opt_outs").await), (6, 2, 1));
    assert!(scene.suppressions().await.is_empty());
}

#[tokio::test]
async fn a_complaint_or_opt_out_suppresses_whoever_sent_it_and_other_feedback_does_not() {
    let peer = ImapPeer::start().await;
    let addresses = ["abuse@x.test", "optout@x.test", "fraud@x.test", "notspam@x.test"];
    let scene = Scene::new(&peer, &addresses).await;
    for (address, feedback) in addresses.iter().zip(["abuse", "opt-out", "fraud", "not-spam"]) {
        peer.deliver("INBOX", arf(&scene.return_path(address).await, feedback));
    }
    scene.drain().await;
    let mut suppressed = scene.suppressions().await;
    suppressed.sort();
    assert_eq!(suppressed, [("complaint".into(), "abuse@x.test".into()), ("complaint".into(), "optout@x.test".into())]);
    assert_eq!(scene.count("opt_outs").await, 2);
    assert_eq!(scene.campaign.checked_states().await, [(State::Accepted, 4)]);
    assert!(scene.reports().await.iter().all(|report| report.delivery_id.is_some()));
}

#[tokio::test]
async fn delays_successes_and_answers_by_machines_change_nothing() {
    let peer = ImapPeer::start().await;
    let scene = Scene::new(&peer, &["a@x.test"]).await;
    let path = scene.return_path("a@x.test").await;
    peer.deliver("INBOX", dsn(&path, "a@x.test", "delayed", "4.4.1", "451 4.4.1 no answer yet"));
    peer.deliver("INBOX", dsn(&path, "a@x.test", "delivered", "2.0.0", "250 2.0.0 ok"));
    peer.deliver(
        "INBOX",
        format!("Delivered-To: {path}\r\nFrom: a@x.test\r\nSubject: Out of office\r\nAuto-Submitted: auto-replied\r\n\r\nI am away, 550 5.1.1.\r\n"),
    );
    peer.deliver("INBOX", format!("Delivered-To: {path}\r\nFrom: a@x.test\r\nSubject: hello\r\n\r\nThank you!\r\n"));
    scene.drain().await;
    scene.assert_untouched().await;
    let kinds: Vec<_> = scene.reports().await.into_iter().map(|report| report.kind.unwrap()).collect();
    assert_eq!(kinds, ["dsn", "dsn", "auto_reply", "other"]);
}

#[tokio::test]
async fn a_report_settles_what_is_unknown_and_ends_what_is_deferred() {
    for state in [State::Unknown, State::Deferred] {
        let peer = ImapPeer::start().await;
        let scene = Scene::in_state(&peer, &["gone@x.test"], state).await;
        peer.deliver("INBOX", hard(&scene.return_path("gone@x.test").await, "gone@x.test"));
        scene.drain().await;
        assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 1)]);
        let waits: Option<bool> =
            sqlx::query_scalar("select due_at is not null from deliveries").fetch_one(scene.pool()).await.unwrap();
        assert_eq!(waits, Some(false), "{state:?}: it would be sent again");
    }
}

#[tokio::test]
async fn soft_bounces_suppress_an_address_once_there_were_so_many_within_the_workspaces_time() {
    for (rule, days_ago, suppressed) in
        [("2", 20, vec![("soft_bounce".to_owned(), "full@x.test".to_owned())]), ("2", 40, vec![]), ("null", 20, vec![])]
    {
        let peer = ImapPeer::start().await;
        let scene = Scene::new(&peer, &["full@x.test"]).await;
        let sql = format!("update workspaces set soft_bounce_count = {rule}, soft_bounce_days = 30");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(scene.pool()).await.unwrap();
        sqlx::query(
            "insert into soft_bounces values ($1, 'full@x.test', gen_random_uuid(), now() - make_interval(days => $2))",
        )
        .bind(scene.workspace().0)
        .bind(days_ago)
        .execute(scene.pool())
        .await
        .unwrap();
        let path = scene.return_path("full@x.test").await;
        for _ in 0..2 {
            peer.deliver("INBOX", dsn(&path, "full@x.test", "failed", "5.2.2", "552 5.2.2 mailbox full"));
        }
        scene.drain().await;
        assert_eq!(scene.suppressions().await, suppressed, "{rule} {days_ago}");
        assert_eq!(scene.count("soft_bounces").await, 2);
        assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 1)]);
    }
}
