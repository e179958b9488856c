//! The whole account: over many sessions with every fault mixed, what was told is what happened.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use postrider::smtp::{Outcome, Pipeline};

use super::{connect, every_way, submission};
use crate::support::smtp_peer::{Action, Moment, Script, SmtpPeer, Step};

/// A fault that depends only on the recipient's number and on which connection this is.
fn fault(moment: &Moment) -> Action {
    let number: usize = moment.recipient().trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap_or(1);
    let refusal = if number.is_multiple_of(2) { "450 4.2.1 Not now" } else { "550 5.1.1 Never" };
    match (moment.step, number % 23, moment.connection % 2) {
        (Step::Rcpt, 3 | 4, _) | (Step::Dot, 5, _) => Action::reply(refusal),
        (Step::Rcpt, 6, 0) => Action::ReplyAndClose("421 4.7.0 Too fast".into()),
        (Step::Rcpt, 7, 1) | (Step::Body, 8, 0) => Action::Reset,
        (Step::Dot, 9, 1) => Action::TakeAndClose,
        (Step::Dot, 10, 0) => Action::Close,
        (Step::Dot, 11, _) => Action::Slowly("250-2.0.0 Ok\r\n250 2.0.0 and well".into()),
        (Step::Dot, 12, 1) => Action::ReplyAndClose("421 4.3.2 Going down".into()),
        (Step::Dot, 13, 0) => Action::ReplyAndClose("250 2.0.0 Ok, and goodbye".into()),
        (Step::Dot, 14, 1) => Action::Raw(b"\xff\xff\r\n".to_vec()),
        _ => Action::Proceed,
    }
}

#[tokio::test]
async fn over_many_broken_sessions_no_message_is_lost_and_none_is_submitted_unnoticed() {
    let mut script = Script::default();
    for step in [Step::Rcpt, Step::Body, Step::Dot] {
        script = script.at(step, fault);
    }
    for script in every_way(&script) {
        let peer = SmtpPeer::start(script).await;
        let mut queue: VecDeque<_> = (0..400).map(|n| submission(&format!("r{n}@x.test"))).collect();
        let mut told: BTreeMap<String, Outcome> = BTreeMap::new();
        while !queue.is_empty() {
            let mut session = connect(&peer).await;
            let mut pipeline = Pipeline::new(&mut session);
            while let Some((recipient, outcome)) = pipeline.advance(&mut || queue.pop_front()).await {
                // Surely not submitted means that it may go again at once; in front, where the next
                // connection's faults meet it first.
                if let Outcome::NotSubmitted { .. } = outcome {
                    queue.push_front(submission(&recipient));
                } else {
                    assert!(told.insert(recipient, outcome).is_none(), "one outcome for each");
                }
            }
        }
        assert_eq!(told.len(), 400);

        let is = |wanted: fn(&Outcome) -> bool| -> BTreeSet<String> {
            told.iter().filter(|(_, outcome)| wanted(outcome)).map(|(recipient, _)| recipient.clone()).collect()
        };
        let accepted = is(|outcome| matches!(outcome, Outcome::Accepted { .. }));
        let unknown = is(|outcome| matches!(outcome, Outcome::Unknown { .. }));
        let seen: Vec<String> = peer.accepted().iter().map(|message| message.recipient().to_owned()).collect();
        let taken: BTreeSet<String> = seen.iter().cloned().collect();
        assert_eq!(seen.len(), taken.len(), "none was submitted twice");
        assert!(accepted.is_subset(&taken), "what was told accepted was taken");
        assert!(taken.is_subset(&accepted.union(&unknown).cloned().collect()), "what was taken is accepted or unknown");
        assert!(unknown.len() > 10 && peer.facts().n_connections > 20, "the faults happened");
    }
}
