//! What a relay refuses, step by step, and what the session does after it. Everything holds with and without PIPELINING.

use postrider::smtp::{Outcome, Phase, Reply, Session, Unfit};

use super::{both_ways, connect, envelope, every_way, message, settings, submit_all};
use crate::support::smtp_peer::{Action, Script, SmtpPeer, Step};

const STEPS: [(Step, Phase); 4] =
    [(Step::Mail, Phase::Mail), (Step::Rcpt, Phase::Rcpt), (Step::Data, Phase::Data), (Step::Dot, Phase::Dot)];

/// Refuses the second message at that step with these words.
fn refuse_second(step: Step, words: &'static str) -> Script {
    Script::default().at(step, move |moment| if moment.n == 2 { Action::reply(words) } else { Action::Proceed })
}

fn is_accepted(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Accepted { .. })
}

#[tokio::test]
async fn a_refusal_is_told_by_phase_and_costs_neither_the_connection_nor_its_neighbours() {
    for (step, phase) in STEPS {
        for (words, code) in [("450 4.2.1 Not now", 450), ("550 5.1.1 Never", 550)] {
            for (n, script) in every_way(&refuse_second(step, words)).into_iter().enumerate() {
                let is_chunked = n >= 2;
                if is_chunked && step == Step::Data {
                    continue;
                }
                let peer = SmtpPeer::start(script).await;
                let mut session = connect(&peer).await;
                let outcomes = submit_all(&mut session, &["a@x.test", "b@x.test", "c@x.test"]).await;
                assert!(is_accepted(&outcomes[0].1) && is_accepted(&outcomes[2].1), "{outcomes:?}");
                let class = (code / 100) as u8;
                let (enhanced, text) = if class == 4 { ((4, 2, 1), "Not now") } else { ((5, 1, 1), "Never") };
                let reply = Reply { code, enhanced: Some(enhanced), text: text.into() };
                let expected =
                    if class == 4 { Outcome::Deferred { phase, reply } } else { Outcome::Rejected { phase, reply } };
                assert_eq!(outcomes[1], ("b@x.test".into(), expected));
                assert!(session.is_usable());

                let facts = peer.facts();
                assert_eq!(facts.n_connections, 1, "a refusal never costs the connection");
                let recipients: Vec<_> = facts.accepted.iter().map(|message| message.recipient()).collect();
                assert_eq!(recipients, ["a@x.test", "c@x.test"]);
                // With chunks RSET rides behind each, since what a refused one leaves behind is not defined.
                if is_chunked {
                    assert!(facts.n_commands("RSET") > 0 || step == Step::Mail);
                } else {
                    let needs_reset = matches!(step, Step::Rcpt | Step::Data);
                    assert_eq!(facts.n_commands("RSET"), usize::from(needs_reset), "{step:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn the_relays_echo_to_data_does_not_change_why_a_recipient_was_refused() {
    let peer = SmtpPeer::start(Script::default().on_recipient(|recipient| match recipient {
        "no@x.test" => Action::reply("452 4.2.2 Mailbox full"),
        _ => Action::Proceed,
    }))
    .await;
    // The peer answers DATA with 554, which is about our pipelining and not about the recipient.
    let outcome = connect(&peer).await.transact(&envelope("no@x.test"), &message("hi")).await;
    assert_eq!((outcome.phase(), outcome.reply().unwrap().code), (Phase::Rcpt, 452));
}

#[tokio::test]
async fn data_that_is_taken_for_nobody_is_ended_by_a_lone_dot() {
    let script = Script::default().eager_data().on_recipient(|recipient| match recipient {
        "no@x.test" => Action::reply("550 5.1.1 No such user"),
        _ => Action::Proceed,
    });
    let peer = SmtpPeer::start(script).await;
    let mut session = connect(&peer).await;
    let outcomes = submit_all(&mut session, &["no@x.test", "yes@x.test", "no@x.test"]).await;
    assert_eq!(
        outcomes.iter().map(|(_, outcome)| outcome.phase()).collect::<Vec<_>>(),
        [Phase::Rcpt, Phase::Dot, Phase::Rcpt]
    );
    assert!(session.is_usable());
    assert_eq!((peer.accepted().len(), peer.facts().n_commands("RSET")), (1, 0));
}

#[tokio::test]
async fn a_421_is_not_charged_to_the_message_whose_envelope_it_answered() {
    for (step, phase) in &STEPS[..3] {
        for script in both_ways(&Script::default().at(*step, |moment| match moment.n {
            2 => Action::ReplyAndClose("421 4.7.0 Slow down".into()),
            _ => Action::Proceed,
        })) {
            let peer = SmtpPeer::start(script).await;
            let mut session = connect(&peer).await;
            let outcomes = submit_all(&mut session, &["a@x.test", "b@x.test", "c@x.test"]).await;
            assert_eq!(outcomes.len(), 2, "what was not taken is not answered for");
            assert!(is_accepted(&outcomes[0].1));
            let outcome = &outcomes[1].1;
            assert!(matches!(outcome, Outcome::NotSubmitted { .. }), "{outcome:?}");
            assert_eq!((outcome.phase(), outcome.reply().unwrap().code), (*phase, 421));
            assert!(!session.is_usable());
        }
    }
}

#[tokio::test]
async fn a_421_to_the_final_dot_defers_its_message_and_leaves_the_next_uncharged() {
    for (n, script) in
        every_way(&Script::default().always(Step::Dot, Action::ReplyAndClose("421 4.3.2 Going down".into())))
            .into_iter()
            .enumerate()
    {
        let peer = SmtpPeer::start(script).await;
        let mut session = connect(&peer).await;
        let outcomes = submit_all(&mut session, &["a@x.test", "b@x.test"]).await;
        assert!(matches!(outcomes[0].1, Outcome::Deferred { phase: Phase::Dot, .. }), "{outcomes:?}");
        if n % 2 == 0 {
            assert!(
                matches!(outcomes[1].1, Outcome::NotSubmitted { phase: Phase::Rset | Phase::Mail, .. }),
                "{outcomes:?}"
            );
        }
        assert_eq!(peer.accepted().len(), 0);
    }
}

#[tokio::test]
async fn what_a_session_can_not_carry_is_told_before_anything_is_sent() {
    for script in every_way(&Script::default().with("SIZE 100").without("SMTPUTF8")) {
        let peer = SmtpPeer::start(script).await;
        let mut session = connect(&peer).await;
        let unfit = [
            session.transact(&envelope("a@x.test\r\nRCPT TO:<b@x.test>"), &message("hi")).await,
            session.transact(&envelope("ü@x.test"), &message("hi")).await,
            session.transact(&envelope("a@x.test"), &message(&"x".repeat(100))).await,
        ];
        assert_eq!(
            unfit,
            [
                Outcome::Unfit(Unfit::Recipient),
                Outcome::Unfit(Unfit::NoSmtpUtf8),
                Outcome::Unfit(Unfit::TooLarge { n_bytes: 119, limit_bytes: 100 }),
            ]
        );
        assert!(is_accepted(&session.transact(&envelope("a@x.test"), &message("hi")).await));
        assert_eq!(peer.facts().n_commands("MAIL"), 1);
    }
}

#[tokio::test]
async fn an_unfit_message_does_not_disturb_the_one_before_it() {
    for script in every_way(&Script::default()) {
        let peer = SmtpPeer::start(script).await;
        let mut session = connect(&peer).await;
        let outcomes = submit_all(&mut session, &["a@x.test", "not an address", "c@x.test"]).await;
        let unfit = outcomes.iter().filter(|(_, outcome)| matches!(outcome, Outcome::Unfit(_))).count();
        assert_eq!((outcomes.len(), unfit, peer.accepted().len()), (3, 1, 2));
    }
}

#[tokio::test]
async fn a_relay_that_refuses_rset_is_left() {
    for script in both_ways(&refuse_second(Step::Rcpt, "550 no").always(Step::Rset, Action::reply("500 what?"))) {
        let peer = SmtpPeer::start(script).await;
        let mut session = Session::connect(&settings(&peer)).await.unwrap();
        let outcomes = submit_all(&mut session, &["a@x.test", "b@x.test", "c@x.test"]).await;
        assert!(matches!(outcomes[1].1, Outcome::Rejected { phase: Phase::Rcpt, .. }));
        assert!(outcomes.get(2).is_none_or(|(_, outcome)| matches!(outcome, Outcome::NotSubmitted { .. })));
        assert!(!session.is_usable());
        assert_eq!(peer.accepted().len(), 1);
    }
}
