//! Keys that sign messages: made here or imported, exported only to be sealed.
//!
//! Not here: what is signed and how a signature is written (`mail::dkim`), where keys are kept (`store`).
//!
//! RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017), Ed25519 over SHA-256 as DKIM wants it (RFC 8463 §3); PKCS#8 (RFC 5208), PEM
//! (RFC 7468).

use aws_lc_rs::{
    digest::{SHA256, digest},
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{self, KeySize},
    signature::{Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// Fewer bits are refused by the big providers (RFC 8301 §3.2).
const MIN_RSA_BITS: usize = 2048;
/// More do not fit into a DNS answer by UDP, and verifiers need not take them (RFC 8301 §3.2).
const MAX_RSA_BITS: usize = 4096;
/// A PEM file of 4096 bits has some 3,300 bytes.
const MAX_PEM_BYTES: usize = 16 * 1024;

/// How a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// RSA with SHA-256.
    Rsa,
    /// Ed25519 over SHA-256.
    Ed25519,
}

/// What can be wrong with a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// There is no private key in the PEM text.
    #[error("there is no `-----BEGIN PRIVATE KEY-----` or `-----BEGIN RSA PRIVATE KEY-----` in it")]
    NotPem,
    /// The key is protected by a password.
    #[error("the key is encrypted: decrypt it first (openssl pkey -in key.pem -out plain.pem)")]
    Encrypted,
    /// Neither RSA nor Ed25519, or damaged.
    #[error("it is neither an RSA nor an Ed25519 private key, or it is damaged")]
    Unknown,
    /// An RSA key of another length.
    #[error("an RSA key must have 2048 to 4096 bits")]
    Length,
    /// Making or writing a key failed.
    #[error("the key could not be made")]
    Failed,
}

/// A private key. Its debug output says only what kind it is.
pub struct SigningKey(Kind);

enum Kind {
    Rsa(Box<rsa::KeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.algorithm()).finish()
    }
}

impl SigningKey {
    /// A new key; RSA with 2048 bits, which takes a good part of a second.
    pub fn generate(algorithm: SigningAlgorithm) -> Result<Self, SigningKeyError> {
        Ok(Self(match algorithm {
            SigningAlgorithm::Rsa => {
                Kind::Rsa(Box::new(rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|_| SigningKeyError::Failed)?))
            }
            SigningAlgorithm::Ed25519 => {
                Kind::Ed25519(Box::new(Ed25519KeyPair::generate().map_err(|_| SigningKeyError::Failed)?))
            }
        }))
    }

    /// The key in this PEM text: PKCS#8 of either kind, or PKCS#1 of RSA.
    pub fn from_pem(text: &str) -> Result<Self, SigningKeyError> {
        if text.len() > MAX_PEM_BYTES {
            return Err(SigningKeyError::NotPem);
        }
        if text.contains("ENCRYPTED") {
            return Err(SigningKeyError::Encrypted);
        }
        if let Some(der) = block(text, "PRIVATE KEY") {
            return Self::from_pkcs8(&der);
        }
        let der = block(text, "RSA PRIVATE KEY").ok_or(SigningKeyError::NotPem)?;
        Self::of_rsa(rsa::KeyPair::from_der(&der).map_err(|_| SigningKeyError::Unknown)?)
    }

    /// The key in these bytes, as [`Self::to_pkcs8`] writes them.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, SigningKeyError> {
        if let Ok(key) = Ed25519KeyPair::from_pkcs8(der) {
            return Ok(Self(Kind::Ed25519(Box::new(key))));
        }
        Self::of_rsa(rsa::KeyPair::from_pkcs8(der).map_err(|_| SigningKeyError::Unknown)?)
    }

    fn of_rsa(key: rsa::KeyPair) -> Result<Self, SigningKeyError> {
        if !(MIN_RSA_BITS / 8..=MAX_RSA_BITS / 8).contains(&key.public_modulus_len()) {
            return Err(SigningKeyError::Length);
        }
        Ok(Self(Kind::Rsa(Box::new(key))))
    }

    /// The private key's bytes, to be sealed.
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, SigningKeyError> {
        match &self.0 {
            Kind::Rsa(key) => {
                let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| SigningKeyError::Failed)?;
                Ok(der.as_ref().to_vec())
            }
            Kind::Ed25519(key) => Ok(key.to_pkcs8v1().map_err(|_| SigningKeyError::Failed)?.as_ref().to_vec()),
        }
    }

    /// How it signs.
    pub fn algorithm(&self) -> SigningAlgorithm {
        match self.0 {
            Kind::Rsa(_) => SigningAlgorithm::Rsa,
            Kind::Ed25519(_) => SigningAlgorithm::Ed25519,
        }
    }

    /// The public key as DKIM publishes it: SubjectPublicKeyInfo of RSA, the 32 bytes of Ed25519 (RFC 8463 §4).
    pub fn public_key(&self) -> Result<Vec<u8>, SigningKeyError> {
        match &self.0 {
            Kind::Rsa(key) => {
                let der: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(|_| SigningKeyError::Failed)?;
                Ok(der.as_ref().to_vec())
            }
            Kind::Ed25519(key) => Ok(key.public_key().as_ref().to_vec()),
        }
    }

    /// The signature of these bytes.
    pub fn sign(&self, bytes: &[u8]) -> Result<Vec<u8>, SigningKeyError> {
        match &self.0 {
            Kind::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), bytes, &mut signature)
                    .map_err(|_| SigningKeyError::Failed)?;
                Ok(signature)
            }
            Kind::Ed25519(key) => Ok(key.sign(digest(&SHA256, bytes).as_ref()).as_ref().to_vec()),
        }
    }
}

