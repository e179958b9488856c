//! The acts of obedience that are newer than the oldest claim, in memory, to be asked before every MAIL FROM.
//!
//! A claim read the lists, suppressions and campaign as they stood in its snapshot; only changes of transactions that this
//! did not see can have been missed. One that it saw forbids nothing: what was undone since (a pause by a resume) was seen
//! as well, however long other transactions stay open. Not here: reading them from Postgres (`changes`).

use std::collections::{HashMap, VecDeque};

use super::moment::Moment;
use crate::{
    domain::id::{CampaignId, ListId, RecipientId, WorkspaceId},
    store::changes::{Change, Recorded, Snapshot},
};

/// Whom a message is for, as the changes name things.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) workspace: WorkspaceId,
    pub(super) campaign: CampaignId,
    pub(super) recipient: RecipientId,
    pub(super) address_key: &'a str,
    /// Lists of the audience through which the recipient may be mailed, as the claim saw it.
    pub(super) lists: &'a [ListId],
}

/// What forbids a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// Its campaign was paused or cancelled.
    Stopped,
    /// Its address is suppressed.
    Suppressed,
    /// Its recipient left every list that leads here.
    Unsubscribed,
}

/// Acts by their scope, each with the transaction that made it. All are kept: one may be seen where an older one was not.
type Acts<S> = Vec<(S, u64)>;

/// Changes by what they forbid, each with the transaction that made it.
#[derive(Debug, Default)]
pub(super) struct Index {
    campaigns: HashMap<CampaignId, Acts<()>>,
    recipients: HashMap<RecipientId, Acts<ListId>>,
    addresses: HashMap<WorkspaceId, HashMap<String, Acts<Option<ListId>>>>,
    /// Past looks: when, and from where the next one started.
    looks: VecDeque<(Moment, u64)>,
}

impl Index {
    /// Take a change in. One that is there already (looks overlap) changes nothing.
    pub(super) fn add(&mut self, recorded: Recorded) {
        let Recorded { workspace, xid, change, .. } = recorded;
        match change {
            Change::Pause(campaign) | Change::Cancel(campaign) => {
                note(self.campaigns.entry(campaign).or_default(), (), xid);
            }
            Change::Unsubscribe { recipient, list } => {
                note(self.recipients.entry(recipient).or_default(), list, xid);
            }
            Change::Suppression { address_key, list } => {
                let addresses = self.addresses.entry(workspace).or_default();
                note(addresses.entry(address_key).or_default(), list, xid);
            }
        }
    }

    /// What forbids this message, whose claim saw `as_of`.
    pub(super) fn block(&self, as_of: &Snapshot, subject: &Subject<'_>) -> Option<Block> {
        if self.stops(as_of, subject.campaign) {
            return Some(Block::Stopped);
        }
        let acts = self.addresses.get(&subject.workspace).and_then(|known| known.get(subject.address_key));
        let suppressed = |list: Option<ListId>| {
            acts.is_some_and(|acts| acts.iter().any(|&(scope, xid)| scope == list && !as_of.saw(xid)))
        };
        if suppressed(None) {
            return Some(Block::Suppressed);
        }
        let left = self.recipients.get(&subject.recipient);
        if acts.is_none() && left.is_none() {
            return None;
        }
        let unsubscribed =
            |list: ListId| left.is_some_and(|left| left.iter().any(|&(scope, xid)| scope == list && !as_of.saw(xid)));
        if subject.lists.iter().any(|&list| !unsubscribed(list) && !suppressed(Some(list))) {
            return None;
        }
        let by_suppression = subject.lists.iter().any(|&list| suppressed(Some(list)));
        Some(if by_suppression { Block::Suppressed } else { Block::Unsubscribed })
    }

    /// Whether this campaign was paused or cancelled since.
    pub(super) fn stops(&self, as_of: &Snapshot, campaign: CampaignId) -> bool {
        self.campaigns.get(&campaign).is_some_and(|acts| acts.iter().any(|&((), xid)| !as_of.saw(xid)))
    }

    /// Note a look that ended at `next`, and forget what no claim can have missed: changes before the oldest claim and
    /// before the looks of the last `keep` (a claim may be under way that isn't known yet).
    pub(super) fn prune(&mut self, now: Moment, next: u64, oldest_claim: Option<u64>, keep: std::time::Duration) {
        self.looks.push_back((now, next));
        let mut horizon = 0;
        while let Some(&(at, xid)) = self.looks.front().filter(|(at, _)| now.since(*at) > keep) {
            let _ = at;
            horizon = xid;
            self.looks.pop_front();
        }
        if horizon == 0 {
            return;
        }
        let horizon = oldest_claim.map_or(horizon, |oldest| oldest.min(horizon));
        retain_newer(&mut self.campaigns, horizon);
        retain_newer(&mut self.recipients, horizon);
        self.addresses.retain(|_, known| {
            retain_newer(known, horizon);
            !known.is_empty()
        });
    }
}

