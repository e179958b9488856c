//! Sessions that end in the middle: what is surely not submitted, and what nobody can know.

use postrider::smtp::{Cause, Outcome, Phase, PreparedMessage, ProtocolFault, Session};

use super::{SOON, connect, envelope, every_way, message, settings, submit_all};
use crate::support::smtp_peer::{Action, Script, SmtpPeer, Step};

const ENVELOPE: [(Step, Phase); 3] = [(Step::Mail, Phase::Mail), (Step::Rcpt, Phase::Rcpt), (Step::Data, Phase::Data)];

/// One message to a peer that does this at that step, in both modes.
async fn outcomes_of(step: Step, action: Action) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let scripts = every_way(&Script::default().at(step, move |_| action.clone()));
    // With chunks there is no DATA.
    for script in scripts.into_iter().take(if step == Step::Data { 2 } else { 4 }) {
        let peer = SmtpPeer::start(script).await;
        let mut session = connect(&peer).await;
        outcomes.push(session.transact(&envelope("a@x.test"), &message("hi")).await);
        assert!(!session.is_usable());
    }
    outcomes
}

/// Big enough that no socket buffer takes it while nobody reads.
fn big_message() -> PreparedMessage {
    PreparedMessage::new(format!("Subject: big\r\n\r\n{}", "0123456789abcdef\r\n".repeat(1_000_000)))
}

#[tokio::test]
async fn a_connection_that_ends_before_the_data_was_surely_not_submitted() {
    for (step, at) in ENVELOPE {
        for action in [Action::Close, Action::Reset] {
            for outcome in outcomes_of(step, action).await {
                assert!(matches!(&outcome, Outcome::NotSubmitted { phase, .. } if *phase == at), "{outcome:?}");
            }
        }
    }
}

#[tokio::test]
async fn garbage_and_replies_without_end_before_the_data_leave_the_message_not_submitted() {
    let endless = Action::Endless(b"250-and\r\n".to_vec());
    for (step, at) in ENVELOPE {
        for action in
            [Action::Raw(b"\x00\xff\r\n".to_vec()), Action::Raw(b"250-a\r\n550 b\r\n".to_vec()), endless.clone()]
        {
            for outcome in outcomes_of(step, action).await {
                let Outcome::NotSubmitted { phase, cause: Cause::Protocol(_) } = outcome else { panic!("{outcome:?}") };
                assert_eq!(phase, at);
            }
        }
    }
}

#[tokio::test]
async fn a_code_that_means_nothing_at_its_step_is_not_taken_for_success() {
    for (step, words) in [(Step::Mail, "354 go"), (Step::Rcpt, "334 go"), (Step::Data, "250 fine")] {
        for outcome in outcomes_of(step, Action::reply(words)).await {
            let Outcome::NotSubmitted { cause: Cause::Protocol(fault), .. } = outcome else { panic!("{outcome:?}") };
            assert!(matches!(fault, ProtocolFault::UnexpectedCode(_)));
        }
    }
}

