//! Opening a session: TCP, greeting, TLS, login; each on its own, so that a probe can tell how far it came.
//!
//! RFC 1939 §4 and §7 (USER, PASS), RFC 2595 §4 (STLS), RFC 5034 (AUTH).

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    maildrop::Maildrop,
    wire::{Wire, judge},
};
use crate::{
    mailbox::{
        auth,
        connect::{dial, look_up, protect},
        error::{Cause, MailboxError, Stage},
        session::Transport,
        settings::{Auth, Settings, TlsMode},
    },
    network::{NetworkPolicy, TlsInfo},
};

/// A connection that was greeted and is as protected as the settings want it.
#[derive(Debug)]
pub(in crate::mailbox) struct Greeted {
    wire: Wire,
    is_private: bool,
    pub(in crate::mailbox) tls: Option<TlsInfo>,
    /// What starting TLS took.
    pub(in crate::mailbox) tls_time: Duration,
    /// What the server calls itself.
    pub(in crate::mailbox) greeting: String,
}

impl Maildrop {
    /// Connect, protect, log in.
    ///
    /// # Errors
    /// Says how far it came and why it ended, in words for the people who set it up.
    pub async fn open(settings: &Settings, policy: &NetworkPolicy) -> Result<Self, MailboxError> {
        let addresses = look_up(settings, policy).await?;
        let (stream, peer) = dial(settings, &addresses).await?;
        let greeted = Self::greet(settings, stream, peer).await?;
        Self::log_in(settings, greeted).await
    }

    /// TLS where it belongs, and the server's first line.
    pub(in crate::mailbox) async fn greet(
        settings: &Settings,
        stream: TcpStream,
        peer: SocketAddr,
    ) -> Result<Greeted, MailboxError> {
        let mut stream: Box<dyn Transport> = Box::new(stream);
        let (mut tls, mut tls_time) = (None, Duration::ZERO);
        if settings.tls == TlsMode::Implicit {
            let began = Instant::now();
            let (protected, info) = protect(settings, stream).await?;
            (stream, tls, tls_time) = (protected, Some(info), began.elapsed());
        }
        let mut wire = Wire::new(stream);
        let limit = settings.limits.command;
        let greeting = timeout(limit, wire.status()).await.unwrap_or(Err(Cause::TimedOut(limit)));
        let greeting = greeting.map_err(|cause| cause.at(Stage::Greeting))?;
        if settings.tls == TlsMode::StartTls {
            let began = Instant::now();
            wire.command("STLS", limit).await.map_err(|cause| cause.at(Stage::Tls))?;
            let stream = wire.into_inner().ok_or_else(|| Cause::Injected.at(Stage::Tls))?;
            let (protected, info) = protect(settings, stream).await?;
            // What the server said in the clear is forgotten.
            (wire, tls, tls_time) = (Wire::new(protected), Some(info), began.elapsed());
        }
        let is_private = tls.is_some() || peer.ip().to_canonical().is_loopback();
        Ok(Greeted { wire, is_private, tls, tls_time, greeting })
    }

    pub(in crate::mailbox) async fn log_in(settings: &Settings, greeted: Greeted) -> Result<Self, MailboxError> {
        let limit = settings.limits.command;
        let Greeted { mut wire, is_private, tls, .. } = greeted;
        let outcome = timeout(limit, say_who(settings, &mut wire, is_private)).await;
        outcome.unwrap_or(Err(Cause::TimedOut(limit))).map_err(|cause| cause.at(Stage::Login))?;
        Ok(Self::new(wire, settings.limits, tls))
    }
}

async fn say_who(settings: &Settings, wire: &mut Wire, is_private: bool) -> Result<(), Cause> {
    let limit = settings.limits.command;
    let (user, secret) = auth::credentials(settings, is_private)?;
    let (mechanism, response) = match settings.auth {
        Auth::Login => {
            wire.command(&format!("USER {user}"), limit).await?;
            return wire.command(&format!("PASS {secret}"), limit).await.map(drop);
        }
        Auth::Plain => ("PLAIN", auth::plain(user, secret)),
        Auth::XOAuth2 => ("XOAUTH2", auth::xoauth2(user, secret)),
    };
    wire.send(&format!("AUTH {mechanism}")).await?;
    challenge(wire).await?;
    wire.send(&STANDARD.encode(response)).await?;
    // XOAUTH2 wraps its error into a second challenge, and refuses once that is answered with nothing.
    let line = wire.line().await?;
    if line.starts_with("+ ") || line == "+" {
        wire.send("").await?;
        return wire.status().await.map(drop);
    }
    judge(&line).map(drop)
}

async fn challenge(wire: &mut Wire) -> Result<(), Cause> {
    let line = wire.line().await?;
    if line.starts_with("+ ") || line == "+" {
        return Ok(());
    }
    judge(&line)?;
    Err(Cause::Protocol("it takes a login without credentials".into()))
}
