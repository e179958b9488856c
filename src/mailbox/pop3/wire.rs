//! What a POP3 server says: status lines, lists and messages, each with a limit.
//!
//! RFC 1939 §3: a multi-line answer ends with a line of one dot; a line that begins with a dot has another put before it.
//! Only CR LF ends a line: a message may hold `LF . LF`, which ends nothing.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::mailbox::{
    error::{Cause, clip},
    session::Transport,
};

/// Longest line that isn't part of a message (RFC 2449 has 512).
const LINE_MAX_BYTES: usize = 4096;
/// Lines of a list that are read at most.
const N_LINES_MAX: usize = 2_000_000;
const READ_BYTES: usize = 16 * 1024;

/// A connection.
pub(super) struct Wire {
    stream: Box<dyn Transport>,
    buffer: Vec<u8>,
    /// What was taken from the front of `buffer`.
    start: usize,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("n_buffered", &(self.buffer.len() - self.start)).finish_non_exhaustive()
    }
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Transport>) -> Self {
        Self { stream, buffer: Vec::with_capacity(READ_BYTES), start: 0 }
    }

    /// The stream below, if everything that was read was taken: else somebody sent more than was asked for.
    pub(super) fn into_inner(self) -> Option<Box<dyn Transport>> {
        (self.start == self.buffer.len()).then_some(self.stream)
    }

    /// Send a line and read the status; the words behind `+OK`.
    pub(super) async fn command(&mut self, line: &str, limit: Duration) -> Result<String, Cause> {
        timeout(limit, async {
            self.send(line).await?;
            self.status().await
        })
        .await
        .unwrap_or(Err(Cause::TimedOut(limit)))
    }

    pub(super) async fn send(&mut self, line: &str) -> Result<(), Cause> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        Ok(self.stream.flush().await?)
    }

    /// The words behind `+OK`; those behind `-ERR` are a refusal.
    pub(super) async fn status(&mut self) -> Result<String, Cause> {
        judge(&self.line().await?)
    }

    /// A line without its end.
    pub(super) async fn line(&mut self) -> Result<String, Cause> {
        loop {
            let unread = self.unread();
            if let Some(end) = find_line_end(unread.get(..unread.len().min(LINE_MAX_BYTES)).unwrap_or_default()) {
                let line = String::from_utf8_lossy(unread.get(..end).unwrap_or_default()).into_owned();
                self.take(end + 2);
                return Ok(line);
            }
            if unread.len() >= LINE_MAX_BYTES {
                return Err(Cause::Protocol("it sent a line of more than 4 KB".into()));
            }
            self.fill().await?;
        }
    }

    /// The lines of a list, up to the one of a single dot.
    pub(super) async fn list(&mut self, mut take: impl FnMut(&str)) -> Result<(), Cause> {
        for _ in 0..N_LINES_MAX {
            let line = self.line().await?;
            match line.strip_prefix('.') {
                Some("") => return Ok(()),
                Some(stuffed) => take(stuffed),
                None => take(&line),
            }
        }
        Err(Cause::Protocol("its list has no end".into()))
    }

    /// A message; none when it has more than so many bytes: what follows of it is then still to come.
    pub(super) async fn message(&mut self, max_bytes: usize) -> Result<Option<Vec<u8>>, Cause> {
        let mut message = Vec::new();
        let mut begins_line = true;
        loop {
            let unread = self.unread();
            if begins_line && unread.starts_with(b".") {
                if unread.starts_with(b".\r\n") {
                    self.take(3);
                    return Ok(Some(message));
                }
                if unread.len() < 3 {
                    self.fill().await?;
                    continue;
                }
                self.take(1);
                begins_line = false;
                continue;
            }
            let n_bytes = match find_line_end(unread) {
                Some(end) => end + 2,
                // Half a line end waits for its other half.
                None => unread.len() - usize::from(unread.ends_with(b"\r")),
            };
            let part = unread.get(..n_bytes).unwrap_or_default();
            if message.len() + part.len() > max_bytes {
                return Ok(None);
            }
            message.extend_from_slice(part);
            begins_line = if part.is_empty() { begins_line } else { part.ends_with(b"\r\n") };
            self.take(n_bytes);
            if n_bytes == 0 {
                self.fill().await?;
            }
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn take(&mut self, n_bytes: usize) {
        self.start = (self.start + n_bytes).min(self.buffer.len());
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    async fn fill(&mut self) -> Result<(), Cause> {
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.reserve(READ_BYTES);
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(Cause::Closed(String::new()));
        }
        Ok(())
    }
}

/// What a status line says.
pub(super) fn judge(line: &str) -> Result<String, Cause> {
    if let Some(words) = line.strip_prefix("+OK") {
        return Ok(clip(words));
    }
    match line.strip_prefix("-ERR") {
        Some(words) => Err(Cause::Refused(clip(words))),
        None => Err(Cause::Protocol("an answer is neither +OK nor -ERR".into())),
    }
}

fn find_line_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    async fn wire(sent: &[u8], n_packet: usize) -> Wire {
        let (mut server, client) = tokio::io::duplex(n_packet);
        let sent = sent.to_vec();
        tokio::spawn(async move {
            let _ = server.write_all(&sent).await;
        });
        Wire::new(Box::new(client))
    }

    #[tokio::test]
    async fn a_message_is_read_as_it_was_sent_however_it_comes_in() {
        for (sent, message) in [
            (b".\r\n".as_slice(), b"".as_slice()),
            (b"a\r\n.\r\n", b"a\r\n"),
            (b"..\r\n...b\r\n.\r\n", b".\r\n..b\r\n"),
            (b"a\n.\nb\r.\r\r\n.\r\n", b"a\n.\nb\r.\r\r\n"),
            (b"\r\n\r\n..\r\n.\r\n", b"\r\n\r\n.\r\n"),
        ] {
            for n_packet in [1, 2, 3, 5, 100] {
                let mut wire = wire(sent, n_packet).await;
                assert_eq!(wire.message(100).await.unwrap().unwrap(), message, "{sent:?} {n_packet}");
                assert!(wire.into_inner().is_some());
            }
        }
    }

    #[tokio::test]
    async fn what_is_larger_than_the_limit_or_ends_early_is_no_message() {
        assert_eq!(wire(b"1234567890\r\n.\r\n", 4).await.message(11).await.unwrap(), None);
        assert!(wire(b"1234567890\r\n.\r\n", 4).await.message(12).await.unwrap().is_some());
        assert!(wire(&vec![b'x'; 100_000], 1000).await.message(5_000).await.unwrap().is_none());
        assert!(matches!(wire(b"a\r\n.", 4).await.message(12).await, Err(Cause::Closed(_))));
    }

    #[tokio::test]
    async fn lines_and_lists_have_their_limits() {
        let mut found = Vec::new();
        wire(b"1 a\r\n2 b\r\n.\r\n", 3).await.list(|line| found.push(line.to_owned())).await.unwrap();
        assert_eq!(found, ["1 a", "2 b"]);
        assert!(wire(&vec![b'x'; 5_000], 1000).await.line().await.is_err());
        for said in ["* OK IMAP\r\n", "220 smtp\r\n", "\r\n"] {
            assert!(matches!(wire(said.as_bytes(), 100).await.status().await, Err(Cause::Protocol(_))), "{said}");
        }
        let refused = wire(b"-ERR [AUTH] no\x07\r\n", 100).await.status().await.unwrap_err();
        assert_eq!(refused.to_string(), "the server refused: [AUTH] no");
    }
}
