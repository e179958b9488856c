//! An SMTP server on loopback that follows a script, by step, connection or recipient, and remembers what it saw.
//!
//! ```ignore
//! let peer = SmtpPeer::start(Script::default().on_recipient(|recipient| match recipient {
//!     "no@x.test" => Action::reply("550 5.1.1 No such user"),
//!     _ => Action::Proceed,
//! })).await;
//! let accepted = peer.wait_for(3).await;
//! ```
//!
//! What it wouldn't expect of a good client (a bare line feed, a command sent ahead where PIPELINING is not offered) fails
//! the test when the peer is dropped.

#![allow(dead_code, unused_imports, reason = "a toolbox for every test; not every tool is in use at every time")]

mod conversation;
mod link;
mod log;
mod login;
mod script;

pub use link::{acceptor, tls_fixture};
pub use log::{Accepted, Facts, Seen};
pub use script::{Action, Gate, Moment, PeerTls, Script, Step};

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use tokio::net::TcpStream;

use self::{conversation::Conversation, link::Link, log::Log};
use super::listener::Listener;

/// A scripted server. Dropping it closes everything.
pub struct SmtpPeer {
    listener: Listener,
    log: Arc<Log>,
}

impl SmtpPeer {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start(script: Script) -> Self {
        Self::start_on((Ipv4Addr::LOCALHOST, 0).into(), script).await
    }

    /// Listens there: where another one has stopped, for example.
    pub async fn start_on(address: SocketAddr, script: Script) -> Self {
        let (script, log) = (Arc::new(script), Arc::new(Log::default()));
        let noting = log.clone();
        let listener =
            Listener::start_on(address, move |stream| converse(stream, script.clone(), noting.clone())).await;
        Self { listener, log }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listener.addr()
    }

    /// Stops listening and cuts every connection; gives what it saw.
    pub async fn stop(mut self) -> Facts {
        self.listener.stop().await;
        self.facts()
    }

    /// What it saw until now.
    pub fn facts(&self) -> Facts {
        self.log.facts().clone()
    }

    /// The messages that it accepted until now.
    pub fn accepted(&self) -> Vec<Accepted> {
        self.log.facts().accepted.clone()
    }

    /// Waits until at least so many messages are accepted, and gives all of them.
    pub async fn wait_for(&self, n_accepted: usize) -> Vec<Accepted> {
        self.wait_until(&format!("{n_accepted} messages are accepted"), |facts| facts.accepted.len() >= n_accepted)
            .await
            .accepted
    }

    /// Waits until at least so many commands that begin like this were seen.
    pub async fn wait_for_command(&self, verb: &str, n: usize) -> Facts {
        self.wait_until(&format!("{n} times {verb} was seen"), |facts| facts.n_commands(verb) >= n).await
    }

    /// Waits until what it saw is so; `what` ends a sentence for the case that it never comes.
    pub async fn wait_until(&self, what: &str, is_so: impl FnMut(&Facts) -> bool) -> Facts {
        self.log.wait_until(what, is_so).await;
        self.facts()
    }
}

impl Drop for SmtpPeer {
    fn drop(&mut self) {
        let violations = self.log.facts().violations.clone();
        if !std::thread::panicking() {
            assert!(violations.is_empty(), "the client misbehaved: {violations:#?}");
        }
    }
}

/// Counted as open from the moment at which it is accepted.
fn converse(stream: TcpStream, script: Arc<Script>, log: Arc<Log>) -> impl Future<Output = ()> + Send {
    let connection = log.note(|facts| {
        facts.n_connections += 1;
        facts.n_open += 1;
        facts.n_connections
    });
    let open = Open(log.clone());
    async move {
        let _open = open;
        Conversation::new(Link::new(stream), script, log, connection).hold().await;
    }
}

/// Counts a connection as open until it is dropped.
struct Open(Arc<Log>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.note(|facts| facts.n_open -= 1);
    }
}
