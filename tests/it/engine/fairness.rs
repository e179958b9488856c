//! Campaigns share what they want at the same time by priority, and who is slow keeps nobody else out.

use std::time::Duration;

use postrider::domain::{
    delivery::DeliveryState as State,
    id::{CampaignId, ListId, WorkspaceId},
};
use sqlx::AssertSqlSafe;

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick, until},
    smtp_peer::{Accepted, Action, Gate, Script, SmtpPeer, Step},
};

/// Another campaign that is sending, to the first `n_recipients` of the list; its subject is its name.
async fn add_campaign(one: &StartedCampaign, name: &str, priority: &str, n_recipients: i32) -> CampaignId {
    let (campaign, list) = (CampaignId::new(), ListId::new());
    for sql in [
        format!("insert into lists (workspace_id, id, name, created_at, updated_at) values ($1, '{}', 'x', now(), now())", list.0),
        format!(
            "insert into subscriptions (workspace_id, list_id, recipient_id, state, created_at, updated_at)
             select $1, '{}', recipient_id, 'subscribed', now(), now() from subscriptions
             where workspace_id = $1 and list_id = '{}' order by recipient_id limit {n_recipients}",
            list.0, one.list.0
        ),
        format!(
            "insert into campaigns (workspace_id, id, name, state, priority, from_address, from_domain, subject, text, pinned_at,
                                    started_at, created_at, updated_at)
             values ($1, '{}', '{name}', 'draft', '{priority}', 'x@sender.test', 'sender.test', '{name}', 'x', now(), now(), now(),
                     now())",
            campaign.0
        ),
        format!("insert into campaign_lists values ($1, '{}', '{}', 'include')", campaign.0, list.0),
        format!("update campaigns set state = 'sending' where workspace_id = $1 and id = '{}'", campaign.0),
    ] {
        sqlx::query(AssertSqlSafe(sql)).bind(one.workspace.0).execute(one.database.pool()).await.unwrap();
    }
    campaign
}

fn names(accepted: &[Accepted]) -> Vec<String> {
    accepted.iter().map(|message| message.header("Subject").unwrap()).collect()
}

fn n_of(names: &[String], name: &str) -> usize {
    names.iter().filter(|known| *known == name).count()
}

/// Between the first and the last message of that name.
fn span<'a>(names: &'a [String], name: &str) -> &'a [String] {
    let first = names.iter().position(|known| known == name).unwrap();
    let last = names.iter().rposition(|known| known == name).unwrap();
    &names[first..=last]
}

async fn until_sent(one: &StartedCampaign, campaign: CampaignId) {
    until("the campaign is sent", || async {
        let state: String = sqlx::query_scalar("select state from campaigns where id = $1")
            .bind(campaign.0)
            .fetch_one(one.database.pool())
            .await
            .unwrap();
        state == "sent"
    })
    .await;
}

/// One message at a time, so that the order is that of the turns.
fn one_by_one() -> postrider::dispatch::Settings {
    postrider::dispatch::Settings { doubt_window: 1, ..quick() }
}

#[tokio::test]
async fn campaigns_share_a_relay_by_their_priority() {
    let gate = Gate::closed();
    let held = gate.clone();
    let peer = SmtpPeer::start(Script::default().at(Step::Mail, move |_| Action::Hold(held.clone()))).await;
    let one = StartedCampaign::over(peer.addr(), 200).await;
    one.change("update relays set max_connections = 1 where workspace_id = $1").await;
    one.change("update campaigns set subject = 'normal' where workspace_id = $1").await;
    add_campaign(&one, "high", "high", 200).await;
    add_campaign(&one, "low", "low", 200).await;
    let engine = Engine::start(&one, one_by_one());
    until("something of each campaign is claimed", || async {
        let n: i64 = sqlx::query_scalar("select count(distinct campaign_id) from batches where owner is not null")
            .fetch_one(one.database.pool())
            .await
            .unwrap();
        n == 3
    })
    .await;
    gate.open();
    peer.wait_for(64).await;
    engine.stop().await;
    let names = names(&peer.accepted());
    // The first may have been drawn before the others came. Three rounds of 16, 4 and 1.
    let rounds = &names[1..64];
    let shares = ["high", "normal", "low"].map(|name| n_of(rounds, name));
    assert!(
        (44..=52).contains(&shares[0]) && (8..=16).contains(&shares[1]) && (2..=4).contains(&shares[2]),
        "{shares:?}"
    );
    one.close_books().await;
}

#[tokio::test]
async fn a_small_urgent_campaign_overtakes_a_big_one() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 600).await;
    one.change("update relays set max_connections = 1 where workspace_id = $1").await;
    let engine = Engine::start(&one, one_by_one());
    peer.wait_for(20).await;
    let urgent = add_campaign(&one, "urgent", "high", 64).await;
    until_sent(&one, urgent).await;
    engine.stop().await;
    let names = names(&peer.accepted());
    let n_between = n_of(span(&names, "urgent"), "Hello");
    // Four turns of it have room for at most as many turns of the other, and for what was drawn already.
    assert!(n_between <= 5 * 4 + 1, "{n_between} of the big one came between");
    assert!(n_of(&names, "Hello") < 600, "it came last");
    one.close_books().await;
}

