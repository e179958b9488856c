//! The IMAP session, held to its promises: no server can crash it, flood it, hold it up, or get a password out of it
//! that it should not have.

use std::time::{Duration, Instant};

use postrider::{
    mailbox::{Auth, Cause, Filing, Kind, Limits, MailboxError, Session, Settings, Stage, TlsMode, probe},
    network::NetworkPolicy,
};

use crate::support::{
    imap_peer::{ImapPeer, PASSWORD},
    smtp_peer::tls_fixture,
};

fn settings(peer: &ImapPeer) -> Settings {
    Settings {
        kind: Kind::Imap,
        host: "localhost".into(),
        port: peer.port(),
        tls: TlsMode::None,
        extra_ca_pem: Some(tls_fixture("ca.pem")),
        auth: Auth::Login,
        username: "bounces@x.test".into(),
        secret: PASSWORD.into(),
        allow_plaintext_auth: false,
        folders: vec!["INBOX".into()],
        filing: Filing::Move { folder: "Postrider".into() },
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

async fn open(settings: &Settings) -> Result<Session, MailboxError> {
    Session::open(settings, &policy()).await
}

/// Log in, open INBOX, list and fetch everything.
async fn read_all(settings: &Settings) -> Result<Vec<Option<Vec<u8>>>, MailboxError> {
    let mut session = open(settings).await?;
    let folder = session.select("INBOX").await?;
    let uids: Vec<u32> = session.list(&folder, 0).await?.iter().map(|listed| listed.uid).collect();
    Ok(session.fetch(&uids).await?.into_iter().map(|message| message.raw).collect())
}

#[tokio::test]
async fn it_logs_in_each_way_and_tells_a_refusal_in_the_servers_words() {
    let peer = ImapPeer::start().await;
    for auth in Auth::ALL {
        open(&Settings { auth, ..settings(&peer) }).await.unwrap().close().await;
        let error = open(&Settings { auth, secret: "wrong".into(), ..settings(&peer) }).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Refused(_)), "{error}");
        assert_eq!(error.stage, Stage::Login);
        assert!(!format!("{error:?} {error}").contains("wrong"), "{error:?}");
    }
}

#[tokio::test]
async fn what_was_delivered_is_fetched_byte_by_byte_up_to_the_limit() {
    let peer = ImapPeer::start().await;
    let bodies: [Vec<u8>; 5] = [
        b"".into(),
        b"Subject: x\r\n\r\n(((\"{5}\r\n* 1 FETCH (UID 9)\r\nA1 OK\r\n".into(),
        (0..=255).collect(),
        vec![b'x'; 100_000],
        vec![b'x'; 100_001],
    ];
    for body in &bodies {
        peer.deliver("INBOX", body.as_slice());
    }
    let expected: Vec<_> = bodies.into_iter().map(|body| (body.len() <= 100_000).then_some(body)).collect();
    assert_eq!(read_all(&settings(&peer)).await.unwrap(), expected);
}

#[tokio::test]
async fn starttls_comes_before_the_password_or_the_password_does_not_come() {
    let peer = ImapPeer::start().await;
    let required = || Settings { tls: TlsMode::StartTls, ..settings(&peer) };
    let session = open(&required()).await.unwrap();
    assert!(session.tls().unwrap().version.starts_with("TLSv1."));
    session.close().await;

    let n_logins = peer.n_asked("LOGIN");
    let untrusting = Settings { extra_ca_pem: None, ..required() };
    let elsewhere = Settings { host: "127.0.0.2".into(), ..required() };
    for (set_up, said) in [(untrusting, "not signed by a trusted authority"), (elsewhere, "not for the name 127.0.0.2")]
    {
        // The server listens on 127.0.0.1 alone; what matters for the second is that nothing else than TLS would do.
        let error = open(&set_up).await.unwrap_err().to_string();
        assert!(error.contains(said) || error.contains("connection refused"), "{error}");
    }
    peer.behave(|ways| ways.answers.insert("STARTTLS", "{tag} BAD unknown command\r\n".into()));
    let error = open(&required()).await.unwrap_err();
    assert!(error.to_string().contains("unknown command (while starting TLS)"), "{error}");
    peer.behave(|ways| ways.answers.clear());

    peer.behave(|ways| ways.injects = Some("* CAPABILITY IMAP4rev1 LOGIN\r\n"));
    let error = open(&required()).await.unwrap_err();
    assert!(matches!(error.cause, Cause::Injected), "{error}");
    peer.behave(|ways| ways.injects = None);

    for greeting in ["* PREAUTH welcome back", "* BYE too busy", "* NO", "220 smtp.test ESMTP"] {
        peer.behave(|ways| ways.greeting = greeting.into());
        let error = open(&required()).await.unwrap_err();
        assert_eq!(error.stage, Stage::Greeting, "{error}");
    }
    assert_eq!(peer.n_asked("LOGIN"), n_logins);
}

#[tokio::test]
async fn a_host_in_a_refused_network_is_not_connected() {
    let peer = ImapPeer::start().await;
    let error = Session::open(&settings(&peer), &NetworkPolicy::default()).await.unwrap_err();
    assert_eq!(error.stage, Stage::Resolve);
    assert!(error.to_string().contains("network.allow"), "{error}");
    assert!(peer.asked().is_empty());
}

