//! Opening a session: look up, TCP, greeting, TLS, login; each on its own, so that a probe can tell how far it came.
//!
//! RFC 3501 §7.1.4 (PREAUTH), RFC 2595 and RFC 8314 (STARTTLS, implicit TLS).

use std::{net::SocketAddr, time::Duration};

use async_imap::{
    Client,
    imap_proto::{Response, Status},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    auth,
    error::{Cause, MailboxError, Stage, clip},
    guard::Guard,
    session::{Session, Transport, Wire},
    settings::{Settings, TlsMode},
};
use crate::network::{NetworkPolicy, TlsInfo, resolve, shake_hands};

/// A connection that was greeted and is as protected as the settings want it.
pub(super) struct Greeted {
    pub(super) client: Client<Wire>,
    pub(super) peer: SocketAddr,
    pub(super) tls: Option<TlsInfo>,
    /// What starting TLS took.
    pub(super) tls_time: Duration,
    /// What the server calls itself.
    pub(super) greeting: String,
}

impl Session {
    /// Connect, protect, log in.
    ///
    /// # Errors
    /// Says how far it came and why it ended, in words for the people who set it up.
    pub async fn open(settings: &Settings, policy: &NetworkPolicy) -> Result<Self, MailboxError> {
        let addresses = look_up(settings, policy).await?;
        let (stream, peer) = dial(settings, &addresses).await?;
        let greeted = greet(settings, stream, peer).await?;
        log_in(settings, greeted).await
    }
}

pub(super) async fn look_up(settings: &Settings, policy: &NetworkPolicy) -> Result<Vec<SocketAddr>, MailboxError> {
    resolve(&settings.host, settings.port, policy, settings.limits.connect)
        .await
        .map_err(|error| Cause::from(error).at(Stage::Resolve))
}

/// The first of the addresses that answers.
pub(super) async fn dial(
    settings: &Settings,
    addresses: &[SocketAddr],
) -> Result<(TcpStream, SocketAddr), MailboxError> {
    let limit = settings.limits.connect;
    let mut failure = Cause::TimedOut(limit);
    for address in addresses {
        match timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Commands are short: waiting to fill a packet only costs time.
                stream.set_nodelay(true).map_err(|error| Cause::Io(error.kind()).at(Stage::Connect))?;
                return Ok((stream, *address));
            }
            Ok(Err(error)) => failure = Cause::Io(error.kind()),
            Err(_) => failure = Cause::TimedOut(limit),
        }
    }
    Err(failure.at(Stage::Connect))
}

/// TLS where it belongs, and the server's first line.
pub(super) async fn greet(settings: &Settings, stream: TcpStream, peer: SocketAddr) -> Result<Greeted, MailboxError> {
    let stream: Box<dyn Transport> = Box::new(stream);
    if settings.tls == TlsMode::Implicit {
        let began = Instant::now();
        let (stream, tls) = protect(settings, stream).await?;
        let tls_time = began.elapsed();
        let (client, greeting) = read_greeting(settings, stream).await?;
        return Ok(Greeted { client, peer, tls: Some(tls), tls_time, greeting });
    }
    let (client, greeting) = read_greeting(settings, stream).await?;
    if settings.tls == TlsMode::None {
        return Ok(Greeted { client, peer, tls: None, tls_time: Duration::ZERO, greeting });
    }
    let began = Instant::now();
    let (stream, tls) = protect(settings, start_tls(settings, client).await?).await?;
    // What the server said in the clear is forgotten with the client that read it.
    let client = Client::new(Guard::new(stream));
    Ok(Greeted { client, peer, tls: Some(tls), tls_time: began.elapsed(), greeting })
}

pub(super) async fn log_in(settings: &Settings, greeted: Greeted) -> Result<Session, MailboxError> {
    let limit = settings.limits.command;
    let is_private = greeted.tls.is_some() || greeted.peer.ip().to_canonical().is_loopback();
    let inner = timeout(limit, auth::log_in(settings, greeted.client, is_private))
        .await
        .map_err(|_| Cause::TimedOut(limit).at(Stage::Login))?
        .map_err(|cause| cause.at(Stage::Login))?;
    let mut session = Session::new(inner, settings.limits, greeted.tls);
    session.learn().await?;
    Ok(session)
}

/// The handshake, in its time.
pub(super) async fn protect(
    settings: &Settings,
    stream: Box<dyn Transport>,
) -> Result<(Box<dyn Transport>, TlsInfo), MailboxError> {
    let limit = settings.limits.connect;
    let shake = shake_hands(stream, &settings.host, settings.extra_ca_pem.as_deref());
    match timeout(limit, shake).await {
        Ok(Ok((stream, tls))) => Ok((Box::new(stream), tls)),
        Ok(Err(error)) => Err(Cause::from(error).at(Stage::Tls)),
        Err(_) => Err(Cause::TimedOut(limit).at(Stage::Tls)),
    }
}

async fn start_tls(settings: &Settings, mut client: Client<Wire>) -> Result<Box<dyn Transport>, MailboxError> {
    let limit = settings.limits.command;
    timeout(limit, client.run_command_and_check_ok("STARTTLS", None))
        .await
        .map_err(|_| Cause::TimedOut(limit).at(Stage::Tls))?
        .map_err(|error| Cause::of(error).at(Stage::Tls))?;
    client.into_inner().into_inner().ok_or_else(|| Cause::Injected.at(Stage::Tls))
}

async fn read_greeting(
    settings: &Settings,
    stream: Box<dyn Transport>,
) -> Result<(Client<Wire>, String), MailboxError> {
    let limit = settings.limits.command;
    let mut client = Client::new(Guard::new(stream));
    let response = timeout(limit, client.read_response())
        .await
        .map_err(|_| Cause::TimedOut(limit).at(Stage::Greeting))?
        .map_err(|error| Cause::from(error).at(Stage::Greeting))?
        .ok_or_else(|| Cause::Closed(String::new()).at(Stage::Greeting))?;
    let Response::Data { status, outcome } = response.parsed() else {
        return Err(Cause::Protocol("its first line is no greeting".into()).at(Stage::Greeting));
    };
    let words = clip(outcome.information.as_deref().unwrap_or_default());
    match status {
        Status::Ok => Ok((client, words)),
        Status::PreAuth => Err(Cause::Preauthenticated.at(Stage::Greeting)),
        Status::Bye => Err(Cause::Closed(words).at(Stage::Greeting)),
        _ => Err(Cause::Refused(words).at(Stage::Greeting)),
    }
}
