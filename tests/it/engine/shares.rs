//! Limits of providers and sender domains hold beside those of relays and campaigns, and all of them over several nodes.

use std::time::Duration;

use postrider::{
    dispatch::Settings,
    domain::{delivery::DeliveryState as State, id::NodeId, slice::WHOLE},
    store::slices::{self, Wanted},
};

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick, until},
    smtp_peer::{Action, Gate, Script, SmtpPeer, Step},
};

#[tokio::test]
async fn a_throttled_provider_holds_up_nobody_else() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 400).await;
    one.change(
        r#"update relays set provider_limits = '[{"provider": "gmail", "rate": [1, 3600], "connections": null}]'
           where workspace_id = $1"#,
    )
    .await;
    let engine = Engine::start(&one, quick());
    one.until_n(State::Accepted, 201).await;
    // No more is held of it than may go soon.
    let n_held: i64 = sqlx::query_scalar("select count(*) from batches where owner is not null and provider = 'gmail'")
        .fetch_one(one.database.pool())
        .await
        .unwrap();
    assert!(n_held <= 1, "{n_held} batches");
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Queued, 199), (State::Accepted, 201)]);
    let n = peer.accepted().iter().filter(|message| message.recipient().ends_with("@b.test")).count();
    assert_eq!(n, 1);
}

#[tokio::test]
async fn messages_to_a_provider_are_carried_by_no_more_connections_than_it_may_have() {
    let gate = Gate::closed();
    let held = gate.clone();
    let peer = SmtpPeer::start(Script::default().at(Step::Rcpt, move |moment| {
        if moment.recipient().ends_with("@b.test") { Action::Hold(held.clone()) } else { Action::Proceed }
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 200).await;
    one.change(
        r#"update relays set max_connections = 4, provider_limits = '[{"provider": "gmail", "rate": null, "connections": 1}]'
           where workspace_id = $1"#,
    )
    .await;
    let engine = Engine::start(&one, quick());
    // All that go elsewhere get through, but for what stands in line behind the one that waits.
    one.until_n(State::Accepted, 90).await;
    let waiting: std::collections::HashSet<_> = peer
        .facts()
        .commands
        .iter()
        .filter(|seen| seen.line.starts_with("RCPT") && seen.line.contains("@b.test"))
        .map(|seen| seen.connection)
        .collect();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    gate.open();
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 200)]);
}

#[tokio::test]
async fn the_rate_of_a_sender_domain_holds_for_all_that_is_sent_from_it() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 20).await;
    one.change("update sender_domains set rate_messages = 1, rate_per_seconds = 3600 where workspace_id = $1").await;
    one.change(
        "insert into campaigns (workspace_id, id, name, state, from_address, from_domain, subject, text, pinned_at, started_at,
                                created_at, updated_at)
         values ($1, gen_random_uuid(), 'other', 'sending', 'x@sender.test', 'sender.test', 'x', 'x', now(), now(), now(), now())",
    )
    .await;
    one.change(
        "insert into campaign_lists select c.workspace_id, c.id, l.id, 'include' from campaigns c, lists l
         where c.workspace_id = $1 and c.name = 'other'",
    )
    .await;
    let engine = Engine::start(&one, quick());
    peer.wait_for(1).await;
    until("something of both campaigns is claimed", || async {
        let n: i64 = sqlx::query_scalar("select count(distinct campaign_id) from batches where owner is not null")
            .fetch_one(one.database.pool())
            .await
            .unwrap();
        n == 2
    })
    .await;
    engine.stop().await;
    assert_eq!(peer.accepted().len(), 1);
    one.close_books().await;
}

