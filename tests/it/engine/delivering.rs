//! Every recipient gets one copy and one state, whatever the relay answers.

use std::collections::HashSet;

use postrider::domain::{delivery::DeliveryState as State, retry::RetrySchedule};

use crate::support::{
    campaign::StartedCampaign,
    engine::{Engine, quick},
    smtp_peer::{Action, Script, SmtpPeer, Step},
};

#[tokio::test]
async fn every_recipient_gets_exactly_one_copy() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 300).await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 300)]);
    let accepted = peer.accepted();
    assert_eq!(accepted.len(), 300);
    let recipients: HashSet<_> = accepted.iter().map(|message| message.recipient().to_owned()).collect();
    assert_eq!(recipients.len(), 300);
    let ids: HashSet<_> = accepted.iter().map(|message| message.header("Message-ID").unwrap()).collect();
    assert_eq!(ids.len(), 300);
    for message in accepted {
        assert_eq!(message.header("To").unwrap(), message.recipient());
        assert!(message.return_path.starts_with("b-") && message.return_path.ends_with("@bounces.test"));
        assert!(message.header("List-Unsubscribe").unwrap().starts_with("<https://links.test/u/"));
    }
}

#[tokio::test]
async fn the_states_sum_to_the_audience_at_every_look() {
    let peer = SmtpPeer::start(Script::default().on_recipient(|recipient| match recipient.len() % 3 {
        0 => Action::reply("550 5.1.1 No such user"),
        _ => Action::Proceed,
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 400).await;
    let engine = Engine::start(&one, quick());
    let mut sums = HashSet::new();
    while one.campaign_state().await != "sent" {
        let is_complete: bool =
            sqlx::query_scalar("select audience_complete from campaigns").fetch_one(one.database.pool()).await.unwrap();
        let counters: i64 = one.states().await.iter().map(|(_, n)| n).sum();
        if is_complete {
            sums.insert(counters);
        }
    }
    engine.stop().await;
    one.close_books().await;
    assert!(sums.is_subset(&[400].into()), "{sums:?}");
}

#[tokio::test]
async fn a_deferred_recipient_is_tried_again_and_accepted() {
    let peer = SmtpPeer::start(Script::default().at(Step::Rcpt, |moment| {
        // Greylisting: whoever comes over a new connection or again is known.
        if moment.recipient() == "r1@a.test" && moment.n <= 2 && moment.connection == 1 {
            return Action::reply("450 4.2.0 Greylisted, come again");
        }
        Action::Proceed
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 2).await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 2)]);
    let (delivery, _, attempt, reason, _) = one.delivery("r1@a.test").await;
    let attempts = one.attempts(delivery).await;
    assert_eq!((attempts.len(), reason), (usize::try_from(attempt).unwrap(), None));
    let first = ("deferred".to_owned(), "rcpt".to_owned(), Some(450), "Greylisted, come again".to_owned());
    assert_eq!(attempts[0], first);
    assert_eq!(attempts.last().unwrap().0, "accepted");
    assert_eq!(peer.accepted().len(), 2);
}

#[tokio::test]
async fn a_recipient_that_is_always_deferred_expires_by_its_age() {
    let peer = SmtpPeer::start(Script::default().on_recipient(|_| Action::reply("452 4.2.2 Mailbox full"))).await;
    let one = StartedCampaign::over(peer.addr(), 3).await;
    let mut settings = quick();
    settings.retry = RetrySchedule { max_age_seconds: 3.0, ..settings.retry };
    let engine = Engine::start(&one, settings);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Expired, 3)]);
    let (delivery, _, attempt, _, text) = one.delivery("r1@a.test").await;
    assert!(attempt >= 2, "{attempt} attempts");
    assert!(text.unwrap().contains("Mailbox full"));
    assert!(one.attempts(delivery).await.iter().all(|(outcome, ..)| outcome == "deferred"));
}

