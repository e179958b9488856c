//! Opening a session: TCP, greeting, EHLO, TLS, login.
//!
//! Not here: resolving a host and refusing private networks, and the handshake itself (`network`).
//!
//! RFC 5321 §3.1, §3.2 and §4.1.1.1; RFC 3207 (STARTTLS).

use tokio::{net::TcpStream, time::timeout};

use super::{
    auth,
    capabilities::Capabilities,
    failure::{Cause, ConnectCause, ConnectFailure},
    phase::Phase,
    reply::{ProtocolFault, RawReply},
    session::{Reset, Session},
    settings::{Settings, TlsMode},
    stream::Stream,
    wire::Wire,
};
use crate::network::{TlsInfo, shake_hands, shake_hands_with_anybody};

impl Session {
    /// Opens a session.
    ///
    /// # Errors
    /// Says how far it came, what the relay answered, and why it ended, in words for the people who set it up.
    pub async fn connect(settings: &Settings) -> Result<Self, ConnectFailure> {
        check_name(&settings.ehlo_name)?;
        let stream = dial(settings).await?;
        let (mut wire, mut tls) = match settings.tls {
            TlsMode::Implicit => protect(stream, settings).await?,
            TlsMode::None | TlsMode::StartTls | TlsMode::Opportunistic => {
                (new_wire(Stream::Plain(stream), settings), None)
            }
        };
        let greeting = wire.read_reply(Phase::Greeting).await.map_err(ConnectFailure::link(Phase::Greeting))?;
        if greeting.code != 220 {
            return Err(unexpected(Phase::Greeting, &greeting));
        }
        let mut capabilities = introduce(&mut wire, &settings.ehlo_name).await?;
        let is_optional = settings.tls == TlsMode::Opportunistic;
        if settings.tls == TlsMode::StartTls || (is_optional && capabilities.start_tls) {
            (wire, tls) = start_tls(wire, &capabilities, settings).await?;
            // What was offered in the clear may have been offered by anybody (RFC 3207 §4.2).
            capabilities = introduce(&mut wire, &settings.ehlo_name).await?;
        }
        auth::log_in(&mut wire, settings, &capabilities, tls.is_some()).await?;
        Ok(Self {
            wire,
            is_chunked: capabilities.chunking && settings.chunking.is_allowed(),
            chunking: settings.chunking.clone(),
            capabilities,
            tls,
            peer: settings.address,
            greeting: greeting.parse(),
            reset: Reset::None,
        })
    }
}

async fn dial(settings: &Settings) -> Result<TcpStream, ConnectFailure> {
    let limit = settings.timeouts.connect;
    let stream = timeout(limit, TcpStream::connect(settings.address))
        .await
        .map_err(|_| ConnectFailure::link(Phase::Connect)(Cause::TimedOut { phase: Phase::Connect, limit }))?
        .map_err(|error| ConnectFailure::link(Phase::Connect)(error.into()))?;
    // Without it Nagle and delayed ACK cost 40 ms a message.
    stream.set_nodelay(true).map_err(|error| ConnectFailure::link(Phase::Connect)(error.into()))?;
    Ok(stream)
}

async fn introduce(wire: &mut Wire, name: &str) -> Result<Capabilities, ConnectFailure> {
    let reply = wire.ask(Phase::Ehlo, format!("EHLO {name}\r\n")).await.map_err(ConnectFailure::link(Phase::Ehlo))?;
    if reply.code == 250 {
        return Ok(Capabilities::parse(&reply));
    }
    // Only a server that doesn't know EHLO is asked again; a 4xx means not now, and a 421 goodbye.
    if !reply.parse().is_permanent() {
        return Err(unexpected(Phase::Ehlo, &reply));
    }
    let reply = wire.ask(Phase::Ehlo, format!("HELO {name}\r\n")).await.map_err(ConnectFailure::link(Phase::Ehlo))?;
    if reply.code == 250 { Ok(Capabilities::default()) } else { Err(unexpected(Phase::Ehlo, &reply)) }
}

async fn start_tls(
    mut wire: Wire,
    server: &Capabilities,
    settings: &Settings,
) -> Result<(Wire, Option<TlsInfo>), ConnectFailure> {
    let fail = |cause| ConnectFailure { phase: Phase::Tls, cause };
    if !server.start_tls {
        return Err(fail(ConnectCause::NoStartTls));
    }
    let reply = wire.ask(Phase::Tls, "STARTTLS\r\n").await.map_err(ConnectFailure::link(Phase::Tls))?;
    if reply.code != 220 {
        return Err(unexpected(Phase::Tls, &reply));
    }
    match wire.into_stream() {
        Some(Stream::Plain(stream)) => protect(stream, settings).await,
        _ => Err(fail(ConnectCause::Injected)),
    }
}

async fn protect(stream: TcpStream, settings: &Settings) -> Result<(Wire, Option<TlsInfo>), ConnectFailure> {
    let limit = settings.timeouts.tls;
    let shake = async {
        match settings.tls {
            TlsMode::Opportunistic => shake_hands_with_anybody(stream, &settings.server_name).await,
            _ => shake_hands(stream, &settings.server_name, settings.extra_ca_pem.as_deref()).await,
        }
    };
    let (stream, info) = match timeout(limit, shake).await {
        Ok(result) => result.map_err(|error| ConnectFailure { phase: Phase::Tls, cause: ConnectCause::Tls(error) })?,
        Err(_) => return Err(ConnectFailure::link(Phase::Tls)(Cause::TimedOut { phase: Phase::Tls, limit })),
    };
    Ok((new_wire(Stream::Tls(Box::new(stream)), settings), Some(info)))
}

fn new_wire(stream: Stream, settings: &Settings) -> Wire {
    Wire::new(stream, settings.timeouts.clone())
}

/// A reply that doesn't let the session go on: a refusal, or nonsense.
fn unexpected(phase: Phase, reply: &RawReply) -> ConnectFailure {
    if reply.code >= 400 {
        return ConnectFailure::refused(phase, reply.parse());
    }
    ConnectFailure::link(phase)(Cause::Protocol(ProtocolFault::UnexpectedCode(reply.code)))
}

/// A domain name or an address literal: nothing that ends the word or the command.
fn check_name(name: &str) -> Result<(), ConnectFailure> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    if !name.is_empty() && name.len() <= 255 && name.bytes().all(is_legal) {
        return Ok(());
    }
    Err(ConnectFailure { phase: Phase::Ehlo, cause: ConnectCause::Setting("ehlo_name") })
}
