//! Messages over a session, one behind the other: the next envelope leaves behind the final dot of the last message,
//! so a message costs one round trip and one write. Where PIPELINING is not offered, one command at a time; the
//! outcomes are the same.
//!
//! At most two messages are in flight: `ahead`, whose end is queued or written, and `open`, whose envelope is.
//!
//! Where CHUNKING is offered the bytes go as one chunk, behind an accepted envelope and not with it: else a relay that
//! closed before it read MAIL FROM would leave a message in doubt that it never saw. What a refused chunk leaves behind
//! is not defined, so RSET stands between a chunk and the next envelope.
//!
//! Not here: which message is next (`source`), what an outcome leads to (`relay`, `dispatch`).
//!
//! RFC 5321 §3.3 and §4.1.4; RFC 2920 §3.1 (what may be grouped, and what a rejected envelope leaves behind); RFC 3030
//! §2 (BDAT).

use std::collections::VecDeque;

use bytes::Bytes;

use super::{
    envelope::Opener,
    failure::Cause,
    outcome::Outcome,
    phase::Phase,
    reply::{ProtocolFault, RawReply},
    session::{Reset, Session},
    source::{Source, Submission},
    verdict::{cut_off, is_no_such_command, refusal, verdict_at_end},
};

/// How much of a message may still be unwritten when the next one is asked for: what a slow relay takes its time over
/// would age the answer.
const TAIL_BYTES: usize = 64 * 1024;
const DOT: &[u8] = b".\r\n";
const RSET: &[u8] = b"RSET\r\n";

/// Submits over a session, step by step.
///
/// Dropping it with messages in flight breaks the session: what became of them is then nobody's knowledge. When
/// [`Self::advance`] has returned none, nothing is in flight, and the session can be kept, used again or ended.
#[derive(Debug)]
pub struct Pipeline<'s, T> {
    session: &'s mut Session,
    ahead: Option<Ahead<T>>,
    open: Option<Open<T>>,
    done: VecDeque<(T, Outcome)>,
}

/// A message whose end is queued or written, and not answered.
#[derive(Debug)]
struct Ahead<T> {
    ticket: T,
    /// Where in the stream doubt begins, at its final dot or the last byte of its chunk: if no byte beyond was written,
    /// it was surely not submitted.
    doubt_at: u64,
    /// The source said that it is ready while this one was waited for; once is enough.
    was_ready: bool,
}

/// A message whose envelope is queued or written.
#[derive(Debug)]
struct Open<T> {
    ticket: T,
    /// What is still to send of its bytes.
    data: Bytes,
    /// RCPT TO, where commands go one at a time.
    rcpt: Bytes,
    /// What announces its bytes, if that is still to send.
    opener: Bytes,
    /// What the next reply answers. `Body` is no reply but the writing of all but the tail, `Dot` the lone dot that ends
    /// a DATA to nobody.
    awaiting: Phase,
    /// Known, while replies are still outstanding.
    verdict: Option<Outcome>,
}

impl<'s, T> Pipeline<'s, T> {
    /// A pipeline over `session`, empty.
    pub fn new(session: &'s mut Session) -> Self {
        Self { session, ahead: None, open: None, done: VecDeque::new() }
    }

    /// The session below.
    pub fn session(&self) -> &Session {
        self.session
    }

    /// Whether no outcome is outstanding.
    pub fn is_idle(&self) -> bool {
        self.ahead.is_none() && self.open.is_none() && self.done.is_empty()
    }

    /// Goes on until the next outcome is known, and gives it with its message's ticket; takes messages from `source`
    /// whenever one can be written. None means that nothing is in flight, and that the source has nothing or the
    /// session is no longer usable (then the source was not asked).
    ///
    /// Cancel-safe: what was taken stays in the pipeline, and the next call goes on where this one stood.
    pub async fn advance<S: Source<Ticket = T>>(&mut self, source: &mut S) -> Option<(T, Outcome)> {
        loop {
            if let Some(done) = self.done.pop_front() {
                return Some(done);
            }
            if !self.session.is_usable() {
                self.give_up();
                return self.done.pop_front();
            }
            // An error means that the session is broken, which the next round sees.
            let _ = match (&self.ahead, &self.open) {
                (Some(_), _) => self.finish(source).await,
                (None, Some(_)) => self.negotiate(source).await,
                (None, None) => match self.begin(source).await {
                    Ok(false) => return None,
                    Ok(true) => Ok(()),
                    Err(cause) => Err(cause),
                },
            };
        }
    }

