//! How many connections may carry messages to one destination at the same time: one step fewer by half when it complains, one
//! more after a good while, never more than the most.
//!
//! Pure. Not here: what a complaint is (`domain::reply_rules`), how many connections a relay has (`dispatch`).

use std::collections::HashMap;

/// Good answers for each connection before there may be one more.
const GOOD_PER_STEP: usize = 20;

/// The connections that carry messages to one destination, and how many may.
#[derive(Debug)]
pub struct Crowd {
    /// Never more.
    ceiling: usize,
    /// As many as went well lately.
    most: usize,
    /// Messages under way, by connection.
    seats: HashMap<u64, usize>,
    n_good: usize,
}

impl Crowd {
    /// All that the ceiling lets.
    pub fn new(ceiling: usize) -> Self {
        let ceiling = ceiling.max(1);
        Self { ceiling, most: ceiling, seats: HashMap::new(), n_good: 0 }
    }

    /// How many connections may carry messages now.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Whether it is what it was at first, with nothing under way.
    pub fn is_idle(&self) -> bool {
        self.seats.is_empty() && self.most == self.ceiling
    }

    /// Whether a connection that carries none now may carry a message.
    pub fn has_room(&self) -> bool {
        self.seats.len() < self.most
    }

    /// Whether this connection may carry another message.
    pub fn admits(&self, connection: u64) -> bool {
        self.has_room() || self.seats.contains_key(&connection)
    }

    /// This connection carries a message more.
    pub fn enter(&mut self, connection: u64) {
        *self.seats.entry(connection).or_default() += 1;
    }

    /// This connection carries one less. True when a place is free now that wasn't before.
    pub fn leave(&mut self, connection: u64) -> bool {
        let Some(n) = self.seats.get_mut(&connection) else { return false };
        *n = n.saturating_sub(1);
        if *n > 0 {
            return false;
        }
        let was_full = self.seats.len() >= self.most;
        self.seats.remove(&connection);
        was_full && self.seats.len() < self.most
    }

    /// It complained: half as many as there are now, at least one.
    pub fn shrink(&mut self, n_now: usize) {
        self.most = (self.most.min(n_now.max(1)) / 2).max(1);
        self.n_good = 0;
    }

    /// It took a message. True when there may be one connection more.
    pub fn grow(&mut self) -> bool {
        if self.most >= self.ceiling {
            return false;
        }
        self.n_good += 1;
        if self.n_good < GOOD_PER_STEP * self.most {
            return false;
        }
        self.n_good = 0;
        self.most += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_halves_it_and_good_answers_bring_it_back_to_its_ceiling() {
        let mut crowd = Crowd::new(8);
        crowd.shrink(8);
        assert_eq!(crowd.most(), 4);
        (0..5).for_each(|_| crowd.shrink(8));
        assert_eq!(crowd.most(), 1);
        assert_eq!((0..20).filter(|_| crowd.grow()).count(), 1);
        assert_eq!((0..10_000).filter(|_| crowd.grow()).count(), 6);
        assert!(crowd.most() == 8 && crowd.is_idle());
    }

    #[test]
    fn only_so_many_connections_carry_messages_each_as_many_as_it_likes() {
        let mut crowd = Crowd::new(2);
        crowd.enter(1);
        crowd.enter(1);
        crowd.enter(2);
        assert!(crowd.admits(1) && crowd.admits(2) && !crowd.admits(3));
        assert!(!crowd.leave(1));
        assert!(crowd.leave(1) && crowd.admits(3));
        assert!(!crowd.leave(9));
    }
}