#[tokio::test]
async fn nothing_in_a_setting_can_smuggle_a_command() {
    let peer = ImapPeer::start().await;
    let smuggled = "x\r\nA9 DELETE INBOX";
    for broken in [
        Settings { username: smuggled.into(), ..settings(&peer) },
        Settings { secret: smuggled.into(), ..settings(&peer) },
        Settings { secret: "a\0b".into(), ..settings(&peer) },
        Settings { username: String::new(), ..settings(&peer) },
    ] {
        let error = open(&broken).await.unwrap_err();
        assert!(matches!(error.cause, Cause::Setting(_)), "{error}");
    }
    let mut session = open(&settings(&peer)).await.unwrap();
    for name in ["", smuggled, "a\0"] {
        assert!(matches!(session.select(name).await.unwrap_err().cause, Cause::Setting("folder")));
    }
    session.select("INBOX").await.unwrap();
    assert!(matches!(session.file(&[1], smuggled).await.unwrap_err().cause, Cause::Setting("filed_folder")));
    for flag in ["", "\\Deleted", "\\Seen)\r\nA9 DELETE INBOX", "a b"] {
        assert!(matches!(session.mark(&[1], flag).await.unwrap_err().cause, Cause::Setting("filed_flag")), "{flag}");
    }
    assert_eq!(peer.n_asked("DELETE") + peer.n_asked("A9"), 0);
}

#[tokio::test]
async fn a_server_that_floods_nests_or_lies_is_left() {
    let nested = format!("* 1 FETCH (BODYSTRUCTURE {}\r\n{{tag}} OK\r\n", "(".repeat(30_000));
    let hidden = format!("* 1 FETCH (X (BODY[] {{20000}}\r\n) BODYSTRUCTURE {}\r\n{{tag}} OK\r\n", "(".repeat(30_000));
    let endless = "* OK ".repeat(100_000);
    for answer in [
        nested.as_str(),
        &hidden,
        &endless,
        "* 1 FETCH (UID 1 BODY[]<0> {500000000}\r\n",
        "* 1 FETCH (UID 1 BODY[]<0> {4294967296}\r\n",
        "* LIST () \"/\" {500000000}\r\n",
        "* NO [BADCHARSET ({500000000}\r\n",
        "\0\0\0\0\r\n",
        "\r\n",
        "* 1 FETCH (UID 1 BODY[]<0> {3}\r\nab",
        "{tag} NOPE\r\n",
        "{tag}",
        "",
    ] {
        for command in ["CAPABILITY", "SELECT", "UID FETCH"] {
            let peer = ImapPeer::start().await;
            peer.deliver("INBOX", b"x".as_slice());
            // An answer that is nothing at all would be silence; a cut connection is worse.
            if answer.is_empty() {
                peer.behave(|ways| ways.cut_before = Some(command));
            } else {
                peer.behave(|ways| ways.answers.insert(command, answer.into()));
            }
            let mut patience = settings(&peer);
            patience.limits.command = Duration::from_millis(500);
            let error = read_all(&patience).await.expect_err(answer.get(..answer.len().min(40)).unwrap());
            assert!(error.to_string().len() < 500, "{error}");
        }
    }
}

