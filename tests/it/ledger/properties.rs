//! The ledger under any order of events: nodes that claim, begin, end and die, outcomes that come late, reports that come
//! early, a cancel in between. After each event the books are held to the promises.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{TimeDelta, Utc};
use postrider::{
    domain::{
        campaign::{CampaignMove, CampaignState},
        delivery::{DeliveryState as State, Outcome},
        id::{DeliveryId, NodeId, ReportId},
        retry::Retry,
    },
    store::{
        batches::{Claim, Claimed},
        bounces::{self, Bounce},
        commit, moves, rescues, retries,
        settles::Settle,
        sweeps,
    },
};
use proptest::{collection::vec, prelude::*, sample::select};

use super::{claim, expand, expire_lease, intend, intent, outcome, release, settle};
use crate::support::campaign::StartedCampaign;

const ADDRESSES: [&str; 6] = ["a@gmail.com", "b@gmail.com", "c@gmail.com", "d@x.test", "e@x.test", "f@x.test"];
const N_NODES: usize = 2;

/// What can happen. Numbers pick among what there is.
#[derive(Debug, Clone)]
enum Event {
    /// A node claims what has been due longest.
    Claim { node: usize },
    /// The first so many deliveries of a claim are begun.
    Begin { claim: usize, n: usize },
    /// An attempt that was begun ends; perhaps long after its lease ran out.
    End { attempt: usize, outcome: Outcome, is_last: bool },
    /// Every node is dead or asleep for longer than its lease, and one of them rescues.
    Rescue,
    /// What waits is due.
    Regroup,
    /// A claim is given back.
    Release { claim: usize },
    /// A report says that this delivery failed.
    Report { address: usize },
    /// The campaign is cancelled.
    Cancel,
    /// A step of clearing a cancelled campaign away.
    Sweep,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..N_NODES).prop_map(|node| Event::Claim { node }),
        6 => (any::<usize>(), 1..4_usize).prop_map(|(claim, n)| Event::Begin { claim, n }),
        8 => (any::<usize>(), select(&Outcome::ALL), any::<bool>())
            .prop_map(|(attempt, outcome, is_last)| Event::End { attempt, outcome, is_last }),
        2 => Just(Event::Rescue),
        3 => Just(Event::Regroup),
        2 => any::<usize>().prop_map(|claim| Event::Release { claim }),
        1 => (0..ADDRESSES.len()).prop_map(|address| Event::Report { address }),
        1 => prop_oneof![9 => Just(Event::Regroup), 1 => Just(Event::Cancel)],
        1 => Just(Event::Sweep),
    ];
    vec(event, 10..60)
}

/// An attempt that was begun and whose outcome nobody has written yet.
struct Begun {
    node: NodeId,
    claim: Claim,
    claimed: Claimed,
}

/// The campaign, what its nodes hold in memory, and what the world has seen.
struct World {
    one: StartedCampaign,
    nodes: [NodeId; N_NODES],
    claims: Vec<(NodeId, Claim, Vec<Claimed>)>,
    begun: Vec<Begun>,
    /// Claims before the last rescue have lost their lease.
    n_lost: usize,
    attempts: HashSet<(DeliveryId, i32)>,
    /// Messages that may have arrived, of each delivery.
    n_copies: HashMap<DeliveryId, usize>,
    states: BTreeMap<String, State>,
}

impl World {
    async fn new() -> Self {
        let one = StartedCampaign::with_recipients(&ADDRESSES).await;
        assert!(expand(&one, 100).await.done);
        let nodes = [one.node, NodeId::new()];
        let mut world = Self {
            one,
            nodes,
            claims: Vec::new(),
            begun: Vec::new(),
            n_lost: 0,
            attempts: HashSet::new(),
            n_copies: HashMap::new(),
            states: BTreeMap::new(),
        };
        world.states = world.read().await;
        world
    }

