//! Every fault at every step, each a scenario with its promise in the name. By the session alone: what the engine makes of an
//! outcome stands in `engine`.
//!
//! At a step of opening: what is told, and that neither credentials nor mail were given to such a relay. At a step of a
//! message: three messages over as many connections as it takes, with the fault at the second message of the first one. The
//! second one's fate is as told, and the two others are accepted exactly once. Each holds with PIPELINING and without.

use std::collections::{BTreeMap, VecDeque};

use postrider::smtp::{
    Auth, Cause, ConnectCause, Credentials, Outcome, Phase, Pipeline, Session, Settings, Timeouts, TlsMode,
};

use super::{SOON, both_ways, settings, submission};
use crate::support::smtp_peer::{Action, PeerTls, Script, SmtpPeer, Step, tls_fixture};

fn refusal(words: &str) -> Action {
    Action::reply(words)
}

fn goodbye() -> Action {
    Action::ReplyAndClose("421 4.3.2 Going down".into())
}

fn garbage() -> Action {
    Action::Raw(b"\x00\xff what?\r\n".to_vec())
}

fn endless() -> Action {
    Action::Endless(b"250-and so on\r\n".to_vec())
}

/// Gives this phase little time, and all others much.
fn hurry(timeouts: &mut Timeouts, phase: Phase) {
    match phase {
        Phase::Greeting => timeouts.greeting = SOON,
        Phase::Ehlo => timeouts.ehlo = SOON,
        Phase::Tls => timeouts.tls = SOON,
        Phase::Auth => timeouts.auth = SOON,
        Phase::Mail => timeouts.mail = SOON,
        Phase::Rcpt => timeouts.rcpt = SOON,
        Phase::Data => timeouts.data = SOON,
        _ => timeouts.dot = SOON,
    }
}

/// How opening a session ends.
enum Opening {
    Open,
    /// The relay's words, and whether trying again without a change is in vain.
    Refused(Phase, u16),
    TimedOut(Phase),
    Cut(Phase),
    Nonsense(Phase),
    NoStartTls,
}

use Opening::{Cut, NoStartTls, Nonsense, Open, Refused, TimedOut};

async fn open(step: Step, fault: Action, told: Opening) {
    let script = Script::default().tls(PeerTls::StartTls).login("user", "secret").always(step, fault);
    for script in both_ways(&script) {
        let peer = SmtpPeer::start(script).await;
        let mut settings = Settings {
            tls: TlsMode::StartTls,
            extra_ca_pem: Some(tls_fixture("ca.pem")),
            auth: Auth::Plain(Credentials { username: "user".into(), secret: "secret".to_owned().into() }),
            ..settings(&peer)
        };
        if let TimedOut(phase) = told {
            hurry(&mut settings.timeouts, phase);
        }
        let failure = match (Session::connect(&settings).await, &told) {
            (Ok(_), Open) => continue,
            (Ok(_), _) => panic!("the session was opened"),
            (Err(failure), _) => failure,
        };
        match (&told, &failure.cause) {
            (Refused(phase, code), ConnectCause::Refused { reply, .. }) => {
                assert_eq!((failure.phase, reply.code), (*phase, *code));
                assert_eq!(failure.is_lasting(), *code >= 500);
            }
            (TimedOut(phase), ConnectCause::Link { cause: Cause::TimedOut { .. }, .. })
            | (Cut(phase), ConnectCause::Link { cause: Cause::Closed | Cause::Io(_), .. })
            | (Nonsense(phase), ConnectCause::Link { cause: Cause::Protocol(_), .. }) => {
                assert_eq!(failure.phase, *phase);
                assert!(!failure.is_lasting());
            }
            (NoStartTls, ConnectCause::NoStartTls) => {}
            _ => panic!("{failure:?}"),
        }
        let facts = peer.facts();
        assert_eq!(facts.n_commands("MAIL"), 0);
        assert!(step == Step::Auth || facts.n_commands("AUTH") == 0, "credentials went to a relay that fails before");
    }
}

/// What becomes of the message that met the fault.
enum Fate {
    Accepted,
    Deferred(Phase),
    Rejected(Phase),
    NotSubmitted(Phase),
    Unknown,
}

