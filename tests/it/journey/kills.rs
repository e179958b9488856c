//! kill -9 in mid-campaign: nobody is lost, and second copies are few, alike, and only of what was in doubt.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use chrono::{DateTime, Utc};

use super::{
    shop::{Copies, Shop},
    soak::n_rounds,
};
use crate::support::{
    Process,
    engine::until,
    service::Installation,
    smtp_peer::{Action, Gate, Script, SmtpPeer, Step},
};

const N_CONNECTIONS: usize = 4;
const DOUBT_WINDOW: usize = 4;
/// In doubt with a connection that waits: it draws half a window at a time, so less than that may be free.
const N_IN_DOUBT: usize = DOUBT_WINDOW - DOUBT_WINDOW / 2 + 1;

/// Holds back every answer to a final dot from the one of this number on, until it is let go.
#[derive(Clone)]
struct Brake {
    gate: Gate,
    n_dots: Arc<AtomicUsize>,
    at: Arc<AtomicUsize>,
}

impl Brake {
    fn new() -> Self {
        let gate = Gate::closed();
        gate.open();
        Self { gate, n_dots: Arc::default(), at: Arc::new(AtomicUsize::new(usize::MAX)) }
    }

    fn script(&self) -> Script {
        let this = self.clone();
        Script::default().at(Step::Dot, move |_| {
            if this.n_dots.fetch_add(1, Ordering::Relaxed) + 1 == this.at.load(Ordering::Relaxed) {
                this.gate.close();
            }
            Action::Hold(this.gate.clone())
        })
    }

    /// Pulls it so many dots from now.
    fn pull_after(&self, n_dots: usize) {
        self.at.store(self.n_dots.load(Ordering::Relaxed) + n_dots, Ordering::Relaxed);
    }

    /// Whether so many connections wait for their answer.
    fn holds(&self, n_connections: usize, peer: &SmtpPeer) -> bool {
        let n_dots = self.n_dots.load(Ordering::Relaxed);
        n_dots >= self.at.load(Ordering::Relaxed) && n_dots == peer.accepted().len() + n_connections
    }

    fn let_go(&self) {
        self.gate.open();
    }
}

/// A lease as short as they come, so that what a killed process held is free again soon.
fn settings() -> String {
    format!(
        "dispatch.lease_seconds = 5\ndispatch.rescue_seconds = 1\ndispatch.unknown_resend_after_seconds = 1\n\
         dispatch.batch_size = 50\ndispatch.doubt_window = {DOUBT_WINDOW}\n"
    )
}

/// Kills the process of this installation again and again while it sends, starts it again, and holds it to the promise.
async fn kill_again_and_again(installation: &Installation) {
    let brake = Brake::new();
    let peer = SmtpPeer::start(brake.script()).await;
    let mut process = installation.serve().await;
    let n = 500 * n_rounds();
    let shop = Shop::with_recipients(installation, peer.addr(), n, N_CONNECTIONS as u32).await;
    let campaign = shop.start().await;

    let (mut n_kills, mut n_in_doubt) = (0, Vec::new());
    // In full flow …
    for round in 1..=n_rounds() {
        peer.wait_for(200 * round).await;
        process.kill().await;
        n_kills += 1;
        process = installation.serve().await;
    }
    // … and with every connection waiting for an answer, which the relay then gives to nobody.
    for _ in 0..2 {
        let began_at = Utc::now();
        brake.pull_after(50);
        until_all_wait(&brake, &peer, &shop, began_at).await;
        process.kill().await;
        n_kills += 1;
        n_in_doubt.push(shop.n_in_flight(began_at).await);
        brake.let_go();
        process = installation.serve().await;
    }

    shop.until_sent(&campaign).await;
    let copies = Copies::at(&peer);
    let n_unknown = shop.account_for(&campaign, &copies, n).await;
    process.stop().await;
    let n_extra = copies.n_extra();
    println!("{n_kills} kills, {n_extra} extra copies, {n_unknown} unknown, in doubt at the last: {n_in_doubt:?}");
    assert!(n_in_doubt.iter().all(|n| *n <= N_CONNECTIONS * DOUBT_WINDOW), "{n_in_doubt:?} were in doubt");
    assert!(n_extra > 0, "the relay took what it was still given: this test would prove nothing");
    assert!(n_extra <= n_kills * N_CONNECTIONS * DOUBT_WINDOW, "{n_extra} extra copies");
    // Only who was in doubt twice, at a kill and again when it was sent once more.
    assert!(n_unknown <= n_extra, "{n_unknown} are unknown");
}

/// Waits until every connection waits for an answer, with as many messages in doubt as it draws.
async fn until_all_wait(brake: &Brake, peer: &SmtpPeer, shop: &Shop, began_at: DateTime<Utc>) {
    until("every connection waits with a full window", || async {
        brake.holds(N_CONNECTIONS, peer) && shop.n_in_flight(began_at).await >= N_CONNECTIONS * N_IN_DOUBT
    })
    .await;
}

#[tokio::test]
async fn a_process_killed_again_and_again_loses_nobody_and_repeats_only_what_was_in_doubt() {
    kill_again_and_again(&Installation::new(&settings()).await).await;
}

#[tokio::test]
async fn so_does_one_whose_private_postgres_is_left_behind_each_time() {
    kill_again_and_again(&Installation::with_private_postgres(&settings())).await;
}

#[tokio::test]
async fn a_process_that_stood_still_past_its_lease_sends_nothing_more_of_it() {
    let brake = Brake::new();
    let peer = SmtpPeer::start(brake.script()).await;
    let installation = Installation::new(&settings()).await;
    let mut first = installation.serve().await;
    let n = 500;
    let shop = Shop::with_recipients(&installation, peer.addr(), n, N_CONNECTIONS as u32).await;
    for round in 1..=n_rounds() {
        let n_before = peer.accepted().len();
        let campaign = stand_still(&installation, first, &brake, &peer, &shop).await;
        first = installation.serve().await;
        let copies = Copies::of(peer.accepted().split_off(n_before));
        assert_eq!(shop.account_for(&campaign, &copies, n).await, 0);
        let n_extra = copies.n_extra();
        println!("round {round}: {n_extra} extra copies");
        assert!((1..=N_CONNECTIONS * DOUBT_WINDOW).contains(&n_extra), "{n_extra} extra copies");
    }
    first.stop().await;
}

/// Starts a campaign, stops the process in the middle until another has finished it, wakes it, and ends both; the campaign.
async fn stand_still(
    installation: &Installation,
    first: Process,
    brake: &Brake,
    peer: &SmtpPeer,
    shop: &Shop,
) -> String {
    let began_at = Utc::now();
    brake.pull_after(100);
    let campaign = shop.start().await;
    until_all_wait(brake, peer, shop, began_at).await;
    // As by a suspended machine. What is answered meanwhile, nobody hears.
    first.signal("STOP");
    brake.let_go();
    let second = installation.serve_engine().await;
    until("another has finished", || async { shop.row_state(&campaign).await == "sent" }).await;

    let n_commands = peer.facts().n_commands("MAIL");
    first.signal("CONT");
    // Late outcomes complete what is known, and change no count.
    shop.until_sent(&campaign).await;
    first.stop().await;
    second.stop().await;
    assert_eq!(peer.facts().n_commands("MAIL"), n_commands, "it went on without its lease");
    campaign
}
