//! A campaign whose deliveries were accepted, a mailbox that its reports arrive in, and a reader.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll};

use chrono::{DateTime, Utc};
use postrider::{
    config,
    domain::{
        delivery::DeliveryState as State,
        id::{DeliveryId, MailboxId, NodeId, WorkspaceId},
    },
    keyring::Keyring,
    mail::return_path,
    network::NetworkPolicy,
    reports::{Context, Reader, ReportsError, Step},
    store::{self, secret_binding},
};
use serde_json::Value;

use crate::support::{
    campaign::StartedCampaign,
    imap_peer::{ImapPeer, PASSWORD},
};

/// Domain of the return paths.
pub const BOUNCE_DOMAIN: &str = "bounces.test";

pub struct Scene {
    pub campaign: StartedCampaign,
    pub keyring: Arc<Keyring>,
    pub context: Arc<Context>,
    pub mailbox: MailboxId,
}

/// A report as it stands in the database.
#[derive(Debug, sqlx::FromRow)]
pub struct Row {
    pub state: String,
    pub state_reason: Option<String>,
    pub kind: Option<String>,
    pub inspection: Option<Value>,
    pub delivery_id: Option<uuid::Uuid>,
    pub has_raw: bool,
    pub is_filed: bool,
}

impl Scene {
    /// Deliveries to these addresses, accepted; a mailbox on this peer.
    pub async fn new(peer: &ImapPeer, addresses: &[&str]) -> Self {
        Self::in_state(peer, addresses, State::Accepted).await
    }

    /// The same with deliveries in this state.
    pub async fn in_state(peer: &ImapPeer, addresses: &[&str], state: State) -> Self {
        let scene = Self::on(peer.port(), "bounces", PASSWORD, "none", addresses).await;
        scene.put_all(state).await;
        scene
    }

    /// Deliveries that are queued, and a mailbox elsewhere on this machine.
    pub async fn on(port: u16, user: &str, password: &str, tls: &str, addresses: &[&str]) -> Self {
        let campaign = StartedCampaign::with_recipients(addresses).await;
        let keyring = Arc::new(Keyring::from_keys(&[(1, [7; 32])]).unwrap());
        let mut settings = config::read_from(None, []).settings().unwrap();
        settings.reports.command_timeout_seconds = 5;
        settings.reports.connect_timeout_seconds = 5;
        let context = Arc::new(Context {
            store: campaign.store.clone(),
            keyring: Arc::clone(&keyring),
            policy: NetworkPolicy::new(vec!["127.0.0.0/8".parse().unwrap()]),
            extra_ca_pem: None,
            node: campaign.node,
            settings: settings.reports,
        });
        let scene = Self { campaign, keyring, context, mailbox: MailboxId::new() };
        scene.lay_mailbox(port, user, password, tls).await;
        scene.expand().await;
        scene
    }

    /// Change the shared context before the first reader.
    pub fn with(mut self, change: impl FnOnce(&mut Context)) -> Self {
        let mut context = Context::clone(&self.context);
        change(&mut context);
        self.context = Arc::new(context);
        self
    }

    pub fn workspace(&self) -> WorkspaceId {
        self.campaign.workspace
    }

    pub fn pool(&self) -> &sqlx::PgPool {
        self.campaign.database.pool()
    }

