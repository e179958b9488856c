//! Why an address may not be mailed.
//!
//! Not here: which bounce condemns (`domain::bounce`), where suppressions are kept (`store::suppressions`).

use serde::{Deserialize, Serialize};

/// The reason of a suppression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SuppressionReason {
    /// A report or a reply said that the mailbox doesn't exist.
    HardBounce,
    /// Too many reports of a passing fault.
    SoftBounce,
    /// The recipient complained of abuse.
    Complaint,
    /// The recipient wants no more mail at all.
    Unsubscribe,
    /// A person or an app said so.
    Manual,
}

impl SuppressionReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::HardBounce, Self::SoftBounce, Self::Complaint, Self::Unsubscribe, Self::Manual];

    /// The word in JSON and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HardBounce => "hard_bounce",
            Self::SoftBounce => "soft_bounce",
            Self::Complaint => "complaint",
            Self::Unsubscribe => "unsubscribe",
            Self::Manual => "manual",
        }
    }

    /// The reverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}
