//! A client of HTTPS for the few things that are fetched: certificates and tokens. One request a connection, whose host goes
//! through the policy, whose certificate is verified, and whose answer is bounded in time and size. No redirect is
//! followed: what was checked is what is asked.
//!
//! Not here: which URLs are asked (`track`, `mailbox`). RFC 9110, RFC 9112.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, Uri, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{NetworkPolicy, ResolveError, TlsError, resolve, shake_hands};

/// For a whole exchange.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// For one address of a host that has several.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
const MAX_BODY_BYTES: usize = 64 * 1024;
const MAX_URL_BYTES: usize = 2048;
const HTTPS_PORT: u16 = 443;

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum HttpsError {
    /// Not a URL that may be asked.
    #[error("this is no URL that is asked: https, a host, and nothing of a user")]
    Url,
    /// The host has no address that may be connected.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No address of the host could be connected.
    #[error("{host} could not be connected: {cause}")]
    Connect {
        /// The host.
        host: String,
        /// Why the last address failed.
        cause: String,
    },
    /// TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Not HTTP, or broken off.
    #[error("the answer of {host} could not be read: {cause}")]
    Broken {
        /// The host.
        host: String,
        /// In the words of the protocol's reader.
        cause: String,
    },
    /// The body is too large.
    #[error("the answer of {host} has more than {MAX_BODY_BYTES} bytes")]
    TooLarge {
        /// The host.
        host: String,
    },
    /// It took too long.
    #[error("{host} did not answer within {} s", TIME_LIMIT.as_secs())]
    TimedOut {
        /// The host.
        host: String,
    },
}

/// What was answered, whatever its status.
#[derive(Debug, Clone)]
pub struct HttpsAnswer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// A client. Keeps no connection.
#[derive(Debug, Clone)]
pub struct HttpsClient {
    policy: NetworkPolicy,
    extra_ca_pem: Option<String>,
    pinned: Vec<(String, SocketAddr)>,
}

impl HttpsClient {
    /// A client under this policy, that trusts the system's authorities and those in `extra_ca_pem`.
    pub fn new(policy: NetworkPolicy, extra_ca_pem: Option<String>) -> Self {
        Self { policy, extra_ca_pem, pinned: Vec::new() }
    }

    /// Connect this address for this host instead of what its name resolves to. The certificate must be the host's all the
    /// same: for tests of what asks hosts whose names are fixed.
    pub fn pinned(mut self, host: &str, address: SocketAddr) -> Self {
        self.pinned.push((host.to_owned(), address));
        self
    }

    /// GET this URL.
    ///
    /// # Errors
    /// [`HttpsError`]; an answer of any status is none.
    pub async fn get(&self, url: &str) -> Result<HttpsAnswer, HttpsError> {
        self.ask(Method::GET, url, Vec::new()).await
    }

    /// POST this form (already encoded) to this URL.
    ///
    /// # Errors
    /// [`HttpsError`]; an answer of any status is none.
    pub async fn post_form(&self, url: &str, form: String) -> Result<HttpsAnswer, HttpsError> {
        self.ask(Method::POST, url, form.into_bytes()).await
    }

    async fn ask(&self, method: Method, url: &str, body: Vec<u8>) -> Result<HttpsAnswer, HttpsError> {
        let place = Place::parse(url)?;
        let exchange = self.exchange(&place, method, body);
        tokio::time::timeout(TIME_LIMIT, exchange)
            .await
            .unwrap_or_else(|_| Err(HttpsError::TimedOut { host: place.host.clone() }))
    }

