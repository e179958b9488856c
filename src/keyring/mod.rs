//! The keys of an installation: what signs tokens and return paths, and what encrypts secrets at rest.
//!
//! A keyring holds several keys with one-byte ids. The first signs and encrypts, all of them verify and open,
//! so a key can be replaced without breaking what the old one made. Every use names a [`Purpose`] or a binding;
//! a derived key or the associated data keeps one use from standing in for another.
//!
//! Not here: where the keys come from (`config`), what is signed (`mail::token`), where sealed bytes are kept (`store`).
//!
//! HMAC-SHA-256 (RFC 2104), HKDF-SHA-256 (RFC 5869), AES-256-GCM (NIST SP 800-38D).

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    constant_time, digest, hkdf, hmac, rand,
};
use base64::{Engine, engine::general_purpose::STANDARD};

mod password;
mod signing;
mod verifying;

pub use password::{MAX_ITERATIONS, cram_md5, hmac_sha256, stretch_sha256};
pub use signing::{SigningAlgorithm, SigningKey, SigningKeyError};
pub use verifying::{Hash, is_p256_key, verify_ecdsa_p256, verify_rsa};

/// Bytes of one key.
pub const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// What can be wrong with keys or with what they open.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyringError {
    /// The text holds no key at all.
    #[error("the key file holds no key")]
    Empty,
    /// A line is not `<id 0-255>:<base64 of 32 bytes>`.
    #[error("line {line} of the key file is not `<id 0-255>:<base64 of 32 bytes>`")]
    Malformed {
        /// Line number, from 1.
        line: usize,
    },
    /// Two keys carry the same id.
    #[error("key id {0} is there twice")]
    DuplicateId(u8),
    /// Sealed with a key that this keyring doesn't hold.
    #[error("no key with id {0}")]
    UnknownKey(u8),
    /// The bytes were not sealed by this key for this binding, or were changed.
    #[error("the sealed value does not open: wrong key, wrong place or changed bytes")]
    Sealed,
    /// The system's random source failed.
    #[error("the system's random source failed")]
    Random,
}

/// What a MAC is for; each purpose has a key of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The envelope's return path.
    ReturnPath,
    /// An unsubscribe link.
    Unsubscribe,
    /// An open pixel or a click link.
    Tracking,
    /// An opaque page cursor.
    Cursor,
    /// The hash under which API keys are stored.
    ApiKey,
    /// What identifies a repeated request; its body may hold a password.
    Request,
    /// The address of an inbound webhook.
    Inbound,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::ReturnPath => b"postrider return path v1",
            Self::Unsubscribe => b"postrider unsubscribe v1",
            Self::Tracking => b"postrider tracking v1",
            Self::Cursor => b"postrider cursor v1",
            Self::ApiKey => b"postrider api key v1",
            Self::Request => b"postrider request v1",
            Self::Inbound => b"postrider inbound v1",
        }
    }
}

/// An encrypted value and the id of the key that made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which key.
    pub key_id: u8,
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

struct Key {
    id: u8,
    mac: [hmac::Key; 7],
    seal: LessSafeKey,
    fingerprint: String,
}

/// Several keys with ids; the first one signs and seals.
pub struct Keyring {
    keys: Vec<Key>,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|k| k.id)).finish()
    }
}