    async fn read(&self) -> BTreeMap<String, State> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("select address, state from deliveries").fetch_all(self.one.database.pool()).await.unwrap();
        rows.into_iter().map(|(address, state)| (address, State::parse(&state).unwrap())).collect()
    }

    async fn apply(&mut self, event: &Event) {
        match *event {
            Event::Claim { node } => self.claim(node).await,
            Event::Begin { claim, n } => self.begin(claim, n).await,
            Event::End { attempt, outcome, is_last } => self.end(attempt, outcome, is_last).await,
            Event::Rescue => self.rescue().await,
            Event::Regroup => self.regroup().await,
            Event::Release { claim } => self.release(claim).await,
            Event::Report { address } => self.report(address).await,
            Event::Cancel => self.cancel().await,
            Event::Sweep => self.sweep().await,
        }
        self.check(event).await;
    }

    async fn claim(&mut self, node: usize) {
        let node = self.nodes[node];
        if let Some((held, deliveries)) = claim(&self.one, node).await {
            self.claims.push((node, held, deliveries));
        }
    }

    async fn begin(&mut self, claim: usize, n: usize) {
        let Some(place) = claim.checked_rem(self.claims.len()) else { return };
        let is_lost = place < self.n_lost;
        let (node, held, deliveries) = &mut self.claims[place];
        let (node, held) = (*node, held.clone());
        let n = n.min(deliveries.len());
        for claimed in deliveries.drain(..n).collect::<Vec<_>>() {
            let n_granted = intend(&self.one, node, &[intent(&self.one, &held, &claimed)]).await;
            assert!(n_granted == 0 || !is_lost, "an intent was granted without a lease");
            if n_granted == 1 {
                let attempt = claimed.attempt + 1;
                assert!(self.attempts.insert((claimed.delivery, attempt)), "attempt {attempt} was begun twice");
                self.begun.push(Begun { node, claim: held.clone(), claimed });
            }
        }
    }

    async fn end(&mut self, attempt: usize, how: Outcome, is_last: bool) {
        let Some(place) = attempt.checked_rem(self.begun.len()) else { return };
        let Begun { node, claim, claimed } = self.begun.swap_remove(place);
        let was_unknown = claimed.state == State::Unknown;
        let next = match how {
            Outcome::Deferred if is_last => Some(Retry::Expire),
            Outcome::Unknown if was_unknown || claimed.n_resends > 0 => Some(Retry::Expire),
            Outcome::Deferred | Outcome::Unknown => Some(Retry::At(Utc::now())),
            Outcome::NotSubmitted if was_unknown => Some(Retry::At(Utc::now())),
            _ => None,
        };
        let row = Settle { next, was_unknown, ..outcome(&self.one, &claim, &claimed, how) };
        settle(&self.one, node, std::slice::from_ref(&row)).await;
        assert_eq!(settle(&self.one, node, &[row]).await, 0, "the same outcome was counted twice");
        if matches!(how, Outcome::Accepted | Outcome::Unknown) {
            *self.n_copies.entry(claimed.delivery).or_default() += 1;
        }
    }

    async fn rescue(&mut self) {
        expire_lease(&self.one).await;
        let mut tx = self.one.store.begin().await.unwrap();
        let wait = TimeDelta::minutes(2);
        rescues::step(&mut tx, self.one.workspace, self.nodes[0], wait, 100, Utc::now()).await.unwrap();
        commit(tx).await.unwrap();
        self.n_lost = self.claims.len();
    }

    async fn regroup(&mut self) {
        let mut tx = self.one.store.begin().await.unwrap();
        let later = Utc::now() + TimeDelta::hours(1);
        retries::regroup(&mut tx, self.one.workspace, 100, 2, later).await.unwrap();
        sqlx::query("update batches set due_at = now() where due_at > now()").execute(&mut *tx).await.unwrap();
        commit(tx).await.unwrap();
    }

    async fn release(&mut self, claim: usize) {
        let Some(place) = claim.checked_rem(self.claims.len()) else { return };
        let (node, held, _) = &self.claims[place];
        release(&self.one, held, *node).await;
        // What was read with it may be of somebody else's claim from now on.
        self.claims[place].2.clear();
    }

    async fn report(&mut self, address: usize) {
        let id: uuid::Uuid = sqlx::query_scalar("select id from deliveries where address = $1")
            .bind(ADDRESSES[address])
            .fetch_one(self.one.database.pool())
            .await
            .unwrap();
        let mut tx = self.one.store.begin().await.unwrap();
        let id = DeliveryId(id);
        let subject = bounces::lock_all(&mut tx, self.one.workspace, &[id]).await.unwrap().remove(&id).unwrap();
        let bounce = Bounce {
            report: ReportId::new(),
            class: "mailbox_full",
            severity: "soft",
            status: Some("4.2.2".into()),
            text: "full".into(),
            condemned: false,
        };
        let (workspace, node) = (self.one.workspace, self.nodes[0]);
        let bounced = bounces::bounce_all(&mut tx, workspace, node, &[(&subject, bounce)], Utc::now()).await.unwrap();
        assert_eq!(bounced.contains(&id), subject.state.may_become(State::Bounced));
        commit(tx).await.unwrap();
    }

    async fn cancel(&mut self) {
        let mut tx = self.one.store.begin().await.unwrap();
        let from = moves::lock(&mut tx, self.one.workspace, self.one.campaign).await.unwrap().unwrap();
        let step = CampaignMove::Cancel;
        if step.apply(from).is_some() {
            let campaign = self.one.campaign;
            moves::apply(&mut tx, self.one.workspace, campaign, from, step, None, Utc::now()).await.unwrap();
        }
        commit(tx).await.unwrap();
    }

    async fn sweep(&mut self) {
        if self.campaign_state().await != CampaignState::Cancelled {
            return;
        }
        let mut tx = self.one.store.begin().await.unwrap();
        let one = &self.one;
        sweeps::step(&mut tx, one.workspace, one.campaign, self.nodes[0], 1, Utc::now()).await.unwrap();
        retries::end_stragglers(&mut tx, one.workspace, self.nodes[0], 100, Utc::now()).await.unwrap();
        commit(tx).await.unwrap();
    }

    async fn campaign_state(&self) -> CampaignState {
        let mut tx = self.one.store.begin().await.unwrap();
        moves::lock(&mut tx, self.one.workspace, self.one.campaign).await.unwrap().unwrap()
    }

    /// After every event.
    async fn check(&mut self, event: &Event) {
        let counted = self.one.checked_states().await;
        assert_eq!(counted.iter().map(|(_, n)| n).sum::<i64>(), ADDRESSES.len() as i64, "{counted:?}");
        let states = self.read().await;
        for (address, state) in &states {
            let before = self.states[address];
            assert!(may_come_to(before, *state), "{address} went from {before:?} to {state:?} by {event:?}");
        }
        self.states = states;
        assert!(self.n_copies.values().all(|n| *n <= 2), "somebody may have got three copies");
    }

    /// Everybody lives, every relay answers, nothing more goes wrong: all comes to an end.
    async fn finish(mut self) {
        while !self.begun.is_empty() {
            self.apply(&Event::End { attempt: 0, outcome: Outcome::Accepted, is_last: false }).await;
        }
        self.apply(&Event::Rescue).await;
        for _ in 0..20 {
            for event in [Event::Regroup, Event::Sweep, Event::Claim { node: 1 }] {
                self.apply(&event).await;
            }
            let last = self.claims.len().wrapping_sub(1);
            self.apply(&Event::Begin { claim: last, n: ADDRESSES.len() }).await;
            while !self.begun.is_empty() {
                self.apply(&Event::End { attempt: 0, outcome: Outcome::Accepted, is_last: false }).await;
            }
            self.apply(&Event::Release { claim: last }).await;
        }
        let is_open = |state: &State| matches!(state, State::Queued | State::Sending | State::Deferred);
        assert!(!self.states.values().any(is_open), "{:?}", self.states);
        let mut connection = self.one.store.acquire().await.unwrap();
        moves::finish_idle(&mut connection, self.one.workspace, Utc::now()).await.unwrap();
        drop(connection);
        let state = self.campaign_state().await;
        assert!(matches!(state, CampaignState::Sent | CampaignState::Cancelled), "{state:?}");
    }
}

/// Whether one event may lead from here to there: by a move of the table, or by two (a deferral that is the last one).
fn may_come_to(from: State, to: State) -> bool {
    let by_two = |middle: &State| from.may_become(*middle) && middle.may_become(to);
    from == to || from.may_become(to) || State::ALL.iter().any(by_two)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_of_events_nobody_is_lost_counted_twice_or_sent_a_third_copy(events in events()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for event in &events {
                world.apply(event).await;
            }
            world.finish().await;
        });
    }
}
