//! Reaching a relay: its host is looked up once, through the network policy, and what was found is connected.
//!
//! Not here: the mail servers of a recipient's domain (`direct`), the dialogue (`smtp`), who may be reached (`network`), where the
//! settings come from (`store`).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use crate::{
    config,
    network::{Dns, NetworkPolicy, ResolveError, resolve},
    smtp::{Auth, Chunking, ConnectFailure, Credentials, Phase, Session, Settings, Timeouts, TlsMode},
};

/// How many of a host's addresses are tried, one after the other.
const MAX_ADDRESSES: usize = 4;
/// Answers of DNS that are kept.
const N_ANSWERS: u64 = 10_000;
/// What is said in EHLO when the machine has no usable name.
const NAMELESS: &str = "localhost";

/// How a relay is reached, its secret opened.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// A name or an address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// How the session is protected.
    pub tls: TlsMode,
    /// How it logs in.
    pub auth: Auth,
    /// Credentials may leave outside TLS.
    pub allow_plaintext_auth: bool,
    /// Whether it may be given BDAT: what one session learns holds for all that are made from these settings.
    pub chunking: Chunking,
}

impl RelaySettings {
    /// Settings of a relay as it is stored, with words for TLS and login, and its secret opened.
    ///
    /// # Errors
    /// Which word this version doesn't know.
    pub fn of_words(
        (host, port): (&str, u16),
        tls: &str,
        auth: &str,
        credentials: Credentials,
        allow_plaintext_auth: bool,
    ) -> Result<Self, &'static str> {
        Ok(Self {
            host: host.to_owned(),
            port,
            tls: match tls {
                "none" => TlsMode::None,
                "starttls" => TlsMode::StartTls,
                "implicit" => TlsMode::Implicit,
                _ => return Err("its kind of TLS is not known"),
            },
            auth: match auth {
                "none" => Auth::None,
                "plain" => Auth::Plain(credentials),
                "login" => Auth::Login(credentials),
                "cram_md5" => Auth::CramMd5(credentials),
                "scram_sha_256" => Auth::ScramSha256(credentials),
                "xoauth2" => Auth::XOAuth2(credentials),
                _ => return Err("its kind of login is not known"),
            },
            allow_plaintext_auth,
            chunking: Chunking::default(),
        })
    }
}

/// What all sessions have in common. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connector {
    policy: Arc<NetworkPolicy>,
    ehlo_name: Arc<str>,
    pub(super) timeouts: Timeouts,
    may_chunk: bool,
    extra_ca_pem: Option<Arc<str>>,
    pub(super) direct: Option<Direct>,
}

/// What it takes to reach the mail servers of a recipient's domain.
#[derive(Debug, Clone)]
pub(super) struct Direct {
    pub(super) dns: Dns,
    /// Which of them may be connected. What the people of this installation let their relays reach is not for strangers.
    pub(super) policy: Arc<NetworkPolicy>,
    pub(super) port: u16,
}

/// Why no session could be opened, in words for the people who set the relay up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The host has no address that may be connected.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// The dialogue failed.
    #[error(transparent)]
    Session(#[from] ConnectFailure),
}

impl OpenError {
    /// Whether trying again without another setting is in vain.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Resolve(ResolveError::Refused { .. }) => true,
            Self::Resolve(_) => false,
            Self::Session(failure) => failure.is_lasting(),
        }
    }
}

impl Connector {
    /// A connector of these settings; where they name no EHLO name, the machine's host name is said.
    pub fn new(smtp: &config::Smtp, policy: NetworkPolicy) -> Self {
        let seconds = Duration::from_secs;
        let timeouts = Timeouts {
            connect: seconds(smtp.connect_timeout_seconds),
            greeting: seconds(smtp.greeting_timeout_seconds),
            ehlo: seconds(smtp.ehlo_timeout_seconds),
            tls: seconds(smtp.tls_timeout_seconds),
            auth: seconds(smtp.auth_timeout_seconds),
            rset: seconds(smtp.reset_timeout_seconds),
            mail: seconds(smtp.mail_timeout_seconds),
            rcpt: seconds(smtp.rcpt_timeout_seconds),
            data: seconds(smtp.data_timeout_seconds),
            body: seconds(smtp.block_timeout_seconds),
            dot: seconds(smtp.final_timeout_seconds),
            quit: seconds(smtp.quit_timeout_seconds),
        };
        let connector = Self::with(policy, smtp.helo_name.clone().unwrap_or_else(host_name), timeouts);
        Self { may_chunk: smtp.chunking, ..connector }
    }

