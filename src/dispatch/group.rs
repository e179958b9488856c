//! Collecting what many hand in, so that a few commit it together.
//!
//! The queue has no bound of its own: whatever is handed in holds a slot of its connection's doubt window until it is
//! committed, so there are never more than connections times window. Not here: what is committed (`intents`, `settler`).

use std::time::Duration;

use tokio::sync::{
    Mutex,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// The most that is committed in one go.
const MOST: usize = 1024;

/// A queue that several committers empty in turn: while one commits, the next one collects.
#[derive(Debug)]
pub(super) struct Group<T> {
    queue: Mutex<UnboundedReceiver<T>>,
    delay: Duration,
}

impl<T> Group<T> {
    /// A queue, and where things are handed in. After the first arrives, what arrives within `delay` goes with it.
    pub(super) fn new(delay: Duration) -> (UnboundedSender<T>, Self) {
        let (sender, queue) = unbounded_channel();
        (sender, Self { queue: Mutex::new(queue), delay })
    }

    /// Collect into `group`. False when nothing can come any more.
    pub(super) async fn collect(&self, group: &mut Vec<T>) -> bool {
        let mut queue = self.queue.lock().await;
        if queue.recv_many(group, MOST).await == 0 {
            return false;
        }
        if group.len() + queue.len() < MOST && !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        while group.len() < MOST
            && let Ok(next) = queue.try_recv()
        {
            group.push(next);
        }
        true
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
        let (sender, group) = Group::new(Duration::from_millis(100));
        sender.send(1).unwrap();
        let late = sender.clone();
        tokio::spawn(async move { late.send(2).unwrap() });
        let mut got = Vec::new();
        assert!(group.collect(&mut got).await);
        assert_eq!(got, [1, 2]);
        drop(sender);
        got.clear();
        assert!(!group.collect(&mut got).await);
    }

    #[test]
    fn groups_keep_their_order() {
        let groups = by_key([1, 12, 3, 14], |n| n / 10);
        assert_eq!(groups, [(0, vec![1, 3]), (1, vec![12, 14])]);
    }
}