fn note<S: PartialEq>(acts: &mut Acts<S>, scope: S, xid: u64) {
    if !acts.iter().any(|known| known.0 == scope && known.1 == xid) {
        acts.push((scope, xid));
    }
}

fn retain_newer<K: Eq + std::hash::Hash, S>(known: &mut HashMap<K, Acts<S>>, horizon: u64) {
    known.retain(|_, acts| {
        acts.retain(|(_, xid)| *xid >= horizon);
        !acts.is_empty()
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::id::ChangeId;

    struct World {
        workspace: WorkspaceId,
        campaign: CampaignId,
        recipient: RecipientId,
        lists: Vec<ListId>,
        index: Index,
    }

    impl World {
        fn new(n_lists: usize) -> Self {
            Self {
                workspace: WorkspaceId::new(),
                campaign: CampaignId::new(),
                recipient: RecipientId::new(),
                lists: (0..n_lists).map(|_| ListId::new()).collect(),
                index: Index::default(),
            }
        }

        fn add(&mut self, xid: u64, change: Change) {
            self.index.add(Recorded { workspace: self.workspace, id: ChangeId::new(), xid, change });
        }

        /// For a claim that saw all before this transaction.
        fn block(&self, as_of: u64) -> Option<Block> {
            self.block_in(&format!("{as_of}:{as_of}:"))
        }

        fn block_in(&self, snapshot: &str) -> Option<Block> {
            let subject = Subject {
                workspace: self.workspace,
                campaign: self.campaign,
                recipient: self.recipient,
                address_key: "ann@a.test",
                lists: &self.lists,
            };
            self.index.block(&Snapshot::parse(snapshot).unwrap(), &subject)
        }
    }

    #[test]
    fn a_change_forbids_what_was_claimed_before_it_and_not_what_was_claimed_after() {
        let mut world = World::new(1);
        let campaign = world.campaign;
        assert_eq!(world.block(0), None);
        world.add(10, Change::Pause(campaign));
        assert_eq!(world.block(10), Some(Block::Stopped));
        assert_eq!(world.block(11), None);
        world.add(9, Change::Pause(campaign));
        assert_eq!(world.block(10), Some(Block::Stopped));
    }

    #[test]
    fn what_a_claim_saw_forbids_nothing_however_old_its_horizon_is() {
        let mut world = World::new(1);
        let campaign = world.campaign;
        world.add(10, Change::Pause(campaign));
        // The transaction 5 is still open.
        assert_eq!(world.block_in("5:11:5"), None);
        assert_eq!(world.block_in("5:10:5"), Some(Block::Stopped));
        // A pause that began before another one and was committed after it.
        world.add(8, Change::Pause(campaign));
        assert_eq!(world.block_in("5:11:5,8"), Some(Block::Stopped));
    }

    #[test]
    fn an_unsubscribe_forbids_once_every_list_that_leads_here_was_left() {
        let mut world = World::new(2);
        let (recipient, first, second) = (world.recipient, world.lists[0], world.lists[1]);
        world.add(10, Change::Unsubscribe { recipient, list: first });
        assert_eq!(world.block(5), None);
        world.add(12, Change::Unsubscribe { recipient, list: second });
        assert_eq!(world.block(5), Some(Block::Unsubscribed));
        assert_eq!(world.block(11), None);
    }

    #[test]
    fn a_suppression_of_the_workspace_forbids_and_one_of_a_list_only_by_way_of_it() {
        let mut world = World::new(2);
        let (recipient, first, second) = (world.recipient, world.lists[0], world.lists[1]);
        let key = || "ann@a.test".to_owned();
        world.add(10, Change::Suppression { address_key: key(), list: Some(first) });
        assert_eq!(world.block(5), None);
        world.add(10, Change::Unsubscribe { recipient, list: second });
        assert_eq!(world.block(5), Some(Block::Suppressed));
        let mut other = World::new(2);
        other.add(10, Change::Suppression { address_key: key(), list: None });
        assert_eq!(other.block(5), Some(Block::Suppressed));
        other.workspace = WorkspaceId::new();
        assert_eq!(other.block(5), None);
    }

    #[test]
    fn what_no_claim_can_have_missed_is_forgotten() {
        let mut world = World::new(1);
        let (recipient, list) = (world.recipient, world.lists[0]);
        world.add(10, Change::Unsubscribe { recipient, list });
        world.add(10, Change::Suppression { address_key: "x@y.z".into(), list: None });
        let (start, keep) = (Moment::now(), Duration::from_secs(60));
        let later = |seconds| start.later(Duration::from_secs(seconds));
        world.index.prune(start, 20, None, keep);
        world.index.prune(later(59), 20, None, keep);
        assert!(world.block(5).is_some());
        world.index.prune(later(61), 20, Some(10), keep);
        assert!(world.block(5).is_some());
        world.index.prune(later(121), 20, Some(11), keep);
        assert_eq!(world.block(5), None);
        assert!(world.index.addresses.is_empty());
    }
}
