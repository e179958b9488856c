//! An unsubscribe, a pause and a cancel over HTTP, while a campaign runs: from 5 seconds after their 2xx on no MAIL FROM is
//! written for what they end. With NOTIFY working and with it cut, which leaves the engine its polling.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use futures::StreamExt;
use serde_json::json;
use sqlx::{PgPool, postgres::PgListener};

use super::shop::{self, Copies, Shop};
use crate::support::{
    Process,
    engine::until,
    service::Installation,
    smtp_peer::{Script, SmtpPeer},
};

/// The promise.
const WITHIN: Duration = Duration::from_secs(5);
const N: usize = 120;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Notify {
    Works,
    Cut,
}

struct Scene {
    peer: SmtpPeer,
    installation: Installation,
    process: Process,
    shop: Shop,
}

impl Scene {
    async fn set(notify: Notify) -> Self {
        let peer = SmtpPeer::start(Script::default()).await;
        let installation = Installation::new("").await;
        if notify == Notify::Cut {
            cut_notify(&installation.pool().await).await;
        }
        let process = installation.serve().await;
        let shop = Shop::with_recipients(&installation, peer.addr(), N, 4).await;
        Self { peer, installation, process, shop }
    }

    /// A campaign that sends so many messages a second, so that it is in its middle for a while, and has sent its first.
    async fn running(&self, messages_per_second: usize) -> String {
        let n_before = self.peer.accepted().len();
        let rate = json!({"messages": messages_per_second, "per_seconds": 1});
        let campaign = self.shop.draft_of(json!({"content": shop::content(), "delivery": {"rate": rate}})).await;
        self.shop.client.act(&format!("{campaign}/start")).await.expect(200);
        self.peer.wait_for(n_before + 10).await;
        campaign
    }

    /// Acts, and holds that its NOTIFY gets through, or doesn't; answers when the act was done.
    async fn expect_notify(&self, notify: Notify, act: impl AsyncFnOnce()) -> Instant {
        let mut listener = PgListener::connect(&self.installation.database.as_ref().unwrap().url()).await.unwrap();
        listener.listen(postrider::store::changes::CHANNEL).await.unwrap();
        act().await;
        let done_at = Instant::now();
        let heard = tokio::time::timeout(Duration::from_secs(1), listener.recv()).await.is_ok();
        assert_eq!(heard, notify == Notify::Works);
        done_at
    }

    /// Holds that since `done_at` and the promised time no MAIL FROM was written, and that none is.
    async fn expect_silence(&self, done_at: Instant) {
        let is_over = || async { done_at.elapsed() > WITHIN + Duration::from_secs(1) };
        until("the promised time and a second more have passed", is_over).await;
        let facts = self.peer.facts();
        let last = facts.commands.iter().filter(|seen| seen.line.starts_with("MAIL")).map(|seen| seen.at).max();
        let after = last.unwrap().saturating_duration_since(done_at);
        assert!(after < WITHIN, "MAIL FROM was written {after:?} after the 2xx");
        println!("the last MAIL FROM came {after:?} after the 2xx");
    }
}

/// Lets the `pg_notify` of this database do nothing: one of ours is found before Postgres's own.
async fn cut_notify(pool: &PgPool) {
    for sql in [
        "create function public.pg_notify(text, text) returns void language sql as 'select'",
        "do $$ begin execute format('alter database %I set search_path = public, pg_catalog', current_database()); end $$",
    ] {
        sqlx::query(sql).execute(pool).await.unwrap();
    }
}

async fn a_pause_is_obeyed(notify: Notify) {
    let scene = Scene::set(notify).await;
    let campaign = scene.running(20).await;
    let paused_at = scene
        .expect_notify(notify, async || {
            scene.shop.client.act(&format!("{campaign}/pause")).await.expect(200);
        })
        .await;
    scene.expect_silence(paused_at).await;
    let states = scene.shop.checked_states(&campaign).await;
    assert!(states.keys().all(|state| state == "accepted" || state == "queued"), "{states:?}");

    // It is a pause: what waits goes out when it is over.
    scene.shop.client.act(&format!("{campaign}/resume")).await.expect(200);
    scene.shop.until_sent(&campaign).await;
    assert_eq!(scene.shop.checked_states(&campaign).await, [("accepted".to_owned(), N as i64)].into());
    scene.process.stop().await;
    let copies = Copies::at(&scene.peer);
    assert_eq!((copies.recipients().len(), copies.n_extra()), (N, 0));
}

