//! Delivering without a relay: the mail servers of a recipient's domain, found in DNS, tried in the order of their preference
//! until one takes the session; each address through the network policy; hidden by TLS where that is offered, in plain text
//! where it isn't or fails.
//!
//! Another server is only tried while no message was begun: what becomes of a message is never in doubt here. Not here: the
//! questions (`network`), the dialogue (`smtp`), how long a domain that fails is left alone (`health`).
//!
//! RFC 5321 section 5.1 (which servers, in which order), RFC 7505 (null MX), RFC 7435 (opportunistic TLS).

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use tokio::time::{Instant, timeout_at};

use super::{
    attempt::Attempted,
    connector::{Connector, Direct},
};
use crate::{
    domain::{bounce::BounceClass, delivery::Outcome},
    keyring::random_bytes,
    network::{Dns, DnsError, MailServers},
    smtp::{self, ConnectFailure, Phase, Session, TlsMode},
};

/// So many addresses are tried at most, over all servers.
const MAX_ADDRESSES: usize = 5;
/// And so many servers are looked up.
const MAX_HOSTS: usize = 10;
/// The limit for connecting is that of all addresses together, each of which gets this part of it: who answers nothing must not
/// keep others out, be it the next server or another domain.
const PARTS: u32 = 3;

/// Why there is no session with a mail server of a domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DirectError {
    /// The installation doesn't deliver without a relay.
    #[error("the setting mx.enabled does not allow to deliver without a relay")]
    NotAllowed,
    /// DNS knows no such domain.
    #[error("there is no domain {0}")]
    NoSuchDomain(String),
    /// A null MX.
    #[error("the domain {0} takes no mail: it says so by a null MX")]
    NoMail(String),
    /// Neither a mail server nor an address.
    #[error("the domain {0} has neither a mail server nor an address")]
    NoAddress(String),
    /// DNS did not answer.
    #[error(transparent)]
    Dns(#[from] DnsError),
    /// Mail servers that are not to be found.
    #[error("no mail server of {0} has an address")]
    NoHost(String),
    /// All that there is, is in refused networks.
    #[error("{host} is refused: {address} is {what}, which the setting mx.allow does not list")]
    Refused {
        /// The last of them.
        host: String,
        /// Its address.
        address: IpAddr,
        /// What that is.
        what: &'static str,
    },
    /// The time was over.
    #[error("no mail server of {domain} took a session within {:.0} s{}", .limit.as_secs_f32(), at(.tried.as_ref()))]
    TooSlow {
        /// Whose.
        domain: String,
        /// The last that was tried, if it came to that.
        tried: Option<(String, IpAddr)>,
        /// What all of them were given.
        limit: Duration,
    },
    /// Nobody took the session.
    #[error("no mail server of {domain} takes a session; {host} at {address}: {failure}")]
    Unreachable {
        /// Whose.
        domain: String,
        /// The last that was tried.
        host: String,
        /// Its address.
        address: IpAddr,
        /// Why not.
        failure: ConnectFailure,
    },
}

impl DirectError {
    /// What it means for a message to that domain: what DNS surely says is final and about the address, everything else passes.
    pub fn attempted(&self) -> Attempted {
        let said = |outcome, class: BounceClass, condemns| Attempted {
            outcome,
            phase: Phase::Connect.as_str(),
            code: None,
            enhanced: None,
            text: self.to_string(),
            class: class.as_str(),
            condemns,
            is_soft: false,
        };
        match self {
            Self::NoSuchDomain(_) | Self::NoAddress(_) => said(Outcome::Rejected, BounceClass::NoSuchDomain, true),
            Self::NoMail(_) => said(Outcome::Rejected, BounceClass::NoMail, true),
            Self::NotAllowed | Self::Dns(_) | Self::NoHost(_) | Self::Refused { .. } | Self::TooSlow { .. } => {
                said(Outcome::Deferred, BounceClass::Routing, false)
            }
            Self::Unreachable { failure, .. } => match failure.reply() {
                Some(reply) => {
                    let deferred = smtp::Outcome::Deferred { phase: failure.phase, reply: reply.clone() };
                    Attempted { text: self.to_string(), ..Attempted::from_session(&deferred) }
                }
                None => {
                    Attempted { phase: failure.phase.as_str(), ..said(Outcome::Deferred, BounceClass::Routing, false) }
                }
            },
        }
    }

    /// How far it came.
    pub fn phase(&self) -> Option<Phase> {
        match self {
            Self::Unreachable { failure, .. } => Some(failure.phase),
            Self::TooSlow { tried: Some(_), .. } => Some(Phase::Connect),
            _ => None,
        }
    }
}

impl Connector {
    /// Where the mail of this domain goes: hosts in the order in which they are tried.
    ///
    /// # Errors
    /// Nowhere, or DNS did not say.
    pub async fn mail_hosts(&self, domain: &str) -> Result<Vec<String>, DirectError> {
        let Direct { dns, .. } = self.direct.as_ref().ok_or(DirectError::NotAllowed)?;
        Ok(goal(dns, domain).await?.hosts)
    }

