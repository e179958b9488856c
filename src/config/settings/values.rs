//! Values that are more than their text.

use std::{net::SocketAddr, path::PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, de::Error};

/// An absolute http or https URL without query, fragment, credentials or a final slash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicUrl(String);

impl PublicUrl {
    /// The URL; a path is appended with its leading slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is an https URL.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }

    pub(super) fn of(address: SocketAddr) -> Self {
        Self(format!("http://{address}"))
    }
}

impl TryFrom<String> for PublicUrl {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        const FORM: &str = "is no base URL: https://host, with a port or path if need be, without query or credentials";
        let url = text.trim_end_matches('/');
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")).ok_or(FORM)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                port.parse::<u16>().map_err(|_| FORM)?;
                host
            }
            _ => authority,
        };
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host_is_good = match literal {
            Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.is_empty() && host.chars().all(name),
        };
        let path_is_good = path.chars().all(|c| name(c) || matches!(c, '/' | '~' | '%' | '+'));
        if host_is_good && path_is_good { Ok(Self(url.to_owned())) } else { Err(FORM) }
    }
}

impl From<PublicUrl> for String {
    fn from(url: PublicUrl) -> Self {
        url.0
    }
}

const SOCKET_ADDRESS: &str = "must be an IP address and a port, such as 127.0.0.1:8025 or [::1]:8025";

/// An address and port to listen on.
pub(super) fn socket_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom(SOCKET_ADDRESS))
}

/// An address and port to listen on; empty text means that none is set.
pub(super) fn optional_socket_address<'de, D>(deserializer: D) -> Result<Option<SocketAddr>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| D::Error::custom(SOCKET_ADDRESS)) }
}

/// Empty text means that nothing is set.
pub(super) fn optional<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let value = serde::de::value::StringDeserializer::<D::Error>::new(text);
    T::deserialize(value).map(Some)
}

/// A secret; empty text means that none is set.
pub(super) fn optional_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Ok((!text.is_empty()).then(|| text.into()))
}

/// The URL of a Postgres database, with a password perhaps; empty text means that none is set.
pub(super) fn database_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    let url = optional_secret(deserializer)?;
    let is_good = |url: &SecretString| {
        let url = url.expose_secret();
        ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) && !url.contains(char::is_control)
    };
    if url.as_ref().is_none_or(is_good) {
        Ok(url)
    } else {
        Err(D::Error::custom("is no URL such as postgres://user:password@host/name"))
    }
}

/// A path that isn't empty.
pub(super) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() { Err(D::Error::custom("must name a folder")) } else { Ok(text.into()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_a_clean_base() {
        for (text, kept) in [
            ("https://mail.example.com", "https://mail.example.com"),
            ("https://mail.example.com/", "https://mail.example.com"),
            ("http://127.0.0.1:8025", "http://127.0.0.1:8025"),
            ("http://[::1]:8025/m", "http://[::1]:8025/m"),
            ("https://[2001:db8::1]", "https://[2001:db8::1]"),
        ] {
            assert_eq!(PublicUrl::try_from(text.to_owned()).unwrap().as_str(), kept);
        }
        for text in [
            "",
            "mail.example.com",
            "ftp://x",
            "https://",
            "https://u:p@h",
            "https://h?q",
            "https://h#f",
            "https://h\r\nx",
            "https://h:99999",
            "https://h h",
            "https://h/<b>",
            "https://[::1",
            "https://h/\"x",
        ] {
            assert!(PublicUrl::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