    async fn lay_mailbox(&self, port: u16, user: &str, password: &str, tls: &str) {
        let sealed = self.keyring.seal(&secret_binding("mailboxes", self.mailbox), password.as_bytes()).unwrap();
        sqlx::query(
            "insert into mailboxes (workspace_id, id, name, host, port, tls, username, secret, secret_key_id,
                                    poll_seconds, created_at, updated_at)
             values ($1, $2, 'bounces', 'localhost', $3, $4, $5, $6, $7, 1, now(), now())",
        )
        .bind(self.workspace().0)
        .bind(self.mailbox.0)
        .bind(i32::from(port))
        .bind(tls)
        .bind(user)
        .bind(sealed.bytes)
        .bind(i16::from(sealed.key_id))
        .execute(self.pool())
        .await
        .unwrap();
    }

    async fn expand(&self) {
        let one = &self.campaign;
        loop {
            let mut tx = one.store.begin().await.unwrap();
            let now = Utc::now();
            let step = store::expansions::step(&mut tx, one.workspace, one.campaign, one.node, 1000, 500, now).await;
            store::commit(tx).await.unwrap();
            if step.unwrap().done {
                return;
            }
        }
    }

    /// Put every queued delivery into this state, counters and all, as the engine would.
    pub async fn put_all(&self, state: State) {
        sqlx::query(
            "with moved as (
                 update deliveries set state = $2, attempt = 1, first_attempt_at = now(), attempt_at = now(),
                        relay_id = $3, due_at = case when $2 in ('deferred', 'unknown') then now() end
                 where workspace_id = $1 and state = 'queued' returning campaign_id, provider)
             insert into transitions (workspace_id, campaign_id, minute, provider, relay_id, from_state, to_state, node_id, n)
             select $1, campaign_id, date_trunc('minute', now()), provider, $3, 'queued', $2, $4, count(*)
             from moved group by campaign_id, provider",
        )
        .bind(self.workspace().0)
        .bind(state.as_str())
        .bind(self.campaign.relay.0)
        .bind(self.campaign.node.0)
        .execute(self.pool())
        .await
        .unwrap();
    }

    /// The delivery to this address.
    pub async fn delivery(&self, address: &str) -> DeliveryId {
        let id = sqlx::query_scalar("select id from deliveries where workspace_id = $1 and address = $2");
        DeliveryId(id.bind(self.workspace().0).bind(address).fetch_one(self.pool()).await.unwrap())
    }

    /// The signed return path of the delivery to this address.
    pub async fn return_path(&self, address: &str) -> String {
        self.return_path_of(self.delivery(address).await)
    }

    /// The signed return path of this delivery, which need not exist.
    pub fn return_path_of(&self, delivery: DeliveryId) -> String {
        format!("{}@{BOUNCE_DOMAIN}", return_path::sign(&self.keyring, self.workspace().0, delivery.0).return_path)
    }

    /// What the message of the delivery to this address carries: the left side of its Message-ID.
    pub async fn in_message(&self, address: &str) -> String {
        let delivery = self.delivery(address).await;
        return_path::sign(&self.keyring, self.workspace().0, delivery.0).message
    }

    /// A reader of the mailbox, as a node that has just started would have one: leases of the dead have run out.
    pub async fn reader(&self) -> Reader {
        sqlx::query("update mailboxes set lease_owner = null, lease_until = null").execute(self.pool()).await.unwrap();
        self.try_reader(self.context.node).await.expect("the lease is free")
    }

    pub async fn try_reader(&self, node: NodeId) -> Option<Reader> {
        let context = Arc::new(Context { node, ..Context::clone(&self.context) });
        Reader::lease(context, self.workspace(), self.mailbox).await.unwrap()
    }

    /// Read the mailbox until nothing is left to do.
    pub async fn drain(&self) -> Vec<Step> {
        self.drain_at(Utc::now()).await.unwrap()
    }

    /// Read the mailbox until nothing is left to do, or something fails.
    pub async fn drain_at(&self, now: DateTime<Utc>) -> Result<Vec<Step>, ReportsError> {
        let mut reader = self.reader().await;
        let mut steps = Vec::new();
        let outcome = loop {
            match reader.step(now).await {
                Ok(Step::Idle) => break Ok(steps),
                Ok(step) => steps.push(step),
                Err(error) => break Err(error),
            }
        };
        reader.close().await.unwrap();
        outcome
    }

    /// The reports in the order in which they were fetched.
    pub async fn reports(&self) -> Vec<Row> {
        sqlx::query_as(
            "select state, state_reason, kind, inspection, delivery_id, raw is not null as has_raw,
                    filed_at is not null as is_filed
             from reports order by id",
        )
        .fetch_all(self.pool())
        .await
        .unwrap()
    }

    /// State, reason and its words of the delivery to this address.
    pub async fn outcome(&self, address: &str) -> (State, String, String) {
        let row: (String, Option<String>, Option<String>) = sqlx::query_as(
            "select state, reason, reason_text from deliveries where workspace_id = $1 and address = $2",
        )
        .bind(self.workspace().0)
        .bind(address)
        .fetch_one(self.pool())
        .await
        .unwrap();
        (State::parse(&row.0).unwrap(), row.1.unwrap_or_default(), row.2.unwrap_or_default())
    }

    /// Reason and address of every suppression.
    pub async fn suppressions(&self) -> Vec<(String, String)> {
        sqlx::query_as("select reason, address_key from suppressions order by created_at, address_key")
            .fetch_all(self.pool())
            .await
            .unwrap()
    }

    /// How many rows this table has, of those that a consequence is written to.
    pub async fn count(&self, table: &'static str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        sqlx::query_scalar(sql).fetch_one(self.pool()).await.unwrap()
    }

    /// Reads all there is while every life of the reader is a little longer than the one before, so that one of them ends at each
    /// await. How many there were.
    pub async fn drain_in_short_lives(&self) -> usize {
        let mut n_deaths = 0;
        loop {
            let mut reader = self.reader().await;
            let life = async { while reader.step(Utc::now()).await.unwrap() != Step::Idle {} };
            if is_done_within(life, n_deaths + 1).await {
                return n_deaths;
            }
            n_deaths += 1;
        }
    }

    /// Health and last error of the mailbox.
    pub async fn health(&self) -> (String, Option<String>) {
        sqlx::query_as("select health, last_error from mailboxes").fetch_one(self.pool()).await.unwrap()
    }

    /// Fail the test unless nothing whatever followed.
    pub async fn assert_untouched(&self) {
        let n_deliveries = self.count("deliveries").await;
        assert_eq!(self.campaign.checked_states().await, [(State::Accepted, n_deliveries)]);
        for table in ["suppressions", "events", "opt_outs", "changes"] {
            assert_eq!(self.count(table).await, 0, "{table}");
        }
    }
}

