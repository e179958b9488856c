//! The return path: a signed local part that says which delivery a report is about (VERP).
//!
//! `b-` and 44 characters of base32 over key id (1 byte), delivery (16) and MAC (10): 46 characters, good in either case.
//! The MAC covers the workspace as well: a report counts only in a mailbox of the workspace that sent the message. A
//! delivery's id is a UUIDv7, so the return path carries its age; after 90 days it is worth nothing. The same text stands in
//! the message's `X-Postrider-Delivery` header, for reports that keep the message but lose the envelope, and before the `@`
//! of its Message-ID, for those that keep nothing else: relays' own events, and reports without the message. Who quotes it
//! has seen the message, or what became of it.
//!
//! Not here: reading the report around it (`mail` and `reports`), what it does to the delivery (`store`).
//!
//! RFC 5321 §4.5.3.1.1 (a local part has at most 64 bytes), RFC 4648 §6 (base32), RFC 9562 §5.7 (UUIDv7).

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::keyring::{Keyring, Purpose};

/// The name of the header that repeats the return path inside the message.
pub const DELIVERY_HEADER: &str = "X-Postrider-Delivery";
/// Days for which a return path is believed, counted from the delivery's creation.
pub const VALID_DAYS: i64 = 90;

const PREFIX: &str = "b-";
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

/// A return path as it was read: believe it only after [`ReturnPath::verify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReturnPath {
    key_id: u8,
    delivery: Uuid,
    mac: [u8; MAC_BYTES],
}

/// The local part for a delivery of a workspace: 46 characters.
pub fn sign(keyring: &Keyring, workspace: Uuid, delivery: Uuid) -> String {
    let key_id = keyring.signing_id();
    let mac = mac(keyring, key_id, workspace, delivery).unwrap_or_default();
    let mut bytes = [0_u8; BODY_BYTES];
    let sources = [key_id].into_iter().chain(*delivery.as_bytes()).chain(mac);
    bytes.iter_mut().zip(sources).for_each(|(place, byte)| *place = byte);
    let mut text = String::with_capacity(PREFIX.len() + BODY_CHARS);
    text.push_str(PREFIX);
    encode(&bytes, &mut text);
    text
}

impl ReturnPath {
    /// Reads a local part, such as an `RCPT TO` that arrives for the return-path domain.
    pub fn parse(local_part: &str) -> Option<Self> {
        let (prefix, body) = local_part.split_at_checked(PREFIX.len())?;
        if !prefix.eq_ignore_ascii_case(PREFIX) || body.len() != BODY_CHARS {
            return None;
        }
        let [key_id, rest @ ..] = decode(body)?;
        let (delivery, mac) = rest.split_first_chunk::<16>()?;
        Some(Self { key_id, delivery: Uuid::from_bytes(*delivery), mac: mac.try_into().ok()? })
    }

    /// Finds the return paths in a text that may hold anything: a header's value, a line of a report. At most `limit`.
    pub fn find(text: &str, limit: usize) -> Vec<Self> {
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).filter_map(Self::parse).take(limit).collect()
    }

    /// Which delivery it names, if this installation signed it for this workspace not longer than [`VALID_DAYS`] ago.
    ///
    /// # Errors
    /// [`ReturnPathError`]: nobody's delivery then.
    pub fn verify(&self, keyring: &Keyring, workspace: Uuid, now: DateTime<Utc>) -> Result<Uuid, ReturnPathError> {
        let parts: [&[u8]; 2] = [workspace.as_bytes(), self.delivery.as_bytes()];
        if !keyring.verify(self.key_id, Purpose::ReturnPath, &parts, &self.mac) {
            return Err(ReturnPathError::Forged);
        }
        let created_at = created_at(self.delivery).ok_or(ReturnPathError::Forged)?;
        if now.signed_duration_since(created_at) > TimeDelta::days(VALID_DAYS) {
            return Err(ReturnPathError::Expired);
        }
        Ok(self.delivery)
    }
}

/// The deliveries that these texts are signed for, most telling text first: addresses of return paths, the values of
/// [`DELIVERY_HEADER`], Message-IDs. Each may hold anything. Only what this installation signed for this workspace not longer
/// than [`VALID_DAYS`] ago counts; whether it exists, the caller asks the database. Almost always one or none.
pub fn signed_deliveries<'a>(
    texts: impl IntoIterator<Item = &'a str>,
    keyring: &Keyring,
    workspace: Uuid,
    now: DateTime<Utc>,
) -> Vec<Uuid> {
    let found = texts.into_iter().flat_map(|text| ReturnPath::find(text, FOUND_IN_A_TEXT_MAX));
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

fn mac(keyring: &Keyring, key_id: u8, workspace: Uuid, delivery: Uuid) -> Option<[u8; MAC_BYTES]> {
    let mac = keyring.mac(key_id, Purpose::ReturnPath, &[workspace.as_bytes(), delivery.as_bytes()])?;
    mac.first_chunk().copied()
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
        let text = sign(&ring(), WORKSPACE, delivery);
        assert_eq!(text.len(), 46);
        assert_eq!(verify(&text, Utc::now()), Some(Ok(delivery)));
        assert_eq!(verify(&text.to_uppercase(), Utc::now()), Some(Ok(delivery)));
    }

    #[test]
    fn a_changed_return_path_never_verifies() {
        let text = sign(&ring(), WORKSPACE, Uuid::now_v7());
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
        let path = ReturnPath::parse(&sign(&ring(), WORKSPACE, Uuid::now_v7())).unwrap();
        assert_eq!(path.verify(&ring(), Uuid::from_u128(78), Utc::now()), Err(ReturnPathError::Forged));
    }

    #[test]
    fn a_return_path_expires_after_90_days() {
        let text = sign(&ring(), WORKSPACE, Uuid::now_v7());
        assert!(verify(&text, Utc::now() + TimeDelta::days(89)).unwrap().is_ok());
        let late = Utc::now() + TimeDelta::days(VALID_DAYS) + TimeDelta::minutes(1);
        assert_eq!(verify(&text, late), Some(Err(ReturnPathError::Expired)));
    }

    #[test]
    fn a_delivery_without_a_time_is_nobodys() {
        let text = sign(&ring(), WORKSPACE, Uuid::from_u128(5));
        assert_eq!(verify(&text, Utc::now()), Some(Err(ReturnPathError::Forged)));
    }

    #[test]
    fn return_paths_are_found_in_any_text() {
        let text = sign(&ring(), WORKSPACE, Uuid::now_v7());
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
}