use Fate::{Accepted, Deferred, NotSubmitted, Rejected, Unknown};

async fn submit(step: Step, fault: Action, fate: Fate) {
    let script = Script::default().at(step, move |moment| match (moment.connection, moment.n) {
        (1, 2) => fault.clone(),
        _ => Action::Proceed,
    });
    let script = if step == Step::Bdat { script.with("CHUNKING") } else { script };
    for script in both_ways(&script) {
        let peer = SmtpPeer::start(script).await;
        let mut hurried = settings(&peer);
        hurry(
            &mut hurried.timeouts,
            match step {
                Step::Mail => Phase::Mail,
                Step::Rcpt => Phase::Rcpt,
                Step::Data => Phase::Data,
                _ => Phase::Dot,
            },
        );
        let mut queue: VecDeque<_> = ["a@x.test", "b@x.test", "c@x.test"].map(submission).into();
        let mut told: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
        let mut n_sessions = 0;
        while !queue.is_empty() {
            n_sessions += 1;
            assert!(n_sessions < 5, "{told:?}");
            // Only the connection with the fault is in a hurry.
            let settings = if n_sessions == 1 { hurried.clone() } else { settings(&peer) };
            let mut session = Session::connect(&settings).await.unwrap();
            let mut pipeline = Pipeline::new(&mut session);
            while let Some((recipient, outcome)) = pipeline.advance(&mut || queue.pop_front()).await {
                if let Outcome::NotSubmitted { .. } = outcome {
                    queue.push_back(submission(&recipient));
                }
                told.entry(recipient).or_default().push(outcome);
            }
        }
        let first = &told["b@x.test"][0];
        let is_as_promised = match (&fate, first) {
            (Deferred(phase), Outcome::Deferred { phase: at, .. })
            | (Rejected(phase), Outcome::Rejected { phase: at, .. })
            | (NotSubmitted(phase), Outcome::NotSubmitted { phase: at, .. }) => phase == at,
            (Unknown, Outcome::Unknown { .. }) | (Accepted, Outcome::Accepted { .. }) => true,
            _ => false,
        };
        assert!(is_as_promised, "{told:?}");
        for neighbour in ["a@x.test", "c@x.test"] {
            assert!(matches!(told[neighbour].last(), Some(Outcome::Accepted { .. })), "{told:?}");
        }
        let n_taken = |recipient: &str| peer.accepted().iter().filter(|taken| taken.recipient() == recipient).count();
        assert_eq!((n_taken("a@x.test"), n_taken("c@x.test")), (1, 1), "each neighbour exactly once");
        let n_second = n_taken("b@x.test");
        match fate {
            Accepted | NotSubmitted(_) => assert_eq!(n_second, 1, "{told:?}"),
            Deferred(_) | Rejected(_) => assert_eq!(n_second, 0, "{told:?}"),
            Unknown => assert!(n_second <= 1),
        }
        let is_refused =
            matches!((&fate, first.reply()), (Deferred(_) | Rejected(_), Some(reply)) if reply.code != 421);
        let is_kept = is_refused || matches!(fate, Accepted);
        assert_eq!(n_sessions == 1, is_kept, "only what breaks a session costs the connection");
    }
}

macro_rules! promises {
    ($scenario:ident; $($name:ident: $step:expr, $fault:expr => $told:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            $scenario($step, $fault, $told).await;
        }
    )*};
}