    /// Goes on with what is in flight and takes nothing more.
    pub async fn drain(&mut self) -> Option<(T, Outcome)> {
        self.advance(&mut || None).await
    }

    /// Breaks the session and gives what is known of each message in flight, for whoever can't wait any longer.
    pub fn abandon(&mut self) -> Vec<(T, Outcome)> {
        if !self.is_idle() {
            self.break_with(Cause::Abandoned);
            self.give_up();
        }
        self.done.drain(..).collect()
    }

    /// With nothing in flight: opens the next message. False when there is none.
    async fn begin<S: Source<Ticket = T>>(&mut self, source: &mut S) -> Result<bool, Cause> {
        let Session { wire, reset, capabilities, .. } = &mut *self.session;
        // Without pipelining RSET has its own round trip, before a message is asked for: it would grow old meanwhile.
        if *reset == Reset::Due && !capabilities.pipelining {
            wire.queue(RSET);
            *reset = Reset::Sent;
        }
        if *reset == Reset::Sent {
            wire.flush(Phase::Rset).await?;
            let reply = wire.read_reply(Phase::Rset).await?;
            if !reply.is_positive() {
                return Err(self.break_with(ProtocolFault::UnexpectedCode(reply.code)));
            }
            *reset = Reset::None;
        }
        if !self.session.check().await {
            return Ok(true);
        }
        match source.take() {
            Some(submission) => self.open(submission),
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Queues the envelope of a message, or finds it unfit.
    fn open(&mut self, submission: Submission<T>) {
        let Submission { ticket, envelope, message } = submission;
        let Session { wire, capabilities, reset, is_chunked, .. } = &mut *self.session;
        let opener = if *is_chunked { Opener::Chunk } else { Opener::Data };
        let commands = match envelope.write(&message, capabilities, opener) {
            Ok(commands) => commands,
            Err(unfit) => return self.done.push_back((ticket, Outcome::Unfit(unfit))),
        };
        let mut awaiting = Phase::Mail;
        if capabilities.pipelining && *reset == Reset::Due {
            wire.queue(RSET);
            *reset = Reset::None;
            awaiting = Phase::Rset;
        }
        let (group, rcpt, opener) = match (capabilities.pipelining, opener) {
            (true, Opener::Data) => (commands.into_group(), Bytes::new(), Bytes::new()),
            (true, Opener::Chunk) => {
                let (envelope, opener) = commands.split_envelope();
                (envelope, Bytes::new(), opener)
            }
            (false, _) => commands.split(),
        };
        wire.queue(group);
        let data = if *is_chunked { message.chunk() } else { message.data() };
        self.open = Some(Open { ticket, data, rcpt, opener, awaiting, verdict: None });
    }

    /// With an open message and none ahead: one reply further.
    async fn negotiate<S: Source<Ticket = T>>(&mut self, source: &mut S) -> Result<(), Cause> {
        let Some(open) = &self.open else { return Ok(()) };
        let awaiting = open.awaiting;
        // What comes behind a verdict is only cleared away: nothing of it is worth a long wait.
        let phase = if open.verdict.is_some() { Phase::Rset } else { awaiting };
        self.session.wire.flush(phase).await?;
        if awaiting == Phase::Body {
            return if source.confirm(&open.ticket) {
                self.close(source)
            } else {
                Err(self.break_with(Cause::Withdrawn))
            };
        }
        let reply = self.session.wire.read_reply(phase).await?;
        if let Some(cause) = self.session.broken() {
            return Err(cause.clone());
        }
        self.hear(&reply, source)
    }

    /// Takes the reply that the open message waits for.
    fn hear<S: Source<Ticket = T>>(&mut self, reply: &RawReply, source: &mut S) -> Result<(), Cause> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let Session { wire, capabilities, reset, is_chunked, .. } = &mut *self.session;
        let (is_pipelined, is_chunked) = (capabilities.pipelining, *is_chunked);
        let refusal = refusal(open.awaiting, reply);
        match open.awaiting {
            Phase::Rset if reply.is_positive() => open.awaiting = Phase::Mail,
            Phase::Mail if reply.is_positive() => {
                *reset = Reset::Due;
                open.awaiting = Phase::Rcpt;
                wire.queue(std::mem::take(&mut open.rcpt));
            }
            Phase::Rcpt if reply.is_positive() && open.verdict.is_none() => {
                open.awaiting = Phase::Data;
                if is_chunked {
                    return self.write_body(source);
                }
                wire.queue(std::mem::take(&mut open.opener));
            }
            Phase::Mail | Phase::Rcpt if refusal.is_some() => {
                open.verdict = open.verdict.take().or(refusal);
                match open.awaiting {
                    _ if !is_pipelined => self.conclude(),
                    Phase::Mail => open.awaiting = Phase::Rcpt,
                    _ if is_chunked => self.conclude(),
                    _ => open.awaiting = Phase::Data,
                }
            }
            Phase::Data if refusal.is_some() => {
                // Behind a rejected recipient this is only the echo of it.
                open.verdict = open.verdict.take().or(refusal);
                self.conclude();
            }
            Phase::Data if reply.code == 354 && open.verdict.is_some() => {
                // DATA to nobody; only a lone dot leads out of it (RFC 2920 §3.1).
                wire.queue(DOT);
                *reset = Reset::None;
                open.awaiting = Phase::Dot;
            }
            Phase::Data if reply.code == 354 => return self.write_body(source),
            Phase::Dot => self.conclude(),
            _ => {
                // Such as a recipient taken behind a refused MAIL: the relay is out of step, so the refusal may have
                // been meant for another message.
                open.verdict = None;
                return Err(self.break_with(ProtocolFault::UnexpectedCode(reply.code)));
            }
        }
        Ok(())
    }

    /// The envelope is accepted: the message's bytes follow.
    fn write_body<S: Source<Ticket = T>>(&mut self, source: &mut S) -> Result<(), Cause> {
        // Every command is answered. What is there beyond that would be taken for answers to what comes next.
        if self.session.wire.has_unread() {
            let words = self.session.wire.last_words();
            return Err(match words {
                Some(reply) if reply.code == 421 => self.break_with(Cause::Closing(reply.parse())),
                _ => self.break_with(ProtocolFault::Unsolicited),
            });
        }
        let Session { wire, is_chunked, .. } = &mut *self.session;
        let Some(open) = &mut self.open else { return Ok(()) };
        if !source.confirm(&open.ticket) {
            if !*is_chunked {
                return Err(self.break_with(Cause::Withdrawn));
            }
            // RSET, which is due, takes an envelope back.
            open.verdict = Some(Outcome::NotSubmitted { phase: Phase::Data, cause: Cause::Withdrawn });
            self.conclude();
            return Ok(());
        }
        wire.queue(std::mem::take(&mut open.opener));
        let Some(n_head) = open.data.len().checked_sub(TAIL_BYTES).filter(|&n| n > 0) else {
            return self.close(source);
        };
        wire.queue(open.data.split_to(n_head));
        open.awaiting = Phase::Body;
        Ok(())
    }

    /// Queues the last of the open message's bytes, its dot, and the next envelope behind it.
    fn close<S: Source<Ticket = T>>(&mut self, source: &mut S) -> Result<(), Cause> {
        let Some(open) = self.open.take() else { return Ok(()) };
        let Session { wire, capabilities, reset, is_chunked, .. } = &mut *self.session;
        wire.queue(open.data);
        let doubt_at = if *is_chunked {
            *reset = Reset::Due;
            wire.n_queued().saturating_sub(1)
        } else {
            *reset = Reset::None;
            let dot_at = wire.n_queued();
            wire.queue(DOT);
            dot_at
        };
        self.ahead = Some(Ahead { ticket: open.ticket, doubt_at, was_ready: false });
        if capabilities.pipelining
            && let Some(next) = source.take()
        {
            self.open(next);
        }
        Ok(())
    }

    /// With a message ahead: writes what is queued and waits for the answer to its dot.
    async fn finish<S: Source<Ticket = T>>(&mut self, source: &mut S) -> Result<(), Cause> {
        let Session { wire, capabilities, .. } = &mut *self.session;
        wire.flush(Phase::Body).await?;
        let Some(ahead) = &mut self.ahead else { return Ok(()) };
        let may_follow = capabilities.pipelining && self.open.is_none() && !ahead.was_ready;
        let reply = tokio::select! {
            biased;
            reply = wire.read_reply(Phase::Dot) => reply?,
            () = source.ready(), if may_follow => {
                ahead.was_ready = true;
                if let Some(next) = source.take() {
                    self.open(next);
                }
                return Ok(());
            }
        };
        let Session { reset, is_chunked, chunking, .. } = &mut *self.session;
        if *is_chunked && is_no_such_command(reply.code) {
            // It does not know what it offers, and may be reading our chunk as commands: away. It took nothing.
            chunking.forbid();
            let cause = self.break_with(ProtocolFault::NoChunking(reply.code));
            if let Some(ahead) = self.ahead.take() {
                self.done.push_back((ahead.ticket, Outcome::NotSubmitted { phase: Phase::Data, cause: cause.clone() }));
            }
            return Err(cause);
        }
        let Some(outcome) = verdict_at_end(&reply) else {
            return Err(self.break_with(ProtocolFault::UnexpectedCode(reply.code)));
        };
        if reply.is_positive() && self.open.is_none() {
            *reset = Reset::None;
        }
        if let Some(ahead) = self.ahead.take() {
            self.done.push_back((ahead.ticket, outcome));
        }
        Ok(())
    }

    /// The open message has its verdict, and nothing of it is outstanding.
    fn conclude(&mut self) {
        if let Some(Open { ticket, verdict: Some(verdict), .. }) = self.open.take() {
            self.done.push_back((ticket, verdict));
        }
    }

    fn break_with(&mut self, cause: impl Into<Cause>) -> Cause {
        self.session.wire.break_with(cause.into())
    }

    /// The session is broken: says what is known of what was in flight.
    fn give_up(&mut self) {
        if self.ahead.is_none() && self.open.is_none() {
            return;
        }
        let wire = &mut self.session.wire;
        let mut cause = wire.broken().cloned().unwrap_or(Cause::Closed);
        let words = wire.last_words();
        if let Some(reply) = words.as_ref().filter(|reply| reply.code == 421) {
            cause = Cause::Closing(reply.parse());
        }
        if let Some(Ahead { ticket, doubt_at, .. }) = self.ahead.take() {
            let outcome = if wire.n_written() > doubt_at {
                words.as_ref().and_then(verdict_at_end).unwrap_or_else(|| Outcome::Unknown { cause: cause.clone() })
            } else {
                cut_off(words.as_ref(), &cause)
            };
            self.done.push_back((ticket, outcome));
        }
        if let Some(Open { ticket, awaiting, verdict, .. }) = self.open.take() {
            let outcome = verdict.unwrap_or_else(|| match awaiting {
                Phase::Body => cut_off(words.as_ref(), &cause),
                phase => Outcome::NotSubmitted { phase, cause },
            });
            self.done.push_back((ticket, outcome));
        }
    }
}

impl<T> Drop for Pipeline<'_, T> {
    fn drop(&mut self) {
        if self.ahead.is_some() || self.open.is_some() {
            self.break_with(Cause::Abandoned);
        }
    }
}
