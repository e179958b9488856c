//! The wire: bytes queued, written in few writes, and replies read within their time.
//!
//! Every wait can be dropped and taken up again: what is still to write, what was read, and when the time is over are
//! kept here. Nothing is written once the wire is broken, and it stays broken.
//!
//! Not here: what is written and what replies mean (`connect`, `pipeline`).

use std::{collections::VecDeque, future::poll_fn, io, io::IoSlice, pin::Pin, task::Poll, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

use super::{
    failure::Cause,
    phase::{Phase, Timeouts},
    reply::{ProtocolFault, RawReply, ReplyReader},
    stream::Stream,
};

/// How much is read at once.
const READ_BYTES: usize = 4 * 1024;
/// How many pieces go into one write.
const MAX_PIECES: usize = 8;

/// A connection with its buffers.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    timeouts: Timeouts,
    incoming: BytesMut,
    reader: ReplyReader,
    outgoing: VecDeque<Bytes>,
    /// Bytes that were handed to the stream but may still stand in TLS's buffer.
    is_flushed: bool,
    n_queued: u64,
    n_written: u64,
    /// When the wait under way ends.
    deadline: Option<(Phase, Instant)>,
    broken: Option<Cause>,
}

impl Wire {
    pub(super) fn new(stream: Stream, timeouts: Timeouts) -> Self {
        Self {
            stream,
            timeouts,
            incoming: BytesMut::new(),
            reader: ReplyReader::default(),
            outgoing: VecDeque::new(),
            is_flushed: true,
            n_queued: 0,
            n_written: 0,
            deadline: None,
            broken: None,
        }
    }

    /// Queues bytes for the next flush.
    pub(super) fn queue(&mut self, bytes: impl Into<Bytes>) {
        let bytes = bytes.into();
        // A write of nothing would look like a stream that takes nothing.
        if !bytes.is_empty() {
            self.n_queued += bytes.len() as u64;
            self.outgoing.push_back(bytes);
        }
    }

    /// How many bytes were ever queued: the place in the stream where the next one will stand.
    pub(super) fn n_queued(&self) -> u64 {
        self.n_queued
    }

    /// How many bytes the stream ever took: those beyond surely never left.
    pub(super) fn n_written(&self) -> u64 {
        self.n_written
    }

    /// Why nothing can be sent any more, if so.
    pub(super) fn broken(&self) -> Option<&Cause> {
        self.broken.as_ref()
    }

    /// Breaks the wire; the first cause stays.
    pub(super) fn break_with(&mut self, cause: Cause) -> Cause {
        self.outgoing.clear();
        self.broken.get_or_insert(cause).clone()
    }

    /// Writes what is queued. The time counts from the last byte that was taken.
    pub(super) async fn flush(&mut self, phase: Phase) -> Result<(), Cause> {
        while !self.outgoing.is_empty() || !self.is_flushed {
            if let Some(cause) = &self.broken {
                return Err(cause.clone());
            }
            let (deadline, limit) = self.deadline(phase);
            match timeout_at(deadline, self.write_some()).await {
                Ok(Ok(())) => self.deadline = None,
                Ok(Err(error)) => return Err(self.fail_to_write(error.into()).await),
                Err(_) => return Err(self.fail_to_write(Cause::TimedOut { phase, limit }).await),
            }
        }
        Ok(())
    }

    /// Breaks the wire, and keeps what the relay said before it stopped reading: it is there at once, or never.
    async fn fail_to_write(&mut self, cause: Cause) -> Cause {
        let cause = self.break_with(cause);
        let read = async {
            while self.incoming.len() < READ_BYTES {
                match self.stream.read_buf(&mut self.incoming).await {
                    Ok(n) if n > 0 => {}
                    _ => break,
                }
            }
        };
        let _ = timeout(Duration::ZERO, read).await;
        cause
    }

    /// A reply that was received before the wire broke and not yet given out.
    pub(super) fn last_words(&mut self) -> Option<RawReply> {
        self.take_reply().ok().flatten()
    }

