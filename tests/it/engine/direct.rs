//! Delivering without a relay: which mail server gets a message, what TLS is worth there, and what becomes of a domain that
//! takes no mail, can't be reached or isn't there.

use std::net::SocketAddr;

use postrider::domain::delivery::DeliveryState as State;

use crate::support::{
    campaign::StartedCampaign,
    dns_peer::DnsPeer,
    engine::{Engine, quick, until},
    smtp_peer::{Action, PeerTls, Script, SmtpPeer, Step},
};

/// Nobody listens there.
const DEAD: &str = "127.0.0.99";

/// Mail servers on one port, each at an address of its own: 127.0.0.1, 127.0.0.2 …, and the names mx1.test, mx2.test … of them.
async fn servers(dns: &DnsPeer, scripts: Vec<Script>) -> Vec<SmtpPeer> {
    let mut peers: Vec<SmtpPeer> = Vec::new();
    for (place, script) in scripts.into_iter().enumerate() {
        let host = format!("127.0.0.{}", place + 1);
        let port = peers.first().map_or(0, |first| first.addr().port());
        peers.push(SmtpPeer::start_on(SocketAddr::new(host.parse().unwrap(), port), script).await);
        dns.set_a(&format!("mx{}.test", place + 1), &[&host]);
    }
    dns.set_a("dead.test", &[DEAD]);
    peers
}

async fn campaign(addresses: &[&str]) -> StartedCampaign {
    let one = StartedCampaign::with_recipients(addresses).await;
    one.deliver_directly().await;
    one
}

fn start(one: &StartedCampaign, dns: &DnsPeer, peers: &[SmtpPeer]) -> Engine {
    Engine::start_direct(one, quick(), dns, peers[0].addr().port())
}

async fn tls_of(one: &StartedCampaign, address: &str) -> Option<String> {
    let (delivery, ..) = one.delivery(address).await;
    sqlx::query_scalar("select tls from every_attempt where delivery_id = $1 order by n desc limit 1")
        .bind(delivery.0)
        .fetch_one(one.database.pool())
        .await
        .unwrap()
}

async fn until_healthy(one: &StartedCampaign) {
    until("the relay is told to work", || async {
        let health = sqlx::query_scalar::<_, String>("select health from relays").fetch_one(one.database.pool());
        health.await.unwrap() == "ok"
    })
    .await;
}

async fn n_suppressed(one: &StartedCampaign) -> i64 {
    sqlx::query_scalar("select count(*) from suppressions").fetch_one(one.database.pool()).await.unwrap()
}

#[tokio::test]
async fn the_most_preferred_mail_server_of_a_domain_gets_its_mail_and_no_other() {
    let dns = DnsPeer::start().await;
    let peers = servers(&dns, vec![Script::default(), Script::default(), Script::default()]).await;
    dns.set_mxs("a.test", &[(20, "mx1.test"), (5, "mx2.test"), (10, "mx3.test")]);
    dns.set_mxs("gmail.com", &[(10, "mx3.test")]);
    let one = campaign(&["r1@a.test", "r2@a.test", "r3@gmail.com"]).await;
    let engine = start(&one, &dns, &peers);
    one.until_campaign_is("sent").await;
    until_healthy(&one).await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 3)]);
    assert_eq!(peers.iter().map(|peer| peer.accepted().len()).collect::<Vec<_>>(), [0, 2, 1]);
    assert_eq!(peers[2].accepted()[0].recipient(), "r3@gmail.com");
}

