//! The main job on real servers: a campaign goes from `POST /v1/campaigns` through Postfix and Dovecot to statistics that
//! say what happened to every recipient, in the servers' own words.

use std::collections::HashMap;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use super::{
    readers::Reader,
    shop::{Shop, States},
};
use crate::support::{service::Installation, world::World};

/// Recipients of each kind, by the start of their address: `scripts/world` tells what happens to whom. `held` and `left`
/// are as `ok`, but one is suppressed and the other has unsubscribed before.
const KINDS: [(&str, usize); 10] = [
    ("no", 5),
    ("full", 4),
    ("later", 4),
    ("gone", 5),
    ("gonexim", 3),
    ("reader", 6),
    ("readeraway", 2),
    ("ok", 40),
    ("held", 2),
    ("left", 3),
];

/// How those with a fate end: the state, then the code, enhanced code and some words of a reply on the way.
const FATES: [(&str, &str, i64, &str, &str); 3] = [
    ("no", "rejected", 550, "5.1.1", "does not exist"),
    ("full", "expired", 452, "4.2.2", "mailbox is full"),
    ("later", "accepted", 450, "4.7.1", "Greylisted"),
];

const HTML: &str = "<html><body><p>Hello {{first_name}}, <a href=\"https://shop.example/autumn\">see what is new</a> or \
    <a href=\"https://shop.example/of/{{url_encode first_name}}\">yours</a>, \
    <a href=\"https://shop.example/autumn\">really</a>.</p></body></html>";

/// The journey's people, by kind.
struct Audience {
    addresses: HashMap<&'static str, Vec<String>>,
}

impl Audience {
    /// Addresses that nobody else in this world has.
    fn new(run: &str) -> Self {
        let domain = |kind| if kind == "gonexim" { "exim.test" } else { "example.com" };
        let of_kind = |(kind, n)| (kind, (0..n).map(|n| format!("{kind}-{run}-{n}@{}", domain(kind))).collect());
        Self { addresses: KINDS.into_iter().map(of_kind).collect() }
    }

    fn all(&self) -> Vec<String> {
        self.addresses.values().flatten().cloned().collect()
    }

    fn of(&self, kind: &str) -> &[String] {
        &self.addresses[kind]
    }

    fn n(&self, kinds: &[&str]) -> i64 {
        kinds.iter().map(|kind| self.of(kind).len() as i64).sum()
    }
}

fn states<const N: usize>(pairs: [(&str, i64); N]) -> States {
    pairs.into_iter().map(|(state, n)| (state.to_owned(), n)).collect()
}