    /// Opens a session with a mail server of this domain (A-labels). From the first question to the session that is ready all of it
    /// takes no longer than the limits for connecting and for a greeting together: strangers may answer as slowly as they like.
    ///
    /// # Errors
    /// There is none, none takes the session, or DNS did not say.
    pub async fn open_direct(&self, domain: &str) -> Result<Session, DirectError> {
        let direct = self.direct.as_ref().ok_or(DirectError::NotAllowed)?;
        let mut search = Search {
            domain,
            limit: self.timeouts.connect + self.timeouts.greeting,
            deadline: Instant::now() + self.timeouts.connect + self.timeouts.greeting,
            last: None,
        };
        match timeout_at(search.deadline, self.seek(direct, &mut search)).await {
            Ok(result) => result,
            Err(_) => Err(search.last.take().unwrap_or_else(|| search.too_slow(None))),
        }
    }

    async fn seek(
        &self,
        Direct { dns, policy, port }: &Direct,
        search: &mut Search<'_>,
    ) -> Result<Session, DirectError> {
        let Goal { hosts, is_itself } = goal(dns, search.domain).await?;
        // Spent on those that did not even answer TCP.
        let (mut n_tried, mut spent) = (0, Duration::ZERO);
        'all: for host in hosts.into_iter().take(MAX_HOSTS) {
            let addresses = match dns.addresses(&host).await {
                Ok(addresses) => addresses,
                Err(error) => {
                    search.last = Some(error.into());
                    continue;
                }
            };
            for address in addresses {
                if let Some(what) = policy.refusal(address) {
                    search.last.get_or_insert(DirectError::Refused { host: host.clone(), address, what });
                    continue;
                }
                if n_tried == MAX_ADDRESSES || (n_tried > 0 && spent >= self.timeouts.connect) {
                    break 'all;
                }
                n_tried += 1;
                let began = Instant::now();
                // Half of what is left: who talks slowly must not keep the next one out either.
                let until = began + search.deadline.saturating_duration_since(began) / 2;
                let opening = self.open_at(SocketAddr::new(address, *port), &host);
                search.last = Some(match timeout_at(until, opening).await {
                    Ok(Ok(session)) => return Ok(session),
                    Ok(Err(failure)) => {
                        if failure.phase == Phase::Connect {
                            spent += began.elapsed();
                        }
                        let (domain, host) = (search.domain.to_owned(), host.clone());
                        DirectError::Unreachable { domain, host, address, failure }
                    }
                    Err(_) => search.too_slow(Some((host.clone(), address))),
                });
            }
        }
        Err(search.last.take().unwrap_or_else(|| match is_itself {
            true => DirectError::NoAddress(search.domain.to_owned()),
            false => DirectError::NoHost(search.domain.to_owned()),
        }))
    }

    /// With TLS where it is offered; where that fails, once more without.
    async fn open_at(&self, address: SocketAddr, host: &str) -> Result<Session, ConnectFailure> {
        let mut settings = self.settings(address, host, TlsMode::Opportunistic);
        settings.timeouts.connect /= PARTS;
        match Session::connect(&settings).await {
            Err(failure) if failure.phase == Phase::Tls => {
                tracing::debug!(host, %address, %failure, "no TLS with a mail server; it is tried in plain text");
                settings.tls = TlsMode::None;
                Session::connect(&settings).await
            }
            result => result,
        }
    }
}

/// Where the mail of a domain goes.
struct Goal {
    /// In the order in which they are tried.
    hosts: Vec<String>,
    /// The domain names no mail server: it is its own. One that names itself does name one.
    is_itself: bool,
}

async fn goal(dns: &Dns, domain: &str) -> Result<Goal, DirectError> {
    match dns.mail_servers(domain).await? {
        MailServers::NoSuchDomain => Err(DirectError::NoSuchDomain(domain.to_owned())),
        MailServers::None => Err(DirectError::NoMail(domain.to_owned())),
        MailServers::Itself => Ok(Goal { hosts: vec![domain.to_owned()], is_itself: true }),
        MailServers::Hosts(hosts) => {
            let mut hosts: Vec<_> = hosts.into_iter().map(|(preference, host)| (preference, dice(), host)).collect();
            hosts.sort();
            Ok(Goal { hosts: hosts.into_iter().map(|(_, _, host)| host).collect(), is_itself: false })
        }
    }
}

/// A search for a mail server that takes a session.
struct Search<'a> {
    domain: &'a str,
    limit: Duration,
    deadline: Instant,
    /// Why the last one that was looked at doesn't.
    last: Option<DirectError>,
}

impl Search<'_> {
    fn too_slow(&self, tried: Option<(String, IpAddr)>) -> DirectError {
        DirectError::TooSlow { domain: self.domain.to_owned(), tried, limit: self.limit }
    }
}

fn at(tried: Option<&(String, IpAddr)>) -> String {
    tried.map(|(host, address)| format!("; the last was {host} at {address}")).unwrap_or_default()
}

/// A number by chance, for the order of what is alike.
fn dice() -> u64 {
    random_bytes().map_or(0, u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dns_surely_says_condemns_an_address() {
        let domain = || "x.test".to_owned();
        for (error, outcome, class, condemns) in [
            (DirectError::NoSuchDomain(domain()), Outcome::Rejected, "no_such_domain", true),
            (DirectError::NoMail(domain()), Outcome::Rejected, "no_mail", true),
            (DirectError::NoAddress(domain()), Outcome::Rejected, "no_such_domain", true),
            (DirectError::NoHost(domain()), Outcome::Deferred, "routing", false),
            (DnsError::TimedOut { name: domain() }.into(), Outcome::Deferred, "routing", false),
        ] {
            let attempted = error.attempted();
            assert_eq!((attempted.outcome, attempted.class, attempted.condemns), (outcome, class, condemns), "{error}");
            assert_eq!((attempted.code, attempted.text), (None, error.to_string()));
        }
    }
}
