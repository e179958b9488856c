//! Mail servers of recipients' domains that mean no good, or are no good: slow ones, and those that point elsewhere.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use postrider::{
    dispatch::Settings,
    domain::{campaign::CampaignMove, delivery::DeliveryState as State},
    network::{Dns, NetworkPolicy},
    relay::{Connector, DirectError},
    smtp::{Phase, Timeouts},
};

use crate::support::{
    campaign::StartedCampaign,
    dns_peer::DnsPeer,
    engine::{Engine, loopback, quick, until},
    smtp_peer::{Action, Gate, Moment, PeerTls, Script, SmtpPeer, Step},
};

/// A peer at 127.0.0.1, 127.0.0.2 … for each script, all on one port and all mail servers of a.test, the first most preferred.
async fn servers(scripts: Vec<Script>) -> (DnsPeer, Vec<SmtpPeer>) {
    let (dns, mut peers) = (DnsPeer::start().await, Vec::<SmtpPeer>::new());
    for (place, script) in scripts.into_iter().enumerate() {
        let host = format!("127.0.0.{}", place + 1);
        let port = peers.first().map_or(0, |first| first.addr().port());
        peers.push(SmtpPeer::start_on(SocketAddr::new(host.parse().unwrap(), port), script).await);
        dns.set_a(&format!("mx{place}.test"), &[&host]);
    }
    let names: Vec<_> = (0..peers.len()).map(|place| format!("mx{place}.test")).collect();
    let hosts: Vec<_> = (10..).zip(&names).map(|(preference, host)| (preference, host.as_str())).collect();
    dns.set_mxs("a.test", &hosts);
    (dns, peers)
}

/// Short for connecting and greeting together, and long for whatever else.
fn connector(dns: &DnsPeer, peers: &[SmtpPeer], limit: Duration) -> Connector {
    let timeouts = Timeouts { connect: limit / 2, greeting: limit / 2, ..Timeouts::all(Duration::from_secs(3600)) };
    let resolver = Dns::keeping(100, &[dns.addr()]).unwrap();
    Connector::with(loopback(), "node.test", timeouts).delivering_directly(resolver, loopback(), peers[0].addr().port())
}

fn silent_at(step: Step) -> Script {
    let script = if step == Step::StartTls { Script::default().tls(PeerTls::StartTls) } else { Script::default() };
    script.always(step, Action::Silence)
}

