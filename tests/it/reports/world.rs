//! The reader on real servers: Postfix makes the reports, Dovecot keeps them.

use std::time::Duration;

use chrono::Utc;
use postrider::{
    domain::delivery::DeliveryState as State,
    mailbox::{Auth, Filing, Kind, Limits, Settings, TlsMode, probe},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
};

use super::scene::{Scene, hard};
use crate::support::world::World;

impl World {
    /// A scene whose mailbox is one of Dovecot's that nobody else uses, read over TLS.
    async fn scene(&self, mailbox: &str, addresses: &[&str]) -> Scene {
        let scene = Scene::on(self.port("IMAPS_PORT"), mailbox, self.text("PASSWORD"), "implicit", addresses).await;
        scene.put_all(State::Accepted).await;
        scene.with(|context| {
            context.extra_ca_pem = Some(self.ca());
            context.settings.command_timeout_seconds = 60;
        })
    }

    /// Hand a message over to the relay.
    async fn submit(&self, return_path: &str, recipient: &str) {
        let stream = TcpStream::connect((self.text("HOST"), self.port("RELAY_PORT"))).await.unwrap();
        let mut stream = BufStream::new(stream);
        let message = format!("From: news@sender.test\r\nTo: {recipient}\r\nSubject: News\r\n\r\nHello\r\n.");
        let (mail, rcpt) = (format!("MAIL FROM:<{return_path}>"), format!("RCPT TO:<{recipient}>"));
        for said in ["", "EHLO sender.test", &mail, &rcpt, "DATA", &message, "QUIT"] {
            if !said.is_empty() {
                stream.write_all(format!("{said}\r\n").as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
            }
            let mut reply = String::new();
            while reply.lines().last().is_none_or(|line| line.as_bytes()[3] != b' ') {
                assert_ne!(stream.read_line(&mut reply).await.unwrap(), 0, "{reply}");
            }
            assert!(reply.starts_with(['2', '3']), "{said}: {reply}");
        }
    }
}

/// A mailbox of this test alone.
fn new_mailbox() -> String {
    format!("r{}", uuid::Uuid::now_v7().simple())
}

/// Read until so many reports are recorded: the world delivers them when it likes.
async fn drain_until(scene: &Scene, n_reports: i64) {
    let waiting = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        while scene.count("reports").await < n_reports {
            ticks.tick().await;
            scene.drain().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waiting).await.expect("the reports never arrived");
}

#[tokio::test]
async fn a_bounce_of_postfix_becomes_bounced_with_the_servers_words_and_suppresses() {
    let world = World::find();
    let mailbox = new_mailbox();
    let addresses = ["gone-1@remote.test", "big-1@remote.test", "spam-1@remote.test", "fine-1@remote.test"];
    let scene = world.scene(&mailbox, &addresses).await;
    for address in addresses {
        let path = scene.return_path(address).await;
        let (local, _) = path.split_once('@').unwrap();
        world.submit(&format!("{local}@{mailbox}.bounces.test"), address).await;
    }
    drain_until(&scene, 3).await;

    for (address, class, words) in [
        ("gone-1@remote.test", "no_such_user", "550 5.1.1"),
        ("big-1@remote.test", "mailbox_full", "552 5.2.2"),
        ("spam-1@remote.test", "", "554 5.7.1"),
    ] {
        let (state, reason, text) = scene.outcome(address).await;
        assert_eq!(state, State::Bounced, "{address}");
        assert!(text.contains(words), "{address}: {text}");
        assert!(class.is_empty() || reason == class, "{address}: {reason}");
    }
    assert_eq!(scene.outcome("fine-1@remote.test").await.0, State::Accepted);
    assert_eq!(scene.campaign.checked_states().await, [(State::Accepted, 1), (State::Bounced, 3)]);
    assert_eq!(scene.suppressions().await, [("hard_bounce".into(), "gone-1@remote.test".into())]);

    let mut client = world.client(&mailbox).await;
    assert_eq!(client.examine("INBOX").await.unwrap().exists, 0);
    assert_eq!(client.examine("Postrider").await.unwrap().exists, 3);
}

#[tokio::test]
async fn dovecot_is_reached_in_each_way_and_a_probe_says_how() {
    let world = World::find();
    let mailbox = new_mailbox();
    let policy = postrider::network::NetworkPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]);
    for (kind, tls, port, step) in [
        (Kind::Imap, TlsMode::Implicit, "IMAPS_PORT", "tls"),
        (Kind::Imap, TlsMode::StartTls, "IMAP_PORT", "starttls"),
        (Kind::Imap, TlsMode::None, "IMAP_PORT", "greeting"),
        (Kind::Pop3, TlsMode::Implicit, "POP3S_PORT", "tls"),
        (Kind::Pop3, TlsMode::StartTls, "POP3_PORT", "starttls"),
        (Kind::Pop3, TlsMode::None, "POP3_PORT", "greeting"),
    ] {
        for auth in [Auth::Login, Auth::Plain] {
            let settings = Settings {
                kind,
                host: "localhost".into(),
                port: world.port(port),
                tls,
                extra_ca_pem: Some(world.ca()),
                auth,
                username: mailbox.clone(),
                secret: world.text("PASSWORD").into(),
                allow_plaintext_auth: false,
                folders: vec!["INBOX".into()],
                filing: Filing::Move { folder: "Postrider".into() },
                limits: Limits::default(),
            };
            let found = probe(&settings, &policy).await;
            assert!(found.ok, "{found:#?}");
            assert!(found.steps.iter().any(|one| one.step == step), "{found:#?}");
            let wrong = Settings { secret: "wrong".into(), ..settings.clone() };
            let found = probe(&wrong, &policy).await;
            assert!(found.summary.contains("Authentication failed"), "{found:#?}");
            if tls != TlsMode::None {
                let untrusting = Settings { extra_ca_pem: None, ..settings };
                let found = probe(&untrusting, &policy).await;
                assert!(found.summary.contains("not signed by a trusted authority"), "{found:#?}");
            }
        }
    }
}

