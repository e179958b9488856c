//! The ledger, held to its promises directly on Postgres: no recipient is lost or counted twice, whoever writes late.

mod properties;

use chrono::{TimeDelta, Utc};
use postrider::{
    domain::{
        campaign::{CampaignMove, CampaignState},
        delivery::{DeliveryState as State, Outcome},
        id::NodeId,
        retry::Retry,
        suppression::SuppressionReason,
    },
    store::{
        backlogs,
        batches::{self, Blocked, Claim, Claimed},
        changes, commit, contents, expansions, intents, moves, rescues, retries,
        settles::{self, Settle},
        suppressions::{self, NewSuppression},
        sweeps,
    },
};

use crate::support::campaign::StartedCampaign;

const LEASE: f64 = 30.0;

async fn expand(one: &StartedCampaign, n: i64) -> expansions::Expanded {
    let mut tx = one.store.begin().await.unwrap();
    let done = expansions::step(&mut tx, one.workspace, one.campaign, one.node, n, 2, Utc::now()).await.unwrap();
    commit(tx).await.unwrap();
    done
}

async fn claim(one: &StartedCampaign, node: NodeId) -> Option<(Claim, Vec<Claimed>)> {
    let now = Utc::now();
    let mut connection = one.store.acquire().await.unwrap();
    let open = backlogs::of_workspace(&mut connection, one.workspace, now).await.unwrap();
    let first = open.first()?;
    let of = (first.campaign, first.provider.as_str());
    let claim = batches::claim(&mut connection, one.workspace, node, of, LEASE, now).await.unwrap()?;
    let deliveries = batches::deliveries(&mut connection, &claim, None, 100, now).await.unwrap().deliveries;
    Some((claim, deliveries))
}

fn intent(one: &StartedCampaign, claim: &Claim, claimed: &Claimed) -> intents::Intent {
    intents::Intent {
        delivery: claimed.delivery,
        batch: claim.batch,
        epoch: claim.epoch,
        attempt_before: claimed.attempt,
        state_before: claimed.state,
        campaign: claim.campaign,
        provider: claim.provider.clone(),
        relay: one.relay,
        begun_at: Utc::now(),
    }
}

async fn intend(one: &StartedCampaign, node: NodeId, intents: &[intents::Intent]) -> usize {
    let mut tx = one.store.begin().await.unwrap();
    let granted = intents::commit(&mut tx, one.workspace, node, intents, Utc::now()).await.unwrap();
    commit(tx).await.unwrap();
    granted.len()
}

fn outcome(one: &StartedCampaign, claim: &Claim, claimed: &Claimed, outcome: Outcome) -> Settle {
    Settle {
        delivery: claimed.delivery,
        recipient: claimed.recipient,
        address_key: claimed.address_key.clone(),
        campaign: claim.campaign,
        provider: claim.provider.clone(),
        relay: one.relay,
        attempt: claimed.attempt + 1,
        outcome,
        phase: "dot",
        code: Some(250),
        enhanced: None,
        text: "words".into(),
        tls: None,
        started_at: Utc::now(),
        duration_ms: 3,
        was_unknown: false,
        class: if outcome == Outcome::Rejected { "no_such_user" } else { "" },
        next: None,
        condemned: outcome == Outcome::Rejected,
        soft: false,
    }
}

async fn settle(one: &StartedCampaign, node: NodeId, settles: &[Settle]) -> usize {
    let mut tx = one.store.begin().await.unwrap();
    let moved = settles::commit(&mut tx, one.workspace, node, settles, Utc::now()).await.unwrap();
    commit(tx).await.unwrap();
    moved.len()
}

async fn suppress(one: &StartedCampaign, address_key: &str) {
    let mut tx = one.store.begin().await.unwrap();
    let new = NewSuppression {
        address_key,
        list: None,
        reason: SuppressionReason::Manual,
        origin: serde_json::json!({"kind": "api"}),
        expires_at: None,
    };
    suppressions::add(&mut tx, one.workspace, &new, Utc::now()).await.unwrap();
    commit(tx).await.unwrap();
}