    /// A connector of its parts.
    pub fn with(policy: NetworkPolicy, ehlo_name: impl Into<Arc<str>>, timeouts: Timeouts) -> Self {
        let (policy, ehlo_name) = (Arc::new(policy), ehlo_name.into());
        Self { policy, ehlo_name, timeouts, may_chunk: true, extra_ca_pem: None, direct: None }
    }

    /// May reach the mail servers of any domain, if the settings allow that.
    #[must_use]
    pub fn allowed_by(self, mx: &config::Mx, dns_servers: &[SocketAddr]) -> Self {
        if !mx.enabled {
            return self;
        }
        match Dns::keeping(N_ANSWERS, dns_servers) {
            Ok(dns) => self.delivering_directly(dns, mx.policy(), mx.port),
            Err(fault) => {
                tracing::error!(fault, "no resolver could be set up: nothing is delivered without a relay");
                self
            }
        }
    }

    /// May reach the mail servers of any domain, found by this resolver, as far as this policy permits them, at this port.
    #[must_use]
    pub fn delivering_directly(mut self, dns: Dns, policy: NetworkPolicy, port: u16) -> Self {
        self.direct = Some(Direct { dns, policy: Arc::new(policy), port });
        self
    }

    /// Whether it may reach the mail servers of any domain.
    pub fn delivers_directly(&self) -> bool {
        self.direct.is_some()
    }

    /// Give no phase of a session longer than `limit`: for a person who waits for the answer.
    #[must_use]
    pub fn hurried(mut self, limit: Duration) -> Self {
        self.timeouts = self.timeouts.at_most(limit);
        self
    }

    /// Trust the certificates of this CA too, in PEM.
    #[must_use]
    pub fn trusting(mut self, extra_ca_pem: impl Into<Arc<str>>) -> Self {
        self.extra_ca_pem = Some(extra_ca_pem.into());
        self
    }

    /// Opens a session. Where a host has several permitted addresses, the next is tried if TCP fails on one.
    ///
    /// # Errors
    /// The host has no permitted address, or the session could not be opened.
    pub async fn open(&self, relay: &RelaySettings) -> Result<Session, OpenError> {
        let addresses = resolve(&relay.host, relay.port, &self.policy, self.timeouts.connect).await?;
        let mut last = None;
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            let settings = Settings {
                auth: relay.auth.clone(),
                allow_plaintext_auth: relay.allow_plaintext_auth,
                chunking: if self.may_chunk { relay.chunking.clone() } else { Chunking::new(false) },
                ..self.settings(address, relay.host.trim_matches(['[', ']']), relay.tls)
            };
            match Session::connect(&settings).await {
                Ok(session) => return Ok(session),
                Err(failure) if failure.phase == Phase::Connect => last = Some(failure),
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(match last {
            Some(failure) => failure.into(),
            // `resolve` never answers an empty list.
            None => ResolveError::NotFound {
                host: relay.host.clone(),
                cause: std::io::Error::new(std::io::ErrorKind::NotFound, "it has no address"),
            }
            .into(),
        })
    }
}

impl Connector {
    /// The settings of a session without a login.
    pub(super) fn settings(&self, address: SocketAddr, server_name: &str, tls: TlsMode) -> Settings {
        Settings {
            tls,
            extra_ca_pem: self.extra_ca_pem.as_deref().map(str::to_owned),
            timeouts: self.timeouts.clone(),
            chunking: Chunking::new(self.may_chunk),
            ..Settings::new(address, server_name, self.ehlo_name.to_string())
        }
    }
}

/// The machine's name, if it can be said in EHLO.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let is_legal = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    if is_legal { name.to_owned() } else { NAMELESS.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn without_other_settings_each_phase_has_the_time_that_rfc_5321_gives_it() {
        let settings = config::read_from(None, []).settings().unwrap();
        let connector = Connector::new(&settings.smtp, NetworkPolicy::default());
        assert_eq!(connector.timeouts, Timeouts::default());
        assert_eq!(connector.timeouts.mail, Duration::from_secs(300));
        assert_eq!(connector.timeouts.dot, Duration::from_secs(600));
    }
}