#[tokio::test]
async fn a_reply_that_condemns_suppresses_the_address_and_one_about_us_does_not() {
    let peer = SmtpPeer::start(Script::default().on_recipient(|recipient| match recipient {
        "r1@a.test" => Action::reply("550 5.1.1 No such user here"),
        "r2@b.test" => Action::reply("550 5.7.1 Blocked by our policy"),
        _ => Action::Proceed,
    }))
    .await;
    let one = StartedCampaign::over(peer.addr(), 3).await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 1), (State::Rejected, 2)]);
    let suppressed: Vec<(String, String)> =
        sqlx::query_as("select address_key, reason from suppressions").fetch_all(one.database.pool()).await.unwrap();
    assert_eq!(suppressed, [("r1@a.test".to_owned(), "hard_bounce".to_owned())]);
    let (.., reason, text) = one.delivery("r1@a.test").await;
    assert_eq!((reason.as_deref(), text.as_deref()), (Some("no_such_user"), Some("No such user here")));
}

#[tokio::test]
async fn who_is_suppressed_or_left_after_the_start_is_never_submitted() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 5).await;
    // The audience is taken first.
    let mut tx = one.store.begin().await.unwrap();
    let now = chrono::Utc::now();
    postrider::store::expansions::step(&mut tx, one.workspace, one.campaign, one.node, 100, 10, now).await.unwrap();
    postrider::store::commit(tx).await.unwrap();
    one.change(
        "insert into suppressions (workspace_id, id, address_key, reason, created_at)
         values ($1, gen_random_uuid(), 'r1@a.test', 'manual', now())",
    )
    .await;
    one.change(
        "update subscriptions s set state = 'unsubscribed' from recipients r
         where s.workspace_id = $1 and r.id = s.recipient_id and r.address = 'r2@b.test'",
    )
    .await;
    one.change("delete from recipients where workspace_id = $1 and address = 'r3@a.test'").await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 2), (State::Suppressed, 3)]);
    for (address, reason) in
        [("r1@a.test", "suppressed"), ("r2@b.test", "unsubscribed"), ("r3@a.test", "recipient_deleted")]
    {
        assert_eq!(one.delivery(address).await.3.as_deref(), Some(reason));
    }
    assert_eq!(peer.facts().n_commands("MAIL"), 2);
}

#[tokio::test]
async fn a_scheduled_campaign_starts_by_itself_or_is_paused_with_the_reason() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 3).await;
    one.change(
        "update campaigns set state = 'scheduled', started_at = null, start_at = now() - interval '1 second'
         where workspace_id = $1",
    )
    .await;
    one.change(
        "insert into campaigns (workspace_id, id, name, state, from_address, from_domain, subject, text, pinned_at, start_at,
                                created_at, updated_at)
         values ($1, gen_random_uuid(), 'bad', 'scheduled', 'news@other.test', 'other.test', 'Hello', 'Hello', now(),
                 now() - interval '1 second', now(), now())",
    )
    .await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 3)]);
    let (state, reason): (String, String) =
        sqlx::query_as("select state, state_reason from campaigns where name = 'bad'")
            .fetch_one(one.database.pool())
            .await
            .unwrap();
    assert_eq!(state, "paused");
    assert!(reason.contains("other.test"), "{reason}");
}

#[tokio::test]
async fn a_message_that_can_not_be_made_fails_by_itself_and_the_campaign_goes_on() {
    let peer = SmtpPeer::start(Script::default()).await;
    let one = StartedCampaign::over(peer.addr(), 10).await;
    one.change("update campaigns set subject = 'Dear {{attributes.name}}' where workspace_id = $1").await;
    one.change(
        "update recipients set attributes = jsonb_build_object('name', 'friend ' || address)
         where workspace_id = $1 and address not in ('r1@a.test', 'r2@b.test')",
    )
    .await;
    one.change("update recipients set attributes = '{\"name\": \"a\\r\\nBcc: x@y.z\"}' where workspace_id = $1 and address = 'r2@b.test'")
        .await;
    let engine = Engine::start(&one, quick());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 8), (State::Failed, 2)]);
    let (_, _, attempt, reason, text) = one.delivery("r1@a.test").await;
    assert_eq!((attempt, reason.as_deref()), (0, Some("missing_variable")));
    assert!(text.unwrap().contains("attributes.name"));
    assert_eq!(one.delivery("r2@b.test").await.3.as_deref(), Some("control_character"));
    for message in peer.accepted() {
        assert_eq!(message.header("Subject").unwrap(), format!("Dear friend {}", message.recipient()));
        assert_eq!(message.header("Bcc"), None);
    }
}