async fn release(one: &StartedCampaign, claim: &Claim, node: NodeId) -> bool {
    let mut connection = one.store.acquire().await.unwrap();
    batches::release(&mut connection, claim, node, Utc::now()).await.unwrap()
}

#[tokio::test]
async fn an_audience_gets_one_row_each_and_the_unmailable_are_told_apart() {
    let one = StartedCampaign::with_recipients(&["a@gmail.com", "b@gmail.com", "c@gmail.com", "d@x.test"]).await;
    one.subscribe("left@x.test", "unsubscribed").await;
    one.subscribe("new@x.test", "pending").await;
    suppress(&one, "d@x.test").await;
    let mut n_read = 0;
    loop {
        let step = expand(&one, 4).await;
        n_read += step.n_read;
        if step.done {
            break;
        }
    }
    assert_eq!(n_read, 6);
    assert_eq!(one.checked_states().await, [(State::Queued, 3), (State::Suppressed, 1)]);
    let counts: (i64, i64, bool) =
        sqlx::query_as("select n_unsubscribed, n_unconfirmed, audience_complete from campaigns")
            .fetch_one(one.database.pool())
            .await
            .unwrap();
    assert_eq!(counts, (1, 1, true));
    let batches: Vec<(String, i32)> =
        sqlx::query_as("select provider, n_deliveries from batches order by n_deliveries, provider")
            .fetch_all(one.database.pool())
            .await
            .unwrap();
    assert_eq!(batches, [("gmail".into(), 1), ("gmail".into(), 2)]);
}

#[tokio::test]
async fn a_batch_is_claimed_by_one_node_and_ends_when_all_is_settled() {
    let one = StartedCampaign::with_recipients(&["a@gmail.com", "b@gmail.com"]).await;
    assert!(expand(&one, 10).await.done);
    let (held, deliveries) = claim(&one, one.node).await.unwrap();
    assert!(claim(&one, NodeId::new()).await.is_none());
    let intents: Vec<_> = deliveries.iter().map(|claimed| intent(&one, &held, claimed)).collect();
    assert_eq!(intend(&one, one.node, &intents).await, 2);
    assert_eq!(intend(&one, one.node, &intents).await, 0, "an intent is granted once");
    assert_eq!(one.checked_states().await, [(State::Sending, 2)]);
    let outcomes = [
        outcome(&one, &held, &deliveries[0], Outcome::Accepted),
        outcome(&one, &held, &deliveries[1], Outcome::Rejected),
    ];
    assert_eq!(settle(&one, one.node, &outcomes).await, 2);
    assert!(release(&one, &held, one.node).await);
    assert_eq!(one.checked_states().await, [(State::Accepted, 1), (State::Rejected, 1)]);
    let suppressed: Vec<(String, String)> =
        sqlx::query_as("select address_key, reason from suppressions").fetch_all(one.database.pool()).await.unwrap();
    assert_eq!(suppressed, [(deliveries[1].address_key.clone(), "hard_bounce".into())]);
    let mut connection = one.store.acquire().await.unwrap();
    let ended = moves::finish_idle(&mut connection, one.workspace, Utc::now()).await.unwrap();
    assert_eq!(ended, [one.campaign]);
}

