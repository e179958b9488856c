//! A workspace that is ready to send, made through the API, and a ledger that stands still: what the engine would do is
//! done here one step at a time, by the store's own functions.

use chrono::Utc;
use postrider::{
    domain::{
        delivery::Outcome,
        id::{CampaignId, NodeId, RelayId},
        retry::Retry,
    },
    store::{
        backlogs,
        batches::{self, Claim, Claimed},
        commit, expansions, intents,
        settles::{self, Settle},
    },
};
use serde_json::{Value, json};

use crate::support::app::TestApp;

pub struct Scene {
    pub app: TestApp,
    pub list: String,
    pub relay: String,
    pub domain: String,
    pub node: NodeId,
}

impl Scene {
    /// A list with these subscribers, a relay, a sender domain.
    pub async fn set(addresses: &[&str]) -> Self {
        Self::set_on(TestApp::start().await, addresses).await
    }

    /// The same on this app.
    pub async fn set_on(app: TestApp, addresses: &[&str]) -> Self {
        let list = app.client.post("/v1/lists", json!({"name": "News"})).await.expect(201).text("/id");
        let relay = json!({"name": "r", "host": "127.0.0.1", "port": 9, "tls": "none"});
        let relay = app.client.post("/v1/relays", relay).await.expect(201).header("location").to_owned();
        let domain = json!({"domain": "sender.test", "return_path_domain": "bounces.test"});
        let domain = app.client.post("/v1/sender-domains", domain).await.expect(201).header("location").to_owned();
        let scene = Self { app, list, relay, domain, node: NodeId::new() };
        for address in addresses {
            scene.subscribe(address).await;
        }
        scene
    }

    /// A recipient that is subscribed; answers its id.
    pub async fn subscribe(&self, address: &str) -> String {
        let recipient =
            self.app.client.post("/v1/recipients", json!({"address": address})).await.expect(201).text("/id");
        let path = format!("/v1/lists/{}/subscriptions/{recipient}", self.list);
        let consent = json!({"state": "subscribed", "consent": {"source": "test", "at": "2026-01-01T00:00:00Z"}});
        let reply = self.app.client.put(&path, consent).await;
        assert!(matches!(reply.status, 200 | 201), "{:#}", reply.body);
        recipient
    }

    /// What a new campaign says, unless a test changes it.
    pub fn campaign(&self) -> Value {
        json!({
            "name": "Spring",
            "from": {"name": "Shop", "address": "News@Sender.test"},
            "content": {
                "subject": "Hello {{default first_name \"you\"}}",
                "html": "<p><a href=\"https://shop.test/a\">a</a> <a href=\"https://shop.test/b?x={{url_encode (default first_name \"\")}}\">b</a></p>",
            },
            "audience": {"lists": [self.list]},
        })
    }

    /// Make that campaign; answers its path.
    pub async fn draft(&self) -> String {
        self.app.client.post("/v1/campaigns", self.campaign()).await.expect(201).header("location").to_owned()
    }

    /// Make and start it; answers its path.
    pub async fn started(&self) -> String {
        let path = self.draft().await;
        self.app.client.act(&format!("{path}/start")).await.expect(200);
        path
    }

    /// Take the whole audience.
    pub async fn expand(&self, path: &str) {
        let mut tx = self.app.store.begin().await.unwrap();
        let (workspace, campaign) = (self.app.workspace, campaign_of(path));
        expansions::step(&mut tx, workspace, campaign, self.node, 10_000, 500, Utc::now()).await.unwrap();
        commit(tx).await.unwrap();
    }

    /// Begin an attempt at every delivery that can be claimed, and settle it as `judge` says of its address.
    pub async fn submit(&self, judge: impl Fn(&str) -> (Outcome, &'static str)) {
        let now = Utc::now();
        loop {
            let mut connection = self.app.store.acquire().await.unwrap();
            let open = backlogs::of_workspace(&mut connection, self.app.workspace, now).await.unwrap();
            let Some(first) = open.first() else { return };
            let of = (first.campaign, first.provider.as_str());
            let claim = batches::claim(&mut connection, self.app.workspace, self.node, of, 30.0, now).await.unwrap();
            let claim = claim.unwrap();
            let claimed = batches::deliveries(&mut connection, &claim, None, 1000, now).await.unwrap().deliveries;
            let relay: RelayId = self.relay.rsplit('/').next().unwrap().parse().unwrap();
            let mut tx = self.app.store.begin().await.unwrap();
            let intents: Vec<_> = claimed.iter().map(|one| self.intent(&claim, one, relay)).collect();
            intents::commit(&mut tx, self.app.workspace, self.node, &intents, now).await.unwrap();
            let settles: Vec<_> = claimed.iter().map(|one| settle(&claim, one, relay, judge(&one.address))).collect();
            settles::commit(&mut tx, self.app.workspace, self.node, &settles, now).await.unwrap();
            commit(tx).await.unwrap();
            batches::release(&mut connection, &claim, self.node, now).await.unwrap();
        }
    }

    fn intent(&self, claim: &Claim, one: &Claimed, relay: RelayId) -> intents::Intent {
        intents::Intent {
            delivery: one.delivery,
            batch: claim.batch,
            epoch: claim.epoch,
            attempt_before: one.attempt,
            state_before: one.state,
            campaign: claim.campaign,
            provider: claim.provider.clone(),
            relay,
            begun_at: Utc::now(),
        }
    }
}

fn settle(claim: &Claim, one: &Claimed, relay: RelayId, (outcome, class): (Outcome, &'static str)) -> Settle {
    let (code, text) = match outcome {
        Outcome::Accepted => (250, "2.0.0 Ok: queued as 4D1F2A"),
        Outcome::Deferred => (450, "4.7.1 Greylisted"),
        _ => (550, "5.1.1 no such user"),
    };
    Settle {
        delivery: one.delivery,
        recipient: one.recipient,
        address_key: one.address_key.clone(),
        campaign: claim.campaign,
        provider: claim.provider.clone(),
        relay,
        attempt: one.attempt + 1,
        outcome,
        phase: "rcpt",
        code: Some(code),
        enhanced: Some(text[..5].to_owned()),
        text: text[6..].to_owned(),
        tls: Some("TLSv1.3".into()),
        started_at: Utc::now(),
        duration_ms: 12,
        was_unknown: false,
        class,
        next: (outcome == Outcome::Deferred).then(|| Retry::At(Utc::now() + chrono::TimeDelta::hours(1))),
        condemned: outcome == Outcome::Rejected,
        soft: false,
    }
}

/// The campaign of this path.
pub fn campaign_of(path: &str) -> CampaignId {
    path.rsplit('/').next().unwrap().parse().unwrap()
}
