//! BDAT, where CHUNKING is offered: what stands on the wire, and what is different from DATA.

use postrider::smtp::{Cause, Chunking, Outcome, Phase, Pipeline, PreparedMessage, ProtocolFault, Session, Settings};

use super::{Withdrawing, both_ways_in_chunks, connect, envelope, message, settings, submission, submit_all};
use crate::support::smtp_peer::{Action, Script, SmtpPeer, Step};

fn is_accepted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Accepted { .. })
}

#[tokio::test]
async fn a_chunk_carries_the_message_as_it_is_without_a_dot_and_without_data() {
    for script in both_ways_in_chunks(&Script::default()) {
        let peer = SmtpPeer::start(script).await;
        let text = ".\r\n..\r\nMAIL FROM:<a@b>\r\n.\r\n";
        let outcome = connect(&peer).await.transact(&envelope("a@x.test"), &PreparedMessage::new(text)).await;
        assert!(is_accepted(&outcome));
        assert_eq!(peer.accepted()[0].text(), text);
        let facts = peer.facts();
        assert_eq!((facts.n_commands("DATA"), facts.n_commands("BDAT 27 LAST")), (0, 1));
    }
}

#[tokio::test]
async fn the_next_envelope_leaves_behind_a_chunk_before_that_is_answered() {
    // The peer doesn't answer a chunk before it has read more, so a client that waits for the answer first hangs here.
    let awaits = |n| if n <= 3 { Action::AwaitMore } else { Action::Proceed };
    let peer = SmtpPeer::start(Script::default().with("CHUNKING").at(Step::Dot, move |moment| awaits(moment.n))).await;
    let mut session = connect(&peer).await;
    let outcomes = submit_all(&mut session, &["a@x.test", "b@x.test", "c@x.test", "d@x.test"]).await;
    assert!(outcomes.iter().all(|(_, outcome)| is_accepted(outcome)));
    assert_eq!(peer.accepted().len(), 4);
}

#[tokio::test]
async fn no_chunk_is_sent_for_a_refused_recipient() {
    let script = Script::default().on_recipient(|recipient| match recipient {
        "no@x.test" => Action::reply("550 5.1.1 No such user"),
        _ => Action::Proceed,
    });
    for script in both_ways_in_chunks(&script) {
        let peer = SmtpPeer::start(script).await;
        let mut session = connect(&peer).await;
        let outcomes = submit_all(&mut session, &["no@x.test", "yes@x.test", "no@x.test"]).await;
        assert_eq!(outcomes.iter().filter(|(_, outcome)| is_accepted(outcome)).count(), 1);
        assert_eq!((peer.facts().n_commands("BDAT"), peer.facts().n_connections), (1, 1));
        assert!(session.is_usable());
    }
}

#[tokio::test]
async fn a_refused_chunk_is_reset_before_the_next_envelope_and_charged_to_its_own_message() {
    // The peer complains of any envelope behind a refused chunk that no RSET stands before.
    for words in ["452 4.3.1 No room", "552 5.3.4 Too much"] {
        let refuse = move |n| if n == 2 { Action::reply(words) } else { Action::Proceed };
        for step in [Step::Bdat, Step::Dot] {
            for script in both_ways_in_chunks(&Script::default().at(step, move |moment| refuse(moment.n))) {
                let peer = SmtpPeer::start(script).await;
                let mut session = connect(&peer).await;
                let outcomes = submit_all(&mut session, &["a@x.test", "b@x.test", "c@x.test"]).await;
                assert!(is_accepted(&outcomes[0].1) && is_accepted(&outcomes[2].1), "{outcomes:?}");
                assert_eq!(outcomes[1].1.reply().unwrap().to_string(), words);
                assert!(session.is_usable());
                assert_eq!((peer.accepted().len(), peer.facts().n_connections), (2, 1));
            }
        }
    }
}

#[tokio::test]
async fn a_relay_that_offers_chunking_and_does_not_know_bdat_gets_data_from_then_on() {
    for script in both_ways_in_chunks(&Script::default().always(Step::Bdat, Action::reply("502 5.5.2 No such command")))
    {
        let peer = SmtpPeer::start(script).await;
        let settings = settings(&peer);
        let mut first = Session::connect(&settings).await.unwrap();
        let outcome = first.transact(&envelope("a@x.test"), &message("hi")).await;
        let cause = Cause::Protocol(ProtocolFault::NoChunking(502));
        assert_eq!(outcome, Outcome::NotSubmitted { phase: Phase::Data, cause });
        assert!(!first.is_usable(), "it may be reading our chunk as commands");
        let mut second = Session::connect(&settings).await.unwrap();
        assert!(is_accepted(&second.transact(&envelope("a@x.test"), &message("hi")).await));
        assert_eq!((peer.facts().n_commands("BDAT"), peer.facts().n_commands("DATA")), (1, 1));
    }
}

#[tokio::test]
async fn chunks_are_not_used_where_a_setting_forbids_them() {
    let peer = SmtpPeer::start(Script::default().with("CHUNKING")).await;
    let settings = Settings { chunking: Chunking::new(false), ..settings(&peer) };
    let mut session = Session::connect(&settings).await.unwrap();
    assert!(is_accepted(&session.transact(&envelope("a@x.test"), &message("hi")).await));
    assert_eq!((peer.facts().n_commands("BDAT"), peer.facts().n_commands("DATA")), (0, 1));
}

#[tokio::test]
async fn a_message_held_back_before_its_chunk_costs_a_reset_and_not_the_connection() {
    for script in both_ways_in_chunks(&Script::default()) {
        let peer = SmtpPeer::start(script).await;
        let mut session = connect(&peer).await;
        let mut source = Withdrawing(["a@x.test", "stale@x.test", "c@x.test"].map(submission).into());
        let mut pipeline = Pipeline::new(&mut session);
        assert!(is_accepted(&pipeline.advance(&mut source).await.unwrap().1));
        let (ticket, outcome) = pipeline.advance(&mut source).await.unwrap();
        assert_eq!(ticket, "stale@x.test");
        assert_eq!(outcome, Outcome::NotSubmitted { phase: Phase::Data, cause: Cause::Withdrawn });
        assert!(is_accepted(&pipeline.advance(&mut source).await.unwrap().1));
        assert_eq!((peer.accepted().len(), peer.facts().n_connections), (2, 1));
    }
}

#[tokio::test]
async fn a_chunk_without_its_last_byte_is_surely_not_submitted() {
    let big = PreparedMessage::new(format!("Subject: big\r\n\r\n{}", "0123456789abcdef\r\n".repeat(1_000_000)));
    for script in both_ways_in_chunks(&Script::default().always(Step::Body, Action::Reset)) {
        let peer = SmtpPeer::start(script.with("SIZE 100000000")).await;
        let outcome = connect(&peer).await.transact(&envelope("a@x.test"), &big).await;
        assert!(matches!(outcome, Outcome::NotSubmitted { phase: Phase::Body, .. }), "{outcome:?}");
        assert_eq!(peer.accepted().len(), 0);
    }
}
