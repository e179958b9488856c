//! The signatures of SendGrid and Mailgun, and the password of Postmark, who signs nothing.
//!
//! Sources: twilio.com/docs/sendgrid, "Getting Started with the Event Webhook Security Features"; documentation.mailgun.com,
//! "Securing Webhooks"; postmarkapp.com/developer, "Webhooks overview" (HTTP authentication). RFC 7617 (Basic).

use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::refusal::Refusal;
use crate::keyring::{equal_in_constant_time, hmac_sha256, sha256, verify_ecdsa_p256};

/// SendGrid tries again for a day.
const SENDGRID_MINUTES: i64 = 24 * 60;
/// Mailgun tries again for eight hours.
pub(super) const MAILGUN_MINUTES: i64 = 8 * 60;
/// Clocks differ.
const SKEW_MINUTES: i64 = 5;
const TOKEN_MAX_BYTES: usize = 200;

/// Whether what was signed at this time is still believed.
pub(super) fn check_age(signed_at: DateTime<Utc>, minutes: i64, now: DateTime<Utc>) -> Result<(), Refusal> {
    let age = now.signed_duration_since(signed_at);
    if age <= TimeDelta::minutes(minutes + SKEW_MINUTES) && age >= -TimeDelta::minutes(SKEW_MINUTES) {
        return Ok(());
    }
    Err(Refusal::Stale { signed_at: signed_at.to_rfc3339(), minutes })
}

/// The time in a number of ten digits, seconds since 1970.
fn parse_seconds(text: &str) -> Option<DateTime<Utc>> {
    let is_plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    DateTime::from_timestamp(text.parse().ok().filter(|_| is_plain)?, 0)
}

/// SendGrid: ECDSA over the time and the body.
pub(super) fn check_sendgrid(
    headers: &HeaderMap,
    public_key: &[u8],
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Refusal> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let signature = header("X-Twilio-Email-Event-Webhook-Signature");
    let time = header("X-Twilio-Email-Event-Webhook-Timestamp");
    let (Some(signature), Some(time)) = (signature, time) else {
        return Err(Refusal::Unsigned("switch on the Signed Event Webhook at SendGrid"));
    };
    const WRONG: Refusal = Refusal::Forged("the signature is not by the public key that this inbound webhook has");
    let signature = STANDARD.decode(signature).map_err(|_| WRONG)?;
    if !verify_ecdsa_p256(public_key, &[time.as_bytes(), body].concat(), &signature) {
        return Err(WRONG);
    }
    check_age(parse_seconds(time).ok_or(WRONG)?, SENDGRID_MINUTES, now)
}

/// Mailgun: HMAC over the time and a token, which is handed back hashed: it may be used once.
pub(super) fn check_mailgun(message: &Value, signing_key: &[u8], now: DateTime<Utc>) -> Result<[u8; 32], Refusal> {
    let field = |name: &str| message.pointer(&format!("/signature/{name}")).and_then(Value::as_str);
    let (Some(time), Some(token), Some(signature)) = (field("timestamp"), field("token"), field("signature")) else {
        return Err(Refusal::Unsigned("`signature` with `timestamp`, `token` and `signature` is expected"));
    };
    const WRONG: Refusal = Refusal::Forged("the signature is not by the signing key that this inbound webhook has");
    if token.is_empty() || token.len() > TOKEN_MAX_BYTES {
        return Err(WRONG);
    }
    let own: String = hmac_sha256(signing_key, &[time, token].concat().into_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if !equal_in_constant_time(own.as_bytes(), signature.to_ascii_lowercase().as_bytes()) {
        return Err(WRONG);
    }
    check_age(parse_seconds(time).ok_or(WRONG)?, MAILGUN_MINUTES, now)?;
    Ok(sha256(token.as_bytes()))
}

/// Postmark: Basic authentication.
pub(super) fn check_postmark(headers: &HeaderMap, username: &str, password: &[u8]) -> Result<(), Refusal> {
    let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, text) = value.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("Basic") { STANDARD.decode(text.trim()).ok() } else { None }
    });
    let Some(given) = given else {
        return Err(Refusal::Unsigned("give Postmark the user name and the password (HTTP authentication)"));
    };
    let own = [username.as_bytes(), b":", password].concat();
    // Hashed first, so that not even the length is told.
    if equal_in_constant_time(&sha256(&own), &sha256(&given)) {
        return Ok(());
    }
    Err(Refusal::Forged("the user name or the password is wrong"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_believed_for_its_time_and_not_ahead_of_it() {
        let now = Utc::now();
        assert!(check_age(now - TimeDelta::minutes(64), 60, now).is_ok());
        assert!(check_age(now - TimeDelta::minutes(66), 60, now).is_err());
        assert!(check_age(now + TimeDelta::minutes(4), 60, now).is_ok());
        assert!(check_age(now + TimeDelta::minutes(6), 60, now).is_err());
        assert!(parse_seconds("1795507200").is_some());
        for text in ["", "17955072", "+795507200", "17955072001", "179550720a"] {
            assert_eq!(parse_seconds(text), None, "{text}");
        }
    }
}