promises! {
    open;
    a_4xx_as_the_banner_means_not_now: Step::Greeting, refusal("450 4.7.0 Not now") => Refused(Phase::Greeting, 450);
    a_5xx_as_the_banner_means_never_with_these_settings: Step::Greeting, refusal("550 5.7.1 Never") => Refused(Phase::Greeting, 550);
    a_421_as_the_banner_means_not_now: Step::Greeting, goodbye() => Refused(Phase::Greeting, 421);
    silence_at_the_banner_ends_with_the_phases_own_time: Step::Greeting, Action::Silence => TimedOut(Phase::Greeting);
    a_close_at_the_banner_is_told_as_a_cut_connection: Step::Greeting, Action::Close => Cut(Phase::Greeting);
    a_reset_at_the_banner_is_told_as_a_cut_connection: Step::Greeting, Action::Reset => Cut(Phase::Greeting);
    garbage_at_the_banner_is_told_as_a_broken_protocol: Step::Greeting, garbage() => Nonsense(Phase::Greeting);
    a_reply_without_end_at_the_banner_is_told_as_a_broken_protocol: Step::Greeting, endless() => Nonsense(Phase::Greeting);
    bytes_that_drip_at_the_banner_ends_with_the_phases_own_time: Step::Greeting, Action::Drip(b'2') => TimedOut(Phase::Greeting);
    a_4xx_to_ehlo_means_not_now: Step::Ehlo, refusal("450 4.7.0 Not now") => Refused(Phase::Ehlo, 450);
    a_5xx_to_ehlo_leads_to_helo_and_without_starttls_no_further: Step::Ehlo, refusal("550 5.7.1 Never") => NoStartTls;
    a_421_to_ehlo_means_not_now: Step::Ehlo, goodbye() => Refused(Phase::Ehlo, 421);
    silence_at_ehlo_ends_with_the_phases_own_time: Step::Ehlo, Action::Silence => TimedOut(Phase::Ehlo);
    a_close_at_ehlo_is_told_as_a_cut_connection: Step::Ehlo, Action::Close => Cut(Phase::Ehlo);
    a_reset_at_ehlo_is_told_as_a_cut_connection: Step::Ehlo, Action::Reset => Cut(Phase::Ehlo);
    garbage_at_ehlo_is_told_as_a_broken_protocol: Step::Ehlo, garbage() => Nonsense(Phase::Ehlo);
    a_reply_without_end_at_ehlo_is_told_as_a_broken_protocol: Step::Ehlo, endless() => Nonsense(Phase::Ehlo);
    bytes_that_drip_at_ehlo_ends_with_the_phases_own_time: Step::Ehlo, Action::Drip(b'2') => TimedOut(Phase::Ehlo);
    a_4xx_to_starttls_means_not_now: Step::StartTls, refusal("450 4.7.0 Not now") => Refused(Phase::Tls, 450);
    a_5xx_to_starttls_means_never_with_these_settings: Step::StartTls, refusal("550 5.7.1 Never") => Refused(Phase::Tls, 550);
    a_421_to_starttls_means_not_now: Step::StartTls, goodbye() => Refused(Phase::Tls, 421);
    silence_at_starttls_ends_with_the_phases_own_time: Step::StartTls, Action::Silence => TimedOut(Phase::Tls);
    a_close_at_starttls_is_told_as_a_cut_connection: Step::StartTls, Action::Close => Cut(Phase::Tls);
    a_reset_at_starttls_is_told_as_a_cut_connection: Step::StartTls, Action::Reset => Cut(Phase::Tls);
    garbage_at_starttls_is_told_as_a_broken_protocol: Step::StartTls, garbage() => Nonsense(Phase::Tls);
    a_reply_without_end_at_starttls_is_told_as_a_broken_protocol: Step::StartTls, endless() => Nonsense(Phase::Tls);
    bytes_that_drip_at_starttls_ends_with_the_phases_own_time: Step::StartTls, Action::Drip(b'2') => TimedOut(Phase::Tls);
    a_4xx_to_auth_means_not_now: Step::Auth, refusal("450 4.7.0 Not now") => Refused(Phase::Auth, 450);
    a_5xx_to_auth_means_never_with_these_settings: Step::Auth, refusal("550 5.7.1 Never") => Refused(Phase::Auth, 550);
    a_421_to_auth_means_not_now: Step::Auth, goodbye() => Refused(Phase::Auth, 421);
    silence_at_auth_ends_with_the_phases_own_time: Step::Auth, Action::Silence => TimedOut(Phase::Auth);
    a_close_at_auth_is_told_as_a_cut_connection: Step::Auth, Action::Close => Cut(Phase::Auth);
    a_reset_at_auth_is_told_as_a_cut_connection: Step::Auth, Action::Reset => Cut(Phase::Auth);
    garbage_at_auth_is_told_as_a_broken_protocol: Step::Auth, garbage() => Nonsense(Phase::Auth);
    a_reply_without_end_at_auth_is_told_as_a_broken_protocol: Step::Auth, endless() => Nonsense(Phase::Auth);
    bytes_that_drip_at_auth_ends_with_the_phases_own_time: Step::Auth, Action::Drip(b'2') => TimedOut(Phase::Auth);
    slow_bytes_at_the_banner_are_waited_for: Step::Greeting, Action::Slowly("220 peer.test".into()) => Open;
    slow_bytes_at_ehlo_are_waited_for: Step::Ehlo, Action::Slowly("250-peer.test\r\n250-AUTH PLAIN\r\n250 STARTTLS".into()) => Open;
    slow_bytes_at_starttls_are_waited_for: Step::StartTls, Action::Slowly("220 Ready".into()) => Open;
    slow_bytes_at_auth_are_waited_for: Step::Auth, Action::Slowly("235 Welcome".into()) => Open;
}