/// Runs a future until it has been polled so often, and drops it there.
async fn is_done_within(future: impl Future<Output = ()>, n_polls: usize) -> bool {
    let mut future = pin!(future);
    let mut n_left = n_polls;
    poll_fn(|context| {
        if n_left == 0 {
            return Poll::Ready(false);
        }
        n_left -= 1;
        future.as_mut().poll(context).map(|()| true)
    })
    .await
}

/// A DSN of Postfix's shape.
pub fn dsn(to: &str, recipient: &str, action: &str, status: &str, words: &str) -> String {
    format!(
        "Return-Path: <>\r\nDelivered-To: {to}\r\nFrom: MAILER-DAEMON@mx.test (Mail Delivery System)\r\n\
         Subject: Undelivered Mail Returned to Sender\r\nTo: {to}\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"BB\"\r\n\
         Message-Id: <{}@mx.test>\r\n\r\n\
         --BB\r\nContent-Description: Notification\r\nContent-Type: text/plain\r\n\r\nI'm sorry to have to inform you.\r\n\r\n\
         --BB\r\nContent-Description: Delivery report\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; mx.test\r\nX-Postfix-Sender: rfc822; {to}\r\n\r\n\
         Final-Recipient: rfc822; {recipient}\r\nOriginal-Recipient: rfc822;{recipient}\r\nAction: {action}\r\n\
         Status: {status}\r\nRemote-MTA: dns; mx.remote.test\r\nDiagnostic-Code: smtp; {words}\r\n\r\n\
         --BB\r\nContent-Description: Undelivered Message Headers\r\nContent-Type: text/rfc822-headers\r\n\r\n\
         Return-Path: <{to}>\r\nTo: {recipient}\r\nSubject: News\r\n\r\n--BB--\r\n",
        uuid::Uuid::now_v7().simple()
    )
}

/// A DSN of a hard bounce.
pub fn hard(to: &str, recipient: &str) -> String {
    dsn(to, recipient, "failed", "5.1.1", &format!("550 5.1.1 <{recipient}>: User unknown"))
}

/// An abuse report in which the recipient is hidden, as most are.
pub fn arf(original_return_path: &str, feedback: &str) -> String {
    format!(
        "From: feedback@isp.test\r\nTo: abuse@{BOUNCE_DOMAIN}\r\nSubject: complaint\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=\"AA\"\r\n\r\n\
         --AA\r\nContent-Type: text/plain\r\n\r\nThis is an abuse report.\r\n\r\n\
         --AA\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: {feedback}\r\nUser-Agent: ISP/1\r\nVersion: 1\r\n\r\n\
         --AA\r\nContent-Type: message/rfc822\r\n\r\nReturn-Path: <{original_return_path}>\r\nTo: redacted@isp.test\r\n\
         Subject: News\r\n\r\nHello\r\n\r\n--AA--\r\n"
    )
}
