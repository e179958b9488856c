//! SIGTERM in mid-campaign: the process ends in good order, and another one finishes.

use std::time::{Duration, Instant};

use super::shop::{Copies, Shop};
use crate::support::{
    engine::until,
    service::Installation,
    smtp_peer::{Script, SmtpPeer},
};

const N: usize = 1000;

#[tokio::test]
async fn a_process_told_to_end_leaves_nothing_in_doubt_and_another_finishes() {
    let peer = SmtpPeer::start(Script::default()).await;
    let installation = Installation::new("server.drain_seconds = 10\n").await;
    let first = installation.serve().await;
    let shop = Shop::with_recipients(&installation, peer.addr(), N, 4).await;
    let campaign = shop.start().await;
    peer.wait_for(200).await;
    let asked_at = Instant::now();
    first.stop().await;
    assert!(asked_at.elapsed() < Duration::from_secs(10), "it took {:?} to end", asked_at.elapsed());
    let states = shop.row_states(&campaign).await;
    assert!(states.keys().all(|state| state == "accepted" || state == "queued"), "{states:?}");
    assert_eq!(states["accepted"], peer.accepted().len() as i64, "what was sent is written down");

    let second = installation.serve_engine().await;
    // What the first held is free at once: its leases of 30 seconds need not run out.
    let finishing = until("the campaign is sent", || async { shop.row_state(&campaign).await == "sent" });
    tokio::time::timeout(Duration::from_secs(20), finishing).await.expect("the second goes on at once");
    second.stop().await;
    let third = installation.serve().await;
    assert_eq!(shop.checked_states(&campaign).await, [("accepted".to_owned(), N as i64)].into());
    third.stop().await;
    let copies = Copies::at(&peer);
    assert_eq!((copies.recipients().len(), copies.n_extra()), (N, 0));
}
