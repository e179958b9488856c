//! The login: LOGIN, AUTHENTICATE PLAIN, AUTHENTICATE XOAUTH2.
//!
//! Not here: where the secret comes from (`store`, `keyring`); renewing an access token.
//!
//! RFC 3501 §6.2.2 and §6.2.3, RFC 4616 (PLAIN); XOAUTH2 as Google and Microsoft document it.

use async_imap::{Authenticator, Client};
use secrecy::ExposeSecret;

use super::{
    error::Cause,
    session::Wire,
    settings::{Auth, Settings},
};

/// Log in. `is_private`: by TLS, or on this machine. The caller bounds the time.
pub(super) async fn log_in(
    settings: &Settings,
    client: Client<Wire>,
    is_private: bool,
) -> Result<async_imap::Session<Wire>, Cause> {
    if !is_private && !settings.allow_plaintext_auth {
        return Err(Cause::PlaintextAuth);
    }
    let (user, secret) = (settings.username.as_str(), settings.secret.expose_secret());
    if user.is_empty() || user.contains(char::is_control) {
        return Err(Cause::Setting("username"));
    }
    // NUL parts the fields of PLAIN, ^A those of XOAUTH2, line ends the commands.
    if secret.is_empty() || secret.contains(char::is_control) {
        return Err(Cause::Setting("password"));
    }
    let outcome = match settings.auth {
        Auth::Login => client.login(user, secret).await,
        Auth::Plain => client.authenticate("PLAIN", Once::new(format!("\0{user}\0{secret}"))).await,
        Auth::XOAuth2 => {
            let token = format!("user={user}\u{1}auth=Bearer {secret}\u{1}\u{1}");
            client.authenticate("XOAUTH2", Once::new(token)).await
        }
    };
    outcome.map_err(|(error, _client)| Cause::of(error))
}

/// Answers the first challenge with the credentials and every other with nothing: XOAUTH2 wraps its error into a second
/// challenge, and refuses in IMAP's own words once that is answered.
struct Once(Option<String>);

impl Once {
    fn new(answer: String) -> Self {
        Self(Some(answer))
    }
}

impl Authenticator for Once {
    type Response = String;

    fn process(&mut self, _challenge: &[u8]) -> String {
        self.0.take().unwrap_or_default()
    }
}
