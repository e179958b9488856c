//! The POP3 session, held to its promises: no server can crash it, flood it, hold it up, or get a password out of it that
//! it should not have; and it deletes what it was told to delete, or nothing.

use std::time::Duration;

use postrider::{
    mailbox::{Auth, Cause, Filing, Kind, Limits, MailboxError, Maildrop, Settings, Stage, TlsMode, probe},
    network::NetworkPolicy,
};

use crate::support::{imap_peer::PASSWORD, pop3_peer::Pop3Peer, smtp_peer::tls_fixture};

fn settings(peer: &Pop3Peer) -> Settings {
    Settings {
        kind: Kind::Pop3,
        host: "localhost".into(),
        port: peer.port(),
        tls: TlsMode::None,
        extra_ca_pem: Some(tls_fixture("ca.pem")),
        auth: Auth::Login,
        username: "bounces@x.test".into(),
        secret: PASSWORD.into(),
        allow_plaintext_auth: false,
        folders: Vec::new(),
        filing: Filing::Leave,
        limits: Limits {
            connect: Duration::from_secs(10),
            command: Duration::from_secs(10),
            message_max_bytes: 100_000,
        },
    }
}

fn policy() -> NetworkPolicy {
    NetworkPolicy::new(vec!["127.0.0.0/8".parse().unwrap()])
}

/// Log in, list, number from 1 in the server's order, fetch everything.
async fn read_all(settings: &Settings) -> Result<Vec<Option<Vec<u8>>>, MailboxError> {
    let (mut maildrop, uids) = listed(settings).await?;
    Ok(maildrop.fetch(&uids).await?.into_iter().map(|message| message.raw).collect())
}

async fn listed(settings: &Settings) -> Result<(Maildrop, Vec<u32>), MailboxError> {
    let mut maildrop = Maildrop::open(settings, &policy()).await?;
    let waiting = maildrop.list().await?;
    let keys: Vec<_> = waiting.iter().map(|one| one.key).collect();
    maildrop.call(&waiting, |key| keys.iter().position(|one| one == key).map(|n| n as u32 + 1));
    let mut uids: Vec<u32> = (1..=keys.len() as u32).collect();
    uids.retain(|uid| maildrop.holds(*uid));
    Ok((maildrop, uids))
}

#[tokio::test]
async fn it_logs_in_each_way_and_tells_a_refusal_in_the_servers_words() {
    let peer = Pop3Peer::start().await;
    for auth in Auth::ALL {
        Maildrop::open(&Settings { auth, ..settings(&peer) }, &policy()).await.unwrap().close().await;
        let wrong = Settings { auth, secret: "wrong".into(), ..settings(&peer) };
        let error = Maildrop::open(&wrong, &policy()).await.unwrap_err();
        assert_eq!(error.to_string(), "the server refused: [AUTH] Authentication failed. (while logging in)");
    }
}

#[tokio::test]
async fn what_was_delivered_is_fetched_byte_by_byte_up_to_the_limit() {
    let peer = Pop3Peer::start().await;
    let bodies: [&[u8]; 4] =
        [b"", b"Subject: x\r\n\r\n.\r\n..\r\n.x\r\n", b"a\n.\nb\r\n", &[b'x', b'\r', b'\n'].repeat(33_333)];
    for body in bodies {
        peer.deliver(body);
    }
    let expected: Vec<_> = bodies.into_iter().map(|body| Some(body.to_vec())).collect();
    assert_eq!(read_all(&settings(&peer)).await.unwrap(), expected);
    // The one that is too large is the last of its session.
    peer.deliver(b"x\r\n".repeat(33_334));
    peer.deliver("y\r\n");
    let (mut maildrop, uids) = listed(&settings(&peer)).await.unwrap();
    let messages = maildrop.fetch(&uids).await.unwrap();
    assert_eq!((messages.len(), &messages[4].raw), (5, &None));
    assert!(matches!(maildrop.fetch(&[6]).await.unwrap_err().cause, Cause::Spent));
}

#[tokio::test]
async fn stls_comes_before_the_password_or_the_password_does_not_come() {
    let peer = Pop3Peer::start().await;
    let required = || Settings { tls: TlsMode::StartTls, ..settings(&peer) };
    let maildrop = Maildrop::open(&required(), &policy()).await.unwrap();
    assert!(maildrop.tls().unwrap().version.starts_with("TLSv1."));
    maildrop.close().await;

    let n_logins = peer.n_asked("USER");
    let untrusting = Settings { extra_ca_pem: None, ..required() };
    let error = Maildrop::open(&untrusting, &policy()).await.unwrap_err().to_string();
    assert!(error.contains("not signed by a trusted authority"), "{error}");
    peer.behave(|ways| ways.answers.insert("STLS", "-ERR unknown command\r\n".into()));
    let error = Maildrop::open(&required(), &policy()).await.unwrap_err();
    assert_eq!(error.to_string(), "the server refused: unknown command (while starting TLS)");
    peer.behave(|ways| ways.answers.clear());
    peer.behave(|ways| ways.injects = Some("+OK injected\r\n"));
    let error = Maildrop::open(&required(), &policy()).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Injected), "{error}");
    for greeting in ["-ERR too busy", "* OK IMAP", "220 smtp.test ESMTP"] {
        peer.behave(|ways| ways.greeting = greeting.into());
        let error = Maildrop::open(&required(), &policy()).await.unwrap_err();
        assert_eq!(error.stage, Stage::Greeting, "{error}");
    }
    assert_eq!(peer.n_asked("USER"), n_logins);

    let error = Maildrop::open(&settings(&peer), &NetworkPolicy::default()).await.unwrap_err();
    assert_eq!(error.stage, Stage::Resolve);
    let peer = Pop3Peer::start().await;
    let smuggled = Settings { username: "x\r\nDELE 1".into(), ..settings(&peer) };
    let error = Maildrop::open(&smuggled, &policy()).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Setting("username")), "{error}");
}

