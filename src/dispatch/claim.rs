//! A batch that this node holds, and the deliveries of it that are out to be submitted.
//!
//! The lease guards sending: it holds until a moment that both clocks of this machine agree is not past, with a margin
//! against the database's own clock. Not here: taking and giving back (`claims`), queueing (`desk`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

use super::{
    aim::Aim,
    campaign::Campaign,
    index::Subject,
    moment::{LastTime, Moment},
};
use crate::store::batches::{self, Claimed};

/// A batch, its lease and its campaign.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) held: batches::Claim,
    pub(super) campaign: Arc<Campaign>,
    /// When the lease was last asked for: it runs from then at the earliest.
    asked_at: LastTime,
    /// So long it is trusted: less than it lasts.
    trusted: Duration,
    is_lost: AtomicBool,
    /// Deliveries that wait on the desk.
    n_waiting: AtomicUsize,
    n_out: AtomicUsize,
    /// Deliveries that were open when it was claimed, if they were all seen.
    n_open: Option<usize>,
    /// Those of them that are known to be open no more.
    n_ended: AtomicUsize,
    /// Wakes the loop that gives back what is done.
    done: Arc<Notify>,
}

/// A delivery that was handed out.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) claim: Arc<Claim>,
    /// Boxed, for it passes through many hands.
    pub(super) claimed: Box<Claimed>,
    /// Whom limits and holds are about.
    pub(super) aim: Aim,
}

impl Claim {
    pub(super) fn new(
        held: batches::Claim,
        campaign: Arc<Campaign>,
        asked_at: Moment,
        lease: Duration,
        n_open: Option<usize>,
        done: Arc<Notify>,
    ) -> Self {
        Self {
            held,
            campaign,
            asked_at: LastTime::at(asked_at),
            // The rest is for the database's clock running faster, and for the time a write takes.
            trusted: lease.mul_f64(0.9),
            is_lost: AtomicBool::new(false),
            n_waiting: AtomicUsize::new(0),
            n_out: AtomicUsize::new(0),
            n_open,
            n_ended: AtomicUsize::new(0),
            done,
        }
    }

    /// The lease was renewed by a statement that began at `asked_at`.
    pub(super) fn renew(&self, asked_at: Moment) {
        self.asked_at.set(asked_at);
    }

    /// The batch is somebody else's now.
    pub(super) fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
    }

    /// Whether the batch is known to be somebody else's.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Whether the lease surely holds.
    pub(super) fn is_live(&self, now: Moment) -> bool {
        !self.is_lost() && self.asked_at.age(now) < self.trusted
    }

    /// Whether nothing of it waits here, and nothing is out that isn't settled.
    pub(super) fn is_done(&self) -> bool {
        self.n_waiting.load(Ordering::Acquire) == 0 && self.n_out.load(Ordering::Acquire) == 0
    }

    /// It was committed that one of its deliveries is open no more, or stands in this batch no more.
    pub(super) fn end_one(&self) {
        self.n_ended.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether nothing can be left in the batch.
    pub(super) fn is_spent(&self) -> bool {
        self.n_open == Some(self.n_ended.load(Ordering::Acquire))
    }

    /// So many deliveries more wait on the desk.
    pub(super) fn wait_more(&self, n: usize) {
        self.n_waiting.fetch_add(n, Ordering::AcqRel);
    }

    /// So many wait no more: they were taken back.
    pub(super) fn wait_less(&self, n: usize) {
        self.n_waiting.fetch_sub(n, Ordering::AcqRel);
    }
}

impl Work {
    /// Hand a delivery out. It counts as out until this is dropped, after its settle was committed.
    pub(super) fn new(claim: &Arc<Claim>, claimed: Box<Claimed>, aim: Aim) -> Self {
        claim.n_out.fetch_add(1, Ordering::AcqRel);
        Self { claim: Arc::clone(claim), claimed, aim }
    }

    /// Whom it is for, as the changes name things.
    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            workspace: self.claim.held.workspace,
            campaign: self.claim.held.campaign,
            recipient: self.claimed.recipient,
            address_key: &self.claimed.address_key,
            lists: &self.claimed.lists,
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.claim.n_out.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.claim.done.notify_one();
        }
    }
}
