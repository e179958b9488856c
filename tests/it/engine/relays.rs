//! Relays that fail, come back, step in for each other, are edited; and trying one by hand.

use std::time::Duration;

use postrider::{
    domain::{
        campaign::CampaignMove,
        delivery::{DeliveryState as State, Outcome},
    },
    network::NetworkPolicy,
    relay::{Connector, Door, RelaySettings, probe, submit_once},
    smtp::{Auth, Chunking, Credentials, Envelope, Timeouts, TlsMode},
};

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, loopback, quick, until},
    smtp_peer::{Action, Script, SmtpPeer, Step},
};

async fn health(one: &StartedCampaign) -> (String, Option<String>) {
    sqlx::query_as("select health, last_error from relays where id = $1")
        .bind(one.relay.0)
        .fetch_one(one.database.pool())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_relay_that_is_down_is_told_with_the_reason_and_used_again_when_it_is_back() {
    let peer = SmtpPeer::start(Script::default()).await;
    let address = peer.addr();
    peer.stop().await;
    let one = StartedCampaign::over(address, 20).await;
    let engine = Engine::start(&one, quick());
    until("the relay is told to be failing", || async { health(&one).await.0 == "failing" }).await;
    let reason = health(&one).await.1.unwrap();
    assert!(reason.contains("connection refused"), "{reason}");
    assert_eq!(one.checked_states().await, [(State::Queued, 20)]);
    let peer = SmtpPeer::start_on(address, Script::default()).await;
    one.until_campaign_is("sent").await;
    until("the relay is told to work", || async { health(&one).await.0 == "ok" }).await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 20)]);
    assert_eq!(peer.accepted().len(), 20);
}

#[tokio::test]
async fn another_relay_steps_in_for_one_that_fails() {
    let down = SmtpPeer::start(Script::default()).await;
    let address = down.addr();
    down.stop().await;
    let one = StartedCampaign::over(address, 50).await;
    let up = SmtpPeer::start(Script::default()).await;
    one.add_relay(up.addr(), 200).await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 50)]);
    assert_eq!(up.accepted().len(), 50);
}

#[tokio::test]
async fn the_relay_of_the_best_priority_carries_all_while_it_works() {
    let (best, other) = (SmtpPeer::start(Script::default()).await, SmtpPeer::start(Script::default()).await);
    let one = StartedCampaign::over(best.addr(), 50).await;
    one.add_relay(other.addr(), 200).await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!((best.accepted().len(), other.accepted().len()), (50, 0));
    one.close_books().await;
}

#[tokio::test]
async fn a_relay_that_hangs_up_on_every_message_is_backed_off_and_loses_none() {
    let peer = SmtpPeer::start(Script::default().at(Step::Mail, |moment| match moment.connection {
        n if n <= 4 => Action::Close,
        _ => Action::Proceed,
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 10).await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 10)]);
    assert_eq!(peer.accepted().len(), 10);
}

#[tokio::test]
async fn a_relay_that_takes_fewer_connections_than_it_may_is_used_over_those() {
    let peer = SmtpPeer::start(Script::default().at(Step::Greeting, |moment| match moment.connection {
        1 | 2 => Action::Proceed,
        _ => Action::ReplyAndClose("421 4.7.0 Too many connections".into()),
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 200).await;
    one.change("update relays set rate_messages = 100, rate_per_seconds = 1 where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    assert_eq!(health(&one).await.0, "ok");
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 200)]);
    assert_eq!(peer.accepted().len(), 200);
}

#[tokio::test]
async fn an_edited_relay_is_used_in_its_new_form_within_seconds() {
    let (old, new) = (SmtpPeer::start(Script::default()).await, SmtpPeer::start(Script::default()).await);
    let one = StartedCampaign::over(old.addr(), 300).await;
    one.change("update relays set rate_messages = 30, rate_per_seconds = 1 where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    old.wait_for(10).await;
    one.set_relay(one.relay, new.addr()).await;
    new.wait_for(10).await;
    one.change("update relays set rate_messages = null, rate_per_seconds = null, revision = revision + 1 where workspace_id = $1")
        .await;
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 300)]);
    assert_eq!(old.accepted().len() + new.accepted().len(), 300);
}

#[tokio::test]
async fn a_campaign_whose_sender_domain_is_gone_waits_and_loses_nothing() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 5).await;
    one.change("update sender_domains set domain = 'elsewhere.test' where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    one.until_n(State::Queued, 5).await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Queued, 5)]);
    assert_eq!(peer.facts().n_connections, 0);
}

fn connector(policy: NetworkPolicy) -> Connector {
    Connector::with(policy, "node.test", Timeouts::all(Duration::from_secs(20)))
}

fn relay(peer: &SmtpPeer) -> RelaySettings {
    RelaySettings {
        host: "127.0.0.1".into(),
        port: peer.addr().port(),
        tls: TlsMode::None,
        auth: Auth::None,
        allow_plaintext_auth: false,
        chunking: Chunking::default(),
    }
}