async fn a_cancel_is_obeyed(notify: Notify) {
    let scene = Scene::set(notify).await;
    let campaign = scene.running(20).await;
    let cancelled_at = scene
        .expect_notify(notify, async || {
            scene.shop.client.act(&format!("{campaign}/cancel")).await.expect(200);
        })
        .await;
    scene.expect_silence(cancelled_at).await;
    scene.shop.until(&campaign, "all that waited is cancelled", |stats| stats["states"]["queued"] == 0).await;
    let states = scene.shop.checked_states(&campaign).await;
    scene.process.stop().await;
    assert_eq!(states["accepted"], scene.peer.accepted().len() as i64);
    assert_eq!(states["accepted"] + states["cancelled"], N as i64, "{states:?}");
}

async fn an_unsubscribe_is_obeyed(notify: Notify) {
    let scene = Scene::set(notify).await;
    // The first campaign brings everybody the link by which they can leave …
    let first = scene.shop.start().await;
    scene.shop.until_sent(&first).await;
    let links: HashMap<String, String> = scene
        .peer
        .accepted()
        .iter()
        .map(|message| {
            assert_eq!(message.header("List-Unsubscribe-Post").unwrap(), "List-Unsubscribe=One-Click");
            let link = message.header("List-Unsubscribe").unwrap();
            let url = link.trim_matches(['<', '>']).strip_prefix(&scene.installation.url).unwrap().to_owned();
            (message.recipient().to_owned(), url)
        })
        .collect();
    assert_eq!(links.len(), N);

    // … which some do while the second one runs, a little before their turn.
    let second = scene.running(10).await;
    let served: HashSet<String> =
        scene.peer.accepted()[N..].iter().map(|message| message.recipient().to_owned()).collect();
    let leaving: Vec<_> = links.iter().filter(|(address, _)| !served.contains(*address)).take(N / 2).collect();
    let anonymous = scene.shop.client.without_key();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let mut left_at = HashMap::new();
    let leave = async |url: &str| {
        anonymous.send_raw("POST", url, &[form], b"List-Unsubscribe=One-Click".to_vec()).await.expect(200);
    };
    let (first_to_leave, url) = leaving[0];
    left_at.insert(first_to_leave.as_str(), scene.expect_notify(notify, async || leave(url).await).await);
    let others = leaving[1..].iter().map(async |(address, url)| {
        leave(url).await;
        (address.as_str(), Instant::now())
    });
    // Several at a time.
    left_at.extend(futures::stream::iter(others).buffer_unordered(6).collect::<Vec<_>>().await);
    scene.shop.until_sent(&second).await;
    let states = scene.shop.checked_states(&second).await;
    scene.process.stop().await;

    let facts = scene.peer.facts();
    let mut n_mailed = 0;
    for (address, left_at) in &left_at {
        let line = format!("RCPT TO:<{address}>");
        if let Some(seen) = facts.commands.iter().filter(|seen| seen.line.starts_with(&line)).nth(1) {
            n_mailed += 1;
            let after = seen.at.saturating_duration_since(*left_at);
            assert!(after < WITHIN, "{address} was mailed {after:?} after leaving");
        }
    }
    let n_suppressed = states.get("suppressed").copied().unwrap_or_default();
    println!("of {} who left {n_suppressed} were held back, {n_mailed} mailed, {states:?}", left_at.len());
    assert_eq!(n_suppressed + n_mailed, left_at.len() as i64);
    assert!(n_suppressed > 10, "{states:?}");
    assert_eq!(facts.accepted.len() - N, N - n_suppressed as usize);
}

/// Three services at a time: most of this is waiting.
async fn all_three_are_obeyed(notify: Notify) {
    tokio::join!(a_pause_is_obeyed(notify), a_cancel_is_obeyed(notify), an_unsubscribe_is_obeyed(notify));
}

#[tokio::test]
async fn a_pause_a_cancel_and_an_unsubscribe_are_obeyed_within_five_seconds() {
    all_three_are_obeyed(Notify::Works).await;
}

#[tokio::test]
async fn a_pause_a_cancel_and_an_unsubscribe_are_obeyed_within_five_seconds_with_notify_cut() {
    all_three_are_obeyed(Notify::Cut).await;
}