#[tokio::test]
async fn dovecot_tells_of_what_arrives_while_the_reader_waits() {
    let world = World::find();
    let mailbox = new_mailbox();
    let scene = world.scene(&mailbox, &["gone@x.test", "late@x.test"]).await;
    // By the clock alone the test would take an hour.
    sqlx::query("update mailboxes set poll_seconds = 3600").execute(scene.pool()).await.unwrap();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(postrider::reports::run(std::sync::Arc::clone(&scene.context), stopped));
    let mut client = world.client(&mailbox).await;
    for (n_reports, address) in [(1, "gone@x.test"), (2, "late@x.test")] {
        client.append("INBOX", None, None, hard(&scene.return_path(address).await, address)).await.unwrap();
        let waiting = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            while scene.count("reports").await < n_reports || client.examine("INBOX").await.unwrap().exists > 0 {
                ticks.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it was not told");
    }
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 2)]);
    stop.send(true).unwrap();
    tokio::time::timeout(Duration::from_secs(60), running).await.expect("it stops").unwrap();
}

#[tokio::test]
async fn a_maildrop_of_dovecot_is_read_once_and_emptied_in_its_time() {
    let world = World::find();
    let mailbox = new_mailbox();
    let addresses: Vec<String> = (0..30).map(|n| format!("gone{n}@x.test")).collect();
    let scene = world.scene(&mailbox, &addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    sqlx::query("update mailboxes set kind = 'pop3', filing = 'delete', delete_after_days = 1, port = $1")
        .bind(i32::from(world.port("POP3S_PORT")))
        .execute(scene.pool())
        .await
        .unwrap();
    let mut client = world.client(&mailbox).await;
    for address in &addresses {
        let bounce = hard(&scene.return_path(address).await, address);
        client.append("INBOX", None, None, bounce + ".\r\n..\r\n. dots\r\n").await.unwrap();
    }
    let now = Utc::now();
    for _ in 0..2 {
        scene.drain_at(now).await.unwrap();
        assert_eq!((scene.count("reports").await, client.examine("INBOX").await.unwrap().exists), (30, 30));
    }
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 30)]);
    scene.drain_at(now + chrono::TimeDelta::hours(25)).await.unwrap();
    assert_eq!(client.examine("INBOX").await.unwrap().exists, 0);
    scene.drain_at(now + chrono::TimeDelta::hours(26)).await.unwrap();
    assert_eq!(scene.count("reports").await, 30);
}

#[tokio::test]
async fn a_folder_of_dovecot_that_was_made_anew_is_read_again_and_counted_once() {
    let world = World::find();
    let mailbox = new_mailbox();
    let scene = world.scene(&mailbox, &["gone@x.test", "late@x.test"]).await;
    // Nothing is filed, so that what was read stands there a second time.
    sqlx::query("update mailboxes set folders = '{Bounces}', filing = 'leave'").execute(scene.pool()).await.unwrap();
    let first = hard(&scene.return_path("gone@x.test").await, "gone@x.test");
    let second = hard(&scene.return_path("late@x.test").await, "late@x.test");
    let mut client = world.client(&mailbox).await;
    client.create("Bounces").await.unwrap();
    client.append("Bounces", None, None, &first).await.unwrap();
    scene.drain().await;
    assert_eq!(scene.suppressions().await.len(), 1);
    sqlx::query("delete from suppressions").execute(scene.pool()).await.unwrap();

    client.delete("Bounces").await.unwrap();
    client.create("Bounces").await.unwrap();
    client.append("Bounces", None, None, &first).await.unwrap();
    client.append("Bounces", None, None, &second).await.unwrap();
    scene.drain().await;
    assert_eq!(scene.count("reports").await, 2);
    assert_eq!(scene.campaign.checked_states().await, [(State::Bounced, 2)]);
    assert_eq!(scene.suppressions().await, [("hard_bounce".into(), "late@x.test".into())]);
    let n_validities: i64 =
        sqlx::query_scalar("select count(distinct uidvalidity) from reports").fetch_one(scene.pool()).await.unwrap();
    assert_eq!(n_validities, 1, "the first was recognised at its new place");
}

#[tokio::test]
async fn a_message_too_large_for_us_is_set_aside_and_filed_by_dovecot() {
    let world = World::find();
    let mailbox = new_mailbox();
    let scene = world.scene(&mailbox, &["gone@x.test"]).await;
    let scene = scene.with(|context| context.settings.max_message_bytes = 50_000);
    let mut client = world.client(&mailbox).await;
    client.append("INBOX", None, None, "x".repeat(60_000)).await.unwrap();
    client.append("INBOX", None, None, hard(&scene.return_path("gone@x.test").await, "gone@x.test")).await.unwrap();
    scene.drain_at(Utc::now()).await.unwrap();
    let states: Vec<_> = scene.reports().await.into_iter().map(|report| (report.state, report.has_raw)).collect();
    assert_eq!(states, [("quarantined".into(), false), ("recorded".into(), true)]);
    assert_eq!(client.examine("Postrider").await.unwrap().exists, 2);
}
