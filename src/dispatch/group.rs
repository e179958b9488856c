//! Collecting what many hand in, so that a few commit it together.
//!
//! A commit costs both sides about as much as writing a dozen rows, so a group is worth waiting for: until a good part of all
//! that is in flight has come together, but never longer than its delay. The part is small enough that the other committer
//! and the wire have something to do meanwhile; with one message in flight nothing is waited for.
//!
//! The queue has no bound of its own: whatever is handed in holds a slot of its connection's doubt window until it is
//! committed, so there are never more than connections times window. Not here: what is committed (`intents`, `settler`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{
        Mutex,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    time::{Instant, sleep},
};

/// The most that is committed in one go.
const MOST: usize = 1024;
/// A group is complete when it has one in so many of the messages in flight.
const PART: usize = 4;
/// Between two looks whether a group is complete: the clock of the runtime is no finer.
const LOOK: Duration = Duration::from_millis(1);

/// Messages that were made ready and whose outcome is not committed, over all connections.
#[derive(Debug, Clone, Default)]
pub(super) struct InFlight(Arc<AtomicUsize>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Aloft(Arc<AtomicUsize>);

impl InFlight {
    /// Count one more.
    pub(super) fn enter(&self) -> Aloft {
        self.0.fetch_add(1, Ordering::Relaxed);
        Aloft(Arc::clone(&self.0))
    }

    /// How many make a group.
    fn worth_committing(&self) -> usize {
        (self.0.load(Ordering::Relaxed) / PART).min(MOST)
    }
}

impl Drop for Aloft {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A queue that several committers empty in turn: while one commits, the next one collects.
#[derive(Debug)]
pub(super) struct Group<T> {
    queue: Mutex<UnboundedReceiver<T>>,
    in_flight: InFlight,
    delay: Duration,
    weigh: fn(&T) -> usize,
}

impl<T> Group<T> {
    /// A queue, and where things are handed in. After the first arrives, what arrives within `delay` goes with it, unless
    /// they are enough before. `weigh` tells how many messages one thing is about.
    pub(super) fn new(in_flight: InFlight, delay: Duration, weigh: fn(&T) -> usize) -> (UnboundedSender<T>, Self) {
        let (sender, queue) = unbounded_channel();
        (sender, Self { queue: Mutex::new(queue), in_flight, delay, weigh })
    }

    /// Collect into `group`. False when nothing can come any more.
    pub(super) async fn collect(&self, group: &mut Vec<T>) -> bool {
        let mut queue = self.queue.lock().await;
        if queue.recv_many(group, MOST).await == 0 {
            return false;
        }
        let began = Instant::now();
        let mut n_messages: usize = group.iter().map(self.weigh).sum();
        loop {
            while group.len() < MOST
                && let Ok(next) = queue.try_recv()
            {
                n_messages += (self.weigh)(&next);
                group.push(next);
            }
            if n_messages >= self.in_flight.worth_committing() || began.elapsed() >= self.delay {
                return true;
            }
            sleep(LOOK).await;
        }
    }
}

/// Split by key, keeping the order within each.
pub(super) fn by_key<K: PartialEq, T>(all: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> Vec<(K, Vec<T>)> {
    let mut groups: Vec<(K, Vec<T>)> = Vec::new();
    for one in all {
        let its = key(&one);
        // Nearly always there is one group, and the last one is right.
        match groups.iter_mut().rev().find(|(known, _)| *known == its) {
            Some((_, group)) => group.push(one),
            None => groups.push((its, vec![one])),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_arrives_soon_after_the_first_goes_with_it() {
        let in_flight = InFlight::default();
        let (sender, group) = Group::new(in_flight.clone(), Duration::from_secs(60), |_| 1);
        let aloft: Vec<_> = (0..8).map(|_| in_flight.enter()).collect();
        sender.send(1).unwrap();
        let late = sender.clone();
        tokio::spawn(async move { late.send(2).unwrap() });
        let mut got = Vec::new();
        // Two of eight are enough, long before the delay is over.
        assert!(group.collect(&mut got).await);
        assert_eq!(got, [1, 2]);
        drop((sender, aloft));
        got.clear();
        assert!(!group.collect(&mut got).await);
    }

    #[tokio::test]
    async fn nothing_is_waited_for_when_nothing_else_is_in_flight_and_never_longer_than_the_delay() {
        let in_flight = InFlight::default();
        let (sender, group) = Group::new(in_flight.clone(), Duration::from_millis(5), |_| 1);
        let mut got = Vec::new();
        let _aloft: Vec<_> = (0..100).map(|_| in_flight.enter()).collect();
        sender.send(1).unwrap();
        assert!(group.collect(&mut got).await);
        let (sender, group) = Group::new(InFlight::default(), Duration::from_secs(60), |_| 1);
        sender.send(2).unwrap();
        assert!(group.collect(&mut got).await);
        assert_eq!(got, [1, 2]);
    }

    #[test]
    fn groups_keep_their_order() {
        let groups = by_key([1, 12, 3, 14], |n| n / 10);
        assert_eq!(groups, [(0, vec![1, 3]), (1, vec![12, 14])]);
    }
}
