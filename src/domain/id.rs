//! Ids: a UUIDv7 inside, a prefix and 26 characters of Crockford's base32 outside (`cmp_01J…`), so they sort by age.
//!
//! Not here: what the ids name. RFC 9562 §5.7 (UUIDv7); Crockford's base32 for the letters.

use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const CHARACTERS: usize = 26;

/// Why a text is not an id of the kind that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The prefix is missing or another noun's.
    #[error("an id that starts with `{0}_` is expected")]
    Prefix(&'static str),
    /// Not 26 characters of Crockford's base32 behind the prefix.
    #[error("26 characters of base32 are expected behind the prefix")]
    Malformed,
}

/// 26 lower-case characters of Crockford's base32.
pub fn encode(id: Uuid) -> String {
    let value = id.as_u128();
    (0..CHARACTERS)
        .rev()
        .map(|place| {
            let digit = (value >> (place * 5)) & 31;
            ALPHABET.get(usize::try_from(digit).unwrap_or(0)).copied().map_or('0', char::from)
        })
        .collect()
}

/// The reverse of [`encode`]; upper case is accepted, look-alikes (i, l, o, u) are not.
pub fn decode(text: &str) -> Option<Uuid> {
    if text.len() != CHARACTERS {
        return None;
    }
    let mut value: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let byte = byte.to_ascii_lowercase();
        let digit = ALPHABET.iter().position(|letter| *letter == byte)?;
        if place == 0 && digit > 7 {
            return None;
        }
        value = (value << 5) | u128::try_from(digit).ok()?;
    }
    Some(Uuid::from_u128(value))
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// What stands before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new id that sorts after the ones made before it (UUIDv7 of the system's clock).
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// So many new ids, each sorting after the one before it: one look at the clock and one draw of chance for all, and
            /// then steps (RFC 9562 §6.2, method 2).
            pub fn series(n: usize) -> Vec<Self> {
                // One bit of chance less, so that the steps never reach the variant's bits.
                let first = Uuid::now_v7().as_u128() & !(1 << 61);
                (0_u32..).take(n).map(|place| Self(Uuid::from_u128(first + (u128::from(place) << 24)))).collect()
            }

            /// Parse the outside form.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let rest = text
                    .strip_prefix($prefix)
                    .and_then(|rest| rest.strip_prefix('_'))
                    .ok_or(IdError::Prefix($prefix))?;
                decode(rest).map(Self).ok_or(IdError::Malformed)
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "_{}"), encode(self.0))
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Uuid {
                id.0
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// A tenant.
    WorkspaceId "ws";
    /// An API key.
    ApiKeyId "key";
    /// A named set of recipients.
    ListId "lst";
    /// A person on a list.
    RecipientId "rcp";
    /// A template.
    TemplateId "tpl";
    /// One immutable version of a template.
    TemplateVersionId "tpv";
    /// The domain of a From.
    SenderDomainId "snd";
    /// A key that signs for a sender domain.
    DkimKeyId "dkm";
    /// An outbound SMTP server.
    RelayId "rly";
    /// An IMAP account with reports.
    MailboxId "mbx";
    /// Where a mail service tells of bounces by HTTP.
    InboundWebhookId "inb";
    /// One content to one audience.
    CampaignId "cmp";
    /// Up to some 500 deliveries of one campaign and one provider.
    BatchId "bat";
    /// One recipient's copy.
    DeliveryId "dlv";
    /// An address that may not be mailed.
    SuppressionId "sup";
    /// A message of a mailbox, or an event of an inbound webhook.
    ReportId "rep";
    /// A row of the event log.
    EventId "evt";
    /// An act of obedience.
    ChangeId "chg";
    /// A process.
    NodeId "nod";
    /// One HTTP request.
    RequestId "req";
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn an_id_round_trips_and_sorts_by_age() {
        let (a, b) = (CampaignId::new(), CampaignId::new());
        assert_eq!(CampaignId::parse(&a.to_string()), Ok(a));
        assert_eq!(CampaignId::parse(&a.to_string().replacen("cmp_", "CMP_", 1)), Err(IdError::Prefix("cmp")));
        assert_eq!(a.to_string() < b.to_string(), a < b);
        assert_eq!(decode(&encode(Uuid::max())), Some(Uuid::max()));
    }

    #[test]
    fn a_series_of_ids_is_in_order_and_each_is_a_uuid_of_version_7() {
        let series = DeliveryId::series(5000);
        assert_eq!(series.len(), 5000);
        assert!(series.is_sorted() && series.windows(2).all(|pair| pair[0] != pair[1]));
        let is_good = |id: &DeliveryId| id.0.get_version_num() == 7 && id.0.get_variant() == uuid::Variant::RFC4122;
        assert!(series.iter().all(is_good));
        assert!(DeliveryId::series(0).is_empty());
        let age = |id: &DeliveryId| id.0.get_timestamp().unwrap().to_unix();
        assert_eq!(age(&series[0]), age(&series[4999]));
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in ["", "cmp", "cmp_", "lst_01h455vb4pex5vsknk084sn02q", "cmp_zzzzzzzzzzzzzzzzzzzzzzzzzz", "cmp_é"] {
            assert!(CampaignId::parse(text).is_err(), "{text}");
        }
        assert_eq!(CampaignId::parse("cmp_u1h455vb4pex5vsknk084sn02q"), Err(IdError::Malformed));
    }
}