#[tokio::test]
async fn a_server_that_is_down_or_greets_with_a_refusal_is_passed_over() {
    let dns = DnsPeer::start().await;
    let busy = |reply: &str| Script::default().always(Step::Greeting, Action::ReplyAndClose(reply.into()));
    let peers = servers(&dns, vec![busy("421 4.3.2 Busy"), busy("554 5.7.1 Not here"), Script::default()]).await;
    dns.set_mxs("a.test", &[(1, "dead.test"), (2, "mx1.test"), (3, "mx2.test"), (4, "gone.test"), (5, "mx3.test")]);
    let one = campaign(&["r1@a.test"]).await;
    let engine = start(&one, &dns, &peers);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 1)]);
    let (delivery, _, n_attempts, ..) = one.delivery("r1@a.test").await;
    assert_eq!((n_attempts, one.attempts(delivery).await.len()), (1, 1));
    assert_eq!(peers[2].accepted().len(), 1);
}

#[tokio::test]
async fn a_domain_with_more_mail_servers_than_fit_into_a_packet_is_asked_for_over_tcp() {
    let dns = DnsPeer::start().await;
    let peers = servers(&dns, vec![Script::default()]).await;
    let others: Vec<_> = (0..30).map(|n| format!("a-mail-server-with-a-long-name-{n}.test")).collect();
    let mut hosts: Vec<_> = others.iter().map(|host| (20, host.as_str())).collect();
    hosts.push((10, "mx1.test"));
    dns.set_mxs("a.test", &hosts);
    let one = campaign(&["r1@a.test"]).await;
    let engine = start(&one, &dns, &peers);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 1)]);
    assert_eq!(one.delivery("r1@a.test").await.2, 1);
}

#[tokio::test]
async fn a_domain_without_mail_servers_gets_its_mail_at_its_own_address() {
    let dns = DnsPeer::start().await;
    let peers = servers(&dns, vec![Script::default()]).await;
    dns.set_a("a.test", &["127.0.0.1"]);
    let one = campaign(&["r1@a.test"]).await;
    let engine = start(&one, &dns, &peers);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 1)]);
}

#[tokio::test]
async fn a_domain_that_takes_no_mail_or_is_not_there_is_refused_at_once_in_words_and_its_addresses_suppressed() {
    let dns = DnsPeer::start().await;
    let peers = servers(&dns, vec![Script::default()]).await;
    dns.set_mxs("null.test", &[(0, ".")]);
    dns.set_a("empty.test", &[]);
    let one = campaign(&["a@null.test", "b@gone.test", "c@empty.test"]).await;
    let engine = start(&one, &dns, &peers);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Rejected, 3)]);
    for (address, class, words) in [
        ("a@null.test", "no_mail", "null MX"),
        ("b@gone.test", "no_such_domain", "there is no domain gone.test"),
        ("c@empty.test", "no_such_domain", "neither a mail server nor an address"),
    ] {
        let (_, _, n_attempts, reason, text) = one.delivery(address).await;
        assert_eq!((n_attempts, reason.as_deref()), (1, Some(class)), "{address}");
        assert!(text.as_deref().unwrap().contains(words), "{text:?}");
    }
    assert_eq!(n_suppressed(&one).await, 3);
    assert_eq!(peers[0].facts().n_connections, 0);
}

#[tokio::test]
async fn while_dns_fails_mail_is_put_off_and_arrives_when_it_answers() {
    let dns = DnsPeer::start().await;
    let peers = servers(&dns, vec![Script::default()]).await;
    dns.set_mx("a.test", "mx1.test");
    dns.fail(true);
    let one = campaign(&["r1@a.test"]).await;
    let engine = start(&one, &dns, &peers);
    until("it was tried and put off", || async { one.n_tries("r1@a.test").await >= 1 }).await;
    dns.fail(false);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 1)]);
    let (delivery, ..) = one.delivery("r1@a.test").await;
    let first = one.attempts(delivery).await.remove(0);
    assert_eq!((first.0.as_str(), first.1.as_str(), first.2), ("deferred", "connect", None));
    assert!(first.3.contains("DNS"), "{}", first.3);
    assert_eq!(n_suppressed(&one).await, 0);
}

