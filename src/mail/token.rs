//! Signed tokens: what stands in the unsubscribe, click and pixel URLs of a message, in the page cursors of the API, and
//! in the addresses of inbound webhooks.
//!
//! Every token is `base64url(kind | key id | body | MAC | tail)` without padding. The first byte says what it is and in
//! which version; the MAC (80 bits) covers all other bytes, and each purpose has a key of its own, so no token can stand
//! in for another. None of them expires: an unsubscribe link must work for as long as the message exists.
//!
//! Not here: the return path, whose alphabet is a mailbox's (`mail::return_path`); what a token's ids name (`store`);
//! the URLs around the tokens (`render`).
//!
//! RFC 4648 §5 (base64url), RFC 2104 (HMAC), RFC 8058 (why the unsubscribe URL must be hard to forge).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use uuid::Uuid;

use crate::keyring::{Keyring, Purpose};

/// Most bytes of the rendered URL that a click token carries.
pub const LINK_URL_MAX_BYTES: usize = 2_048;
/// Most bytes of a cursor's payload.
pub const CURSOR_MAX_BYTES: usize = 512;

const KIND_UNSUBSCRIBE: u8 = 0x11;
const KIND_OPEN: u8 = 0x12;
const KIND_LINK: u8 = 0x13;
const KIND_CURSOR: u8 = 0x14;
const KIND_INBOUND: u8 = 0x15;

const HEAD_BYTES: usize = 2;
const ID_BYTES: usize = 16;
const MAC_BYTES: usize = 10;

/// Why a text is not a token of the kind that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not base64url, of a wrong length, or of another kind or version.
    #[error("this is not a token of this kind")]
    Malformed,
    /// No key of this installation made it, or somebody changed it.
    #[error("the token's signature is not right")]
    Forged,
}

/// Who unsubscribes from what: needs no delivery row, works for as long as the keys do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The workspace.
    pub workspace: Uuid,
    /// The recipient who unsubscribes.
    pub recipient: Uuid,
    /// The campaign whose message carries the link.
    pub campaign: Uuid,
}

/// One recipient's copy was displayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// The workspace.
    pub workspace: Uuid,
    /// The campaign.
    pub campaign: Uuid,
    /// The delivery.
    pub delivery: Uuid,
}

/// One link of one recipient's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The workspace.
    pub workspace: Uuid,
    /// The campaign, whose link table knows the target.
    pub campaign: Uuid,
    /// The delivery.
    pub delivery: Uuid,
    /// The link's number in the campaign's link table, from 1.
    pub n: u16,
    /// The target itself where it depends on the recipient: http(s), at most [`LINK_URL_MAX_BYTES`].
    pub url: Option<String>,
}

impl Unsubscribe {
    /// The token: 80 characters.
    pub fn sign(&self, keyring: &Keyring) -> String {
        let ids = [self.workspace, self.recipient, self.campaign];
        sign(keyring, Purpose::Unsubscribe, KIND_UNSUBSCRIBE, &id_bytes(&ids), &[], &[])
    }

    /// Reads a token that [`Unsubscribe::sign`] made.
    ///
    /// # Errors
    /// [`TokenError`] for everything else; the time taken doesn't tell how much of the signature was right.
    pub fn verify(keyring: &Keyring, token: &str) -> Result<Self, TokenError> {
        let parsed = Parsed::read(token, KIND_UNSUBSCRIBE, 3 * ID_BYTES, 0)?;
        parsed.check(keyring, Purpose::Unsubscribe, &[])?;
        Ok(Self { workspace: parsed.id(0)?, recipient: parsed.id(1)?, campaign: parsed.id(2)? })
    }
}

impl Open {
    /// The token: 80 characters.
    pub fn sign(&self, keyring: &Keyring) -> String {
        let ids = [self.workspace, self.campaign, self.delivery];
        sign(keyring, Purpose::Tracking, KIND_OPEN, &id_bytes(&ids), &[], &[])
    }

    /// Reads a token that [`Open::sign`] made.
    ///
    /// # Errors
    /// [`TokenError`] for everything else.
    pub fn verify(keyring: &Keyring, token: &str) -> Result<Self, TokenError> {
        let parsed = Parsed::read(token, KIND_OPEN, 3 * ID_BYTES, 0)?;
        parsed.check(keyring, Purpose::Tracking, &[])?;
        Ok(Self { workspace: parsed.id(0)?, campaign: parsed.id(1)?, delivery: parsed.id(2)? })
    }
}