impl Keyring {
    /// Parse a key file: one `<id>:<base64>` a line, the signing key first; empty lines and `#` comments are skipped.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<(u8, [u8; KEY_BYTES])> = Vec::new();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let malformed = || KeyringError::Malformed { line: index + 1 };
            let Some((id, secret)) = line.split_once(':') else { return Err(malformed()) };
            let id: u8 = id.trim().parse().map_err(|_| malformed())?;
            let secret: [u8; KEY_BYTES] =
                STANDARD.decode(secret.trim()).ok().and_then(|bytes| bytes.try_into().ok()).ok_or_else(malformed)?;
            keys.push((id, secret));
        }
        Self::from_keys(&keys)
    }

    /// A keyring of these keys, the signing key first.
    pub fn from_keys(keys: &[(u8, [u8; KEY_BYTES])]) -> Result<Self, KeyringError> {
        if keys.is_empty() {
            return Err(KeyringError::Empty);
        }
        let mut made: Vec<Key> = Vec::with_capacity(keys.len());
        for (id, secret) in keys {
            if made.iter().any(|key| key.id == *id) {
                return Err(KeyringError::DuplicateId(*id));
            }
            made.push(Key::derive(*id, secret)?);
        }
        Ok(Self { keys: made })
    }

    /// The text of a new key file with one random key of id 1.
    pub fn generate_text() -> Result<String, KeyringError> {
        let mut secret = [0_u8; KEY_BYTES];
        rand::fill(&mut secret).map_err(|_| KeyringError::Random)?;
        Ok(format!(
            "# Postrider's keys. Back this file up: without it no stored secret opens and no link or return path is recognised.\n\
             # The first key signs and encrypts, all of them verify. One <id 0-255>:<base64 of 32 bytes> a line.\n1:{}\n",
            STANDARD.encode(secret)
        ))
    }

    /// What identifies the signing key without giving it away (64 bits, hexadecimal).
    pub fn fingerprint(&self) -> &str {
        self.keys.first().map_or("", |key| &key.fingerprint)
    }

    /// Every key's fingerprint, the signing key's first.
    pub fn fingerprints(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.fingerprint.as_str())
    }

    /// The id of the key that signs.
    pub fn signing_id(&self) -> u8 {
        self.keys.first().map_or(0, |key| key.id)
    }

    /// The MAC of these parts with key `id`; each part is length-prefixed, so parts can't run into each other.
    pub fn mac(&self, id: u8, purpose: Purpose, parts: &[&[u8]]) -> Option<[u8; 32]> {
        let key = self.keys.iter().find(|key| key.id == id)?;
        let mut context = hmac::Context::with_key(key.mac.get(purpose as usize)?);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().try_into().ok()
    }

    /// Whether `tag` (8 to 32 leading bytes of a MAC) is right; constant time in the tag.
    pub fn verify(&self, id: u8, purpose: Purpose, parts: &[&[u8]], tag: &[u8]) -> bool {
        if tag.len() < 8 {
            return false;
        }
        self.mac(id, purpose, parts)
            .and_then(|mac| mac.get(..tag.len()).map(|head| constant_time::verify_slices_are_equal(head, tag).is_ok()))
            .unwrap_or(false)
    }

    /// Encrypt, bound to the place where the value will be kept (such as `relays/<uuid>/secret`).
    pub fn seal(&self, binding: &str, plain: &[u8]) -> Result<Sealed, KeyringError> {
        let key = self.keys.first().ok_or(KeyringError::Empty)?;
        let mut nonce = [0_u8; NONCE_BYTES];
        rand::fill(&mut nonce).map_err(|_| KeyringError::Random)?;
        let mut body = plain.to_vec();
        key.seal
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(binding.as_bytes()), &mut body)
            .map_err(|_| KeyringError::Sealed)?;
        Ok(Sealed { key_id: key.id, bytes: [nonce.as_slice(), &body].concat() })
    }

    /// Decrypt what [`Keyring::seal`] made for the same binding.
    pub fn open(&self, binding: &str, sealed: &Sealed) -> Result<Vec<u8>, KeyringError> {
        let key =
            self.keys.iter().find(|key| key.id == sealed.key_id).ok_or(KeyringError::UnknownKey(sealed.key_id))?;
        let (nonce, body) = sealed.bytes.split_at_checked(NONCE_BYTES).ok_or(KeyringError::Sealed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| KeyringError::Sealed)?;
        let mut body = body.to_vec();
        let plain = key
            .seal
            .open_in_place(nonce, Aad::from(binding.as_bytes()), &mut body)
            .map_err(|_| KeyringError::Sealed)?;
        Ok(plain.to_vec())
    }
}

