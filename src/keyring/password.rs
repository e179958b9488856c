//! What logins compute from a password, so that it need not be sent.
//!
//! Not here: the dialogue in which it is proved (`smtp`).
//!
//! HMAC-MD5 for CRAM-MD5 (RFC 2195), HMAC-SHA-256 and PBKDF2 (RFC 8018) for SCRAM (RFC 5802, RFC 7677).

use std::num::NonZeroU32;

use aws_lc_rs::{hmac, pbkdf2};
use md5::{Digest, Md5};

const MD5_BLOCK_BYTES: usize = 64;
/// The most iterations that [`stretch_sha256`] does: some 200 ms. Who names more wants to keep us busy.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// The HMAC-SHA-256 of these bytes.
pub fn hmac_sha256(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref().try_into().unwrap_or([0; 32])
}

/// PBKDF2 with HMAC-SHA-256: SCRAM's `Hi`. None without iterations, or with more than [`MAX_ITERATIONS`]. Takes long.
pub fn stretch_sha256(password: &[u8], salt: &[u8], n_iterations: u32) -> Option<[u8; 32]> {
    let n_iterations = NonZeroU32::new(n_iterations).filter(|n| n.get() <= MAX_ITERATIONS)?;
    let mut stretched = [0; 32];
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, n_iterations, salt, password, &mut stretched);
    Some(stretched)
}

/// What CRAM-MD5 answers to a challenge: its HMAC-MD5, in hexadecimal. MD5 is broken for other uses, and is used for
/// nothing else here; aws-lc-rs has none.
pub fn cram_md5(password: &[u8], challenge: &[u8]) -> String {
    let mut key = [0; MD5_BLOCK_BYTES];
    let digest;
    let short = if password.len() > MD5_BLOCK_BYTES {
        digest = Md5::digest(password);
        digest.as_slice()
    } else {
        password
    };
    key.iter_mut().zip(short).for_each(|(place, byte)| *place = *byte);
    let inner = Md5::new().chain_update(key.map(|byte| byte ^ 0x36)).chain_update(challenge).finalize();
    let outer = Md5::new().chain_update(key.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize();
    outer.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_challenge_is_that_of_rfc_2195_and_rfc_2202() {
        let answer = cram_md5(b"tanstaaftanstaaf", b"<1896.697170952@postoffice.reston.mci.net>");
        assert_eq!(answer, "b913a602c7eda7a495b4e6e7334d3890");
        let answer = cram_md5(&[0xaa; 80], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(answer, "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd");
    }

    #[test]
    fn a_password_is_not_stretched_without_end() {
        assert!(stretch_sha256(b"x", b"salt", 0).is_none());
        assert!(stretch_sha256(b"x", b"salt", MAX_ITERATIONS + 1).is_none());
        assert!(stretch_sha256(b"x", b"salt", 1).is_some());
    }
}