#[tokio::test]
async fn tls_is_used_with_any_certificate_where_it_is_offered() {
    let dns = DnsPeer::start().await;
    // Its certificate is for other names, and has expired.
    let peers = servers(&dns, vec![Script::default().tls(PeerTls::StartTls).expired(), Script::default()]).await;
    dns.set_mx("a.test", "mx1.test");
    dns.set_mx("b.test", "mx2.test");
    let one = campaign(&["r1@a.test", "r2@b.test"]).await;
    let engine = start(&one, &dns, &peers);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 2)]);
    assert!(tls_of(&one, "r1@a.test").await.unwrap().starts_with("TLSv1."));
    assert_eq!(tls_of(&one, "r2@b.test").await, None);
}

#[tokio::test]
async fn a_handshake_that_fails_leads_to_plain_text_on_a_new_connection() {
    let dns = DnsPeer::start().await;
    let broken = |action| Script::default().tls(PeerTls::StartTls).always(Step::StartTls, action);
    let garbage = Action::Raw(b"220 2.0.0 Go on\r\n\x15\x03\x01 this is no TLS\r\n".to_vec());
    let peers = servers(&dns, vec![broken(Action::reply("454 4.7.0 Not now")), broken(garbage)]).await;
    dns.set_mx("a.test", "mx1.test");
    dns.set_mx("b.test", "mx2.test");
    let one = campaign(&["r1@a.test", "r2@b.test"]).await;
    let engine = start(&one, &dns, &peers);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 2)]);
    for (peer, address) in peers.iter().zip(["r1@a.test", "r2@b.test"]) {
        assert_eq!((tls_of(&one, address).await, peer.accepted()[0].connection), (None, 2));
    }
}

#[tokio::test]
async fn a_domain_that_can_not_be_reached_is_put_off_and_holds_up_no_other() {
    let dns = DnsPeer::start().await;
    let peers = servers(&dns, vec![Script::default()]).await;
    dns.set_mx("a.test", "mx1.test");
    dns.set_mx("b.test", "dead.test");
    let one = StartedCampaign::over(peers[0].addr(), 60).await;
    one.deliver_directly().await;
    one.change("update relays set max_connections = 1 where workspace_id = $1").await;
    let engine = start(&one, &dns, &peers);
    one.until_n(State::Accepted, 30).await;
    until("all of the other were tried", || async {
        let sql = "select count(distinct delivery_id) from attempts where outcome = 'deferred'";
        sqlx::query_scalar::<_, i64>(sql).fetch_one(one.database.pool()).await.unwrap() == 30
    })
    .await;
    until_healthy(&one).await;
    let (delivery, ..) = one.delivery("r2@b.test").await;
    let first = one.attempts(delivery).await.remove(0);
    assert_eq!((first.0.as_str(), first.1.as_str()), ("deferred", "connect"));
    assert!(first.3.contains("no mail server of b.test") && first.3.contains(DEAD), "{}", first.3);
    // The server comes back: everything arrives.
    dns.set_a("dead.test", &["127.0.0.1"]);
    dns.set_mx("b.test", "mx1.test");
    let back =
        SmtpPeer::start_on(SocketAddr::new(DEAD.parse().unwrap(), peers[0].addr().port()), Script::default()).await;
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 60)]);
    assert_eq!(peers[0].accepted().len() + back.accepted().len(), 60);
}

#[tokio::test]
async fn what_may_have_been_taken_by_one_server_is_never_given_to_another() {
    let dns = DnsPeer::start().await;
    let peers = servers(&dns, vec![Script::default().always(Step::Dot, Action::TakeAndClose), Script::default()]).await;
    dns.set_mxs("a.test", &[(1, "mx1.test"), (2, "mx2.test")]);
    let one = campaign(&["r1@a.test"]).await;
    one.change("update campaigns set on_unknown = 'never_resend' where workspace_id = $1").await;
    let engine = start(&one, &dns, &peers);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Unknown, 1)]);
    assert_eq!((peers[0].accepted().len(), peers[1].facts().n_connections), (1, 0));
}