#[tokio::test]
async fn a_server_that_floods_lies_or_falls_silent_is_left_in_time() {
    let endless = "x".repeat(1_000_000);
    for command in ["USER", "PASS", "LIST", "UIDL", "RETR"] {
        for answer in ["", "* OK\r\n", "+OK", &endless, "+OK\r\n", "+OK\r\n1 1\r\n2 2", "+OK\r\n1 x\r\n.", "\0\r\n"] {
            // A status is all that a login asks for.
            if matches!(command, "USER" | "PASS") && answer.starts_with("+OK\r\n") {
                continue;
            }
            let peer = Pop3Peer::start().await;
            peer.deliver("x\r\n");
            peer.behave(|ways| ways.answers.insert(command, answer.into()));
            let mut patience = settings(&peer);
            patience.limits.command = Duration::from_millis(100);
            let error = read_all(&patience).await.expect_err(command);
            assert!(error.to_string().len() < 500, "{error}");
        }
        let peer = Pop3Peer::start().await;
        peer.deliver("x\r\n");
        peer.behave(|ways| ways.cut_before = Some(command));
        let error = read_all(&settings(&peer)).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Closed(_)), "{command}: {error}");
    }
}

#[tokio::test]
async fn a_list_of_nonsense_is_an_empty_maildrop_and_one_id_can_stand_for_several_copies() {
    let peer = Pop3Peer::start().await;
    peer.behave(|ways| {
        ways.answers.insert("LIST", "+OK\r\n1\r\nx y\r\n-1 5\r\n\r\n99999999999 1\r\n3 z\r\n.\r\n".into())
    });
    assert_eq!(listed(&settings(&peer)).await.unwrap().1, [] as [u32; 0]);
    peer.behave(|ways| ways.answers.clear());
    for id in ["same", "other", "same"] {
        peer.deliver_as(id, "x\r\n");
    }
    let (maildrop, uids) = listed(&settings(&peer)).await.unwrap();
    assert_eq!(uids, [1, 2]);
    maildrop.remove(&[1]).await.unwrap();
    assert_eq!(peer.messages(), [("other".to_owned(), b"x\r\n".to_vec())]);
}

#[tokio::test]
async fn what_is_removed_is_gone_when_the_session_ended_well_and_not_before() {
    let peer = Pop3Peer::start().await;
    for n in 0..3 {
        peer.deliver(format!("{n}\r\n"));
    }
    peer.behave(|ways| ways.cut_before = Some("QUIT"));
    let (maildrop, _) = listed(&settings(&peer)).await.unwrap();
    maildrop.remove(&[1, 2]).await.unwrap_err();
    assert_eq!(peer.messages().len(), 3);
    let (maildrop, _) = listed(&settings(&peer)).await.unwrap();
    // The last is none of this session: it needs nothing.
    maildrop.remove(&[1, 3, 77]).await.unwrap();
    assert_eq!(peer.messages().iter().map(|kept| kept.1.as_slice()).collect::<Vec<_>>(), [b"1\r\n"]);
}

#[tokio::test]
async fn a_probe_says_what_was_reached_and_changes_nothing() {
    let peer = Pop3Peer::start().await;
    peer.deliver("x\r\n");
    let found = probe(&Settings { tls: TlsMode::StartTls, ..settings(&peer) }, &policy()).await;
    let steps: Vec<_> = found.steps.iter().map(|step| (step.step, step.ok)).collect();
    let expected = ["resolve", "connect", "greeting", "starttls", "auth", "folder"].map(|step| (step, true));
    assert_eq!(steps, expected, "{found:#?}");
    assert_eq!(found.steps[5].detail, "the maildrop holds 1 messages");
    assert!(found.ok && found.summary.contains("the maildrop can be read"), "{found:#?}");
    assert_eq!(peer.n_asked("RETR") + peer.n_asked("DELE"), 0);
    peer.behave(|ways| ways.answers.insert("UIDL", "-ERR unknown command\r\n".into()));
    let found = probe(&settings(&peer), &policy()).await;
    assert!(!found.ok && found.summary.contains("unknown command (while listing new messages)"), "{found:#?}");
    let wrong = probe(&Settings { secret: "wrong".into(), ..settings(&peer) }, &policy()).await;
    assert_eq!(wrong.steps.last().unwrap().step, "auth");
    let bare = probe(&Settings { tls: TlsMode::Implicit, ..settings(&peer) }, &policy()).await;
    assert_eq!((bare.steps.last().unwrap().step, bare.ok), ("tls", false));
}