    /// One write of as much as the stream takes, or the flush behind the last one.
    async fn write_some(&mut self) -> io::Result<()> {
        if self.outgoing.is_empty() {
            self.stream.flush().await?;
            self.is_flushed = true;
            return Ok(());
        }
        let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
        let mut n_pieces = 0;
        for (piece, bytes) in pieces.iter_mut().zip(&self.outgoing) {
            *piece = IoSlice::new(bytes);
            n_pieces += 1;
        }
        let pieces = pieces.get(..n_pieces).unwrap_or_default();
        let mut n = poll_fn(|cx| Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)).await?;
        if n == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.n_written += n as u64;
        self.is_flushed = matches!(self.stream, Stream::Plain(_));
        while let Some(first) = self.outgoing.front_mut() {
            if n < first.len() {
                first.advance(n);
                break;
            }
            n -= first.len();
            self.outgoing.pop_front();
        }
        Ok(())
    }

    /// Sends one command and reads its reply.
    pub(super) async fn ask(&mut self, phase: Phase, line: impl Into<Bytes>) -> Result<RawReply, Cause> {
        self.queue(line);
        self.flush(phase).await?;
        self.read_reply(phase).await
    }

    /// The next reply. A 421 is returned like any other, and breaks the wire.
    pub(super) async fn read_reply(&mut self, phase: Phase) -> Result<RawReply, Cause> {
        let (deadline, limit) = self.deadline(phase);
        loop {
            if let Some(reply) = self.take_reply()? {
                return Ok(reply);
            }
            if let Some(cause) = &self.broken {
                return Err(cause.clone());
            }
            self.incoming.reserve(READ_BYTES);
            match timeout_at(deadline, self.stream.read_buf(&mut self.incoming)).await {
                Ok(Ok(0)) => return Err(self.break_with(Cause::Closed)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(self.break_with(error.into())),
                Err(_) => return Err(self.break_with(Cause::TimedOut { phase, limit })),
            }
        }
    }

    /// Whether bytes were read that belong to no reply yet given out.
    pub(super) fn has_unread(&self) -> bool {
        !self.incoming.is_empty() || self.reader.is_inside()
    }

    /// Looks, without waiting, whether the relay closed or spoke while nothing was asked; either breaks the wire.
    pub(super) async fn look(&mut self) {
        if self.broken.is_some() {
            return;
        }
        self.incoming.reserve(READ_BYTES);
        let seen = {
            let mut read = std::pin::pin!(self.stream.read_buf(&mut self.incoming));
            poll_fn(|cx| match read.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        };
        let cause = match seen {
            Some(Ok(0)) => Cause::Closed,
            Some(Err(error)) => error.into(),
            _ if self.has_unread() => ProtocolFault::Unsolicited.into(),
            _ => return,
        };
        // A 421 in there breaks the wire by its own words.
        let _ = self.take_reply();
        self.break_with(cause);
    }

    /// Ends the stream politely; TLS says that it closes. Failures don't matter any more.
    pub(super) async fn close(mut self) {
        let _ = timeout(self.timeouts.quit, self.stream.shutdown()).await;
    }

    /// The stream, for a handshake on it; none where bytes were read or queued that the handshake would not see.
    pub(super) fn into_stream(self) -> Option<Stream> {
        (!self.has_unread() && self.outgoing.is_empty()).then_some(self.stream)
    }

    fn take_reply(&mut self) -> Result<Option<RawReply>, Cause> {
        match self.reader.read(&mut self.incoming) {
            Ok(Some(reply)) => {
                self.deadline = None;
                if reply.code == 421 {
                    self.break_with(Cause::Closing(reply.parse()));
                }
                Ok(Some(reply))
            }
            Ok(None) => Ok(None),
            Err(fault) => {
                // Behind what is no reply nothing is one.
                self.incoming.clear();
                Err(self.break_with(fault.into()))
            }
        }
    }

    /// When the wait of this phase ends; it began at the first call since the last one ended.
    fn deadline(&mut self, phase: Phase) -> (Instant, Duration) {
        let limit = self.timeouts.of(phase);
        match self.deadline {
            Some((same, deadline)) if same == phase => (deadline, limit),
            _ => {
                // Too far away to be counted means never: a year.
                let deadline = Instant::now()
                    .checked_add(limit)
                    .unwrap_or_else(|| Instant::now() + Duration::from_secs(365 * 24 * 3600));
                self.deadline = Some((phase, deadline));
                (deadline, limit)
            }
        }
    }
}
