//! Postgres goes away in mid-campaign and comes back: the service stays, says 503, sends nothing meanwhile, and goes on by
//! itself; nobody is lost, and no copy is made that was not in doubt.

use std::time::{Duration, Instant};

use super::{
    shop::{Copies, Shop},
    soak::n_rounds,
};
use crate::support::{
    Gate, Process,
    app::Client,
    process::signal,
    service::Installation,
    smtp_peer::{Script, SmtpPeer},
};

const N: usize = 1500;
const N_CONNECTIONS: u32 = 4;
/// An answer must come within this time, Postgres or not.
const ANSWER: Duration = Duration::from_secs(5);
/// Sending must go on within this time of Postgres's return.
const RESUME: Duration = Duration::from_secs(10);

/// Sends the rest of the campaign and holds the books to the promise: one copy each, since a process that lives has no doubt.
async fn finish(peer: &SmtpPeer, shop: &Shop, campaign: &str, process: Process, n: usize) {
    shop.until_sent(campaign).await;
    let copies = Copies::at(peer);
    assert_eq!(shop.account_for(campaign, &copies, n).await, 0, "someone is unknown");
    process.stop().await;
    assert_eq!(copies.n_extra(), 0, "extra copies");
}

/// Asks for a campaign; the status, which must come in time.
async fn ask(client: &Client, campaign: &str) -> u16 {
    tokio::time::timeout(ANSWER, client.get(campaign)).await.expect("an answer in time").status
}

/// Waits until the relay takes another message, which must be in time.
async fn expect_to_resume(peer: &SmtpPeer, back_at: Instant) {
    let n = peer.accepted().len();
    let resumed = tokio::time::timeout_at((back_at + RESUME).into(), peer.wait_for(n + 1));
    resumed.await.expect("sending resumes in time");
    println!("sending resumed {:?} after Postgres was back", back_at.elapsed());
}

#[tokio::test]
async fn a_postgres_that_stops_at_once_or_is_killed_in_mid_campaign_is_started_again_and_sending_goes_on() {
    let peer = SmtpPeer::start(Script::default()).await;
    let installation = Installation::with_private_postgres("");
    let mut process = installation.serve().await;
    // QUIT is what `pg_ctl stop -m immediate` sends.
    let signals: Vec<_> = std::iter::repeat_n("QUIT", n_rounds()).chain(["KILL"]).collect();
    let n = 500 * signals.len();
    let shop = Shop::with_recipients(&installation, peer.addr(), n, N_CONNECTIONS).await;
    let campaign = shop.start().await;
    for (round, name) in signals.into_iter().enumerate() {
        peer.wait_for(400 * round + 200).await;
        let killed = installation.postgres_id();
        signal(killed, name);
        process.says("starting it again").await;
        // Whoever asks meanwhile is answered in time, if only that it can't be answered.
        let mut n_refused = 0;
        loop {
            match ask(&shop.client, &campaign).await {
                200 if installation.postgres_id() != killed => break,
                200 => {}
                status => {
                    assert_eq!(status, 503);
                    n_refused += 1;
                }
            }
        }
        println!("{n_refused} answers were 503");
        expect_to_resume(&peer, Instant::now()).await;
    }
    // Every outcome was kept and written when Postgres was back.
    finish(&peer, &shop, &campaign, process, n).await;
}

#[tokio::test]
async fn while_postgres_is_away_callers_are_told_nothing_is_sent_and_the_service_stays() {
    let peer = SmtpPeer::start(Script::default()).await;
    let mut installation = Installation::new("").await;
    let mut gate = Gate::before(&installation.database.as_ref().unwrap().url());
    installation.reach_database_over(gate.url());
    let process = installation.serve().await;
    let shop = Shop::with_recipients(&installation, peer.addr(), N, N_CONNECTIONS).await;
    let campaign = shop.start().await;
    peer.wait_for(200).await;
    gate.close().await;
    for _ in 0..3 {
        assert_eq!(ask(&shop.client, &campaign).await, 503);
    }
    // What had its intent was submitted; then there is silence.
    let n = peer.facts().n_commands("MAIL");
    let more = tokio::time::timeout(Duration::from_secs(2), peer.wait_for_command("MAIL", n + 1)).await;
    assert!(more.is_err(), "something was sent that nobody could write down");
    gate.open();
    expect_to_resume(&peer, Instant::now()).await;
    finish(&peer, &shop, &campaign, process, N).await;
}
