//! The login: LOGIN, AUTHENTICATE PLAIN, AUTHENTICATE XOAUTH2; and what must hold before any secret leaves.
//!
//! Not here: POP3's way of saying the same (`pop3`), where the secret comes from (`store`, `keyring`); renewing an access token.
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
    let (user, secret) = credentials(settings, is_private)?;
    let outcome = match settings.auth {
        Auth::Login => client.login(user, secret).await,
        Auth::Plain => client.authenticate("PLAIN", Once::new(plain(user, secret))).await,
        Auth::XOAuth2 => client.authenticate("XOAUTH2", Once::new(xoauth2(user, secret))).await,
    };
    outcome.map_err(|(error, _client)| Cause::of(error))
}

/// User and secret, if they may leave at all.
pub(super) fn credentials(settings: &Settings, is_private: bool) -> Result<(&str, &str), Cause> {
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
    Ok((user, secret))
}

/// The response of PLAIN.
pub(super) fn plain(user: &str, password: &str) -> String {
    format!("\0{user}\0{password}")
}

/// The response of XOAUTH2.
pub(super) fn xoauth2(user: &str, token: &str) -> String {
    format!("user={user}\u{1}auth=Bearer {token}\u{1}\u{1}")
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::mailbox::{Filing, Kind, Limits, TlsMode, guard::Guard};

    #[tokio::test]
    async fn a_password_leaves_outside_tls_only_on_this_machine_or_when_that_is_said() {
        for (is_private, allow_plaintext_auth) in [(false, false), (true, false), (false, true)] {
            let (stream, mut server) = tokio::io::duplex(1000);
            let settings = Settings {
                kind: Kind::Imap,
                host: "imap.example.org".into(),
                port: 143,
                tls: TlsMode::None,
                extra_ca_pem: None,
                auth: Auth::Login,
                username: "u".into(),
                secret: "secret".into(),
                allow_plaintext_auth,
                folders: vec!["INBOX".into()],
                filing: Filing::Leave,
                limits: Limits::default(),
            };
            let login = tokio::spawn(async move {
                log_in(&settings, Client::new(Guard::new(Box::new(stream))), is_private).await.map(drop)
            });
            let mut said = String::new();
            if is_private || allow_plaintext_auth {
                let mut buffer = [0; 100];
                let n_bytes = server.read(&mut buffer).await.unwrap();
                said.push_str(std::str::from_utf8(buffer.get(..n_bytes).unwrap()).unwrap());
                assert!(!said.is_empty());
                login.abort();
            } else {
                server.read_to_string(&mut said).await.unwrap();
                assert_eq!(said, "");
                assert!(matches!(login.await.unwrap(), Err(Cause::PlaintextAuth)));
            }
        }
    }
}