/// The bytes of the first PEM block of this label.
fn block(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.chars().filter(|character| !character.is_ascii_whitespace()).collect();
    STANDARD.decode(body).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use aws_lc_rs::signature::{ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_key_comes_back_from_its_bytes_and_signs_what_its_public_key_verifies() {
        for algorithm in [SigningAlgorithm::Rsa, SigningAlgorithm::Ed25519] {
            let made = SigningKey::generate(algorithm).unwrap();
            let bytes = made.to_pkcs8().unwrap();
            let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(&bytes));
            for key in [SigningKey::from_pkcs8(&bytes).unwrap(), SigningKey::from_pem(&pem).unwrap()] {
                assert_eq!((key.algorithm(), key.public_key()), (algorithm, made.public_key()));
                let signature = key.sign(b"hello").unwrap();
                let public = key.public_key().unwrap();
                match algorithm {
                    SigningAlgorithm::Rsa => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public)
                        .verify(b"hello", &signature)
                        .unwrap(),
                    SigningAlgorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, public)
                        .verify(digest(&SHA256, b"hello").as_ref(), &signature)
                        .unwrap(),
                }
            }
        }
    }

    #[test]
    fn what_is_no_key_of_ours_is_told_so() {
        let wrap = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        let error = |text: &str| SigningKey::from_pem(text).unwrap_err();
        assert_eq!(error(""), SigningKeyError::NotPem);
        assert_eq!(error(&wrap("PUBLIC KEY", "AAAA")), SigningKeyError::NotPem);
        assert_eq!(error(&wrap("ENCRYPTED PRIVATE KEY", "AAAA")), SigningKeyError::Encrypted);
        assert_eq!(error(&wrap("PRIVATE KEY", "AAAA")), SigningKeyError::Unknown);
        assert_eq!(error(&wrap("PRIVATE KEY", "?")), SigningKeyError::NotPem);
    }

    #[test]
    fn no_debug_output_shows_a_key() {
        assert_eq!(format!("{:?}", SigningKey::generate(SigningAlgorithm::Ed25519).unwrap()), "SigningKey(Ed25519)");
    }
}