impl Link {
    /// The token: 83 characters, and four more for three bytes of the URL. Check the URL with [`is_web_url`] first: with
    /// another one the token never verifies.
    pub fn sign(&self, keyring: &Keyring) -> String {
        let mut body = [0_u8; 3 * ID_BYTES + 2];
        let (ids, number) = body.split_at_mut(3 * ID_BYTES);
        ids.copy_from_slice(&id_bytes(&[self.workspace, self.campaign, self.delivery]));
        number.copy_from_slice(&self.n.to_be_bytes());
        let url = self.url.as_deref().unwrap_or_default();
        sign(keyring, Purpose::Tracking, KIND_LINK, &body, url.as_bytes(), &[])
    }

    /// Reads a token that [`Link::sign`] made. A URL in it is http(s) and free of control characters.
    ///
    /// # Errors
    /// [`TokenError`] for everything else.
    pub fn verify(keyring: &Keyring, token: &str) -> Result<Self, TokenError> {
        let parsed = Parsed::read(token, KIND_LINK, 3 * ID_BYTES + 2, LINK_URL_MAX_BYTES)?;
        parsed.check(keyring, Purpose::Tracking, &[])?;
        let n = parsed.body.get(3 * ID_BYTES..).and_then(|bytes| bytes.try_into().ok());
        let url = match parsed.tail.as_slice() {
            [] => None,
            bytes => Some(std::str::from_utf8(bytes).map_err(|_| TokenError::Malformed)?.to_owned()),
        };
        if url.as_deref().is_some_and(|url| !is_web_url(url)) {
            return Err(TokenError::Malformed);
        }
        Ok(Self {
            workspace: parsed.id(0)?,
            campaign: parsed.id(1)?,
            delivery: parsed.id(2)?,
            n: n.map(u16::from_be_bytes).ok_or(TokenError::Malformed)?,
            url,
        })
    }
}

/// The address of an inbound webhook, which its service is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inbound {
    /// The workspace.
    pub workspace: Uuid,
    /// The inbound webhook.
    pub webhook: Uuid,
}

impl Inbound {
    /// The token: 59 characters.
    pub fn sign(&self, keyring: &Keyring) -> String {
        let body = [*self.workspace.as_bytes(), *self.webhook.as_bytes()].concat();
        sign(keyring, Purpose::Inbound, KIND_INBOUND, &body, &[], &[])
    }

    /// Reads a token that [`Inbound::sign`] made.
    ///
    /// # Errors
    /// [`TokenError`] for everything else.
    pub fn verify(keyring: &Keyring, token: &str) -> Result<Self, TokenError> {
        let parsed = Parsed::read(token, KIND_INBOUND, 2 * ID_BYTES, 0)?;
        parsed.check(keyring, Purpose::Inbound, &[])?;
        Ok(Self { workspace: parsed.id(0)?, webhook: parsed.id(1)? })
    }
}

/// An opaque page cursor. `scope` names what is paged through and for whom (such as `<workspace>/campaigns?state=sent`):
/// a cursor is good for nothing else.
pub fn sign_cursor(keyring: &Keyring, scope: &str, payload: &[u8]) -> String {
    sign(keyring, Purpose::Cursor, KIND_CURSOR, &[], payload, scope.as_bytes())
}

/// The payload of a cursor that [`sign_cursor`] made for the same scope.
///
/// # Errors
/// [`TokenError`] for everything else.
pub fn verify_cursor(keyring: &Keyring, scope: &str, token: &str) -> Result<Vec<u8>, TokenError> {
    let parsed = Parsed::read(token, KIND_CURSOR, 0, CURSOR_MAX_BYTES)?;
    parsed.check(keyring, Purpose::Cursor, scope.as_bytes())?;
    Ok(parsed.tail)
}

