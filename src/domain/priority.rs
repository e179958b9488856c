//! How urgent a campaign is beside the others of its workspace: a share, and not a strict order, so nothing ever starves.
//!
//! Not here: taking turns by it (`dispatch::desk`).

/// What a campaign's turn is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    /// It may take its time.
    Low,
    /// As most are.
    #[default]
    Normal,
    /// It overtakes the others.
    High,
}

impl Priority {
    /// Every priority, the least urgent first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// Messages in a turn: the share of two campaigns that want the same permits is as these.
    pub fn weight(self) -> u32 {
        match self {
            Self::Low => 1,
            Self::Normal => 4,
            Self::High => 16,
        }
    }

    /// The word in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_urgent_has_more_of_each_turn() {
        assert!(Priority::ALL.windows(2).all(|pair| pair[0].weight() < pair[1].weight()));
        assert!(Priority::ALL.into_iter().all(|priority| Priority::parse(priority.as_str()) == Some(priority)));
        assert_eq!(Priority::default(), Priority::Normal);
    }
}
