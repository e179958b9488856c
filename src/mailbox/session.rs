//! A session that is logged in, and the one way in which commands are run.
//!
//! The crate's own commands are not used beyond the login: their streams swallow a NO, and take a closed connection for
//! an empty answer.

use std::time::Duration;

use async_imap::imap_proto::{MailboxDatum, Response, Status};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{
    error::{Cause, MailboxError, Stage, clip},
    guard::Guard,
    settings::Limits,
};
use crate::network::TlsInfo;

/// TCP, or TLS over it.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Transport for T {}

/// What the IMAP crate talks to.
pub(super) type Wire = Guard<Box<dyn Transport>>;

/// A session that is logged in. After an error other than a refusal it is of no more use.
#[derive(Debug)]
pub struct Session {
    pub(super) inner: async_imap::Session<Wire>,
    pub(super) limits: Limits,
    pub(super) tls: Option<TlsInfo>,
    pub(super) can_move: bool,
    pub(super) can_expunge_by_uid: bool,
    pub(super) can_idle: bool,
    /// Folders tell whether they have changed.
    pub(super) has_condstore: bool,
    /// Messages in the open folder, as far as the server told.
    pub(super) n_messages: u32,
    /// Messages arrived in the open folder since it was opened.
    pub(super) has_news: bool,
}

impl Session {
    pub(super) fn new(inner: async_imap::Session<Wire>, limits: Limits, tls: Option<TlsInfo>) -> Self {
        Self {
            inner,
            limits,
            tls,
            can_move: false,
            can_expunge_by_uid: false,
            can_idle: false,
            has_condstore: false,
            n_messages: 0,
            has_news: false,
        }
    }

    /// Ask what the server can do: it matters for filing and for waiting.
    pub(super) async fn learn(&mut self) -> Result<(), MailboxError> {
        let (mut can_move, mut can_expunge, mut can_idle, mut has_condstore) = (false, false, false, false);
        self.run(Stage::Login, "CAPABILITY", |response| {
            if let Response::Capabilities(capabilities) = response {
                let has = |name: &str| capabilities.iter().any(|one| is_named(one, name));
                (can_move, can_expunge, can_idle) = (has("MOVE"), has("UIDPLUS"), has("IDLE"));
                // Who has QRESYNC has CONDSTORE (RFC 7162 §3.2.3).
                has_condstore = has("CONDSTORE") || has("QRESYNC");
            }
        })
        .await?;
        (self.can_move, self.can_expunge_by_uid, self.can_idle) = (can_move, can_expunge, can_idle);
        self.has_condstore = has_condstore;
        Ok(())
    }

    /// What protects the session.
    pub fn tls(&self) -> Option<&TlsInfo> {
        self.tls.as_ref()
    }

    /// Whether the server still answers.
    ///
    /// # Errors
    /// As for every command.
    pub async fn nudge(&mut self) -> Result<(), MailboxError> {
        self.run(Stage::Folder, "NOOP", |_| ()).await
    }

    /// Log out, politely but not patiently.
    pub async fn close(mut self) {
        // What the server says to that no longer matters.
        let _ = timeout(Duration::from_secs(2), self.run(Stage::Folder, "LOGOUT", |_| ())).await;
    }

    /// Run one command; `take` sees every response to it, the last one too if it is OK.
    pub(super) async fn run(
        &mut self,
        stage: Stage,
        command: &str,
        take: impl FnMut(&Response<'_>),
    ) -> Result<(), MailboxError> {
        let limit = self.limits.command;
        match timeout(limit, self.exchange(command, take)).await {
            Ok(outcome) => outcome.map_err(|cause| cause.at(stage)),
            Err(_) => Err(Cause::TimedOut(limit).at(stage)),
        }
    }

    async fn exchange(&mut self, command: &str, mut take: impl FnMut(&Response<'_>)) -> Result<(), Cause> {
        let tag = self.inner.run_command(command).await.map_err(Cause::of)?;
        let mut last_word = String::new();
        while let Some(response) = self.inner.read_response().await? {
            match response.parsed() {
                Response::Done { tag: done, status, outcome } if *done == tag => {
                    let words = clip(outcome.information.as_deref().unwrap_or_default());
                    if *status != Status::Ok {
                        return Err(Cause::Refused(words));
                    }
                    // Its code may say something too.
                    take(response.parsed());
                    return Ok(());
                }
                Response::Data { status: Status::Bye, outcome } => {
                    last_word = clip(outcome.information.as_deref().unwrap_or_default());
                }
                other => {
                    self.notice(other)?;
                    take(other);
                }
            }
        }
        Err(Cause::Closed(last_word))
    }

    /// Keep count of the open folder: a server tells of what arrives with any answer, and only once.
    pub(super) fn notice(&mut self, response: &Response<'_>) -> Result<(), Cause> {
        match response {
            Response::Data { status: Status::Bye, outcome } => {
                return Err(Cause::Closed(clip(outcome.information.as_deref().unwrap_or_default())));
            }
            Response::Expunge(_) => self.n_messages = self.n_messages.saturating_sub(1),
            Response::MailboxData(MailboxDatum::Exists(n_messages)) => {
                self.has_news |= *n_messages > self.n_messages;
                self.n_messages = *n_messages;
            }
            _ => {}
        }
        Ok(())
    }
}

fn is_named(capability: &async_imap::imap_proto::Capability<'_>, name: &str) -> bool {
    matches!(capability, async_imap::imap_proto::Capability::Atom(atom) if atom.eq_ignore_ascii_case(name))
}

impl MailboxError {
    /// Whether the server refused a command and the session is otherwise in order.
    pub fn is_refusal(&self) -> bool {
        matches!(self.cause, Cause::Refused(_))
    }
}