promises! {
    submit;
    a_4xx_to_mail_defers_its_message_alone: Step::Mail, refusal("450 4.7.0 Not now") => Deferred(Phase::Mail);
    a_5xx_to_mail_rejects_its_message_alone: Step::Mail, refusal("550 5.7.1 Never") => Rejected(Phase::Mail);
    a_421_to_mail_is_charged_to_no_message: Step::Mail, goodbye() => NotSubmitted(Phase::Mail);
    silence_at_mail_leaves_every_message_to_be_submitted_again: Step::Mail, Action::Silence => NotSubmitted(Phase::Mail);
    a_close_at_mail_leaves_every_message_to_be_submitted_again: Step::Mail, Action::Close => NotSubmitted(Phase::Mail);
    a_reset_at_mail_leaves_every_message_to_be_submitted_again: Step::Mail, Action::Reset => NotSubmitted(Phase::Mail);
    garbage_at_mail_leaves_every_message_to_be_submitted_again: Step::Mail, garbage() => NotSubmitted(Phase::Mail);
    a_reply_without_end_at_mail_leaves_every_message_to_be_submitted_again: Step::Mail, endless() => NotSubmitted(Phase::Mail);
    bytes_that_drip_at_mail_leave_every_message_to_be_submitted_again: Step::Mail, Action::Drip(b'2') => NotSubmitted(Phase::Mail);
    a_4xx_to_rcpt_defers_its_message_alone: Step::Rcpt, refusal("450 4.7.0 Not now") => Deferred(Phase::Rcpt);
    a_5xx_to_rcpt_rejects_its_message_alone: Step::Rcpt, refusal("550 5.7.1 Never") => Rejected(Phase::Rcpt);
    a_421_to_rcpt_is_charged_to_no_message: Step::Rcpt, goodbye() => NotSubmitted(Phase::Rcpt);
    silence_at_rcpt_leaves_every_message_to_be_submitted_again: Step::Rcpt, Action::Silence => NotSubmitted(Phase::Rcpt);
    a_close_at_rcpt_leaves_every_message_to_be_submitted_again: Step::Rcpt, Action::Close => NotSubmitted(Phase::Rcpt);
    a_reset_at_rcpt_leaves_every_message_to_be_submitted_again: Step::Rcpt, Action::Reset => NotSubmitted(Phase::Rcpt);
    garbage_at_rcpt_leaves_every_message_to_be_submitted_again: Step::Rcpt, garbage() => NotSubmitted(Phase::Rcpt);
    a_reply_without_end_at_rcpt_leaves_every_message_to_be_submitted_again: Step::Rcpt, endless() => NotSubmitted(Phase::Rcpt);
    bytes_that_drip_at_rcpt_leave_every_message_to_be_submitted_again: Step::Rcpt, Action::Drip(b'2') => NotSubmitted(Phase::Rcpt);
    a_4xx_to_data_defers_its_message_alone: Step::Data, refusal("450 4.7.0 Not now") => Deferred(Phase::Data);
    a_5xx_to_data_rejects_its_message_alone: Step::Data, refusal("550 5.7.1 Never") => Rejected(Phase::Data);
    a_421_to_data_is_charged_to_no_message: Step::Data, goodbye() => NotSubmitted(Phase::Data);
    silence_at_data_leaves_every_message_to_be_submitted_again: Step::Data, Action::Silence => NotSubmitted(Phase::Data);
    a_close_at_data_leaves_every_message_to_be_submitted_again: Step::Data, Action::Close => NotSubmitted(Phase::Data);
    a_reset_at_data_leaves_every_message_to_be_submitted_again: Step::Data, Action::Reset => NotSubmitted(Phase::Data);
    garbage_at_data_leaves_every_message_to_be_submitted_again: Step::Data, garbage() => NotSubmitted(Phase::Data);
    a_reply_without_end_at_data_leaves_every_message_to_be_submitted_again: Step::Data, endless() => NotSubmitted(Phase::Data);
    bytes_that_drip_at_data_leave_every_message_to_be_submitted_again: Step::Data, Action::Drip(b'2') => NotSubmitted(Phase::Data);
    a_4xx_to_bdat_defers_its_message_alone: Step::Bdat, refusal("450 4.7.0 Not now") => Deferred(Phase::Dot);
    a_5xx_to_bdat_rejects_its_message_alone: Step::Bdat, refusal("550 5.7.1 Never") => Rejected(Phase::Dot);
    a_421_to_bdat_defers_its_message_and_is_not_charged_to_the_next: Step::Bdat, goodbye() => Deferred(Phase::Dot);
    silence_at_bdat_leaves_one_message_unknown_and_its_neighbours_exact: Step::Bdat, Action::Silence => Unknown;
    a_close_at_bdat_leaves_one_message_unknown_and_its_neighbours_exact: Step::Bdat, Action::Close => Unknown;
    a_reset_at_bdat_leaves_one_message_unknown_and_its_neighbours_exact: Step::Bdat, Action::Reset => Unknown;
    garbage_at_bdat_leaves_one_message_unknown_and_its_neighbours_exact: Step::Bdat, garbage() => Unknown;
    a_reply_without_end_at_bdat_leaves_one_message_unknown_and_its_neighbours_exact: Step::Bdat, endless() => Unknown;
    bytes_that_drip_at_bdat_leave_one_message_unknown_and_its_neighbours_exact: Step::Bdat, Action::Drip(b'2') => Unknown;
    a_4xx_to_the_dot_defers_its_message_alone: Step::Dot, refusal("450 4.7.0 Not now") => Deferred(Phase::Dot);
    a_5xx_to_the_dot_rejects_its_message_alone: Step::Dot, refusal("550 5.7.1 Never") => Rejected(Phase::Dot);
    a_421_to_the_dot_defers_its_message_and_is_not_charged_to_the_next: Step::Dot, goodbye() => Deferred(Phase::Dot);
    silence_at_the_dot_leaves_one_message_unknown_and_its_neighbours_exact: Step::Dot, Action::Silence => Unknown;
    a_close_at_the_dot_leaves_one_message_unknown_and_its_neighbours_exact: Step::Dot, Action::Close => Unknown;
    a_reset_at_the_dot_leaves_one_message_unknown_and_its_neighbours_exact: Step::Dot, Action::Reset => Unknown;
    garbage_at_the_dot_leaves_one_message_unknown_and_its_neighbours_exact: Step::Dot, garbage() => Unknown;
    a_reply_without_end_at_the_dot_leaves_one_message_unknown_and_its_neighbours_exact: Step::Dot, endless() => Unknown;
    bytes_that_drip_at_the_dot_leave_one_message_unknown_and_its_neighbours_exact: Step::Dot, Action::Drip(b'2') => Unknown;
    a_close_after_taking_at_the_dot_leaves_one_message_unknown_and_its_neighbours_exact: Step::Dot, Action::TakeAndClose => Unknown;
    slow_bytes_at_mail_are_waited_for: Step::Mail, Action::Slowly("250 Ok".into()) => Accepted;
    slow_bytes_at_rcpt_are_waited_for: Step::Rcpt, Action::Slowly("250 Ok".into()) => Accepted;
    slow_bytes_at_data_are_waited_for: Step::Data, Action::Slowly("354 Go on".into()) => Accepted;
    slow_bytes_at_the_dot_are_waited_for: Step::Dot, Action::Slowly("250 Ok".into()) => Accepted;
}
