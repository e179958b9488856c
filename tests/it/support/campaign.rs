//! A started campaign, laid into the database without the API: what tests of the ledger and of the engine begin with.

use postrider::{
    domain::{
        delivery::DeliveryState,
        id::{CampaignId, ListId, NodeId, RecipientId, RelayId, WorkspaceId},
    },
    store::{self, Store},
};

use super::TestDatabase;

/// A workspace with one list, one relay, one sender domain and one campaign that is sending.
pub struct StartedCampaign {
    pub database: TestDatabase,
    pub store: Store,
    pub workspace: WorkspaceId,
    pub list: ListId,
    pub relay: RelayId,
    pub campaign: CampaignId,
    pub node: NodeId,
}

impl StartedCampaign {
    /// Started, with these recipients subscribed, nothing expanded yet.
    pub async fn with_recipients(addresses: &[&str]) -> Self {
        let database = TestDatabase::new().await;
        let store = Store::open(&database.url(), 8, std::time::Duration::from_secs(5)).unwrap();
        let this = Self {
            database,
            store,
            workspace: WorkspaceId::new(),
            list: ListId::new(),
            relay: RelayId::new(),
            campaign: CampaignId::new(),
            node: NodeId::new(),
        };
        this.lay().await;
        for address in addresses {
            this.subscribe(address, "subscribed").await;
        }
        this
    }

    async fn lay(&self) {
        let pool = self.database.pool();
        let (ws, list, campaign) = (self.workspace.0, self.list.0, self.campaign.0);
        for (sql, ids) in [
            ("insert into workspaces values ($1, 'w', now(), now())", vec![ws]),
            ("insert into lists (workspace_id, id, name, created_at, updated_at) values ($1, $2, 'l', now(), now())", vec![ws, list]),
            (
                "insert into relays (workspace_id, id, name, host, port, tls, created_at, updated_at)
                 values ($1, $2, 'r', '127.0.0.1', 25, 'none', now(), now())",
                vec![ws, self.relay.0],
            ),
            (
                "insert into sender_domains (workspace_id, id, domain, return_path_domain, created_at, updated_at)
                 values ($1, $2, 'sender.test', 'bounces.test', now(), now())",
                vec![ws, uuid::Uuid::now_v7()],
            ),
            (
                "insert into campaigns (workspace_id, id, name, state, from_address, from_domain, subject, text, pinned_at,
                                        started_at, created_at, updated_at)
                 values ($1, $2, 'c', 'sending', 'news@sender.test', 'sender.test', 'Hello', 'Hello', now(), now(), now(), now())",
                vec![ws, campaign],
            ),
            ("insert into campaign_lists values ($1, $2, $3, 'include')", vec![ws, campaign, list]),
        ] {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(sql));
            for id in ids {
                query = query.bind(id);
            }
            query.execute(pool).await.unwrap();
        }
    }

    /// A recipient with a subscription in this state.
    pub async fn subscribe(&self, address: &str, state: &str) -> RecipientId {
        let recipient = RecipientId::new();
        let domain = address.rsplit('@').next().unwrap();
        let pool = self.database.pool();
        sqlx::query("insert into domains values ($1, $2) on conflict do nothing")
            .bind(domain)
            .bind(postrider::domain::provider::of_domain(domain))
            .execute(pool)
            .await
            .unwrap();
        sqlx::query(
            "insert into recipients (workspace_id, id, address, address_key, domain, created_at, updated_at)
             values ($1, $2, $3, lower($3), $4, now(), now())",
        )
        .bind(self.workspace.0)
        .bind(recipient.0)
        .bind(address)
        .bind(domain)
        .execute(pool)
        .await
        .unwrap();
        sqlx::query(
            "insert into subscriptions (workspace_id, list_id, recipient_id, state, created_at, updated_at)
             values ($1, $2, $3, $4, now(), now())",
        )
        .bind(self.workspace.0)
        .bind(self.list.0)
        .bind(recipient.0)
        .bind(state)
        .execute(pool)
        .await
        .unwrap();
        recipient
    }

    /// The counters' states, only those that are not zero.
    pub async fn states(&self) -> Vec<(DeliveryState, i64)> {
        let mut connection = self.store.acquire().await.unwrap();
        let counts = store::transitions::states(&mut connection, self.workspace, self.campaign).await.unwrap();
        counts.into_iter().filter(|count| count.n != 0).map(|count| (count.state, count.n)).collect()
    }

    /// The rows' states, to be held against [`Self::states`].
    pub async fn row_states(&self) -> Vec<(DeliveryState, i64)> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("select state, count(*) from deliveries where campaign_id = $1 group by state")
                .bind(self.campaign.0)
                .fetch_all(self.database.pool())
                .await
                .unwrap();
        let mut states: Vec<_> =
            rows.into_iter().map(|(state, n)| (DeliveryState::parse(&state).unwrap(), n)).collect();
        states.sort();
        states
    }

    /// Fail the test where counters and rows disagree; answer the states.
    pub async fn checked_states(&self) -> Vec<(DeliveryState, i64)> {
        let (counters, rows) = (self.states().await, self.row_states().await);
        assert_eq!(counters, rows, "the counters and the rows tell different stories");
        counters
    }
}