#[tokio::test]
async fn a_batch_is_known_whole_only_when_nothing_of_it_is_open_elsewhere() {
    let one = StartedCampaign::with_recipients(&["a@gmail.com", "b@gmail.com"]).await;
    expand(&one, 10).await;
    let (held, deliveries) = claim(&one, one.node).await.unwrap();
    let read = async |limit: i64| {
        let mut connection = one.store.acquire().await.unwrap();
        let content = batches::deliveries(&mut connection, &held, None, limit, Utc::now()).await.unwrap();
        (content.deliveries.len(), content.is_whole)
    };
    assert_eq!((read(2).await, read(1).await), ((2, true), (1, false)));
    intend(&one, one.node, &[intent(&one, &held, &deliveries[0])]).await;
    assert_eq!(read(2).await, (1, false), "one of it is being sent");
    settle(&one, one.node, &[outcome(&one, &held, &deliveries[0], Outcome::Accepted)]).await;
    assert_eq!(read(2).await, (1, true));
}

#[tokio::test]
async fn what_is_sending_in_a_batch_that_is_gone_is_rescued_before_its_campaign_ends() {
    let one = StartedCampaign::with_recipients(&["a@gmail.com", "b@gmail.com"]).await;
    expand(&one, 10).await;
    let (held, deliveries) = claim(&one, one.node).await.unwrap();
    intend(&one, one.node, &[intent(&one, &held, &deliveries[0])]).await;
    let mut connection = one.store.acquire().await.unwrap();
    batches::end(&mut connection, &held, one.node).await.unwrap();
    assert!(moves::finish_idle(&mut connection, one.workspace, Utc::now()).await.unwrap().is_empty());
    let mut tx = one.store.begin().await.unwrap();
    let rescuer = NodeId::new();
    rescues::step(&mut tx, one.workspace, rescuer, TimeDelta::minutes(2), 10, Utc::now()).await.unwrap();
    commit(tx).await.unwrap();
    assert_eq!(one.checked_states().await, [(State::Queued, 1), (State::Unknown, 1)]);
    let (_, left) = claim(&one, one.node).await.unwrap();
    assert_eq!(left.iter().map(|claimed| claimed.delivery).collect::<Vec<_>>(), [deliveries[1].delivery]);
}

#[tokio::test]
async fn only_who_holds_a_batch_can_end_it_and_no_campaign_ends_while_a_delivery_is_open() {
    let one = StartedCampaign::with_recipients(&["a@gmail.com", "b@gmail.com"]).await;
    expand(&one, 10).await;
    let (held, deliveries) = claim(&one, one.node).await.unwrap();
    let mut connection = one.store.acquire().await.unwrap();
    batches::end(&mut connection, &Claim { epoch: held.epoch + 1, ..held.clone() }, one.node).await.unwrap();
    batches::end(&mut connection, &held, NodeId::new()).await.unwrap();
    assert_eq!(intend(&one, one.node, &[intent(&one, &held, &deliveries[0])]).await, 1);
    settle(&one, one.node, &[outcome(&one, &held, &deliveries[0], Outcome::Accepted)]).await;
    // As if the engine believed that both were settled.
    batches::end(&mut connection, &held, one.node).await.unwrap();
    assert!(claim(&one, one.node).await.is_none());
    assert!(moves::finish_idle(&mut connection, one.workspace, Utc::now()).await.unwrap().is_empty());
    let mut tx = one.store.begin().await.unwrap();
    rescues::step(&mut tx, one.workspace, NodeId::new(), TimeDelta::minutes(2), 10, Utc::now()).await.unwrap();
    commit(tx).await.unwrap();
    let (held, left) = claim(&one, one.node).await.unwrap();
    assert_eq!(left.iter().map(|claimed| claimed.delivery).collect::<Vec<_>>(), [deliveries[1].delivery]);
    assert_eq!(intend(&one, one.node, &[intent(&one, &held, &left[0])]).await, 1);
    settle(&one, one.node, &[outcome(&one, &held, &left[0], Outcome::Accepted)]).await;
    batches::end(&mut connection, &held, one.node).await.unwrap();
    assert_eq!(moves::finish_idle(&mut connection, one.workspace, Utc::now()).await.unwrap(), [one.campaign]);
}

