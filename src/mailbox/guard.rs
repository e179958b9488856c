//! What a server may say, enforced before the IMAP crate parses it: a tenant names the server, so it may be anybody's.
//!
//! The crate's parser descends without limit into a BODYSTRUCTURE (64 KB of parentheses abort the process), buffers half
//! a gigabyte for an announced literal, and parses a long line anew with every packet. So lines are handed on whole, one
//! a read, at most [`LINE_MAX_BYTES`] long; a literal must fit what was asked for; and a FETCH line may hold only what
//! this module's commands ask for, so that parser and guard never disagree about where a line or a literal ends.
//!
//! Not here: what the lines mean (`session`). RFC 3501 §4.3 (literals) and §9 (grammar).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::line::{self, Line};

/// Longest line that is read.
pub(super) const LINE_MAX_BYTES: usize = 64 * 1024;
const READ_BYTES: usize = 16 * 1024;

/// A stream whose reading side obeys the rules.
pub(super) struct Guard<S> {
    inner: S,
    /// Read from the server, not yet looked at from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// Bytes from `start` on that were checked and may be handed on.
    n_checked: usize,
    /// Bytes of a literal still to come, handed on as they are.
    n_literal: u64,
    /// The largest literal that the command under way may be answered with.
    literal_max_bytes: u64,
    /// Whether the next line goes on behind a literal.
    continues: bool,
}

impl<S> std::fmt::Debug for Guard<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("n_buffered", &self.n_buffered()).finish_non_exhaustive()
    }
}

impl<S> Guard<S> {
    pub(super) fn new(inner: S) -> Self {
        let buffer = Vec::with_capacity(READ_BYTES);
        Self { inner, buffer, start: 0, n_checked: 0, n_literal: 0, literal_max_bytes: 0, continues: false }
    }

    /// Allow literals of up to so many bytes from now on; none at the beginning.
    pub(super) fn allow_literals(&mut self, max_bytes: u64) {
        self.literal_max_bytes = max_bytes;
    }

    /// The stream below, if everything that was read was handed on: else somebody sent more than was asked for.
    pub(super) fn into_inner(self) -> Option<S> {
        (self.n_buffered() == 0 && self.n_literal == 0).then_some(self.inner)
    }

    fn n_buffered(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// Looks for a line, or bytes of a literal, that can be handed on; says whether more must be read first.
    fn check(&mut self) -> io::Result<bool> {
        let unread = self.buffer.get(self.start..).unwrap_or_default();
        if self.n_literal > 0 {
            self.n_checked = unread.len().min(usize::try_from(self.n_literal).unwrap_or(usize::MAX));
            self.n_literal -= self.n_checked as u64;
            return Ok(self.n_checked == 0);
        }
        let Some(end) = unread.iter().take(LINE_MAX_BYTES).position(|byte| *byte == b'\n') else {
            return if unread.len() >= LINE_MAX_BYTES {
                Err(violation("the server sent a line of more than 64 KB"))
            } else {
                Ok(true)
            };
        };
        let text = unread.get(..=end).unwrap_or_default();
        match line::check(text, self.continues).map_err(violation)? {
            Line::Whole => self.continues = false,
            Line::Literal { n_bytes } if n_bytes > self.literal_max_bytes => {
                return Err(violation("the server announced more bytes than were asked for"));
            }
            Line::Literal { n_bytes } => {
                self.n_literal = n_bytes;
                self.continues = true;
            }
        }
        self.n_checked = end + 1;
        Ok(false)
    }

    fn hand_on(&mut self, target: &mut ReadBuf<'_>) {
        let n_bytes = self.n_checked.min(target.remaining());
        target.put_slice(self.buffer.get(self.start..self.start + n_bytes).unwrap_or_default());
        self.start += n_bytes;
        self.n_checked -= n_bytes;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }
}

fn violation(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, target: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.n_checked == 0 && this.check()? {
            this.buffer.drain(..this.start);
            this.start = 0;
            let n_before = this.buffer.len();
            this.buffer.resize(n_before + READ_BYTES, 0);
            let mut space = ReadBuf::new(this.buffer.get_mut(n_before..).unwrap_or_default());
            let outcome = Pin::new(&mut this.inner).poll_read(cx, &mut space);
            let n_read = space.filled().len();
            this.buffer.truncate(n_before + n_read);
            ready!(outcome)?;
            if n_read == 0 {
                // Half a line is never handed on: it wasn't checked.
                let cut = (!this.buffer.is_empty()).then(|| io::Error::from(io::ErrorKind::UnexpectedEof));
                return Poll::Ready(cut.map_or(Ok(()), Err));
            }
        }
        this.hand_on(target);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn read(sent: &[u8], literal_max_bytes: u64) -> io::Result<Vec<u8>> {
        let (mut server, client) = tokio::io::duplex(sent.len().max(1));
        server.write_all(sent).await.unwrap();
        drop(server);
        let mut guard = Guard::new(client);
        guard.allow_literals(literal_max_bytes);
        let mut all = Vec::new();
        guard.read_to_end(&mut all).await?;
        Ok(all)
    }

    #[tokio::test]
    async fn what_was_asked_for_passes_unchanged() {
        let sent = b"* OK ready\r\n* 1 FETCH (UID 5 BODY[]<0> {7}\r\na\r\n((\r\n FLAGS (\\Seen))\r\nA1 OK done\r\n";
        assert_eq!(read(sent, 7).await.unwrap(), sent);
    }

    #[tokio::test]
    async fn one_read_hands_on_one_line() {
        let (mut server, client) = tokio::io::duplex(100);
        server.write_all(b"A1 OK begin TLS now\r\n* OK injected\r\n").await.unwrap();
        let mut guard = Guard::new(client);
        let mut first = [0; 100];
        let n_bytes = guard.read(&mut first).await.unwrap();
        assert_eq!(first.get(..n_bytes).unwrap(), b"A1 OK begin TLS now\r\n");
        assert!(guard.into_inner().is_none(), "bytes behind the answer were not noticed");
    }

    #[tokio::test]
    async fn a_literal_beyond_what_was_asked_for_ends_the_session() {
        for (sent, max_bytes) in [("* 1 FETCH (BODY[] {500000000}\r\n", 5_000_000), ("* 1 FETCH (BODY[] {1}\r\n", 0)] {
            assert!(read(sent.as_bytes(), max_bytes).await.is_err(), "{sent}");
        }
    }

    #[tokio::test]
    async fn a_line_without_end_ends_the_session() {
        assert!(read(&vec![b'x'; LINE_MAX_BYTES + 1], 0).await.is_err());
        assert!(read(&"* OK (".repeat(20_000).into_bytes(), 0).await.is_err());
    }

    #[tokio::test]
    async fn half_a_line_is_never_handed_on() {
        let deep = format!("* 1 FETCH (BODYSTRUCTURE {}", "(".repeat(30_000));
        assert_eq!(read(deep.as_bytes(), 0).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
