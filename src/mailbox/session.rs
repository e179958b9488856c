//! A session that is logged in, and the one way in which commands are run.
//!
//! The crate's own commands are not used beyond the login: their streams swallow a NO, and take a closed connection for
//! an empty answer.

use std::time::Duration;

use async_imap::imap_proto::{Response, Status};
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
}

impl Session {
    /// Ask what the server can do: it matters for filing.
    pub(super) async fn learn(&mut self) -> Result<(), MailboxError> {
        let (mut can_move, mut can_expunge) = (false, false);
        self.run(Stage::Login, "CAPABILITY", |response| {
            if let Response::Capabilities(capabilities) = response {
                let has = |name: &str| capabilities.iter().any(|one| is_named(one, name));
                (can_move, can_expunge) = (has("MOVE"), has("UIDPLUS"));
            }
        })
        .await?;
        (self.can_move, self.can_expunge_by_uid) = (can_move, can_expunge);
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
                other => take(other),
            }
        }
        Err(Cause::Closed(last_word))
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
