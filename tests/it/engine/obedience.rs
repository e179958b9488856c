//! An unsubscribe, a suppression, a pause and a cancel hold within 5 seconds of their commit, NOTIFY or not.

use std::time::{Duration, Instant};

use postrider::{
    dispatch::Settings,
    domain::{
        campaign::CampaignMove,
        delivery::DeliveryState as State,
        id::{ListId, RecipientId},
        suppression::SuppressionReason,
    },
    store::{
        self,
        changes::{self, Change},
        suppressions::{self, NewSuppression},
    },
};

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick},
    smtp_peer::{Facts, Script, SmtpPeer},
};

/// The promise.
const WITHIN: Duration = Duration::from_secs(5);

/// A campaign of 1,000 at 50 messages a second, which has begun.
async fn running(settings: Settings) -> (SmtpPeer, StartedCampaign, Engine) {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 1000).await;
    one.change(
        "update relays set rate_messages = 50, rate_per_seconds = 1, max_connections = 4 where workspace_id = $1",
    )
    .await;
    let engine = Engine::start(&one, settings);
    peer.wait_for(20).await;
    (peer, one, engine)
}

fn deaf() -> Settings {
    Settings { listen: false, changes_every: Duration::from_secs(1), ..quick() }
}

/// The last MAIL FROM.
fn last_mail(facts: &Facts) -> Instant {
    facts.commands.iter().filter(|seen| seen.line.starts_with("MAIL")).map(|seen| seen.at).max().unwrap()
}

async fn stops_within_five_seconds(settings: Settings, step: CampaignMove) {
    let (peer, one, engine) = running(settings).await;
    one.make(step).await;
    let stopped_at = Instant::now();
    // What was drawn goes back; a cancel sweeps it away.
    match step {
        CampaignMove::Cancel => {
            crate::support::engine::until("nothing is queued", || async { one.n(State::Queued).await == 0 }).await;
        }
        _ => {
            crate::support::engine::until("nothing is in flight", || async {
                stopped_at.elapsed() > WITHIN && one.n(State::Sending).await == 0
            })
            .await;
        }
    }
    assert!(last_mail(&peer.facts()) < stopped_at + WITHIN);
    let n_accepted = peer.accepted().len();
    assert!(n_accepted < 500, "{n_accepted} were sent");
    if step == CampaignMove::Pause {
        one.change("update relays set rate_messages = null, rate_per_seconds = null, revision = revision + 1 where workspace_id = $1")
            .await;
        one.make(CampaignMove::Resume).await;
        one.until_campaign_is("sent").await;
        assert_eq!(peer.accepted().len(), 1000);
    }
    engine.stop().await;
    let states = one.close_books().await;
    assert_eq!(states.iter().map(|(_, n)| n).sum::<i64>(), 1000, "{states:?}");
}

#[tokio::test]
async fn a_pause_holds_with_notify() {
    stops_within_five_seconds(quick(), CampaignMove::Pause).await;
}

#[tokio::test]
async fn a_pause_holds_with_notify_cut() {
    stops_within_five_seconds(deaf(), CampaignMove::Pause).await;
}

#[tokio::test]
async fn a_cancel_holds_with_notify() {
    stops_within_five_seconds(quick(), CampaignMove::Cancel).await;
}

#[tokio::test]
async fn a_cancel_holds_with_notify_cut() {
    stops_within_five_seconds(deaf(), CampaignMove::Cancel).await;
}

#[tokio::test]
async fn a_resumed_campaign_goes_on_however_long_somebody_else_writes() {
    let (peer, one, engine) = running(quick()).await;
    // As a long job does, in whatever database of the same server: nothing that was done since is older than this.
    let mut long = one.database.pool().begin().await.unwrap();
    sqlx::query("select pg_current_xact_id()").execute(&mut *long).await.unwrap();
    one.make(CampaignMove::Pause).await;
    crate::support::engine::until("nothing is in flight", || async { one.n(State::Sending).await == 0 }).await;
    one.change("update relays set rate_messages = 1000, revision = revision + 1 where workspace_id = $1").await;
    one.make(CampaignMove::Resume).await;
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 1000)]);
    assert_eq!(peer.accepted().len(), 1000);
    long.rollback().await.unwrap();
}

/// Someone whose turn has not come.
async fn waiting(one: &StartedCampaign, n: i64) -> Vec<(RecipientId, String)> {
    let rows: Vec<(uuid::Uuid, String)> =
        sqlx::query_as("select recipient_id, address from deliveries where state = 'queued' order by id limit $1")
            .bind(n)
            .fetch_all(one.database.pool())
            .await
            .unwrap();
    rows.into_iter().map(|(id, address)| (RecipientId(id), address)).collect()
}

async fn unsubscribe(one: &StartedCampaign, recipient: RecipientId, list: ListId) {
    let mut tx = one.store.begin().await.unwrap();
    sqlx::query("update subscriptions set state = 'unsubscribed' where workspace_id = $1 and list_id = $2 and recipient_id = $3")
        .bind(one.workspace.0)
        .bind(list.0)
        .bind(recipient.0)
        .execute(&mut *tx)
        .await
        .unwrap();
    changes::append(&mut tx, one.workspace, &[Change::Unsubscribe { recipient, list }]).await.unwrap();
    store::commit(tx).await.unwrap();
}

async fn suppress(one: &StartedCampaign, address_key: &str) {
    let mut tx = one.store.begin().await.unwrap();
    let new = NewSuppression {
        address_key,
        list: None,
        reason: SuppressionReason::Manual,
        origin: serde_json::json!({}),
        expires_at: None,
    };
    suppressions::add(&mut tx, one.workspace, &new, chrono::Utc::now()).await.unwrap();
    store::commit(tx).await.unwrap();
}

async fn who_opts_out_gets_nothing(settings: Settings) {
    let (peer, one, engine) = running(settings).await;
    // The next in line and some behind them, so that also what is claimed already is held back.
    let opted_out = waiting(&one, 300).await;
    for (n, (recipient, address)) in opted_out.iter().enumerate().step_by(10) {
        if n % 20 == 0 { unsubscribe(&one, *recipient, one.list).await } else { suppress(&one, address).await }
    }
    let done_at = Instant::now();
    one.change("update relays set rate_messages = 500, revision = revision + 1 where workspace_id = $1").await;
    one.until_campaign_is("sent").await;
    engine.stop().await;
    let states = one.close_books().await;
    assert_eq!(states.iter().map(|(_, n)| n).sum::<i64>(), 1000);
    let n_suppressed = one.n(State::Suppressed).await;
    assert!(n_suppressed > 10, "{states:?}");
    let facts = peer.facts();
    for (_, address) in opted_out.iter().step_by(10) {
        let line = format!("RCPT TO:<{address}>");
        if let Some(seen) = facts.commands.iter().find(|seen| seen.line == line) {
            assert!(seen.at < done_at + WITHIN, "{address} was mailed {:?} after", seen.at - done_at);
        }
    }
}

#[tokio::test]
async fn who_opts_out_of_a_running_campaign_gets_nothing_with_notify() {
    who_opts_out_gets_nothing(quick()).await;
}

#[tokio::test]
async fn who_opts_out_of_a_running_campaign_gets_nothing_with_notify_cut() {
    who_opts_out_gets_nothing(deaf()).await;
}
