//! The next envelope behind the final dot: when messages are taken, held back, and given up.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use postrider::smtp::{Cause, Outcome, Phase, Pipeline, Source, Submission};
use tokio::sync::Notify;

use super::{Withdrawing, connect, submission, submit_all};
use crate::support::smtp_peer::{Action, Gate, Moment, Script, SmtpPeer, Step};

fn is_accepted(outcome: &Option<(String, Outcome)>) -> bool {
    matches!(outcome, Some((_, Outcome::Accepted { .. })))
}

#[tokio::test]
async fn the_next_envelope_leaves_before_the_final_dot_is_answered() {
    // The peer doesn't answer a dot before it has read more, so a client that waits for the answer first hangs here.
    let awaits = |moment: &Moment| match moment.n {
        1..=3 => Action::AwaitMore,
        _ => Action::Proceed,
    };
    let peer = SmtpPeer::start(Script::default().at(Step::Dot, awaits)).await;
    let mut session = connect(&peer).await;
    let outcomes = submit_all(&mut session, &["a@x.test", "b@x.test", "c@x.test", "d@x.test"]).await;
    assert_eq!((outcomes.len(), peer.accepted().len()), (4, 4));
}

/// A source whose second message comes only when it is told to, and which says so.
struct Late {
    queue: VecDeque<Submission<String>>,
    arrived: Arc<Notify>,
}

impl Source for Late {
    type Ticket = String;

    fn take(&mut self) -> Option<Submission<String>> {
        self.queue.pop_front()
    }

    async fn ready(&mut self) {
        self.arrived.notified().await;
        self.queue.push_back(submission("late@x.test"));
    }
}

#[tokio::test]
async fn a_message_that_comes_while_a_dot_is_unanswered_still_overlaps() {
    let script =
        Script::default().at(Step::Dot, |moment| if moment.n == 1 { Action::AwaitMore } else { Action::Proceed });
    let peer = SmtpPeer::start(script).await;
    let mut session = connect(&peer).await;
    let arrived = Arc::new(Notify::new());
    let mut source = Late { queue: [submission("a@x.test")].into(), arrived: arrived.clone() };
    let mut pipeline = Pipeline::new(&mut session);
    let announce = async {
        peer.wait_for_command("DATA", 1).await;
        arrived.notify_one();
    };
    let (outcome, ()) = tokio::join!(pipeline.advance(&mut source), announce);
    assert!(is_accepted(&outcome));
    assert!(is_accepted(&pipeline.advance(&mut source).await));
    assert_eq!(peer.accepted()[1].recipient(), "late@x.test");
}

#[tokio::test]
async fn a_message_is_not_taken_before_its_mail_from_can_be_written() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = Script::default().at(Step::Data, move |_| Action::Hold(held.clone()));
    let peer = SmtpPeer::start(script).await;
    let mut session = connect(&peer).await;
    let n_taken = AtomicUsize::new(0);
    let mut queue: VecDeque<_> = ["a@x.test", "b@x.test"].map(submission).into();
    let mut source = || {
        n_taken.fetch_add(1, Ordering::SeqCst);
        queue.pop_front()
    };
    let mut pipeline = Pipeline::new(&mut session);
    let look = async {
        peer.wait_for_command("DATA", 1).await;
        assert_eq!(n_taken.load(Ordering::SeqCst), 1, "the first waits for its 354, so the second can't be written");
        gate.open();
    };
    let (first, ()) = tokio::join!(pipeline.advance(&mut source), look);
    assert!(is_accepted(&first));
    assert!(is_accepted(&pipeline.advance(&mut source).await));
}

#[tokio::test]
async fn without_pipelining_a_message_is_taken_only_when_the_last_one_is_answered() {
    let peer = SmtpPeer::start(Script::default().without("PIPELINING")).await;
    let mut session = connect(&peer).await;
    let mut n_taken = 0;
    let mut queue: VecDeque<_> = ["a@x.test", "b@x.test"].map(submission).into();
    let mut pipeline = Pipeline::new(&mut session);
    let first = pipeline
        .advance(&mut || {
            n_taken += 1;
            queue.pop_front()
        })
        .await;
    assert!(is_accepted(&first));
    assert_eq!(n_taken, 1);
    assert!(pipeline.is_idle());
}