#[tokio::test]
async fn a_connection_that_ends_between_the_dot_and_its_reply_is_unknown() {
    for action in [Action::Close, Action::Reset, Action::TakeAndClose] {
        for outcome in outcomes_of(Step::Dot, action).await {
            assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn an_answer_to_the_dot_that_can_not_be_read_is_unknown() {
    let odd = [&b"\x00\xff\r\n"[..], b"250-a\r\n550 b\r\n", b"354 go\r\n", b"ok\r\n"];
    for action in odd.map(|bytes| Action::Raw(bytes.into())).into_iter().chain([Action::Endless(b"250-a\r\n".into())]) {
        for outcome in outcomes_of(Step::Dot, action).await {
            assert!(matches!(outcome, Outcome::Unknown { cause: Cause::Protocol(_) }), "{outcome:?}");
        }
    }
}

#[tokio::test]
async fn silence_is_left_after_the_phases_own_time() {
    for (step, at) in [ENVELOPE.as_slice(), &[(Step::Dot, Phase::Dot)]].concat() {
        let n_ways = if step == Step::Data { 2 } else { 4 };
        for script in every_way(&Script::default().always(step, Action::Silence)).into_iter().take(n_ways) {
            let peer = SmtpPeer::start(script).await;
            let mut settings = settings(&peer);
            match at {
                Phase::Mail => settings.timeouts.mail = SOON,
                Phase::Rcpt => settings.timeouts.rcpt = SOON,
                Phase::Data => settings.timeouts.data = SOON,
                _ => settings.timeouts.dot = SOON,
            }
            let mut session = Session::connect(&settings).await.unwrap();
            let outcome = session.transact(&envelope("a@x.test"), &message("hi")).await;
            let late = Cause::TimedOut { phase: at, limit: SOON };
            match outcome {
                Outcome::NotSubmitted { phase, cause } => assert_eq!((phase, cause), (at, late)),
                Outcome::Unknown { cause } => assert_eq!((Phase::Dot, cause), (at, late)),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn bytes_that_drip_in_do_not_stretch_a_phases_time() {
    let peer = SmtpPeer::start(Script::default().always(Step::Mail, Action::Drip(b'2'))).await;
    let mut settings = settings(&peer);
    settings.timeouts.mail = SOON;
    let mut session = Session::connect(&settings).await.unwrap();
    let outcome = session.transact(&envelope("a@x.test"), &message("hi")).await;
    let cause = Cause::TimedOut { phase: Phase::Mail, limit: SOON };
    assert_eq!(outcome, Outcome::NotSubmitted { phase: Phase::Mail, cause });
}

#[tokio::test]
async fn a_relay_that_stops_reading_in_the_body_leaves_the_message_not_submitted() {
    for script in every_way(&Script::default().always(Step::Body, Action::Stall)) {
        let peer = SmtpPeer::start(script.with("SIZE 100000000")).await;
        let mut settings = settings(&peer);
        settings.timeouts.body = SOON;
        let mut session = Session::connect(&settings).await.unwrap();
        let outcome = session.transact(&envelope("a@x.test"), &big_message()).await;
        let cause = Cause::TimedOut { phase: Phase::Body, limit: SOON };
        assert_eq!(outcome, Outcome::NotSubmitted { phase: Phase::Body, cause });
    }
}

#[tokio::test]
async fn a_connection_that_ends_in_the_body_leaves_the_message_not_submitted() {
    for script in every_way(&Script::default().always(Step::Body, Action::Reset)) {
        let peer = SmtpPeer::start(script.with("SIZE 100000000")).await;
        let outcome = connect(&peer).await.transact(&envelope("a@x.test"), &big_message()).await;
        assert!(matches!(outcome, Outcome::NotSubmitted { phase: Phase::Body, .. }), "{outcome:?}");
        assert_eq!(peer.accepted().len(), 0);
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_the_body_is_heard() {
    let refusal = Action::ReplyAndReset("552 5.3.4 Too much of it".into());
    for script in every_way(&Script::default().always(Step::Body, refusal)) {
        let peer = SmtpPeer::start(script.with("SIZE 100000000")).await;
        let outcome = connect(&peer).await.transact(&envelope("a@x.test"), &big_message()).await;
        assert!(matches!(outcome, Outcome::Rejected { phase: Phase::Body, .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_421_in_the_middle_of_the_body_is_not_charged_to_the_message() {
    let goodbye = Action::ReplyAndReset("421 4.3.2 Going down".into());
    let peer = SmtpPeer::start(Script::default().with("SIZE 100000000").always(Step::Body, goodbye)).await;
    let outcome = connect(&peer).await.transact(&envelope("a@x.test"), &big_message()).await;
    assert!(matches!(outcome, Outcome::NotSubmitted { phase: Phase::Body, cause: Cause::Closing(_) }), "{outcome:?}");
}

#[tokio::test]
async fn a_relay_out_of_step_is_found_before_a_message_is_given_to_it() {
    for script in every_way(&Script::default().always(Step::Dot, Action::reply("250 Ok\r\n250 And once more"))) {
        let peer = SmtpPeer::start(script).await;
        let mut session = connect(&peer).await;
        let outcomes = submit_all(&mut session, &["a@x.test", "b@x.test"]).await;
        assert!(matches!(outcomes[0].1, Outcome::Accepted { .. }));
        assert!(outcomes.get(1).is_none_or(|(_, outcome)| matches!(outcome, Outcome::NotSubmitted { .. })));
        assert!(!session.is_usable());
        assert_eq!(peer.accepted().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_that_a_later_reply_belies_condemns_nobody() {
    // The second message's MAIL gets an answer that was left over, and its RCPT the answer to MAIL.
    let script = Script::default().at(Step::Dot, |moment| match moment.n {
        1 => Action::reply("250 Ok\r\n552 5.3.4 Too much"),
        _ => Action::Proceed,
    });
    let peer = SmtpPeer::start(script).await;
    let mut session = connect(&peer).await;
    let outcomes = submit_all(&mut session, &["a@x.test", "b@x.test"]).await;
    assert!(matches!(outcomes[1].1, Outcome::NotSubmitted { cause: Cause::Protocol(_), .. }), "{outcomes:?}");
    assert!(!session.is_usable());
}

#[tokio::test]
async fn a_session_that_the_relay_closed_while_idle_takes_no_message() {
    let ends = [("250 Ok\r\n421 4.4.2 Idle", true), ("250 Ok", false)];
    for (words, has_words) in ends {
        let goodbye = Action::ReplyAndClose(words.into());
        let peer = SmtpPeer::start(Script::default().always(Step::Dot, goodbye)).await;
        let mut session = connect(&peer).await;
        let first = session.transact(&envelope("a@x.test"), &message("hi")).await;
        assert!(matches!(first, Outcome::Accepted { .. }));
        while session.check().await {
            tokio::task::yield_now().await;
        }
        assert_eq!(matches!(session.broken(), Some(Cause::Closing(_))), has_words);
        assert!(submit_all(&mut session, &["b@x.test"]).await.is_empty());
        session.quit().await;
    }
}