#[tokio::test]
async fn two_nodes_share_the_rate_of_a_relay() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 160).await;
    one.change("update relays set rate_messages = 20, rate_per_seconds = 1 where workspace_id = $1").await;
    let settings = Settings { lease: Duration::from_secs(6), ..quick() };
    let (first, second) = (Engine::start(&one, settings.clone()), Engine::start(&one, settings));
    one.until_campaign_is("sent").await;
    let by_node: Vec<i64> = sqlx::query_scalar("select count(*) from every_attempt group by node_id")
        .fetch_all(one.database.pool())
        .await
        .unwrap();
    first.stop().await;
    second.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 160)]);
    assert_eq!(by_node.len(), 2, "one node did all the work: {by_node:?}");
    let at: Vec<_> = peer.accepted().iter().map(|message| message.at).collect();
    let span = *at.iter().max().unwrap() - *at.iter().min().unwrap();
    assert!(span >= Duration::from_secs_f64(7.0), "160 messages at 20 a second took {span:?}");
    let n_left: i64 = sqlx::query_scalar("select count(*) from slices").fetch_one(one.database.pool()).await.unwrap();
    assert_eq!(n_left, 0, "slices were not given back");
}

#[tokio::test]
async fn slices_are_never_more_than_the_whole_and_a_dead_node_frees_its_own() {
    let one = StartedCampaign::with_recipients(&[]).await;
    let nodes = [NodeId::new(), NodeId::new(), NodeId::new()];
    let renew = async |place: usize, holding: u32, lease: f64| {
        let mut connection = one.store.acquire().await.unwrap();
        let wanted = [Wanted { key: "relay/x".into(), holding, n_needed: WHOLE }];
        slices::renew(&mut connection, one.workspace, nodes[place], &wanted, lease).await.unwrap().remove(0)
    };
    assert_eq!(renew(0, 0, 60.0).await.n_parts, WHOLE);
    // The second has to wait until the first has given up its part.
    assert_eq!(renew(1, 0, 60.0).await.n_parts, 0);
    let first = renew(0, WHOLE, 60.0).await;
    assert_eq!((first.n_parts, first.n_fair), (WHOLE, WHOLE / 2));
    assert_eq!(renew(0, first.n_fair, 60.0).await.n_parts, WHOLE / 2);
    assert_eq!(renew(1, 0, 0.0).await.n_parts, WHOLE / 2);
    // Its lease ran out at once: the third gets what it had, although it still believes to have it.
    assert_eq!(renew(2, 0, 60.0).await.n_parts, WHOLE / 2);
    assert_eq!(renew(1, WHOLE / 2, 60.0).await.n_parts, 0);
}

#[tokio::test]
async fn a_node_without_work_leaves_its_part_of_a_limit_to_the_others() {
    let one = StartedCampaign::with_recipients(&[]).await;
    let nodes = [NodeId::new(), NodeId::new()];
    let renew = async |place: usize, holding: u32, n_needed: u32| {
        let mut connection = one.store.acquire().await.unwrap();
        let wanted = [Wanted { key: "relay/x".into(), holding, n_needed }];
        slices::renew(&mut connection, one.workspace, nodes[place], &wanted, 60.0).await.unwrap().remove(0)
    };
    assert_eq!(renew(0, 0, WHOLE).await.n_parts, WHOLE);
    // No more work: it keeps a little, and says so a second time.
    renew(1, 0, WHOLE).await;
    let idle = renew(0, WHOLE, 0).await;
    assert!(idle.n_fair > 0 && idle.n_fair < WHOLE / 20, "{idle:?}");
    assert_eq!(renew(0, idle.n_fair, 0).await.n_parts, idle.n_fair);
    assert_eq!(renew(1, 0, WHOLE).await.n_parts, WHOLE - idle.n_fair);
    // Its work is back: the other gives up what is more than half.
    assert_eq!(renew(0, idle.n_fair, WHOLE).await.n_fair, WHOLE / 2);
    let other = renew(1, WHOLE - idle.n_fair, WHOLE).await;
    assert_eq!(other.n_fair, WHOLE / 2);
    renew(1, other.n_fair, WHOLE).await;
    assert_eq!(renew(0, idle.n_fair, WHOLE).await.n_parts, WHOLE / 2);
}
