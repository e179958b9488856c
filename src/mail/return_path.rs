//! The return path: a signed local part that says which delivery a report is about (VERP).
//!
//! `b-` and 44 characters of base32 over key id (1 byte), delivery (16) and MAC (10): 46 characters, good in either case.
//! The MAC covers the workspace as well: a report counts only in a mailbox of the workspace that sent the message. A
//! delivery's id is a UUIDv7, so the return path carries its age; after 90 days it is worth nothing.
//!
//! The message itself carries another signature of the same, `m-` and 44 characters: in its `X-Postrider-Delivery` header, for
//! reports that keep the message but lose the envelope, and before the `@` of its Message-ID, for those that keep nothing
//! else: relays' own events, and reports without the message. Who quotes it has seen the message; every answer to it and every
//! archive does, so that it counts in those places only, and the return path can't be made of it. The two are the first and the
//! second ten bytes of one MAC, whose bytes tell nothing of each other.
//!
//! Not here: reading the report around it (`mail` and `reports`), what it does to the delivery (`store`).
//!
//! RFC 5321 §4.5.3.1.1 (a local part has at most 64 bytes), RFC 4648 §6 (base32), RFC 9562 §5.7 (UUIDv7).

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::keyring::{Keyring, Purpose, equal_in_constant_time};

/// The name of the header that has the message's own signature.
pub const DELIVERY_HEADER: &str = "X-Postrider-Delivery";
/// Days for which a return path is believed, counted from the delivery's creation.
pub const VALID_DAYS: i64 = 90;

const PREFIX_CHARS: usize = 2;
const MAC_BYTES: usize = 10;
const BODY_BYTES: usize = 1 + 16 + MAC_BYTES;
const BODY_CHARS: usize = 44;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Return paths that are verified in one report or event; a genuine one is among the first.
const VERIFIED_MAX: usize = 64;
/// The same of one of its texts.
const FOUND_IN_A_TEXT_MAX: usize = 8;

/// Why a return path names no delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReturnPathError {
    /// The signature is wrong: forged, changed on its way, or of another workspace.
    #[error("the return path is not signed by this installation for this workspace")]
    Forged,
    /// Older than [`VALID_DAYS`].
    #[error("the return path is older than {VALID_DAYS} days")]
    Expired,
}

/// Where a signature counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the envelope.
    Envelope,
    /// In the message: in [`DELIVERY_HEADER`] and the Message-ID.
    Message,
}

impl Place {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Envelope => "b-",
            Self::Message => "m-",
        }
    }

    /// Its part of the MAC.
    fn part(self, mac: &[u8; 32]) -> Option<[u8; MAC_BYTES]> {
        let (first, rest) = mac.split_first_chunk()?;
        match self {
            Self::Envelope => Some(*first),
            Self::Message => rest.first_chunk().copied(),
        }
    }
}

/// What a delivery is known by: texts of 46 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The local part of its return path.
    pub return_path: String,
    /// What its message carries: in [`DELIVERY_HEADER`], and as the left side of the Message-ID.
    pub message: String,
}

/// A signature as it was read: believe it only after [`ReturnPath::verify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReturnPath {
    place: Place,
    key_id: u8,
    delivery: Uuid,
    mac: [u8; MAC_BYTES],
}

/// Signs a delivery of a workspace.
pub fn sign(keyring: &Keyring, workspace: Uuid, delivery: Uuid) -> Signed {
    let key_id = keyring.signing_id();
    let parts: [&[u8]; 2] = [workspace.as_bytes(), delivery.as_bytes()];
    let mac = keyring.mac(key_id, Purpose::ReturnPath, &parts).unwrap_or_default();
    let write = |place: Place| {
        let mut bytes = [0_u8; BODY_BYTES];
        let mac = place.part(&mac).unwrap_or_default();
        let sources = [key_id].into_iter().chain(*delivery.as_bytes()).chain(mac);
        bytes.iter_mut().zip(sources).for_each(|(place, byte)| *place = byte);
        let mut text = String::with_capacity(PREFIX_CHARS + BODY_CHARS);
        text.push_str(place.prefix());
        encode(&bytes, &mut text);
        text
    };
    Signed { return_path: write(Place::Envelope), message: write(Place::Message) }
}

impl ReturnPath {
    /// Reads a local part, such as an `RCPT TO` that arrives for the return-path domain.
    pub fn parse(local_part: &str) -> Option<Self> {
        Self::parse_at(Place::Envelope, local_part)
    }

