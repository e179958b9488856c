//! Others' signatures: whether a mail service has signed what came in its name.
//!
//! Not here: whose key it is and where it comes from (`track`), our own MACs (the face).
//!
//! ECDSA with P-256 and SHA-256 (FIPS 186-5), RSASSA-PKCS1-v1_5 (RFC 8017), public keys as SubjectPublicKeyInfo (RFC 5280
//! §4.1.2.7).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ParsedPublicKey, RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256,
    UnparsedPublicKey,
};

/// Which hash was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// Of use only where a service offers nothing else: finding two texts of one hash is possible, and a stranger chooses
    /// parts of the text.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// Whether `signature` is that of `message` by the RSA key in `public_key` (SubjectPublicKeyInfo in DER).
pub fn verify_rsa(hash: Hash, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let algorithm = match hash {
        Hash::Sha1 => &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha256 => &RSA_PKCS1_2048_8192_SHA256,
    };
    UnparsedPublicKey::new(algorithm, public_key).verify(message, signature).is_ok()
}

/// Whether `signature` (ASN.1) is that of `message` by the P-256 key in `public_key` (SubjectPublicKeyInfo in DER).
pub fn verify_ecdsa_p256(public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public_key).verify(message, signature).is_ok()
}

/// Whether this is a P-256 key (SubjectPublicKeyInfo in DER).
pub fn is_p256_key(public_key: &[u8]) -> bool {
    // A bare point would parse as well.
    public_key.first() == Some(&0x30) && ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public_key).is_ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use aws_lc_rs::{
        encoding::{AsDer, PublicKeyX509Der},
        rand::SystemRandom,
        rsa::{KeyPair as RsaKeyPair, KeySize},
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256},
    };

    use base64::{Engine, engine::general_purpose::STANDARD};

    use super::*;

    #[test]
    fn a_signature_holds_only_for_its_key_message_and_bits() {
        let random = SystemRandom::new();
        let (own, other) = (
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap(),
        );
        let der = |pair: &EcdsaKeyPair| {
            let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
            der.as_ref().to_vec()
        };
        let signature = own.sign(&random, b"text").unwrap().as_ref().to_vec();
        assert!(is_p256_key(&der(&own)) && !is_p256_key(b"") && !is_p256_key(own.public_key().as_ref()));
        assert!(verify_ecdsa_p256(&der(&own), b"text", &signature));
        assert!(!verify_ecdsa_p256(&der(&other), b"text", &signature));
        assert!(!verify_ecdsa_p256(&der(&own), b"texs", &signature));
        assert!(!verify_ecdsa_p256(&der(&own), b"text", b""));
    }

    /// A key, and its signature of `text` over SHA-1, by `openssl dgst -sha1 -sign`.
    const OLD: (&str, &str) = (
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0WMv1PRs2gTV0CEpm8NpauL1lNvPyK+HOwkp7NUxmLbF18s+7XtY\
        K+L2V7D0ydQh9XLiegMFjPnOofx9thzG6wXQVOwavMLANmbd9njxi585Dq3YxHt/UqwOIrqTZrbMT9x4gOn8zexSqdNab/as\
        xB1DtKOAwYFXI7TieLuYjYPNEtgoByXCFCyaDHJgsbSxkppOWExjA42Zd0/LSQJltBj5sX+zP7QdNEV0ZTztcMusuTtK1Ghv\
        gUlYfMcOsmhZSJLGdPMU2lNAEPqCQ27FJJUO/XeR7UnggCSXGhdCH86ZQTXeFQei7M6EABNOJSNO78/BZstNV8YAvmeMtO2A\
        /QIDAQAB",
        "o2OWLYyqr5a4NPwDxD5wL8hs+2xyiMAOkEOv4V3ngD7Ny+U4JRjzvzEuwmOQVfT1yZgcBtPtj9H/08fgg24ZZ7JC4qgAt1VC\
        ewOkUQSSSz35+OG1eVNR2DNSnoiVRCmBj6fz87aiQ4klPLMIS7dGd5n+xmAf/+9a4vqVRpaQ/L3i4eBx+4oWLYlvuo8H3mvZ\
        ZciPE3yBVac4YTb1umXkIuIsbj3kLFwz9Y/eg5b4a1sp4LHAU82/zgMrmKvH371Vz9eGcGXZQ4MPJ3qG7pPtdrqic/Z/9cfS\
        18DbmOy89QcJwpmGex9L4xAFGC15X/9H/g4r1ibCEGoXuZkmOs7b1A==",
    );

    #[test]
    fn rsa_verifies_with_the_hash_that_was_signed() {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), b"text", &mut signature).unwrap();
        let (old_key, old) = (STANDARD.decode(OLD.0).unwrap(), STANDARD.decode(OLD.1).unwrap());
        for (hash, other, key, signature) in
            [(Hash::Sha256, Hash::Sha1, der.as_ref(), &signature), (Hash::Sha1, Hash::Sha256, &old_key, &old)]
        {
            assert!(verify_rsa(hash, key, b"text", signature));
            assert!(!verify_rsa(other, key, b"text", signature));
            assert!(!verify_rsa(hash, key, b"tex", signature));
        }
        assert!(!verify_rsa(Hash::Sha256, &old_key, b"text", &signature));
    }
}
