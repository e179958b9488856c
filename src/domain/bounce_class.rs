//! The classes of refusals, and whom each is about. A leaf; the judgement is in `bounce`.

use std::fmt;

use serde::Serialize;

/// Why a copy was refused or returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BounceClass {
    /// No mailbox of that name.
    NoSuchUser,
    /// The domain doesn't exist.
    NoSuchDomain,
    /// The domain or host takes no mail at all (RFC 7504, RFC 7505).
    NoMail,
    /// The recipient moved elsewhere.
    Moved,
    /// The mailbox is there and switched off.
    Disabled,
    /// The mailbox is full.
    MailboxFull,
    /// The message is too big for the recipient.
    TooLarge,
    /// Refused by a rule of the receiver.
    Policy,
    /// The sending address or domain has a bad name.
    Reputation,
    /// Refused for what it contains: spam, a virus, a form.
    Content,
    /// SPF, DKIM or DMARC failed.
    AuthFailure,
    /// We sent too much or too fast.
    RateLimited,
    /// Asked to come again, as a stranger.
    Greylisted,
    /// No way there: DNS, loops, relaying refused.
    Routing,
    /// Tried until the time was used up.
    Expired,
    /// The receiving system is out of order.
    System,
    /// The peers don't understand each other.
    Protocol,
    /// Nothing said, or nothing known of it.
    Other,
}

/// Whom a failure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The address is condemned: mail it no more.
    Hard,
    /// It may work another time.
    Soft,
    /// The sender, the route or the message is at fault, not the recipient.
    AboutUs,
}

impl BounceClass {
    /// Every class.
    pub const ALL: [Self; 18] = [
        Self::NoSuchUser,
        Self::NoSuchDomain,
        Self::NoMail,
        Self::Moved,
        Self::Disabled,
        Self::MailboxFull,
        Self::TooLarge,
        Self::Policy,
        Self::Reputation,
        Self::Content,
        Self::AuthFailure,
        Self::RateLimited,
        Self::Greylisted,
        Self::Routing,
        Self::Expired,
        Self::System,
        Self::Protocol,
        Self::Other,
    ];

    /// As it stands in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchUser => "no_such_user",
            Self::NoSuchDomain => "no_such_domain",
            Self::NoMail => "no_mail",
            Self::Moved => "moved",
            Self::Disabled => "disabled",
            Self::MailboxFull => "mailbox_full",
            Self::TooLarge => "too_large",
            Self::Policy => "policy",
            Self::Reputation => "reputation",
            Self::Content => "content",
            Self::AuthFailure => "auth_failure",
            Self::RateLimited => "rate_limited",
            Self::Greylisted => "greylisted",
            Self::Routing => "routing",
            Self::Expired => "expired",
            Self::System => "system",
            Self::Protocol => "protocol",
            Self::Other => "other",
        }
    }

    /// The class of a name from SQL or the rules.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == name)
    }

    /// Whom the class is about when the failure is permanent and sure.
    pub const fn severity(self) -> Severity {
        match self {
            Self::NoSuchUser | Self::NoSuchDomain | Self::NoMail | Self::Moved | Self::Disabled => Severity::Hard,
            Self::MailboxFull | Self::Greylisted | Self::Routing | Self::Expired | Self::System | Self::Other => {
                Severity::Soft
            }
            Self::TooLarge
            | Self::Policy
            | Self::Reputation
            | Self::Content
            | Self::AuthFailure
            | Self::RateLimited
            | Self::Protocol => Severity::AboutUs,
        }
    }
}

impl Severity {
    /// As it stands in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
            Self::AboutUs => "about_us",
        }
    }
}

impl fmt::Display for BounceClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for BounceClass {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl Serialize for Severity {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