    fn parse_at(place: Place, text: &str) -> Option<Self> {
        let (prefix, body) = text.split_at_checked(PREFIX_CHARS)?;
        if !prefix.eq_ignore_ascii_case(place.prefix()) || body.len() != BODY_CHARS {
            return None;
        }
        let [key_id, rest @ ..] = decode(body)?;
        let (delivery, mac) = rest.split_first_chunk::<16>()?;
        Some(Self { place, key_id, delivery: Uuid::from_bytes(*delivery), mac: mac.try_into().ok()? })
    }

    /// Finds the return paths in a text that may hold anything: a header's value, a line of a report. At most `limit`.
    pub fn find(text: &str, limit: usize) -> Vec<Self> {
        Self::find_at(Place::Envelope, text, limit)
    }

    fn find_at(place: Place, text: &str, limit: usize) -> Vec<Self> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        words.filter_map(|word| Self::parse_at(place, word)).take(limit).collect()
    }

    /// Which delivery it names, if this installation signed it for this workspace not longer than [`VALID_DAYS`] ago.
    ///
    /// # Errors
    /// [`ReturnPathError`]: nobody's delivery then.
    pub fn verify(&self, keyring: &Keyring, workspace: Uuid, now: DateTime<Utc>) -> Result<Uuid, ReturnPathError> {
        let parts: [&[u8]; 2] = [workspace.as_bytes(), self.delivery.as_bytes()];
        let mac = keyring.mac(self.key_id, Purpose::ReturnPath, &parts).and_then(|mac| self.place.part(&mac));
        if !mac.is_some_and(|mac| equal_in_constant_time(&mac, &self.mac)) {
            return Err(ReturnPathError::Forged);
        }
        let created_at = created_at(self.delivery).ok_or(ReturnPathError::Forged)?;
        if now.signed_duration_since(created_at) > TimeDelta::days(VALID_DAYS) {
            return Err(ReturnPathError::Expired);
        }
        Ok(self.delivery)
    }
}

/// The deliveries that these texts are signed for, most telling text first: addresses of return paths, then what stands in a
/// message, the values of [`DELIVERY_HEADER`] and Message-IDs. Each may hold anything. Only what this installation signed for
/// this workspace not longer than [`VALID_DAYS`] ago counts; whether it exists, the caller asks the database. Almost always one
/// or none.
pub fn signed_deliveries<'a>(
    return_paths: impl IntoIterator<Item = &'a str>,
    in_message: impl IntoIterator<Item = &'a str>,
    keyring: &Keyring,
    workspace: Uuid,
    now: DateTime<Utc>,
) -> Vec<Uuid> {
    let return_paths = return_paths.into_iter().map(|text| (Place::Envelope, text));
    let texts = return_paths.chain(in_message.into_iter().map(|text| (Place::Message, text)));
    let found = texts.flat_map(|(place, text)| ReturnPath::find_at(place, text, FOUND_IN_A_TEXT_MAX));
    let mut signed = Vec::new();
    for path in found.take(VERIFIED_MAX) {
        if let Ok(delivery) = path.verify(keyring, workspace, now)
            && !signed.contains(&delivery)
        {
            signed.push(delivery);
        }
    }
    signed
}

/// When a UUIDv7 was made; none for another version.
fn created_at(id: Uuid) -> Option<DateTime<Utc>> {
    let (seconds, nanoseconds) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanoseconds)
}

fn encode(bytes: &[u8; BODY_BYTES], text: &mut String) {
    let mut value: u32 = 0;
    let mut n_bits = 0;
    for byte in bytes {
        value = (value << 8) | u32::from(*byte);
        n_bits += 8;
        while n_bits >= 5 {
            n_bits -= 5;
            text.push(letter(value >> n_bits));
        }
    }
    text.push(letter(value << (5 - n_bits)));
}

fn letter(value: u32) -> char {
    let place = usize::try_from(value & 31).unwrap_or_default();
    ALPHABET.get(place).copied().map_or('a', char::from)
}

