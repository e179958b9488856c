//! A marketing app: what it sets up over the API, what it asks, and the books it holds the service to.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::SocketAddr,
    time::Duration,
};

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::support::{
    app::Client,
    service::Installation,
    smtp_peer::{Accepted, SmtpPeer},
};

/// Plain content.
pub fn content() -> Value {
    let text = "Dear {{first_name}}, number {{n}}: https://shop.example/autumn\n";
    json!({"subject": "Hello {{first_name}}", "text": text})
}

/// Longer than anything takes on a busy machine: a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// A workspace with a list and everything that is needed to send to it.
pub struct Shop {
    pub client: Client,
    pub pool: PgPool,
    /// The id of its list.
    pub list: String,
    /// The path of its relay.
    pub relay: String,
}

/// How many deliveries stand in each state; states without any are left out.
pub type States = BTreeMap<String, i64>;

impl Shop {
    /// Opened on an installation, a process of which runs; its mail goes over a relay of these settings, what bounces comes
    /// back to `return_path_domain`.
    pub async fn open(installation: &Installation, relay: Value, return_path_domain: &str) -> Self {
        let client = installation.workspace().await;
        let pool = installation.pool().await;
        let relay = client.post("/v1/relays", relay).await.expect(201).header("location").to_owned();
        let domain = json!({"domain": "shop.example", "return_path_domain": return_path_domain});
        client.post("/v1/sender-domains", domain).await.expect(201);
        let list = client.post("/v1/lists", json!({"name": "Shop news"})).await.expect(201).text("/id");
        Self { client, pool, list, relay }
    }

    /// The same, over a relay that listens there and takes so many connections, with `r0@a.example` … on the list.
    pub async fn with_recipients(installation: &Installation, relay: SocketAddr, n: usize, n_connections: u32) -> Self {
        let relay = json!({
            "name": "Peer", "host": relay.ip().to_string(), "port": relay.port(), "tls": "none",
            "max_connections": n_connections,
        });
        let shop = Self::open(installation, relay, "bounces.test").await;
        let addresses = (0..n).map(|n| format!("r{n}@{}.example", if n % 3 == 0 { "a" } else { "b" }));
        shop.subscribe(&addresses.collect::<Vec<_>>()).await;
        shop
    }

    /// Puts these on the list; their ids by address.
    pub async fn subscribe(&self, addresses: &[String]) -> HashMap<String, String> {
        let items: Vec<_> = addresses
            .iter()
            .enumerate()
            .map(
                |(n, address)| json!({"address": address, "attributes": {"first_name": format!("Reader {n}"), "n": n}}),
            )
            .collect();
        let consent = json!({"source": "checkout form", "text": "Yes, send me the shop's news."});
        let body = json!({"items": items, "list_ids": [self.list], "consent": consent});
        let outcome = self.client.post("/v1/recipients/bulk", body).await.expect(200);
        assert_eq!(outcome.body["n_created"], addresses.len());
        let ids = outcome.body["outcomes"].as_array().unwrap();
        addresses.iter().cloned().zip(ids.iter().map(|one| one["recipient_id"].as_str().unwrap().to_owned())).collect()
    }

    /// A draft with plain content; its path.
    pub async fn draft(&self) -> String {
        self.draft_of(json!({"content": content()})).await
    }

    /// A draft with this content (and whatever else is said); its path.
    pub async fn draft_of(&self, said: Value) -> String {
        let mut body = json!({
            "name": "Autumn", "from": {"name": "Corner Shop", "address": "news@shop.example"},
            "audience": {"lists": [self.list]},
        });
        body.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
        self.client.post("/v1/campaigns", body).await.expect(201).header("location").to_owned()
    }

    /// A campaign that has just been started; its path.
    pub async fn start(&self) -> String {
        let campaign = self.draft().await;
        self.client.act(&format!("{campaign}/start")).await.expect(200);
        campaign
    }

    /// The statistics of a campaign.
    pub async fn stats(&self, campaign: &str) -> Value {
        self.client.get(&format!("{campaign}/stats")).await.expect(200).body
    }

    /// Waits until the statistics are so, and answers them.
    pub async fn until(&self, campaign: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        let waiting = async {
            loop {
                ticks.tick().await;
                let stats = self.stats(campaign).await;
                if is_so(&stats) {
                    return stats;
                }
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(stats) => stats,
            Err(_) => panic!("waited in vain until {what}: {:#}", self.stats(campaign).await),
        }
    }

    /// Waits until the campaign is sent, and answers its statistics.
    pub async fn until_sent(&self, campaign: &str) -> Value {
        self.until(campaign, "the campaign is sent", |stats| stats["state"] == "sent").await
    }

    /// Every delivery of a campaign, page by page.
    pub async fn deliveries(&self, campaign: &str) -> Vec<Value> {
        let (mut found, mut query) = (Vec::new(), String::new());
        loop {
            let page = self.client.get(&format!("{campaign}/deliveries?limit=200{query}")).await.expect(200).body;
            found.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => query = format!("&cursor={cursor}"),
                None => return found,
            }
        }
    }

