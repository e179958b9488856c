//! kill -9 while a mailbox is drained: state in Postgres and Dovecot, every report counted once, none lost.

use serde_json::json;
use sqlx::PgPool;

use super::shop::Shop;
use crate::{
    reports::scene::hard,
    support::{
        engine::until,
        service::Installation,
        smtp_peer::{Script, SmtpPeer},
        world::World,
    },
};

const N: usize = 600;
const N_KILLS: usize = 10;

/// Reports found, recorded and filed.
async fn progress(pool: &PgPool) -> (i64, i64, i64) {
    let sql = "select count(*), count(*) filter (where state = 'recorded'), count(*) filter (where filed_at is not null) from reports";
    sqlx::query_as(sql).fetch_one(pool).await.unwrap()
}

async fn count(pool: &PgPool, sql: &'static str) -> usize {
    let n: i64 = sqlx::query_scalar(sql).fetch_one(pool).await.unwrap();
    usize::try_from(n).unwrap()
}

#[tokio::test]
async fn a_process_killed_ten_times_while_it_drains_a_mailbox_counts_each_report_once_and_loses_none() {
    let world = World::find();
    let mailbox = format!("drained-{}", uuid::Uuid::now_v7().simple());
    let peer = SmtpPeer::start(Script::default()).await;
    // In many small steps, so that a kill finds something that is half done.
    let installation = Installation::new("reports.batch_size = 10\n").await;
    let mut process = installation.serve().await;
    let shop = Shop::with_recipients(&installation, peer.addr(), N, 4).await;
    let campaign = shop.start().await;
    shop.until_sent(&campaign).await;
    let mut client = world.client(&mailbox).await;
    for message in peer.accepted() {
        client.append("INBOX", None, None, hard(&message.return_path, message.recipient())).await.unwrap();
    }
    let wanted = json!({
        "name": "Bounces", "host": world.text("HOST"), "port": world.port("IMAP_PORT"), "tls": "none",
        "username": mailbox, "password": world.text("PASSWORD"), "poll_seconds": 1,
    });
    shop.client.post("/v1/mailboxes", wanted).await.expect(201);

    let mut kills = Vec::new();
    for n in 1..=N_KILLS {
        // The last one falls into the filing, or shortly before it.
        let goal = if n == N_KILLS { 2 * N } else { 2 * N * n / N_KILLS };
        until("it has got a little further", || async {
            let (n_found, n_recorded, _) = progress(&shop.pool).await;
            n_found + n_recorded >= goal as i64
        })
        .await;
        process.kill().await;
        kills.push(progress(&shop.pool).await);
        // As after thirty seconds: so long the mailbox would be left to whom it was taken by.
        sqlx::query("update mailboxes set lease_until = now()").execute(&shop.pool).await.unwrap();
        process = installation.serve().await;
    }
    until("all are filed", || async { progress(&shop.pool).await.2 >= N as i64 }).await;

    println!("found, recorded and filed at each kill: {kills:?}");
    let n_in_the_middle = kills.iter().filter(|kill| kill.1 < N as i64).count();
    assert!(n_in_the_middle >= N_KILLS / 2, "most kills came too late to prove anything: {kills:?}");
    assert_eq!(progress(&shop.pool).await, (N as i64, N as i64, N as i64), "found, recorded, filed");
    assert_eq!(shop.checked_states(&campaign).await, [("bounced".to_owned(), N as i64)].into());
    for (what, sql) in [
        ("events", "select count(*) from events where kind = 'delivery.bounced'"),
        ("deliveries with an event", "select count(distinct delivery_id) from events where kind = 'delivery.bounced'"),
        ("suppressions", "select count(*) from suppressions where reason = 'hard_bounce'"),
        ("changes", "select count(*) from changes where kind = 'suppression'"),
    ] {
        assert_eq!(count(&shop.pool, sql).await, N, "{what}");
    }
    process.stop().await;
    assert_eq!(client.examine("INBOX").await.unwrap().exists, 0);
    assert_eq!(client.examine("Postrider").await.unwrap().exists as usize, N);
}