#[tokio::test]
async fn trying_a_relay_tells_each_step_in_words() {
    let peer = SmtpPeer::start(Script::default().login("me", "secret")).await;
    let login = |secret: &str| Auth::Plain(Credentials { username: "me".into(), secret: secret.to_owned().into() });
    let good = probe(&connector(loopback()), &RelaySettings { auth: login("secret"), ..relay(&peer) }).await;
    assert!(good.is_ok, "{good:?}");
    let names: Vec<_> = good.steps.iter().map(|step| step.name).collect();
    assert_eq!(names, ["resolve", "connect", "greeting", "ehlo", "auth"]);
    let bad = probe(&connector(loopback()), &RelaySettings { auth: login("wrong"), ..relay(&peer) }).await;
    assert!(!bad.is_ok && bad.steps.last().unwrap().name == "auth", "{bad:?}");
    assert!(bad.error().unwrap().contains("refused the login"), "{bad:?}");
    let refused = probe(&connector(NetworkPolicy::default()), &relay(&peer)).await;
    assert_eq!(refused.steps.len(), 1);
    assert!(refused.error().unwrap().contains("network.allow"), "{refused:?}");
}

#[tokio::test]
async fn a_single_message_is_submitted_and_its_answer_given() {
    let peer = SmtpPeer::start(Script::default().on_recipient(|recipient| match recipient {
        "no@a.test" => Action::reply("550 5.1.1 Unknown"),
        _ => Action::Proceed,
    }))
    .await;
    let envelope = |recipient: &str| Envelope { return_path: "b@bounces.test".into(), recipient: recipient.into() };
    let message = &b"Subject: x\r\n\r\ny\r\n"[..];
    let taken = submit_once(&connector(loopback()), &Door::Server(relay(&peer)), &envelope("yes@a.test"), message)
        .await
        .unwrap();
    assert_eq!((taken.outcome, taken.code), (Outcome::Accepted, Some(250)));
    let refused = submit_once(&connector(loopback()), &Door::Server(relay(&peer)), &envelope("no@a.test"), message)
        .await
        .unwrap();
    assert_eq!((refused.outcome, refused.text.as_str()), (Outcome::Rejected, "Unknown"));
    assert!(
        submit_once(&connector(NetworkPolicy::default()), &Door::Server(relay(&peer)), &envelope("a@b.c"), message)
            .await
            .is_err()
    );
    assert_eq!(peer.accepted().len(), 1);
}

#[tokio::test]
async fn a_relay_whose_secret_does_not_open_is_told_with_the_reason_and_another_carries_its_mail() {
    let (locked, other) = (SmtpPeer::start(Script::default()).await, SmtpPeer::start(Script::default()).await);
    let one = StartedCampaign::over(locked.addr(), 20).await;
    one.change(
        "update relays set auth = 'plain', username = 'me', secret = '\\x00'::bytea, secret_key_id = 1
         where workspace_id = $1",
    )
    .await;
    let engine = Engine::start(&one, quick());
    until("the relay is told to be failing", || async { health(&one).await.0 == "failing" }).await;
    let reason = health(&one).await.1.unwrap();
    assert!(reason.contains("secret does not open"), "{reason}");
    assert_eq!(one.checked_states().await, [(State::Queued, 20)]);
    one.add_relay(other.addr(), 200).await;
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 20)]);
    assert_eq!((locked.facts().n_connections, other.accepted().len()), (0, 20));
}

#[tokio::test]
async fn a_campaign_that_can_not_be_compiled_is_paused_with_the_reason_and_holds_up_no_other() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 20).await;
    one.change("update campaigns set text = '{{#if' where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("paused").await;
    let reason: String =
        sqlx::query_scalar("select state_reason from campaigns").fetch_one(one.database.pool()).await.unwrap();
    assert!(reason.contains("text"), "{reason}");
    one.change("update campaigns set text = 'Hello' where workspace_id = $1").await;
    one.make(CampaignMove::Resume).await;
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 20)]);
}

#[tokio::test]
async fn relays_of_one_priority_share_what_is_sent_by_their_weights() {
    let (heavy, light) = (SmtpPeer::start(Script::default()).await, SmtpPeer::start(Script::default()).await);
    let one = StartedCampaign::over(heavy.addr(), 800).await;
    one.add_relay(light.addr(), 100).await;
    one.change(
        "update relays set weight = case name when 'another' then 100 else 300 end, max_connections = 2
         where workspace_id = $1",
    )
    .await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    let (n_heavy, n_light) = (heavy.accepted().len(), light.accepted().len());
    assert_eq!(n_heavy + n_light, 800);
    assert!((500..=720).contains(&n_heavy), "{n_heavy} and {n_light}");
    one.close_books().await;
}

#[tokio::test]
async fn a_relay_with_a_weight_that_stalls_costs_the_other_nothing() {
    let good = SmtpPeer::start(Script::default()).await;
    let stalled = SmtpPeer::start(Script::default().at(Step::Mail, |_| Action::Silence)).await;
    let one = StartedCampaign::over(good.addr(), 200).await;
    one.add_relay(stalled.addr(), 100).await;
    one.change("update relays set weight = 100, max_connections = 1 where workspace_id = $1").await;
    let engine = Engine::start(&one, quick());
    // All but what stands in line for the one that stalls.
    one.until_n(State::Accepted, 184).await;
    engine.stop().await;
    assert_eq!(good.accepted().len(), usize::try_from(one.n(State::Accepted).await).unwrap());
}