    /// Holds a campaign's books to the promise: the statistics, the rows and the counters say the same, and the states sum
    /// to the audience. Answers them.
    pub async fn checked_states(&self, campaign: &str) -> States {
        let stats = self.stats(campaign).await;
        let told = stats["states"].as_object().unwrap().iter().map(|(state, n)| (state.clone(), n.as_i64().unwrap()));
        let told: States = told.filter(|(_, n)| *n != 0).collect();
        assert_eq!(stats["audience"], told.values().sum::<i64>(), "{stats:#}");
        assert_eq!(stats["audience_complete"], true);
        assert_eq!(self.row_states(campaign).await, told, "the rows say otherwise");
        let counted = "select state, sum(n)::bigint from
             (select to_state as state, n from transitions where campaign_id = $1
              union all select from_state, -n from transitions where campaign_id = $1) as moves
             where state <> '' group by state having sum(n) > 0";
        assert_eq!(self.count(counted, campaign).await, told, "the counters say otherwise");
        told
    }

    /// Holds a campaign to n recipients against what came to its relay: everybody got it or is listed as `unknown`, and whoever
    /// is `accepted` got it. Answers how many are `unknown`.
    pub async fn account_for(&self, campaign: &str, copies: &Copies, n: usize) -> usize {
        let states = self.checked_states(campaign).await;
        let (n_accepted, n_unknown) = (states.get("accepted").unwrap_or(&0), states.get("unknown").unwrap_or(&0));
        assert_eq!(n_accepted + n_unknown, n as i64, "{states:?}");
        let got = copies.recipients();
        for delivery in self.deliveries(campaign).await {
            let (address, state) = (delivery["address"].as_str().unwrap(), delivery["state"].as_str().unwrap());
            assert!(state == "unknown" || got.contains(address), "{address} is {state}, and got nothing");
        }
        usize::try_from(*n_unknown).unwrap()
    }

    /// The states by the rows of the database.
    pub async fn row_states(&self, campaign: &str) -> States {
        self.count("select state, count(*) from deliveries where campaign_id = $1 group by state", campaign).await
    }

    async fn count(&self, sql: &'static str, campaign: &str) -> States {
        let id: postrider::domain::id::CampaignId = campaign.rsplit('/').next().unwrap().parse().unwrap();
        let rows: Vec<(String, i64)> = sqlx::query_as(sql).bind(id.0).fetch_all(&self.pool).await.unwrap();
        rows.into_iter().collect()
    }

    /// How many deliveries are in flight by an attempt that began since then.
    pub async fn n_in_flight(&self, since: chrono::DateTime<chrono::Utc>) -> usize {
        let sql = "select count(*) from deliveries where state = 'sending' and attempt_at >= $1";
        let n: i64 = sqlx::query_scalar(sql).bind(since).fetch_one(&self.pool).await.unwrap();
        usize::try_from(n).unwrap()
    }

    /// The state of a campaign by its row: for when no process answers.
    pub async fn row_state(&self, campaign: &str) -> String {
        let id: postrider::domain::id::CampaignId = campaign.rsplit('/').next().unwrap().parse().unwrap();
        let state = sqlx::query_scalar("select state from campaigns where id = $1").bind(id.0);
        state.fetch_one(&self.pool).await.unwrap()
    }
}

/// What came to a relay, by recipient.
pub struct Copies(HashMap<String, Vec<Accepted>>);

impl Copies {
    /// What this relay took.
    pub fn at(peer: &SmtpPeer) -> Self {
        Self::of(peer.accepted())
    }

    /// These messages.
    pub fn of(accepted: Vec<Accepted>) -> Self {
        let mut copies: HashMap<_, Vec<_>> = HashMap::new();
        for message in accepted {
            copies.entry(message.recipient().to_owned()).or_default().push(message);
        }
        Self(copies)
    }

    /// Who got at least one.
    pub fn recipients(&self) -> HashSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// Copies beyond each recipient's first. Nobody may have three, and a second one must be the first one again.
    pub fn n_extra(&self) -> usize {
        for (recipient, copies) in &self.0 {
            assert!(copies.len() <= 2, "{recipient} got {} copies", copies.len());
            for name in ["Message-ID", "Date"] {
                let values: HashSet<_> = copies.iter().map(|copy| copy.header(name).unwrap()).collect();
                assert_eq!(values.len(), 1, "{recipient} got two {name}s: {values:?}");
            }
        }
        self.0.values().map(|copies| copies.len() - 1).sum()
    }
}