#[tokio::test]
async fn servers_that_answer_slowly_at_every_step_are_given_up_together_after_one_limit() {
    for step in [Step::Greeting, Step::Ehlo, Step::StartTls] {
        let (dns, peers) = servers(vec![silent_at(step), silent_at(step), silent_at(step)]).await;
        let connector = connector(&dns, &peers, Duration::from_secs(1));
        let error = tokio::time::timeout(Duration::from_secs(50), connector.open_direct("a.test"));
        let error = error.await.expect("it gives up in time").err().unwrap();
        assert!(matches!(error, DirectError::TooSlow { .. } | DirectError::Unreachable { .. }), "{error}");
        assert!(error.to_string().starts_with("no mail server of a.test"), "{error}");
        assert_eq!(error.attempted().outcome.as_str(), "deferred");
        assert!(matches!(error.phase(), Some(Phase::Connect | Phase::Greeting)), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_answers_slowly_keeps_nobody_from_the_next_one() {
    for step in [Step::Greeting, Step::Ehlo, Step::StartTls] {
        let (dns, peers) = servers(vec![silent_at(step), Script::default()]).await;
        let connector = connector(&dns, &peers, Duration::from_secs(4));
        let session = connector.open_direct("a.test").await.unwrap();
        assert_eq!(session.peer(), peers[1].addr());
        session.quit().await;
    }
}

#[tokio::test]
async fn the_second_try_in_plain_text_has_no_time_of_its_own() {
    // Refuses TLS, and then answers nothing.
    let is_second = |moment: &Moment| if moment.connection > 1 { Action::Silence } else { Action::Proceed };
    let script = Script::default().tls(PeerTls::StartTls).at(Step::Ehlo, is_second);
    let script = script.always(Step::StartTls, Action::reply("454 4.7.0 Not now"));
    let (dns, peers) = servers(vec![script]).await;
    let connector = connector(&dns, &peers, Duration::from_secs(1));
    let opened = tokio::time::timeout(Duration::from_secs(50), connector.open_direct("a.test")).await;
    assert!(matches!(opened.expect("it gives up in time"), Err(DirectError::TooSlow { .. })));
    assert_eq!(peers[0].facts().n_connections, 2);
}

#[tokio::test]
async fn what_relays_of_this_installation_may_reach_is_not_open_to_strangers_domains() {
    let (dns, peers) = servers(vec![Script::default()]).await;
    let resolver = Dns::keeping(100, &[dns.addr()]).unwrap();
    let direct = Connector::with(loopback(), "node.test", Timeouts::default()).delivering_directly(
        resolver,
        NetworkPolicy::default(),
        peers[0].addr().port(),
    );
    let error = direct.open_direct("a.test").await.err().unwrap();
    assert!(matches!(error, DirectError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1 is a loopback address, which the setting mx.allow does not list"));
    assert_eq!((error.attempted().outcome.as_str(), peers[0].facts().n_connections), ("deferred", 0));
}

#[tokio::test]
async fn a_domain_that_passes_for_a_provider_is_held_for_its_words_and_the_provider_is_not() {
    let (words, gate) = (Action::reply("550 5.7.1 very low reputation of the sending domain"), Gate::closed());
    let scripts = [
        Script::default().always(Step::Rcpt, words),
        Script::default().always(Step::Greeting, Action::Hold(gate.clone())),
    ];
    let (dns, peers) = servers(scripts.to_vec()).await;
    dns.set_mx("shop.test", "mx0.test");
    dns.set_mx("gmail.com", "mx1.test");
    let one = StartedCampaign::with_recipients(&["r1@shop.test", "r2@gmail.com"]).await;
    one.deliver_directly().await;
    // As it is after its mail servers were looked up, when it named others.
    sqlx::query("update domains set provider = 'gmail'").execute(one.database.pool()).await.unwrap();
    let engine = Engine::start_direct(&one, quick(), &dns, peers[0].addr().port());
    until("the hold is written down and its mail waits for its end", || async {
        let sql = "select count(*) from deliveries, relay_holds h where h.domain = 'shop.test' and h.provider = 'other'
                   and attempt > 0 and due_at > now() + interval '40 minutes' and batch_id is null";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(one.database.pool()).await.unwrap() == 1
    })
    .await;
    gate.open();
    one.until_n(State::Accepted, 1).await;
    engine.stop().await;
    assert_eq!(peers[1].accepted()[0].recipient(), "r2@gmail.com");
    let n: i64 = sqlx::query_scalar("select count(*) from relay_holds").fetch_one(one.database.pool()).await.unwrap();
    assert_eq!(n, 1);
}

#[tokio::test]
async fn a_rate_below_what_its_connections_could_carry_has_none_opened_for_nothing() {
    let (dns, peers) = servers(vec![Script::default()]).await;
    let one = StartedCampaign::with_recipients(&[]).await;
    for n in 0..40 {
        dns.set_mx(&format!("d{n}.test"), "mx0.test");
        one.subscribe(&format!("r@d{n}.test"), "subscribed").await;
    }
    one.deliver_directly().await;
    one.change(
        "update relays set max_connections = 4, rate_messages = 10, rate_per_seconds = 1, revision = revision + 1
         where workspace_id = $1",
    )
    .await;
    let engine = Engine::start_direct(&one, quick(), &dns, peers[0].addr().port());
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 40)]);
    assert_eq!(peers[0].facts().n_connections, 40);
}

#[tokio::test]
async fn a_connection_without_work_leaves_its_place_to_a_domain_that_has_none() {
    let (dns, peers) = servers(vec![Script::default()]).await;
    dns.set_mx("b.test", "mx0.test");
    let one = StartedCampaign::with_recipients(&["r1@a.test"]).await;
    one.deliver_directly().await;
    one.change("update relays set max_connections = 1, revision = revision + 1 where workspace_id = $1").await;
    let settings = Settings { idle: Duration::from_secs(3600), ..quick() };
    let engine = Engine::start_direct(&one, settings, &dns, peers[0].addr().port());
    one.until_campaign_is("sent").await;
    one.change("update subscriptions set state = 'unsubscribed' where workspace_id = $1").await;
    one.subscribe("r2@b.test", "subscribed").await;
    for sql in [
        "insert into campaigns (workspace_id, id, name, state, from_address, from_domain, subject, text, pinned_at, started_at,
                                created_at, updated_at)
         select workspace_id, gen_random_uuid(), 'second', 'draft', from_address, from_domain, 'Second', text, now(), now(), now(),
                now()
         from campaigns where workspace_id = $1",
        "insert into campaign_lists
         select c.workspace_id, c.id, l.list_id, 'include' from campaigns c join campaign_lists l using (workspace_id)
         where c.workspace_id = $1 and c.name = 'second'",
        "update campaigns set state = 'sending' where workspace_id = $1 and name = 'second'",
    ] {
        one.change(sql).await;
    }
    until("the second is sent too", || async {
        let sql = "select count(*) from deliveries where state = 'accepted'";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(one.database.pool()).await.unwrap() == 2
    })
    .await;
    engine.stop().await;
    assert_eq!(peers[0].accepted().iter().map(|message| message.connection).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn what_was_stopped_while_a_domain_was_tried_is_not_turned_away_as_if_it_had_been_tried() {
    let gate = Gate::closed();
    let greeting = gate.clone();
    let hold =
        move |moment: &Moment| if moment.connection > 1 { Action::Hold(greeting.clone()) } else { Action::Proceed };
    let script = Script::default()
        .at(Step::Greeting, hold)
        .at(Step::Ehlo, |moment| match moment.connection {
            1 => Action::Proceed,
            _ => Action::ReplyAndClose("421 4.3.2 Not any more".into()),
        })
        .at(Step::Mail, |moment| match moment.n {
            1 => Action::Proceed,
            _ => Action::ReplyAndClose("421 4.3.2 Enough".into()),
        });
    let (dns, peers) = servers(vec![script]).await;
    let addresses: Vec<_> = (0..8).map(|n| format!("r{n}@a.test")).collect();
    let one = StartedCampaign::with_recipients(&addresses.iter().map(String::as_str).collect::<Vec<_>>()).await;
    one.deliver_directly().await;
    let engine = Engine::start_direct(&one, quick(), &dns, peers[0].addr().port());
    until("it is tried again", || async { peers[0].facts().n_connections == 2 }).await;
    assert!(one.n(State::Sending).await > 0, "nothing is in line");
    one.make(CampaignMove::Pause).await;
    // By then it is known everywhere: that is the promise.
    let known_at = Instant::now() + Duration::from_secs(5);
    until("the pause is known", || async { Instant::now() > known_at }).await;
    gate.open();
    until("nothing is in flight", || async { one.n(State::Sending).await == 0 }).await;
    engine.stop().await;
    let sql = "select count(*) from every_attempt where text like '%no mail server of a.test%'";
    assert_eq!(sqlx::query_scalar::<_, i64>(sql).fetch_one(one.database.pool()).await.unwrap(), 0);
}