#[tokio::test]
async fn who_lost_the_lease_gets_no_intent_but_what_it_knows_is_still_written() {
    let one = StartedCampaign::with_recipients(&["a@gmail.com", "b@gmail.com"]).await;
    expand(&one, 10).await;
    let (held, deliveries) = claim(&one, one.node).await.unwrap();
    assert_eq!(intend(&one, one.node, &[intent(&one, &held, &deliveries[0])]).await, 1);
    expire_lease(&one).await;
    assert_eq!(intend(&one, one.node, &[intent(&one, &held, &deliveries[1])]).await, 0);

    let rescuer = NodeId::new();
    let mut tx = one.store.begin().await.unwrap();
    let wait = TimeDelta::minutes(2);
    let rescued = rescues::step(&mut tx, one.workspace, rescuer, wait, 10, Utc::now()).await.unwrap();
    commit(tx).await.unwrap();
    assert_eq!((rescued.n_batches, rescued.n_unknown), (1, 1));
    assert_eq!(one.checked_states().await, [(State::Queued, 1), (State::Unknown, 1)]);

    assert_eq!(settle(&one, one.node, &[outcome(&one, &held, &deliveries[0], Outcome::Accepted)]).await, 1);
    assert_eq!(one.checked_states().await, [(State::Queued, 1), (State::Accepted, 1)]);
    let attempts: Vec<(i32, String)> =
        sqlx::query_as("select n, outcome from every_attempt").fetch_all(one.database.pool()).await.unwrap();
    assert_eq!(attempts, [(1, "accepted".into())]);
    assert!(claim(&one, rescuer).await.is_some(), "what was never submitted is there to be claimed");
}

/// As if the holder of every batch had died a while ago.
async fn expire_lease(one: &StartedCampaign) {
    one.change("update batches set lease_until = clock_timestamp() where workspace_id = $1 and owner is not null")
        .await;
}