#[tokio::test]
async fn behind_a_throttled_relay_a_later_campaign_does_not_wait_for_an_earlier_one() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 240).await;
    one.change(
        "update relays set max_connections = 2, rate_messages = 40, rate_per_seconds = 1 where workspace_id = $1",
    )
    .await;
    // Less than the first campaign's only batch is room for here.
    let settings = postrider::dispatch::Settings { batch_size: 500, lease: Duration::from_secs(6), ..one_by_one() };
    let engine = Engine::start(&one, settings);
    peer.wait_for(10).await;
    let later = add_campaign(&one, "later", "normal", 40).await;
    until_sent(&one, later).await;
    engine.stop().await;
    let names = names(&peer.accepted());
    assert_eq!(n_of(&names, "later"), 40);
    let n_between = n_of(span(&names, "later"), "Hello");
    assert!(n_between <= 40 + 12, "{n_between} of the earlier one came between");
    one.close_books().await;
}

#[tokio::test]
async fn many_slow_workspaces_keep_no_other_from_sending() {
    const N_SLOW: usize = 40;
    let (slow, fast) = (SmtpPeer::start(Script::default()).await, SmtpPeer::start(Script::default()).await);
    let one = StartedCampaign::over(fast.addr(), 60).await;
    one.change("update campaigns set state = 'draft' where workspace_id = $1").await;
    let copies = [
        "insert into workspaces values ($2, 'slow', now(), now())",
        "insert into relays (workspace_id, id, name, host, port, tls, rate_messages, rate_per_seconds, created_at, updated_at)
         values ($2, gen_random_uuid(), 'slow', '127.0.0.1', $3, 'none', 1, 3600, now(), now())",
        "insert into lists select $2, id, name, description, created_at, updated_at, revision from lists where workspace_id = $1",
        "insert into sender_domains (workspace_id, id, domain, return_path_domain, created_at, updated_at)
         values ($2, gen_random_uuid(), 'sender.test', 'bounces.test', now(), now())",
        "insert into recipients (workspace_id, id, address, address_key, domain, created_at, updated_at)
         select $2, id, address, address_key, domain, now(), now() from recipients where workspace_id = $1 order by id limit 10",
        "insert into subscriptions (workspace_id, list_id, recipient_id, state, created_at, updated_at)
         select $2, l.id, r.id, 'subscribed', now(), now() from lists l, recipients r
         where l.workspace_id = $2 and r.workspace_id = $2",
        "insert into campaigns (workspace_id, id, name, state, from_address, from_domain, subject, text, pinned_at, started_at,
                                created_at, updated_at)
         values ($2, gen_random_uuid(), 'slow', 'draft', 'x@sender.test', 'sender.test', 'slow', 'x', now(), now(), now(), now())",
        "insert into campaign_lists select $2, c.id, l.id, 'include' from campaigns c, lists l
         where c.workspace_id = $2 and l.workspace_id = $2",
        "update campaigns set state = 'sending' where workspace_id = $2",
    ];
    for _ in 0..N_SLOW {
        let workspace = WorkspaceId::new();
        for sql in copies {
            let sql = sql.replace("$2", &format!("'{}'", workspace.0)).replace("$3", &slow.addr().port().to_string());
            let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
            if sql.contains("$1") {
                query = query.bind(one.workspace.0);
            }
            query.execute(one.database.pool()).await.unwrap();
        }
    }
    // This node may hold 16 of these batches, and there are more workspaces than that with one each.
    let engine = Engine::start(&one, postrider::dispatch::Settings { batch_size: 2, ..quick() });
    slow.wait_for(N_SLOW).await;
    until("every slow workspace holds something that has to wait", || async {
        let n: i64 = sqlx::query_scalar("select count(distinct workspace_id) from batches where owner is not null")
            .fetch_one(one.database.pool())
            .await
            .unwrap();
        n == 40
    })
    .await;
    one.change("update campaigns set state = 'sending' where workspace_id = $1").await;
    one.until_campaign_is("sent").await;
    assert_eq!(one.n(State::Accepted).await, 60);
    assert_eq!(slow.accepted().len(), N_SLOW);
    engine.stop().await;
    one.close_books().await;
}

#[tokio::test]
async fn a_campaign_that_waits_for_its_own_rate_holds_up_no_other_of_its_workspace() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 60).await;
    one.change("update campaigns set rate_messages = 1, rate_per_seconds = 3600 where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    peer.wait_for(1).await;
    add_campaign(&one, "quick", "low", 60).await;
    peer.wait_for(61).await;
    let names = names(&peer.accepted());
    assert_eq!((n_of(&names, "quick"), n_of(&names, "Hello")), (60, 1));
    // It takes its leave although it waits.
    tokio::time::timeout(Duration::from_secs(30), engine.stop()).await.unwrap();
    one.close_books().await;
}