#[tokio::test]
async fn a_message_that_nobody_asked_for_is_not_taken() {
    let peer = ImapPeer::start().await;
    peer.deliver("INBOX", b"x".as_slice());
    let mut session = open(&settings(&peer)).await.unwrap();
    session.select("INBOX").await.unwrap();
    let other = "* 1 FETCH (UID 77 BODY[]<0> {1}\r\ny)\r\n* 1 FETCH (UID 1 BODY[]<0> {1}\r\nx)\r\n\
                 * 1 FETCH (UID 1 BODY[]<0> {1}\r\nz)\r\n{tag} OK\r\n";
    peer.behave(|ways| ways.answers.insert("UID FETCH", other.into()));
    let messages = session.fetch(&[1]).await.unwrap();
    assert_eq!(messages.len(), 1);
    assert_eq!((messages[0].uid, messages[0].raw.as_deref()), (1, Some(b"x".as_slice())));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_left_in_time() {
    for command in ["STARTTLS", "LOGIN", "CAPABILITY", "SELECT", "UID FETCH"] {
        let peer = ImapPeer::start().await;
        peer.deliver("INBOX", b"x".as_slice());
        peer.behave(|ways| ways.answers.insert(command, String::new()));
        let mut patience = settings(&peer);
        if command == "STARTTLS" {
            patience.tls = TlsMode::StartTls;
        }
        patience.limits.command = Duration::from_millis(200);
        let began = Instant::now();
        let error = read_all(&patience).await.unwrap_err();
        assert!(matches!(error.cause, Cause::TimedOut(_)), "{command}: {error}");
        assert!(began.elapsed() < Duration::from_secs(60), "{command}");
    }
}

#[tokio::test]
async fn messages_are_moved_or_copied_and_deleted_and_others_are_left_alone() {
    for capabilities in [vec!["MOVE", "UIDPLUS"], vec!["UIDPLUS"], vec![]] {
        let peer = ImapPeer::start().await;
        peer.behave(|ways| ways.capabilities.clone_from(&capabilities));
        for n in 0..4 {
            peer.deliver("INBOX", format!("{n}"));
        }
        peer.folder("INBOX", |folder| folder.messages[3].is_deleted = true);
        let mut session = open(&settings(&peer)).await.unwrap();
        session.select("INBOX").await.unwrap();
        session.file(&[1, 3], "Gelesen/Ö").await.unwrap();
        // Again, as after a crash: nothing is there to be moved.
        session.file(&[1, 3], "Gelesen/Ö").await.unwrap();
        assert_eq!(peer.messages("Gelesen/&ANY-").first().map(Vec::as_slice), Some(b"0".as_slice()));
        let left: Vec<_> =
            peer.folder("INBOX", |folder| folder.messages.iter().map(|kept| (kept.uid, kept.is_deleted)).collect());
        if capabilities.is_empty() {
            assert_eq!(left, [(1, true), (2, false), (3, true), (4, true)], "somebody else's mail would be expunged");
        } else {
            assert_eq!(left, [(2, false), (4, true)], "{capabilities:?}");
        }
    }
}

#[tokio::test]
async fn a_folder_with_gaps_is_listed_whatever_its_numbers_are() {
    let peer = ImapPeer::start().await;
    for uid in [1, 7, 60_000, 3_000_000, u32::MAX - 1] {
        peer.folder("INBOX", |folder| {
            folder.uid_next = uid;
            folder.append(Vec::new());
        });
    }
    let mut session = open(&settings(&peer)).await.unwrap();
    let folder = session.select("INBOX").await.unwrap();
    let (mut found, mut above) = (Vec::new(), 0);
    loop {
        let listed = session.list(&folder, above).await.unwrap();
        let Some(last) = listed.last() else { break };
        above = last.uid;
        found.extend(listed.iter().map(|listed| listed.uid));
    }
    assert_eq!(found, [1, 7, 60_000, 3_000_000, u32::MAX - 1]);
    assert!(peer.n_asked("UID FETCH") < 40, "{}", peer.n_asked("UID FETCH"));
    // The name of the last message stands for every number above it.
    let unsure = postrider::mailbox::Folder { uid_next: None, ..folder };
    assert!(session.list(&unsure, u32::MAX - 1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_probe_says_what_was_reached_and_changes_nothing() {
    let peer = ImapPeer::start().await;
    peer.deliver("INBOX", b"x".as_slice());
    let found = probe(&Settings { tls: TlsMode::StartTls, ..settings(&peer) }, &policy()).await;
    let steps: Vec<_> = found.steps.iter().map(|step| (step.step, step.ok)).collect();
    let expected = ["resolve", "connect", "greeting", "starttls", "auth", "folder", "folder"].map(|step| (step, true));
    assert_eq!(steps, expected, "{found:#?}");
    assert!(found.ok && found.summary.contains("INBOX can be read"), "{found:#?}");
    assert_eq!(found.steps[5].detail, "INBOX holds 1 messages");
    assert!(found.steps[6].detail.contains("made with the first report"), "{found:#?}");
    let harmless = ["STARTTLS", "LOGIN", "CAPABILITY", "SELECT", "EXAMINE", "LOGOUT"];
    assert!(peer.asked().iter().all(|asked| harmless.iter().any(|name| asked.starts_with(name))), "{:?}", peer.asked());
}

#[tokio::test]
async fn a_probe_ends_with_the_step_that_failed_and_its_reason() {
    let peer = ImapPeer::start().await;
    let good = settings(&peer);
    for (broken, step, said) in [
        (Settings { host: "10.1.2.3".into(), ..good.clone() }, "resolve", "private address"),
        (Settings { port: 1, ..good.clone() }, "connect", "nothing listens there"),
        (Settings { tls: TlsMode::Implicit, ..good.clone() }, "tls", "does not speak TLS"),
        (Settings { tls: TlsMode::StartTls, extra_ca_pem: None, ..good.clone() }, "starttls", "trusted authority"),
        (Settings { secret: "wrong".into(), ..good.clone() }, "auth", "Authentication failed."),
        (Settings { folders: vec!["Nowhere".into()], ..good.clone() }, "folder", "there is no Nowhere"),
    ] {
        let found = probe(&broken, &policy()).await;
        let last = found.steps.last().unwrap();
        assert!(!found.ok && !last.ok, "{found:#?}");
        assert_eq!(last.step, step, "{found:#?}");
        assert!(last.detail.contains(said) && found.summary == last.detail, "{found:#?}");
        assert!(found.steps.iter().rev().skip(1).all(|step| step.ok));
    }
    peer.behave(|ways| {
        let answer = "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] x\r\n{tag} OK [READ-ONLY] x\r\n";
        ways.answers.insert("SELECT", answer.into());
    });
    let found = probe(&good, &policy()).await;
    assert!(!found.ok && found.summary.contains("can't be moved away"), "{found:#?}");
}