impl Key {
    fn derive(id: u8, secret: &[u8; KEY_BYTES]) -> Result<Self, KeyringError> {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"postrider keyring").extract(secret);
        let expand = |label: &[u8]| -> Result<[u8; 32], KeyringError> {
            let mut out = [0_u8; 32];
            prk.expand(&[label], hkdf::HKDF_SHA256)
                .and_then(|okm| okm.fill(&mut out))
                .map_err(|_| KeyringError::Random)?;
            Ok(out)
        };
        let mac = |purpose: Purpose| expand(purpose.label()).map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key));
        let seal = UnboundKey::new(&AES_256_GCM, &expand(b"postrider seal v1")?).map_err(|_| KeyringError::Random)?;
        let print = digest::digest(&digest::SHA256, &expand(b"postrider fingerprint v1")?);
        Ok(Self {
            id,
            mac: [
                mac(Purpose::ReturnPath)?,
                mac(Purpose::Unsubscribe)?,
                mac(Purpose::Tracking)?,
                mac(Purpose::Cursor)?,
                mac(Purpose::ApiKey)?,
                mac(Purpose::Request)?,
                mac(Purpose::Inbound)?,
            ],
            seal: LessSafeKey::new(seal),
            fingerprint: print.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}

/// `n` random bytes from the system's source.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], KeyringError> {
    let mut bytes = [0_u8; N];
    rand::fill(&mut bytes).map_err(|_| KeyringError::Random)?;
    Ok(bytes)
}

/// SHA-256 of these bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().unwrap_or([0; 32])
}

/// Compare without telling by time where the difference is.
pub fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ring() -> Keyring {
        Keyring::from_keys(&[(7, [1; 32]), (3, [2; 32])]).unwrap()
    }

    #[test]
    fn a_mac_holds_only_for_its_key_purpose_and_parts() {
        let ring = ring();
        let mac = ring.mac(7, Purpose::ReturnPath, &[b"ab", b"c"]).unwrap();
        assert!(ring.verify(7, Purpose::ReturnPath, &[b"ab", b"c"], mac.get(..10).unwrap()));
        assert!(!ring.verify(7, Purpose::ReturnPath, &[b"a", b"bc"], &mac));
        assert!(!ring.verify(7, Purpose::Tracking, &[b"ab", b"c"], &mac));
        assert!(!ring.verify(3, Purpose::ReturnPath, &[b"ab", b"c"], &mac));
        assert!(!ring.verify(9, Purpose::ReturnPath, &[b"ab", b"c"], &mac));
        assert!(!ring.verify(7, Purpose::ReturnPath, &[b"ab", b"c"], &[]));
    }

    #[test]
    fn a_sealed_value_opens_only_in_its_own_place() {
        let ring = ring();
        let sealed = ring.seal("relays/1/secret", b"hunter2").unwrap();
        assert_eq!(ring.open("relays/1/secret", &sealed).unwrap(), b"hunter2");
        assert_eq!(ring.open("relays/2/secret", &sealed), Err(KeyringError::Sealed));
        assert_eq!(ring.open("relays/1/secret", &Sealed { key_id: 7, bytes: vec![1, 2] }), Err(KeyringError::Sealed));
    }

    #[test]
    fn an_old_key_still_opens_after_a_new_one_is_put_in_front() {
        let sealed = Keyring::from_keys(&[(3, [2; 32])]).unwrap().seal("x", b"y").unwrap();
        assert_eq!(ring().open("x", &sealed).unwrap(), b"y");
    }

    #[test]
    fn a_key_file_round_trips_and_a_broken_one_names_its_line() {
        let text = Keyring::generate_text().unwrap();
        assert_eq!(Keyring::parse(&text).unwrap().signing_id(), 1);
        assert_eq!(Keyring::parse("# c\n\nx:y").unwrap_err(), KeyringError::Malformed { line: 3 });
        assert_eq!(Keyring::parse("").unwrap_err(), KeyringError::Empty);
    }
}