async fn expect_to_work(shop: &Shop, path: &str, steps: &[&str]) {
    let outcome = shop.client.act(&format!("{path}/test")).await.expect(200).body;
    assert_eq!(outcome["ok"], true, "{outcome:#}");
    let taken: Vec<_> =
        outcome["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert!(steps.iter().all(|step| taken.contains(step)), "{taken:?}");
    assert_eq!(shop.client.get(path).await.expect(200).body["health"]["status"], "ok");
}

#[tokio::test]
async fn a_campaign_goes_from_the_api_through_postfix_and_dovecot_to_statistics_that_say_what_happened() {
    let world = World::find();
    let run = format!("{:016x}", u64::from_be_bytes(postrider::keyring::random_bytes().unwrap()));
    let (bounces, audience) = (format!("journey-{run}"), Audience::new(&run));
    let installation = Installation::new(&format!(
        "network.ca_file = \"{}\"\nretry.first_seconds = 1\nretry.factor = 1.5\nretry.max_seconds = 2\n\
         retry.jitter = 0.1\nretry.max_age_seconds = {}\ntracking.flush_milliseconds = 50\n",
        world.text("CA_FILE"),
        world.text("GREYLIST_SECONDS").parse::<u32>().unwrap() + 12
    ))
    .await;
    let process = installation.serve().await;

    // What a marketing app sets up: a relay and a mailbox that are tried, a domain to send from, a list, a template.
    let relay = json!({
        "name": "Relay A", "host": world.text("HOST"), "port": world.port("SUBMISSION_PORT"), "tls": "starttls",
        "auth": "plain", "username": world.text("USERNAME"), "password": world.text("PASSWORD"),
        "max_connections": 3,
    });
    let shop = Shop::open(&installation, relay, &format!("{bounces}.{}", world.text("BOUNCE_DOMAIN"))).await;
    expect_to_work(&shop, &shop.relay, &["connect", "ehlo", "starttls", "auth"]).await;
    let mailbox = json!({
        "name": "Bounces", "host": world.text("HOST"), "port": world.port("IMAPS_PORT"), "tls": "implicit",
        "username": bounces, "password": world.text("PASSWORD"), "poll_seconds": 1,
    });
    let mailbox = shop.client.post("/v1/mailboxes", mailbox).await.expect(201).header("location").to_owned();
    expect_to_work(&shop, &mailbox, &["connect", "tls", "auth", "folder"]).await;
    let ids = shop.subscribe(&audience.all()).await;
    for address in audience.of("held") {
        shop.client.post("/v1/suppressions", json!({"address": address, "note": "By telephone"})).await.expect(201);
    }
    for address in audience.of("left") {
        let path = format!("/v1/lists/{}/subscriptions/{}", shop.list, ids[address]);
        shop.client.put(&path, json!({"state": "unsubscribed"})).await.expect(200);
    }
    let template = json!({
        "name": "Autumn", "subject": "{{first_name}}, it is autumn", "html": HTML,
        "text": "Hello {{first_name}}: https://shop.example/autumn\n",
    });
    let template = shop.client.post("/v1/templates", template).await.expect(201).text("/id");

    // The campaign: looked at in a mailbox first, then scheduled a little ahead.
    let campaign = shop.draft_of(json!({"template_id": template})).await;
    let looks = json!({"addresses": [format!("reader-{run}-look@example.com")], "attributes": {"first_name": "Wei"}});
    let looked = shop.client.post(&format!("{campaign}/test"), looks).await.expect(200).body;
    assert_eq!((&looked["outcomes"][0]["outcome"], &looked["outcomes"][0]["code"]), (&json!("accepted"), &json!(250)));
    let look = Reader::new(&world, &installation.url, &format!("reader-{run}-look@example.com")).read().await;
    assert!(look.html().contains("Hello Wei,"));
    let at = (Utc::now() + TimeDelta::seconds(1)).to_rfc3339();
    let scheduled = shop.client.post(&format!("{campaign}/schedule"), json!({"at": at})).await.expect(200);
    assert_eq!(
        (scheduled.text("/state"), scheduled.body["allowed"].as_array().unwrap().is_empty()),
        ("scheduled".into(), false)
    );

    // People read while others are still being tried.
    let url = installation.url.as_str();
    let readers: Vec<_> = audience.of("reader").iter().map(|address| Reader::new(&world, url, address)).collect();
    read_and_touch(&shop, &readers, &audience, &ids).await;

    let (n_gone, n_away) = (audience.n(&["gone", "gonexim"]), audience.n(&["readeraway"]));
    let stats = shop
        .until(&campaign, "it is sent, the bounces are in and the touches counted", |stats| {
            let (states, opens, clicks) = (&stats["states"], &stats["opens"], &stats["clicks"]);
            stats["state"] == "sent" && states["bounced"] == n_gone && opens["total"] == 3 && clicks["total"] == 4
        })
        .await;
    assert_eq!((&stats["opens"]["unique"], &stats["clicks"]["unique"]), (&json!(2), &json!(2)));
    let links: Vec<_> = stats["links"].as_array().unwrap().iter().map(|link| link["clicks"].clone()).collect();
    assert_eq!(links, [json!({"total": 3, "unique": 2}), json!({"total": 1, "unique": 1})]);
    assert_eq!((&stats["unsubscribes"], &stats["complaints"]), (&json!(2), &json!(0)));
    assert_eq!(stats["bounces"], json!({"total": n_gone, "by_class": {"no_such_user": n_gone}}));
    assert_eq!(stats["rejections"], json!({"total": 5, "by_class": {"no_such_user": 5}}));
    assert_eq!(stats["excluded"], json!({"unsubscribed": 3, "unconfirmed": 0, "excluded": 0}));
    let expected = states([
        ("accepted", audience.n(&["later", "reader", "readeraway", "ok"])),
        ("bounced", n_gone),
        ("rejected", audience.n(&["no"])),
        ("expired", audience.n(&["full"])),
        ("suppressed", audience.n(&["held"])),
    ]);
    assert_eq!(shop.checked_states(&campaign).await, expected);
    check_fates(&shop, &campaign, &audience).await;

    // Every report was filed away, none is left; those who are away are known to have got it.
    crate::support::engine::until("all reports are filed", || async {
        i64::from(world.n_messages(&bounces, "Postrider").await) == n_gone + n_away
    })
    .await;
    assert_eq!(world.n_messages(&bounces, "INBOX").await, 0);
    check_reports(&shop, &audience).await;

    // A second campaign: who bounced, was refused for good, was suppressed or has left is not mailed again.
    let second = shop.draft_of(json!({"template_id": template})).await;
    shop.client.act(&format!("{second}/start")).await.expect(200);
    let (n_held, n_full) = (audience.n(&["held", "no"]) + n_gone, audience.n(&["full"]));
    let n_accepted = audience.n(&["later", "reader", "readeraway", "ok"]) - 2;
    shop.until(&second, "all have had their turn", |stats| {
        let states = &stats["states"];
        stats["audience_complete"] == true && states["accepted"] == n_accepted && states["deferred"] == n_full
    })
    .await;
    let stats = shop.client.act(&format!("{second}/cancel")).await.expect(200);
    assert_eq!(stats.text("/state"), "cancelled");
    let stats = shop.until(&second, "what waited is cancelled", |stats| stats["states"]["cancelled"] == n_full).await;
    assert_eq!(stats["excluded"]["unsubscribed"], 5);
    let expected = states([("accepted", n_accepted), ("suppressed", n_held), ("cancelled", n_full)]);
    assert_eq!(shop.checked_states(&second).await, expected);
    let said = process.stop().await;
    assert!(!said.contains(" ERROR ") && !said.contains(&run), "faults or bare addresses in the log:\n{said}");
    for (n, reader) in readers.iter().enumerate() {
        let n_expected = if n == 3 || n == 4 { 1 } else { 2 };
        crate::support::engine::until("the second copy is there", || async { reader.n_messages().await >= n_expected })
            .await;
        assert_eq!(reader.n_messages().await, n_expected, "reader {n}");
    }
}

/// Of the readers the first opens twice and clicks thrice, the second only opens, the third only clicks, the fourth and
/// fifth leave, the last does nothing.
async fn read_and_touch(shop: &Shop, readers: &[Reader<'_>], audience: &Audience, ids: &HashMap<String, String>) {
    let mail = futures::future::join_all(readers.iter().map(Reader::read)).await;
    let recipient = format!("/v1/recipients/{}", ids[&audience.of("reader")[0]]);
    let name = shop.client.get(&recipient).await.expect(200).text("/attributes/first_name");
    let own = format!("https://shop.example/of/{}", name.replace(' ', "%20"));
    assert_eq!(mail[0].subject(), format!("{name}, it is autumn"));
    assert!(mail[0].html().contains(&format!("Hello {name},")) && mail[0].text().contains(&format!("Hello {name}:")));
    for _ in 0..2 {
        readers[0].open(&mail[0]).await;
    }
    readers[0].click(&mail[0], 0, "https://shop.example/autumn").await;
    readers[0].click(&mail[0], 1, &own).await;
    readers[0].click(&mail[0], 2, "https://shop.example/autumn").await;
    readers[1].open(&mail[1]).await;
    readers[2].click(&mail[2], 0, "https://shop.example/autumn").await;
    readers[3].unsubscribe(&mail[3]).await;
    readers[4].unsubscribe(&mail[4]).await;
}

/// Each recipient ended as its servers wanted, and its history tells in which words.
async fn check_fates(shop: &Shop, campaign: &str, audience: &Audience) {
    let deliveries = shop.deliveries(campaign).await;
    let mut addresses: Vec<_> = deliveries.iter().map(|one| one["address"].as_str().unwrap().to_owned()).collect();
    let mut expected: Vec<_> =
        KINDS.iter().filter(|(kind, _)| *kind != "left").flat_map(|(kind, _)| audience.of(kind)).cloned().collect();
    addresses.sort();
    expected.sort();
    assert_eq!(addresses, expected, "everybody has one delivery");
    let of_kind = |kind: &str| {
        let start = format!("{kind}-");
        deliveries.iter().filter(move |one| one["address"].as_str().unwrap().starts_with(&start))
    };
    for (kind, state, code, enhanced, words) in FATES {
        for delivery in of_kind(kind) {
            let history = history(shop, delivery, state).await;
            let attempts = history["attempts"].as_array().unwrap();
            let told = |attempt: &Value| {
                attempt["code"] == code
                    && attempt["enhanced"] == enhanced
                    && attempt["text"].as_str().unwrap().contains(words)
                    && attempt["tls"].is_string()
            };
            assert!(told(&attempts[0]), "{history:#}");
            let (last, n) = (attempts.last().unwrap(), attempts.len());
            match kind {
                "no" => assert!(n == 1 && last["outcome"] == "rejected", "{history:#}"),
                "full" => assert!(n > 1 && attempts.iter().all(told), "{history:#}"),
                _ => assert!(n > 1 && last["outcome"] == "accepted" && last["code"] == 250, "{history:#}"),
            }
        }
    }
    for delivery in of_kind("gone").chain(of_kind("gonexim")) {
        let history = history(shop, delivery, "bounced").await;
        let (attempts, events) = (&history["attempts"], &history["events"]);
        assert_eq!((attempts.as_array().unwrap().len(), &attempts[0]["outcome"]), (1, &json!("accepted")));
        assert_eq!(events[0]["kind"], "bounced");
        assert!(events[0]["text"].as_str().unwrap().contains("User unknown"), "{history:#}");
        let check = json!({"addresses": [delivery["address"]]});
        let outcome = shop.client.post("/v1/suppressions/check", check).await.expect(200);
        let suppression = &outcome.body["outcomes"][0]["suppressions"][0];
        assert_eq!((&suppression["reason"], &suppression["origin"]["kind"]), (&json!("hard_bounce"), &json!("report")));
    }
    for kind in ["ok", "reader", "readeraway"] {
        for delivery in of_kind(kind) {
            assert_eq!((&delivery["state"], &delivery["n_attempts"]), (&json!("accepted"), &json!(1)), "{delivery:#}");
        }
    }
    assert!(of_kind("held").all(|one| one["state"] == "suppressed" && one["n_attempts"] == 0));
}

/// What came back, from whom, and about whom: notices of Postfix's and of Exim's, and answers of Sieve's.
async fn check_reports(shop: &Shop, audience: &Audience) {
    let reports = shop.client.get("/v1/reports?limit=200").await.expect(200).body;
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for report in reports["items"].as_array().unwrap() {
        let path = format!("/v1/deliveries/{}", report["delivery_id"].as_str().expect("it is attributed"));
        let address = shop.client.get(&path).await.expect(200).text("/delivery/address");
        found.entry(report["kind"].as_str().unwrap().to_owned()).or_default().push(address);
    }
    found.values_mut().for_each(|addresses| addresses.sort());
    let all = |kinds: &[&str]| {
        let mut addresses: Vec<_> = kinds.iter().flat_map(|kind| audience.of(kind)).cloned().collect();
        addresses.sort();
        addresses
    };
    let expected = [("dsn", all(&["gone", "gonexim"])), ("auto_reply", all(&["readeraway"]))];
    assert_eq!(found, expected.map(|(kind, addresses)| (kind.to_owned(), addresses)).into());
    let sql = "select count(*) from reports where position('eximdsn'::bytea in raw) > 0";
    let n_exim: i64 = sqlx::query_scalar(sql).fetch_one(&shop.pool).await.unwrap();
    assert_eq!(n_exim, audience.n(&["gonexim"]), "notices made by Exim");
}

async fn history(shop: &Shop, delivery: &Value, state: &str) -> Value {
    let history =
        shop.client.get(&format!("/v1/deliveries/{}", delivery["id"].as_str().unwrap())).await.expect(200).body;
    assert_eq!(history["delivery"]["state"], state, "{history:#}");
    history
}
