//! An open session, between messages.
//!
//! Not here: opening one (`connect`), submitting over it (`pipeline`), keeping several (`relay`).

use std::net::SocketAddr;

use super::{capabilities::Capabilities, failure::Cause, phase::Phase, reply::Reply, settings::Chunking, wire::Wire};
use crate::network::TlsInfo;

/// An SMTP session that is greeted, protected and logged in.
///
/// Dropping it closes the connection at once. That is safe, if impolite, between messages; a message in flight is
/// then not submitted or unknown, as far as anybody can tell.
#[derive(Debug)]
pub struct Session {
    pub(super) wire: Wire,
    pub(super) capabilities: Capabilities,
    pub(super) tls: Option<TlsInfo>,
    pub(super) peer: SocketAddr,
    pub(super) greeting: Reply,
    pub(super) reset: Reset,
    /// Messages go by BDAT.
    pub(super) is_chunked: bool,
    pub(super) chunking: Chunking,
}

/// What became of a transaction that was begun and not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    /// There is none.
    None,
    /// RSET goes before the next one.
    Due,
    /// RSET was queued on its own, and its reply is outstanding.
    Sent,
}

impl Session {
    /// Whether another message can be submitted. True means only that nothing was noticed so far.
    pub fn is_usable(&self) -> bool {
        self.broken().is_none()
    }

    /// Why the session can't be used any more.
    pub fn broken(&self) -> Option<&Cause> {
        self.wire.broken()
    }

    /// Looks, without waiting, whether the relay has closed or said 421 while the session was idle.
    pub async fn check(&mut self) -> bool {
        self.wire.look().await;
        self.is_usable()
    }

    /// What the relay offered in its last EHLO.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// What protects the session; none is plain text.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// Where it is connected to.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// The relay's 220.
    pub fn greeting(&self) -> &Reply {
        &self.greeting
    }

    /// Ends the session politely. Waits no longer than the time of QUIT, and its answer doesn't matter.
    pub async fn quit(mut self) {
        if !self.is_usable() {
            return;
        }
        self.wire.queue(&b"QUIT\r\n"[..]);
        if self.wire.flush(Phase::Quit).await.is_ok() {
            let _ = self.wire.read_reply(Phase::Quit).await;
        }
        self.wire.close().await;
    }
}