/// Whether a text may be redirected to: http or https, a host, printable ASCII and nothing that needs escaping.
pub fn is_web_url(url: &str) -> bool {
    let has_scheme = |scheme: &str| {
        url.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme))
            && url.as_bytes().get(scheme.len()).is_some_and(|first| !matches!(first, b'/' | b'\\' | b'?' | b'#'))
    };
    url.len() <= LINK_URL_MAX_BYTES
        && url.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>'))
        && (has_scheme("https://") || has_scheme("http://"))
}

fn id_bytes(ids: &[Uuid; 3]) -> [u8; 3 * ID_BYTES] {
    let mut bytes = [0_u8; 3 * ID_BYTES];
    for (place, id) in bytes.chunks_exact_mut(ID_BYTES).zip(ids) {
        place.copy_from_slice(id.as_bytes());
    }
    bytes
}

fn sign(keyring: &Keyring, purpose: Purpose, kind: u8, body: &[u8], tail: &[u8], scope: &[u8]) -> String {
    let head = [kind, keyring.signing_id()];
    let mac = keyring.mac(keyring.signing_id(), purpose, &[&head, body, tail, scope]).unwrap_or_default();
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len() + MAC_BYTES + tail.len());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(body);
    bytes.extend(mac.iter().take(MAC_BYTES));
    bytes.extend_from_slice(tail);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token taken apart; nothing in it is to be believed before [`Parsed::check`].
struct Parsed {
    head: [u8; HEAD_BYTES],
    body: Vec<u8>,
    mac: [u8; MAC_BYTES],
    tail: Vec<u8>,
}

