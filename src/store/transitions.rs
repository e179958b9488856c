//! Counters of what became of deliveries: a state is what came in minus what went out.
//!
//! They are written in the transaction that changes the deliveries, in key order (so that transactions can't deadlock on
//! them), and one row a writer (so that nodes, and the committers of one, don't queue up behind each other). The engine's
//! commonest moves are counted by the statements that make them (`rounds`, `intents`). Not here: opens and clicks
//! (`touches`).

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use uuid::Uuid;

use super::{Connection, NIL, StoreError};
use crate::domain::{
    delivery::DeliveryState,
    id::{CampaignId, NodeId, RelayId, WorkspaceId},
};

/// Who counts: a node, or one of its committers. Each has rows of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writer {
    /// The node.
    pub node: NodeId,
    /// Which of its committers; 0 for all that seldom write.
    pub lane: u8,
}

impl From<NodeId> for Writer {
    fn from(node: NodeId) -> Self {
        Self { node, lane: 0 }
    }
}

impl Writer {
    /// What stands in `node_id` of its rows: the node's id for lane 0, else one beside it.
    pub(super) fn key(self) -> Uuid {
        Uuid::from_u128(self.node.0.as_u128() ^ u128::from(self.lane))
    }
}

/// The minute in which is counted.
pub(super) fn minute(now: DateTime<Utc>) -> DateTime<Utc> {
    now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now)
}

/// What stands in `from_state` for a delivery that is made.
const NEW: &str = "new";

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    campaign: Uuid,
    provider: String,
    relay: Uuid,
    from: &'static str,
    to: &'static str,
    class: String,
}

/// One move of deliveries.
#[derive(Debug, Clone, Copy)]
pub struct Transition<'a> {
    /// Of which campaign.
    pub campaign: CampaignId,
    /// To which provider.
    pub provider: &'a str,
    /// By which relay, if one had to do with it.
    pub relay: Option<RelayId>,
    /// The state it left; none: it was made.
    pub from: Option<DeliveryState>,
    /// The state it came to.
    pub to: DeliveryState,
    /// Bounce class of a rejection or bounce, else empty.
    pub class: &'a str,
}

/// Transitions of one transaction, summed before they are written.
#[derive(Debug, Default)]
pub struct Transitions {
    sums: BTreeMap<Key, i64>,
}

impl Transitions {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Count `n` deliveries that made this move.
    pub fn count(&mut self, step: Transition<'_>, n: i64) {
        let key = Key {
            campaign: step.campaign.0,
            provider: step.provider.to_owned(),
            relay: step.relay.map_or(NIL, |relay| relay.0),
            from: step.from.map_or(NEW, DeliveryState::as_str),
            to: step.to.as_str(),
            class: step.class.to_owned(),
        };
        *self.sums.entry(key).or_default() += n;
    }

    /// Whether nothing moved.
    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// Add the sums to the counters. Called last in a transaction: whoever counts by the same rows waits for its commit.
    pub async fn write(
        &self,
        connection: &mut Connection,
        workspace: WorkspaceId,
        writer: impl Into<Writer>,
        now: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        if self.is_empty() {
            return Ok(());
        }
        let column = |pick: fn(&Key) -> String| self.sums.keys().map(pick).collect::<Vec<String>>();
        sqlx::query!(
            "insert into transitions as t
                 (workspace_id, campaign_id, minute, provider, relay_id, from_state, to_state, class, node_id, n)
             select $1, x.campaign_id, $2, x.provider, x.relay_id, x.from_state, x.to_state, x.class, $3, x.n
             from unnest($4::uuid[], $5::text[], $6::uuid[], $7::text[], $8::text[], $9::text[], $10::bigint[])
                  with ordinality as x (campaign_id, provider, relay_id, from_state, to_state, class, n, place)
             order by x.place
             on conflict (workspace_id, campaign_id, minute, provider, relay_id, from_state, to_state, class, node_id)
             do update set n = t.n + excluded.n",
            workspace.0,
            minute(now),
            writer.into().key(),
            &self.sums.keys().map(|key| key.campaign).collect::<Vec<_>>(),
            &column(|key| key.provider.clone()),
            &self.sums.keys().map(|key| key.relay).collect::<Vec<_>>(),
            &column(|key| key.from.to_owned()),
            &column(|key| key.to.to_owned()),
            &column(|key| key.class.clone()),
            &self.sums.values().copied().collect::<Vec<_>>()
        )
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// How many deliveries of a campaign stand in a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateCount {
    /// The state.
    pub state: DeliveryState,
    /// How many; never negative in a committed database.
    pub n: i64,
}

/// The states of a campaign's deliveries, every state once; their sum is the audience so far.
pub async fn states(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> Result<Vec<StateCount>, StoreError> {
    let rows = sqlx::query!(
        r#"select x.state as "state!", sum(x.n)::bigint as "n!"
           from (select to_state as state, n from transitions where workspace_id = $1 and campaign_id = $2
                 union all
                 select from_state, -n from transitions where workspace_id = $1 and campaign_id = $2) x
           where x.state <> 'new'
           group by x.state"#,
        workspace.0,
        campaign.0
    )
    .fetch_all(connection)
    .await?;
    let mut counts: Vec<StateCount> = DeliveryState::ALL.into_iter().map(|state| StateCount { state, n: 0 }).collect();
    for row in rows {
        let state = DeliveryState::parse(&row.state).ok_or(StoreError::Corrupt("transitions.to_state"))?;
        if let Some(count) = counts.iter_mut().find(|count| count.state == state) {
            count.n = row.n;
        }
    }
    Ok(counts)
}

/// Rejections and bounces of a campaign by class, the most frequent first.
pub async fn classes(
    connection: &mut Connection,
    workspace: WorkspaceId,
    campaign: CampaignId,
) -> Result<Vec<(DeliveryState, String, i64)>, StoreError> {
    let rows = sqlx::query!(
        r#"select to_state, class, sum(n)::bigint as "n!" from transitions
           where workspace_id = $1 and campaign_id = $2 and to_state in ('rejected', 'bounced')
           group by to_state, class order by 3 desc, 1, 2"#,
        workspace.0,
        campaign.0
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let state = DeliveryState::parse(&row.to_state).ok_or(StoreError::Corrupt("transitions.to_state"))?;
            Ok((state, row.class, row.n))
        })
        .collect()
}
