//! SCRAM-SHA-256: both sides prove that they know the password, and neither sends it.
//!
//! Pure but for the time that stretching takes. Not here: the commands around it (`auth`), the arithmetic (`keyring`).
//!
//! RFC 5802 (SCRAM), RFC 7677 (with SHA-256), RFC 4013 (SASLprep).

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::keyring::{MAX_ITERATIONS, equal_in_constant_time, hmac_sha256, sha256, stretch_sha256};

/// No channel is bound, and nobody else is acted for.
const GS2: &str = "n,,";
/// `n,,` in base64.
const GS2_AGAIN: &str = "biws";
/// Fewer would make the password cheap to guess for whoever listens (RFC 7677 §4).
const MIN_ITERATIONS: u32 = 4096;

/// An exchange that was begun.
#[derive(Debug)]
pub(super) struct Begun {
    nonce: String,
    first_bare: String,
}

/// An exchange whose proof was given: what the server has to answer to it.
#[derive(Debug)]
pub(super) struct Proved {
    signature: [u8; 32],
}

/// Begins; the second is what to send. `nonce` is printable and has no comma.
pub(super) fn begin(user: &str, nonce: String) -> Result<(Begun, String), &'static str> {
    let user = prepare(user).ok_or("the user name has characters that a login can't have")?;
    let first_bare = format!("n={},r={nonce}", user.replace('=', "=3D").replace(',', "=2C"));
    let message = format!("{GS2}{first_bare}");
    Ok((Begun { nonce, first_bare }, message))
}

impl Begun {
    /// Proves the password to the server's first message; the second is what to send. Takes as long as the server wants,
    /// within [`MAX_ITERATIONS`].
    pub(super) fn prove(self, server_first: &str, password: &str) -> Result<(Proved, String), &'static str> {
        let (mut nonce, mut salt, mut n_iterations) = (None, None, None);
        for field in server_first.split(',') {
            match field.split_once('=') {
                Some(("r", value)) => nonce = Some(value),
                Some(("s", value)) => salt = STANDARD.decode(value).ok(),
                Some(("i", value)) => n_iterations = value.parse::<u32>().ok(),
                // An extension that must be understood, and isn't.
                Some(("m", _)) => return Err("the relay asks for an extension that is not known"),
                _ => {}
            }
        }
        let (Some(nonce), Some(salt), Some(n_iterations)) = (nonce, salt, n_iterations) else {
            return Err("the relay's challenge can't be read");
        };
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err("the relay's challenge does not continue ours");
        }
        if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&n_iterations) {
            return Err("the relay's challenge asks for too few or too many iterations");
        }
        let password = prepare(password).ok_or("the password has characters that a login can't have")?;
        let salted =
            stretch_sha256(password.as_bytes(), &salt, n_iterations).ok_or("the relay's challenge can't be met")?;
        let client_key = hmac_sha256(&salted, b"Client Key");
        let without_proof = format!("c={GS2_AGAIN},r={nonce}");
        let dialogue = format!("{},{server_first},{without_proof}", self.first_bare);
        let mut proof = hmac_sha256(&sha256(&client_key), dialogue.as_bytes());
        proof.iter_mut().zip(client_key).for_each(|(byte, key)| *byte ^= key);
        let signature = hmac_sha256(&hmac_sha256(&salted, b"Server Key"), dialogue.as_bytes());
        Ok((Proved { signature }, format!("{without_proof},p={}", STANDARD.encode(proof))))
    }
}

impl Proved {
    /// Whether the server's last message proves that it knows the password too.
    pub(super) fn is_answered_by(&self, server_final: &str) -> bool {
        let signature = server_final.split(',').next().and_then(|field| field.strip_prefix("v="));
        let signature = signature.and_then(|text| STANDARD.decode(text).ok());
        signature.is_some_and(|bytes| equal_in_constant_time(&bytes, &self.signature))
    }
}

fn prepare(text: &str) -> Option<std::borrow::Cow<'_, str>> {
    stringprep::saslprep(text).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    fn begun(user: &str) -> (Begun, String) {
        begin(user, "rOprNGfwEbeRWgbNEkqO".into()).unwrap()
    }

    #[test]
    fn the_exchange_is_that_of_rfc_7677() {
        let (begun, first) = begun("user");
        assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let (proved, last) = begun.prove(FIRST, "pencil").unwrap();
        assert_eq!(
            last,
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert!(proved.is_answered_by("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        for wrong in ["", "v=", "e=other-error", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="] {
            assert!(!proved.is_answered_by(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_user_name_can_not_add_a_field() {
        assert_eq!(begun("a,r=x").1, "n,,n=a=2Cr=3Dx,r=rOprNGfwEbeRWgbNEkqO");
        assert!(begin("a\u{7}b", "x".into()).is_err());
    }

    #[test]
    fn a_challenge_that_is_not_ours_or_too_cheap_or_too_dear_is_not_answered() {
        for first in [
            "",
            "r=someone-elses,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=?,i=4096",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1",
            "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4000000000",
            "m=x,r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        ] {
            assert!(begun("user").0.prove(first, "pencil").is_err(), "{first}");
        }
    }
}