#[tokio::test]
async fn a_message_held_back_after_its_envelope_is_never_submitted() {
    for script in super::both_ways(&Script::default()) {
        let peer = SmtpPeer::start(script).await;
        let mut session = connect(&peer).await;
        let mut source = Withdrawing(["a@x.test", "stale@x.test", "c@x.test"].map(submission).into());
        let mut pipeline = Pipeline::new(&mut session);
        assert!(is_accepted(&pipeline.advance(&mut source).await));
        let (ticket, outcome) = pipeline.advance(&mut source).await.unwrap();
        assert_eq!(ticket, "stale@x.test");
        assert_eq!(outcome, Outcome::NotSubmitted { phase: Phase::Data, cause: Cause::Withdrawn });
        assert!(pipeline.advance(&mut source).await.is_none());
        assert_eq!(source.0.len(), 1, "a broken session takes nothing more");
        drop(pipeline);
        drop(session);
        peer.wait_until("the connection is closed", |facts| facts.n_open == 0).await;
        assert_eq!(peer.accepted().len(), 1);
    }
}

#[tokio::test]
async fn a_dropped_wait_loses_nothing() {
    let gate = Gate::closed();
    let held = gate.clone();
    let script = Script::default().on_message(move |_| Action::Hold(held.clone()));
    let peer = SmtpPeer::start(script).await;
    let mut session = connect(&peer).await;
    let mut queue: VecDeque<_> = ["a@x.test", "b@x.test", "c@x.test"].map(submission).into();
    let mut source = || queue.pop_front();
    let mut pipeline = Pipeline::new(&mut session);
    // Every await of the way is dropped at least once.
    for _ in 0..20 {
        tokio::select! {
            biased;
            outcome = pipeline.advance(&mut source) => panic!("the dot is held, but {outcome:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    peer.wait_for_command("DATA", 1).await;
    gate.open();
    for recipient in ["a@x.test", "b@x.test", "c@x.test"] {
        let outcome = pipeline.advance(&mut source).await;
        assert!(is_accepted(&outcome));
        assert_eq!(outcome.unwrap().0, recipient);
    }
    assert!(pipeline.advance(&mut source).await.is_none());
    assert_eq!(peer.accepted().len(), 3);
}

#[tokio::test]
async fn draining_takes_nothing_more_and_leaves_the_session_usable() {
    let peer = SmtpPeer::start(Script::default()).await;
    let mut session = connect(&peer).await;
    let mut queue: VecDeque<_> = ["a@x.test", "b@x.test", "c@x.test"].map(submission).into();
    let mut pipeline = Pipeline::new(&mut session);
    assert!(is_accepted(&pipeline.advance(&mut || queue.pop_front()).await));
    assert!(is_accepted(&pipeline.drain().await));
    assert!(pipeline.drain().await.is_none());
    assert_eq!(queue.len(), 1);
    drop(pipeline);
    assert!(session.is_usable());
    assert_eq!(submit_all(&mut session, &["d@x.test"]).await.len(), 1);
    assert_eq!(peer.facts().n_connections, 1);
}

#[tokio::test]
async fn a_pipeline_dropped_with_messages_in_flight_breaks_its_session() {
    let peer = SmtpPeer::start(Script::default()).await;
    let mut session = connect(&peer).await;
    let mut queue: VecDeque<_> = ["a@x.test", "b@x.test"].map(submission).into();
    let mut pipeline = Pipeline::new(&mut session);
    assert!(is_accepted(&pipeline.advance(&mut || queue.pop_front()).await));
    drop(pipeline);
    assert_eq!(session.broken(), Some(&Cause::Abandoned));
    assert!(submit_all(&mut session, &["c@x.test"]).await.is_empty());
}

#[tokio::test]
async fn when_a_session_dies_between_two_messages_each_gets_its_own_outcome() {
    let script = Script::default().always(Step::Dot, Action::TakeAndClose);
    let peer = SmtpPeer::start(script).await;
    let mut session = connect(&peer).await;
    let outcomes = submit_all(&mut session, &["a@x.test", "b@x.test", "c@x.test"]).await;
    assert!(matches!(&outcomes[0], (ticket, Outcome::Unknown { .. }) if ticket == "a@x.test"), "{outcomes:?}");
    assert!(matches!(&outcomes[1], (ticket, Outcome::NotSubmitted { .. }) if ticket == "b@x.test"), "{outcomes:?}");
    assert_eq!(outcomes.len(), 2);
}

#[tokio::test]
async fn a_pipeline_can_run_on_another_thread() {
    let peer = SmtpPeer::start(Script::default()).await;
    let mut session = connect(&peer).await;
    let outcomes = tokio::spawn(async move {
        let mut queue: VecDeque<_> = ["a@x.test", "b@x.test"].map(submission).into();
        let mut pipeline = Pipeline::new(&mut session);
        let mut n_outcomes = 0;
        while pipeline.advance(&mut || queue.pop_front()).await.is_some() {
            n_outcomes += 1;
        }
        n_outcomes
    });
    assert_eq!(outcomes.await.unwrap(), 2);
}