impl Parsed {
    fn read(token: &str, kind: u8, body_bytes: usize, tail_max_bytes: usize) -> Result<Self, TokenError> {
        let fixed_bytes = HEAD_BYTES + body_bytes + MAC_BYTES;
        let max_chars = (fixed_bytes + tail_max_bytes).div_ceil(3) * 4;
        if token.len() > max_chars {
            return Err(TokenError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::Malformed)?;
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(TokenError::Malformed)?;
        let (body, rest) = rest.split_at_checked(body_bytes).ok_or(TokenError::Malformed)?;
        let (mac, tail) = rest.split_first_chunk::<MAC_BYTES>().ok_or(TokenError::Malformed)?;
        if head.first() != Some(&kind) || tail.len() > tail_max_bytes {
            return Err(TokenError::Malformed);
        }
        Ok(Self { head: *head, body: body.to_vec(), mac: *mac, tail: tail.to_vec() })
    }

    fn check(&self, keyring: &Keyring, purpose: Purpose, scope: &[u8]) -> Result<(), TokenError> {
        let [_, key_id] = self.head;
        let parts: [&[u8]; 4] = [&self.head, &self.body, &self.tail, scope];
        if keyring.verify(key_id, purpose, &parts, &self.mac) { Ok(()) } else { Err(TokenError::Forged) }
    }

    fn id(&self, place: usize) -> Result<Uuid, TokenError> {
        let bytes = self.body.get(place * ID_BYTES..(place + 1) * ID_BYTES);
        bytes.and_then(|bytes| Uuid::from_slice(bytes).ok()).ok_or(TokenError::Malformed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice)]
mod tests {
    use super::*;

    fn ring() -> Keyring {
        Keyring::from_keys(&[(7, [1; 32]), (3, [2; 32])]).unwrap()
    }

    fn ids() -> [Uuid; 3] {
        [Uuid::from_u128(1), Uuid::from_u128(2), Uuid::now_v7()]
    }

    fn unsubscribe() -> Unsubscribe {
        let [workspace, recipient, campaign] = ids();
        Unsubscribe { workspace, recipient, campaign }
    }

    fn link(url: Option<&str>) -> Link {
        let [workspace, campaign, delivery] = ids();
        Link { workspace, campaign, delivery, n: 513, url: url.map(str::to_owned) }
    }

    /// Every token that differs from `token` in one bit of its bytes, and every cut and prolonged one.
    fn mutants(token: &str) -> Vec<String> {
        let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
        let flipped = (0..bytes.len() * 8).map(|bit| {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            URL_SAFE_NO_PAD.encode(bytes)
        });
        let cut = (0..token.len()).map(|end| token[..end].to_owned());
        let longer = ["A", "AA", "AAAA", "=", " ", "\n"].iter().map(|more| format!("{token}{more}"));
        // Bits of the last character that carry nothing must not make a second spelling of the same token.
        let last = ('0'..='z').map(|last| format!("{}{last}", &token[..token.len() - 1]));
        flipped.chain(cut).chain(longer).chain(last.filter(|other| other != token)).collect()
    }

    #[test]
    fn tokens_round_trip_and_are_url_safe() {
        let ring = ring();
        let token = unsubscribe().sign(&ring);
        assert_eq!(token.len(), 80);
        let other = Unsubscribe::verify(&ring, &token).unwrap();
        assert_eq!(other.recipient, Uuid::from_u128(2));

        let [workspace, campaign, delivery] = ids();
        let open = Open { workspace, campaign, delivery };
        assert_eq!(Open::verify(&ring, &open.sign(&ring)), Ok(open));
        assert_eq!(open.sign(&ring).len(), 80);

        for url in [None, Some("https://example.com/?a=b%20c#d"), Some("HTTP://example.com")] {
            let link = link(url);
            let token = link.sign(&ring);
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
            assert_eq!(Link::verify(&ring, &token), Ok(link));
        }
        assert_eq!(link(None).sign(&ring).len(), 83);
    }

    #[test]
    fn a_token_with_one_bit_flipped_never_verifies() {
        let ring = ring();
        for token in mutants(&unsubscribe().sign(&ring)) {
            assert!(Unsubscribe::verify(&ring, &token).is_err(), "{token}");
        }
        for token in mutants(&link(Some("https://example.com/")).sign(&ring)) {
            assert!(Link::verify(&ring, &token).is_err(), "{token}");
        }
        for token in mutants(&sign_cursor(&ring, "w/lists", b"payload")) {
            assert!(verify_cursor(&ring, "w/lists", &token).is_err(), "{token}");
        }
    }

    #[test]
    fn garbage_of_any_length_is_an_error() {
        let ring = ring();
        for token in ["", "A", "====", "\u{0}", "éééé", "../../etc/passwd", &"A".repeat(100_000)] {
            assert!(Unsubscribe::verify(&ring, token).is_err());
            assert!(Open::verify(&ring, token).is_err());
            assert!(Link::verify(&ring, token).is_err());
            assert!(verify_cursor(&ring, "x", token).is_err());
        }
    }

    #[test]
    fn no_token_stands_in_for_another() {
        let ring = ring();
        let [workspace, campaign, delivery] = ids();
        let open = Open { workspace, campaign, delivery }.sign(&ring);
        assert_eq!(Unsubscribe::verify(&ring, &open), Err(TokenError::Malformed));
        let mut bytes = URL_SAFE_NO_PAD.decode(&open).unwrap();
        bytes[0] = KIND_UNSUBSCRIBE;
        assert_eq!(Unsubscribe::verify(&ring, &URL_SAFE_NO_PAD.encode(bytes)), Err(TokenError::Forged));
    }

    #[test]
    fn an_old_keys_token_verifies_and_a_strangers_does_not() {
        let old = Keyring::from_keys(&[(3, [2; 32])]).unwrap();
        let stranger = Keyring::from_keys(&[(7, [9; 32])]).unwrap();
        assert!(Unsubscribe::verify(&ring(), &unsubscribe().sign(&old)).is_ok());
        assert_eq!(Unsubscribe::verify(&ring(), &unsubscribe().sign(&stranger)), Err(TokenError::Forged));
    }

    #[test]
    fn a_link_token_leads_only_to_http() {
        let ring = ring();
        let long = format!("https://e.com/{}", "a".repeat(LINK_URL_MAX_BYTES));
        for url in ["javascript:alert(1)", "https://", "https:///x", "http://a b", "https://a\r\nSet-Cookie: x", &long]
        {
            assert!(Link::verify(&ring, &link(Some(url)).sign(&ring)).is_err(), "{url}");
        }
    }

    #[test]
    fn a_cursor_is_good_only_for_its_scope() {
        let ring = ring();
        let cursor = sign_cursor(&ring, "w1/lists", b"p");
        assert_eq!(verify_cursor(&ring, "w1/lists", &cursor).unwrap(), b"p");
        assert_eq!(verify_cursor(&ring, "w2/lists", &cursor), Err(TokenError::Forged));
    }
}
