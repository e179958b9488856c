//! Access tokens for XOAUTH2: had for a refresh token, which stands for the consent of the mailbox's owner.
//!
//! Not here: where the tokens are kept (`store`), how one is used (`auth`), getting the consent, which needs a browser.
//!
//! RFC 6749 §6 (refreshing), §5.1 and §5.2 (the answers). The endpoints are those that Google and Microsoft document for
//! IMAP and POP.

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::settings::Kind;
use crate::network::{HttpsClient, HttpsError};

/// A token that isn't told how long it is good for is taken for good so long, in seconds.
const USUAL_SECONDS: i64 = 3600;
const LONGEST_SECONDS: i64 = 24 * 3600;
/// So long before its end a token isn't used any more: a session begins with it.
const MARGIN: TimeDelta = TimeDelta::seconds(120);
const TOKEN_MAX_BYTES: usize = 8 * 1024;
const WORDS_MAX_CHARS: usize = 300;

/// Who has a token endpoint that needs not be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// Gmail and Google Workspace.
    Google,
    /// Outlook.com and Microsoft 365.
    Microsoft,
}

impl Authority {
    /// The words in JSON.
    pub const WORDS: [&'static str; 2] = ["google", "microsoft"];

    /// From the word.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "google" => Some(Self::Google),
            "microsoft" => Some(Self::Microsoft),
            _ => None,
        }
    }

    /// Where tokens are had.
    pub fn token_url(self) -> &'static str {
        match self {
            Self::Google => "https://oauth2.googleapis.com/token",
            Self::Microsoft => "https://login.microsoftonline.com/common/oauth2/v2.0/token",
        }
    }

    /// What is asked for; none where a refresh token has its scope by itself.
    pub fn scope(self, kind: Kind) -> Option<&'static str> {
        match (self, kind) {
            (Self::Google, _) => None,
            (Self::Microsoft, Kind::Imap) => Some("https://outlook.office.com/IMAP.AccessAsUser.All offline_access"),
            (Self::Microsoft, Kind::Pop3) => Some("https://outlook.office.com/POP.AccessAsUser.All offline_access"),
        }
    }
}

/// What an access token is had for.
#[derive(Debug, Clone)]
pub struct Grant {
    /// Where.
    pub token_url: String,
    /// Who asks.
    pub client_id: String,
    /// The client's own secret, if it has one.
    pub client_secret: Option<SecretString>,
    /// The consent.
    pub refresh_token: SecretString,
    /// For what.
    pub scope: Option<String>,
}

/// What was had.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// For the login.
    pub access_token: SecretString,
    /// Until when it is good.
    pub expires_at: DateTime<Utc>,
    /// The refresh token that takes the old one's place.
    pub refresh_token: Option<SecretString>,
}

/// Why there is no access token.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// The consent is gone.
    #[error(
        "the consent to read this mailbox has ended or was withdrawn: it has to be given anew, and the new refresh token sent as `oauth` (invalid_grant: {0})"
    )]
    NeedsConsent(String),
    /// The endpoint refused otherwise.
    #[error("the token endpoint refused: {0}")]
    Refused(String),
    /// It answered something else.
    #[error("the token endpoint answered with status {status} and without a token")]
    Unclear {
        /// The status.
        status: u16,
    },
    /// Nothing was answered.
    #[error("no access token could be had: {0}")]
    Https(#[from] HttpsError),
}

/// Whether an access token that is good until then can still be used.
pub fn is_fresh(expires_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    expires_at - MARGIN > now
}

#[derive(Deserialize)]
struct Success {
    access_token: String,
    expires_in: Option<i64>,
    refresh_token: Option<String>,
}

#[derive(Deserialize)]
struct Failure {
    error: String,
    #[serde(default)]
    error_description: String,
}

/// Get an access token.
///
/// # Errors
/// [`OAuthError`], in words for the people who set the mailbox up.
pub async fn renew(https: &HttpsClient, grant: &Grant, now: DateTime<Utc>) -> Result<Tokens, OAuthError> {
    let mut form = String::new();
    let mut add = |name: &str, value: &str| {
        form.extend([if form.is_empty() { "" } else { "&" }, name, "=", &encode(value)]);
    };
    add("grant_type", "refresh_token");
    add("client_id", &grant.client_id);
    if let Some(secret) = &grant.client_secret {
        add("client_secret", secret.expose_secret());
    }
    add("refresh_token", grant.refresh_token.expose_secret());
    if let Some(scope) = &grant.scope {
        add("scope", scope);
    }
    let answer = https.post_form(&grant.token_url, form).await?;
    let unclear = OAuthError::Unclear { status: answer.status };
    if answer.status == 200 {
        let success: Success = serde_json::from_slice(&answer.body).map_err(|_| unclear)?;
        if !is_token(&success.access_token) {
            return Err(OAuthError::Unclear { status: answer.status });
        }
        let seconds = success.expires_in.unwrap_or(USUAL_SECONDS).clamp(0, LONGEST_SECONDS);
        return Ok(Tokens {
            access_token: success.access_token.into(),
            expires_at: now + TimeDelta::seconds(seconds),
            refresh_token: success.refresh_token.filter(|token| is_token(token)).map(SecretString::from),
        });
    }
    let failure: Failure = serde_json::from_slice(&answer.body).map_err(|_| unclear)?;
    let words = clip(&failure.error_description);
    Err(match failure.error.as_str() {
        "invalid_grant" => OAuthError::NeedsConsent(words),
        error => OAuthError::Refused(format!("{}: {words}", clip(error))),
    })
}

/// RFC 6749 appendix A: visible ASCII.
fn is_token(text: &str) -> bool {
    (1..=TOKEN_MAX_BYTES).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// As `application/x-www-form-urlencoded` has it.
fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// A stranger's words.
fn clip(text: &str) -> String {
    let words = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WORDS_MAX_CHARS).collect::<String>();
    words.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_can_hold_nothing_but_itself() {
        assert_eq!(encode("a b&c=d+é/1//0"), "a%20b%26c%3Dd%2B%C3%A9%2F1%2F%2F0");
    }

    #[test]
    fn a_token_near_its_end_is_not_used() {
        let now = Utc::now();
        assert!(is_fresh(now + TimeDelta::minutes(3), now));
        assert!(!is_fresh(now + TimeDelta::minutes(1), now));
    }
}