fn decode(text: &str) -> Option<[u8; BODY_BYTES]> {
    let mut bytes = [0_u8; BODY_BYTES];
    let mut places = bytes.iter_mut();
    let mut value: u32 = 0;
    let mut n_bits = 0;
    for character in text.bytes() {
        let digit = match character {
            b'a'..=b'z' => character - b'a',
            b'A'..=b'Z' => character - b'A',
            b'2'..=b'7' => character - b'2' + 26,
            _ => return None,
        };
        value = (value << 5) | u32::from(digit);
        n_bits += 5;
        if n_bits >= 8 {
            n_bits -= 8;
            *places.next()? = u8::try_from((value >> n_bits) & 255).ok()?;
        }
    }
    // The bits that are left over must be zero, or one return path would have several spellings.
    let left_over = value & ((1 << n_bits) - 1);
    (left_over == 0 && places.next().is_none()).then_some(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]
mod tests {
    use super::*;

    const WORKSPACE: Uuid = Uuid::from_u128(77);

    fn ring() -> Keyring {
        Keyring::from_keys(&[(7, [1; 32])]).unwrap()
    }

    fn verify(text: &str, now: DateTime<Utc>) -> Option<Result<Uuid, ReturnPathError>> {
        ReturnPath::parse(text).map(|path| path.verify(&ring(), WORKSPACE, now))
    }

    #[test]
    fn a_return_path_round_trips_in_either_case_within_64_bytes() {
        let delivery = Uuid::now_v7();
        let text = sign(&ring(), WORKSPACE, delivery).return_path;
        assert_eq!(text.len(), 46);
        assert_eq!(verify(&text, Utc::now()), Some(Ok(delivery)));
        assert_eq!(verify(&text.to_uppercase(), Utc::now()), Some(Ok(delivery)));
    }

    #[test]
    fn a_changed_return_path_never_verifies() {
        let text = sign(&ring(), WORKSPACE, Uuid::now_v7()).return_path;
        for place in 2..text.len() {
            for other in "abcdefghijklmnopqrstuvwxyz234567018-@".chars() {
                let mut mutant: Vec<char> = text.chars().collect();
                if mutant[place] == other {
                    continue;
                }
                mutant[place] = other;
                let mutant: String = mutant.into_iter().collect();
                assert!(!matches!(verify(&mutant, Utc::now()), Some(Ok(_))), "{mutant}");
            }
        }
    }

    #[test]
    fn a_return_path_counts_only_in_its_own_workspace() {
        let path = ReturnPath::parse(&sign(&ring(), WORKSPACE, Uuid::now_v7()).return_path).unwrap();
        assert_eq!(path.verify(&ring(), Uuid::from_u128(78), Utc::now()), Err(ReturnPathError::Forged));
    }

    #[test]
    fn a_return_path_expires_after_90_days() {
        let text = sign(&ring(), WORKSPACE, Uuid::now_v7()).return_path;
        assert!(verify(&text, Utc::now() + TimeDelta::days(89)).unwrap().is_ok());
        let late = Utc::now() + TimeDelta::days(VALID_DAYS) + TimeDelta::minutes(1);
        assert_eq!(verify(&text, late), Some(Err(ReturnPathError::Expired)));
    }

    #[test]
    fn a_delivery_without_a_time_is_nobodys() {
        let text = sign(&ring(), WORKSPACE, Uuid::from_u128(5)).return_path;
        assert_eq!(verify(&text, Utc::now()), Some(Err(ReturnPathError::Forged)));
    }

    #[test]
    fn return_paths_are_found_in_any_text() {
        let text = sign(&ring(), WORKSPACE, Uuid::now_v7()).return_path;
        let path = ReturnPath::parse(&text).unwrap();
        for around in [
            format!("<{text}@bounces.example>"),
            format!("rfc822; {text}@bounces.example"),
            format!("Bounce: \"{}\" é\u{0}", text.to_uppercase()),
        ] {
            assert_eq!(ReturnPath::find(&around, 8), [path], "{around}");
        }
        assert!(ReturnPath::find("b-", 8).is_empty());
        assert!(ReturnPath::find(&format!("x{text}"), 8).is_empty());
        assert_eq!(ReturnPath::find(&format!("{text} ").repeat(100), 8).len(), 8);
    }

    #[test]
    fn what_a_message_carries_counts_in_messages_only_and_is_no_return_path() {
        let (delivery, now) = (Uuid::now_v7(), Utc::now());
        let signed = sign(&ring(), WORKSPACE, delivery);
        let deliveries = |return_path: &str, in_message: &str| {
            signed_deliveries([return_path], [in_message], &ring(), WORKSPACE, now)
        };
        assert_eq!(signed.message.len(), 46);
        assert_eq!(deliveries("", &format!("{}@x.org", signed.message.to_uppercase())), [delivery]);
        assert_eq!(deliveries(&signed.return_path, ""), [delivery]);
        let (envelope, message) = (&signed.return_path, &signed.message);
        let (turned, back) = (format!("b-{}", &message[2..]), format!("m-{}", &envelope[2..]));
        for (return_path, in_message) in [(message, envelope), (&turned, &back)] {
            assert!(deliveries(return_path, in_message).is_empty(), "{return_path} {in_message}");
        }
        assert_ne!(envelope[2 + 28..], message[2 + 28..], "the signed parts have nothing in common");
    }
}