    async fn exchange(&self, place: &Place, method: Method, body: Vec<u8>) -> Result<HttpsAnswer, HttpsError> {
        let host = || place.host.clone();
        let broken = |cause: &dyn std::fmt::Display| HttpsError::Broken { host: host(), cause: cause.to_string() };
        let stream = self.connect(place).await?;
        let (stream, _) = shake_hands(stream, &place.host, self.extra_ca_pem.as_deref()).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let mut request = Request::builder()
            .method(&method)
            .uri(&place.target)
            .header(header::HOST, &place.authority)
            .header(header::USER_AGENT, concat!("postrider/", env!("CARGO_PKG_VERSION")))
            .header(header::CONNECTION, "close");
        if method == Method::POST {
            request = request
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(header::ACCEPT, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|_| HttpsError::Url)?;
        let talk = async {
            let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
            let body = body.map_err(|error| match error.downcast_ref::<http_body_util::LengthLimitError>() {
                Some(_) => HttpsError::TooLarge { host: host() },
                None => broken(&error),
            })?;
            Ok(HttpsAnswer { status, body: body.to_bytes().to_vec() })
        };
        // The connection has to be driven while its answer is read, and is dropped with it.
        let drive = async {
            let _ = connection.await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            answer = talk => answer,
            () = drive => Err(broken(&"the connection ended")),
        }
    }

    async fn connect(&self, place: &Place) -> Result<TcpStream, HttpsError> {
        let pinned = self.pinned.iter().find(|(host, _)| *host == place.host).map(|(_, address)| *address);
        let addresses = match pinned {
            Some(address) => vec![address],
            None => resolve(&place.host, place.port, &self.policy, CONNECT_LIMIT).await?,
        };
        let mut cause = String::new();
        for address in addresses {
            match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => cause = error.to_string(),
                Err(_) => "no answer".clone_into(&mut cause),
            }
        }
        Err(HttpsError::Connect { host: place.host.clone(), cause })
    }
}

/// A URL taken apart.
#[derive(Debug)]
struct Place {
    host: String,
    port: u16,
    authority: String,
    /// Path and query.
    target: String,
}

impl Place {
    fn parse(url: &str) -> Result<Self, HttpsError> {
        if url.len() > MAX_URL_BYTES {
            return Err(HttpsError::Url);
        }
        let uri: Uri = url.parse().map_err(|_| HttpsError::Url)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@')).ok_or(HttpsError::Url)?;
        if uri.scheme_str() != Some("https") || authority.host().is_empty() {
            return Err(HttpsError::Url);
        }
        Ok(Self {
            host: authority.host().to_ascii_lowercase(),
            port: authority.port_u16().unwrap_or(HTTPS_PORT),
            authority: authority.as_str().to_owned(),
            target: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
        })
    }
}

/// Whether this client would ask this URL, but for the policy.
pub fn is_https_url(url: &str) -> bool {
    Place::parse(url).is_ok()
}

/// The host of a URL that this client would ask, in lower case, if its port is the usual one.
pub fn https_host(url: &str) -> Option<String> {
    Place::parse(url).ok().filter(|place| place.port == HTTPS_PORT).map(|place| place.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_to_a_host_without_a_user_is_asked() {
        assert_eq!(
            https_host("https://SNS.eu-west-1.amazonaws.com/x.pem").as_deref(),
            Some("sns.eu-west-1.amazonaws.com")
        );
        for url in [
            "http://sns.eu-west-1.amazonaws.com/",
            "https://sns.eu-west-1.amazonaws.com@evil.test/",
            "https://user:x@host.test/",
            "https://host.test:8443/",
            "https:///x",
            "/x",
            "https://host.test /x",
            "ftp://host.test/",
            "",
        ] {
            assert_eq!(https_host(url), None, "{url}");
        }
        assert!(Place::parse(&format!("https://a.test/{}", "x".repeat(3000))).is_err());
    }

    #[tokio::test]
    async fn a_host_of_a_refused_network_is_not_asked() {
        let client = HttpsClient::new(NetworkPolicy::new(Vec::new()), None);
        let error = client.get("https://127.0.0.1/latest/meta-data").await.err();
        assert!(matches!(error, Some(HttpsError::Resolve(ResolveError::Refused { .. }))), "{error:?}");
    }
}