#[tokio::test]
async fn a_mail_server_in_a_refused_network_is_not_connected() {
    let dns = DnsPeer::start().await;
    let peers = servers(&dns, vec![Script::default()]).await;
    dns.set_mx("a.test", "inside.test");
    dns.set_a("inside.test", &["10.0.0.1"]);
    let one = campaign(&["r1@a.test"]).await;
    let engine = start(&one, &dns, &peers);
    until("it was put off", || async { one.n_tries("r1@a.test").await >= 1 }).await;
    engine.stop().await;
    let (delivery, ..) = one.delivery("r1@a.test").await;
    let first = one.attempts(delivery).await.remove(0);
    assert!(first.0 == "deferred" && first.3.contains("10.0.0.1") && first.3.contains("mx.allow"), "{first:?}");
}

#[tokio::test]
async fn where_the_setting_does_not_allow_it_nothing_is_delivered_and_the_relay_says_why() {
    let one = campaign(&["r1@a.test"]).await;
    let engine = Engine::start(&one, quick());
    until("the relay says why", || async {
        let error: Option<String> =
            sqlx::query_scalar("select last_error from relays").fetch_one(one.database.pool()).await.unwrap();
        error.is_some_and(|error| error.contains("mx.enabled"))
    })
    .await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Queued, 1)]);
}

#[tokio::test]
async fn many_domains_share_few_connections_and_all_are_served() {
    let dns = DnsPeer::start().await;
    let peers = servers(&dns, vec![Script::default()]).await;
    let one = campaign(&[]).await;
    for n in 0..40 {
        dns.set_mx(&format!("d{n}.test"), "mx1.test");
        one.subscribe(&format!("r@d{n}.test"), "subscribed").await;
    }
    one.change("update relays set max_connections = 3 where workspace_id = $1").await;
    let engine = start(&one, &dns, &peers);
    one.until_campaign_is("sent").await;
    engine.stop().await;
    assert_eq!(one.close_books().await, [(State::Accepted, 40)]);
    let facts = peers[0].facts();
    assert_eq!(facts.n_connections, 40);
}

#[tokio::test]
async fn what_one_domain_says_of_a_relays_quota_holds_that_domain_and_not_the_relay() {
    let dns = DnsPeer::start().await;
    let spent = |_: &str| Action::reply("454 4.7.0 Throttling failure: Daily message quota exceeded");
    let peers = servers(&dns, vec![Script::default().on_recipient(spent), Script::default()]).await;
    dns.set_mx("a.test", "mx1.test");
    dns.set_mx("b.test", "mx2.test");
    let one = campaign(&["r1@a.test", "r2@b.test"]).await;
    let engine = start(&one, &dns, &peers);
    until("the hold is written down", || async {
        let n = sqlx::query_scalar::<_, i64>("select count(*) from relay_holds").fetch_one(one.database.pool());
        n.await.unwrap() == 1
    })
    .await;
    one.until_n(State::Accepted, 1).await;
    engine.stop().await;
    let held: (String, String) =
        sqlx::query_as("select provider, domain from relay_holds").fetch_one(one.database.pool()).await.unwrap();
    assert_eq!((held.0.as_str(), held.1.as_str()), ("other", "a.test"));
}

#[tokio::test]
async fn a_domain_that_names_itself_as_its_mail_server_is_put_off_while_it_has_no_address() {
    let dns = DnsPeer::start().await;
    let peers = servers(&dns, vec![Script::default()]).await;
    dns.set_mx("a.test", "a.test");
    let one = campaign(&["r1@a.test"]).await;
    let engine = start(&one, &dns, &peers);
    until("it was tried", || async { one.n_tries("r1@a.test").await >= 1 }).await;
    engine.stop().await;
    let (delivery, ..) = one.delivery("r1@a.test").await;
    let first = one.attempts(delivery).await.remove(0);
    assert!(first.0 == "deferred" && first.3.contains("no mail server of a.test has an address"), "{first:?}");
    assert_eq!(n_suppressed(&one).await, 0);
}
