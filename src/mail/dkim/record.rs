//! The DNS record of a DKIM key: what to publish, and whether what is published is that.
//!
//! Not here: asking DNS (`network`).
//!
//! RFC 6376 §3.6.1, RFC 8463 §4.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::keyring::SigningAlgorithm;

/// Where the record of a key stands.
pub fn name(selector: &str, domain: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}

/// What the record says. Longer than 255 bytes with RSA: as several strings of one record, in DNS's own way.
pub fn value(algorithm: SigningAlgorithm, public_key: &[u8]) -> String {
    format!("v=DKIM1; k={}; p={}", word(algorithm), STANDARD.encode(public_key))
}

fn word(algorithm: SigningAlgorithm) -> &'static str {
    match algorithm {
        SigningAlgorithm::Rsa => "rsa",
        SigningAlgorithm::Ed25519 => "ed25519",
    }
}

/// Why what is published is not the key's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// There is no TXT record that could be one.
    #[error("there is no DKIM record at this name")]
    Missing,
    /// There are several; verifiers may take any of them.
    #[error("there is more than one DKIM record at this name: leave one")]
    Several,
    /// Its `p=` is empty.
    #[error("the record revokes the key (its p= is empty)")]
    Revoked,
    /// It is of another kind or version.
    #[error("the record is not for a key of this kind: check its v= and k=")]
    Kind,
    /// Its `p=` is another key.
    #[error("the record holds another key: publish the value as it is shown")]
    OtherKey,
}

/// Whether these TXT records, each with its strings joined, are the key's record.
pub fn check(records: &[String], algorithm: SigningAlgorithm, public_key: &[u8]) -> Result<(), RecordFault> {
    let mut found = records.iter().filter(|record| tag(record, "p").is_some());
    let record = found.next().ok_or(RecordFault::Missing)?;
    if found.next().is_some() {
        return Err(RecordFault::Several);
    }
    let is_ours = tag(record, "v").is_none_or(|version| version == "DKIM1")
        && tag(record, "k").unwrap_or_else(|| "rsa".into()) == word(algorithm)
        && tag(record, "h").is_none_or(|hashes| hashes.split(':').any(|hash| hash == "sha256"));
    match tag(record, "p") {
        Some(key) if key.is_empty() => Err(RecordFault::Revoked),
        _ if !is_ours => Err(RecordFault::Kind),
        Some(key) if STANDARD.decode(&key).is_ok_and(|key| key == public_key) => Ok(()),
        _ => Err(RecordFault::OtherKey),
    }
}

/// The value of a tag, without any space.
fn tag(record: &str, name: &str) -> Option<String> {
    record.split(';').find_map(|part| {
        let (found, value) = part.split_once('=')?;
        (found.trim() == name).then(|| value.split_whitespace().collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: SigningAlgorithm = SigningAlgorithm::Rsa;

    #[test]
    fn what_is_shown_is_what_is_recognised() {
        for algorithm in [RSA, SigningAlgorithm::Ed25519] {
            let value = value(algorithm, &[7; 294]);
            assert_eq!(check(&["v=spf1 -all".into(), value.clone()], algorithm, &[7; 294]), Ok(()));
            let spaced = value.replace("; ", " ;\t").replace("p=", "p= ");
            assert_eq!(check(&[spaced], algorithm, &[7; 294]), Ok(()));
        }
        assert_eq!(name("pr1", "acme.example"), "pr1._domainkey.acme.example");
    }

    #[test]
    fn what_is_wrong_with_a_record_is_told() {
        let check = |records: &[&str]| {
            let records: Vec<_> = records.iter().map(|&record| record.to_owned()).collect();
            check(&records, RSA, &[7; 3]).err()
        };
        assert_eq!(check(&["p=BwcH"]), None);
        assert_eq!(check(&[]), Some(RecordFault::Missing));
        assert_eq!(check(&["v=spf1 -all"]), Some(RecordFault::Missing));
        assert_eq!(check(&["p=BwcH", "v=DKIM1; p=BwcH"]), Some(RecordFault::Several));
        assert_eq!(check(&["v=DKIM1; p="]), Some(RecordFault::Revoked));
        assert_eq!(check(&["v=DKIM2; p=BwcH"]), Some(RecordFault::Kind));
        assert_eq!(check(&["k=ed25519; p=BwcH"]), Some(RecordFault::Kind));
        assert_eq!(check(&["h=sha1; p=BwcH"]), Some(RecordFault::Kind));
        assert_eq!(check(&["p=BwcI"]), Some(RecordFault::OtherKey));
        assert_eq!(check(&["p=?"]), Some(RecordFault::OtherKey));
    }
}