#[tokio::test]
async fn an_unknown_is_resent_once_after_its_wait_and_never_again() {
    let one = StartedCampaign::with_recipients(&["a@gmail.com"]).await;
    expand(&one, 10).await;
    for resend in [false, true] {
        let (held, deliveries) = claim(&one, one.node).await.unwrap();
        assert_eq!(deliveries[0].state, if resend { State::Unknown } else { State::Queued });
        assert_eq!(intend(&one, one.node, &[intent(&one, &held, &deliveries[0])]).await, 1);
        expire_lease(&one).await;
        let mut tx = one.store.begin().await.unwrap();
        let wait = TimeDelta::minutes(2);
        rescues::step(&mut tx, one.workspace, one.node, wait, 10, Utc::now()).await.unwrap();
        assert_eq!(retries::regroup(&mut tx, one.workspace, 10, 10, Utc::now()).await.unwrap(), 0);
        let later = Utc::now() + TimeDelta::minutes(3);
        let n = retries::regroup(&mut tx, one.workspace, 10, 10, later).await.unwrap();
        assert_eq!(n, usize::from(!resend));
        sqlx::query("update batches set due_at = now()").execute(&mut *tx).await.unwrap();
        commit(tx).await.unwrap();
    }
    assert_eq!(one.checked_states().await, [(State::Unknown, 1)]);
    let mut connection = one.store.acquire().await.unwrap();
    assert_eq!(moves::finish_idle(&mut connection, one.workspace, Utc::now()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_deferral_waits_by_its_time_and_then_expires() {
    let one = StartedCampaign::with_recipients(&["a@gmail.com"]).await;
    expand(&one, 10).await;
    let (held, deliveries) = claim(&one, one.node).await.unwrap();
    intend(&one, one.node, &[intent(&one, &held, &deliveries[0])]).await;
    let due = Utc::now();
    let deferred = Settle { next: Some(Retry::At(due)), ..outcome(&one, &held, &deliveries[0], Outcome::Deferred) };
    settle(&one, one.node, &[deferred]).await;
    release(&one, &held, one.node).await;
    let mut connection = one.store.acquire().await.unwrap();
    assert!(moves::finish_idle(&mut connection, one.workspace, Utc::now()).await.unwrap().is_empty(), "it still waits");
    let mut tx = one.store.begin().await.unwrap();
    assert_eq!(retries::regroup(&mut tx, one.workspace, 10, 10, Utc::now()).await.unwrap(), 1);
    commit(tx).await.unwrap();
    let (held, deliveries) = claim(&one, one.node).await.unwrap();
    assert_eq!((deliveries[0].state, deliveries[0].attempt), (State::Deferred, 1));
    intend(&one, one.node, &[intent(&one, &held, &deliveries[0])]).await;
    let last = Settle { next: Some(Retry::Expire), ..outcome(&one, &held, &deliveries[0], Outcome::Deferred) };
    settle(&one, one.node, &[last]).await;
    assert_eq!(one.checked_states().await, [(State::Expired, 1)]);
}

#[tokio::test]
async fn a_resend_that_was_not_submitted_is_unknown_again_and_may_be_resent_later() {
    let one = StartedCampaign::with_recipients(&["a@gmail.com"]).await;
    expand(&one, 10).await;
    let (mut held, mut deliveries) = claim(&one, one.node).await.unwrap();
    intend(&one, one.node, &[intent(&one, &held, &deliveries[0])]).await;
    let due = Some(Retry::At(Utc::now()));
    settle(&one, one.node, &[Settle { next: due, ..outcome(&one, &held, &deliveries[0], Outcome::Unknown) }]).await;
    for n_before in 1..=2 {
        release(&one, &held, one.node).await;
        let mut tx = one.store.begin().await.unwrap();
        assert_eq!(retries::regroup(&mut tx, one.workspace, 10, 10, Utc::now()).await.unwrap(), 1);
        commit(tx).await.unwrap();
        (held, deliveries) = claim(&one, one.node).await.unwrap();
        assert_eq!((deliveries[0].state, deliveries[0].attempt), (State::Unknown, n_before));
        assert_eq!(deliveries[0].n_resends, 0);
        intend(&one, one.node, &[intent(&one, &held, &deliveries[0])]).await;
        let cut = outcome(&one, &held, &deliveries[0], Outcome::NotSubmitted);
        settle(&one, one.node, &[Settle { next: due, was_unknown: true, ..cut }]).await;
        assert_eq!(one.checked_states().await, [(State::Unknown, 1)]);
    }
    release(&one, &held, one.node).await;
    let mut tx = one.store.begin().await.unwrap();
    retries::regroup(&mut tx, one.workspace, 10, 10, Utc::now()).await.unwrap();
    commit(tx).await.unwrap();
    (held, deliveries) = claim(&one, one.node).await.unwrap();
    let resend = [intent(&one, &held, &deliveries[0])];
    intend(&one, one.node, &resend).await;
    let mut tx = one.store.begin().await.unwrap();
    assert_eq!(intents::revoke(&mut tx, one.workspace, one.node, &resend, Utc::now()).await.unwrap(), 1);
    commit(tx).await.unwrap();
    assert_eq!(one.checked_states().await, [(State::Unknown, 1)]);
    release(&one, &held, one.node).await;
    let (_, deliveries) = claim(&one, one.node).await.unwrap();
    assert_eq!((deliveries[0].state, deliveries[0].n_resends), (State::Unknown, 0));
}

#[tokio::test]
async fn a_claim_sees_who_may_not_be_mailed_and_tells_which_changes_it_did_not_see() {
    let one = StartedCampaign::with_recipients(&["a@gmail.com", "b@gmail.com"]).await;
    expand(&one, 10).await;
    suppress(&one, "a@gmail.com").await;
    let (held, deliveries) = claim(&one, one.node).await.unwrap();
    let blocked = |address: &str, deliveries: &[Claimed]| {
        deliveries.iter().find(|claimed| claimed.address == address).unwrap().blocked
    };
    assert_eq!(blocked("a@gmail.com", &deliveries), Some(Blocked::Suppressed));
    assert_eq!(blocked("b@gmail.com", &deliveries), None);
    suppress(&one, "b@gmail.com").await;
    let mut connection = one.store.acquire().await.unwrap();
    let look = changes::look(&mut connection, held.as_of.xmin()).await.unwrap();
    let change = changes::Change::Suppression { address_key: "b@gmail.com".into(), list: None };
    assert!(look.changes.iter().any(|row| row.change == change && !held.as_of.saw(row.xid)));
    assert!(look.next >= held.as_of.xmin());
}

#[tokio::test]
async fn a_change_that_commits_late_is_not_passed_over() {
    let one = StartedCampaign::with_recipients(&[]).await;
    let mut early = one.store.begin().await.unwrap();
    let act = changes::Change::Pause(one.campaign);
    changes::append(&mut early, one.workspace, std::slice::from_ref(&act)).await.unwrap();
    suppress(&one, "later@x.test").await;
    let mut connection = one.store.acquire().await.unwrap();
    let first = changes::look(&mut connection, 0).await.unwrap();
    assert!(first.changes.iter().all(|row| row.change != act));
    commit(early).await.unwrap();
    let second = changes::look(&mut connection, first.next).await.unwrap();
    assert!(second.changes.iter().any(|row| row.change == act), "the cursor must not pass a number still to come");
}

#[tokio::test]
async fn a_cancelled_campaign_is_swept_and_its_sum_stays_the_audience() {
    let one = StartedCampaign::with_recipients(&["a@gmail.com", "b@gmail.com", "c@gmail.com", "d@gmail.com"]).await;
    expand(&one, 10).await;
    let (held, deliveries) = claim(&one, one.node).await.unwrap();
    intend(&one, one.node, &[intent(&one, &held, &deliveries[0])]).await;
    let mut tx = one.store.begin().await.unwrap();
    let from = moves::lock(&mut tx, one.workspace, one.campaign).await.unwrap().unwrap();
    let now = Utc::now();
    let to = moves::apply(&mut tx, one.workspace, one.campaign, from, CampaignMove::Cancel, None, now).await.unwrap();
    assert_eq!(to, Some(CampaignState::Cancelled));
    commit(tx).await.unwrap();
    assert!(claim(&one, one.node).await.is_none(), "nothing of a cancelled campaign is claimed");
    settle(&one, one.node, &[outcome(&one, &held, &deliveries[0], Outcome::Accepted)]).await;
    release(&one, &held, one.node).await;
    loop {
        let mut tx = one.store.begin().await.unwrap();
        let done = sweeps::step(&mut tx, one.workspace, one.campaign, one.node, 1, Utc::now()).await.unwrap();
        commit(tx).await.unwrap();
        let sum: i64 = one.checked_states().await.iter().map(|(_, n)| n).sum();
        assert_eq!(sum, 4);
        if done {
            break;
        }
    }
    assert_eq!(one.checked_states().await, [(State::Accepted, 1), (State::Cancelled, 3)]);
}

#[tokio::test]
async fn a_pause_is_kept_from_when_to_when_so_that_it_is_no_part_of_an_age() {
    let one = StartedCampaign::with_recipients(&[]).await;
    let before = Utc::now();
    for _ in 0..2 {
        one.make(CampaignMove::Pause).await;
        one.make(CampaignMove::Resume).await;
    }
    let mut connection = one.store.acquire().await.unwrap();
    let content = contents::find(&mut connection, one.workspace, one.campaign).await.unwrap().unwrap();
    let paused = content.pauses.since(before);
    assert!(paused > TimeDelta::zero() && paused <= Utc::now() - before, "{paused}");
    assert_eq!(content.pauses.since(Utc::now()), TimeDelta::zero());
}
