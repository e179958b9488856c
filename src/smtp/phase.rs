//! The phases of a session, and how long each may take.
//!
//! Not here: what a phase's end means for a message (`outcome`) or for a connection (`failure`).
//!
//! RFC 5321 §4.5.3.2 for the times.

use std::{fmt, time::Duration};

/// Where a session stands: what was sent last, or is being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// TCP.
    Connect,
    /// The 220 that opens the session.
    Greeting,
    /// EHLO, or HELO where that is refused.
    Ehlo,
    /// STARTTLS and the handshake, or the handshake of implicit TLS.
    Tls,
    /// AUTH and its exchange.
    Auth,
    /// RSET.
    Rset,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, up to its 354.
    Data,
    /// The message's bytes, up to the final dot.
    Body,
    /// The reply to the final dot.
    Dot,
    /// QUIT.
    Quit,
}

impl Phase {
    /// The word in an attempt's row and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Greeting => "greeting",
            Self::Ehlo => "ehlo",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Rset => "rset",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
            Self::Body => "body",
            Self::Dot => "dot",
            Self::Quit => "quit",
        }
    }
}

impl fmt::Display for Phase {
    /// What a person would call it, to follow "during" or "at".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Greeting => "the greeting",
            Self::Ehlo => "EHLO",
            Self::Tls => "the TLS handshake",
            Self::Auth => "AUTH",
            Self::Rset => "RSET",
            Self::Mail => "MAIL FROM",
            Self::Rcpt => "RCPT TO",
            Self::Data => "DATA",
            Self::Body => "the message's bytes",
            Self::Dot => "the final dot",
            Self::Quit => "QUIT",
        })
    }
}

/// How long a relay may take to answer in each phase. Each bounds a whole reply, however slowly its bytes drip in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect. Default 30 s (the RFC names none).
    pub connect: Duration,
    /// The greeting. Default 5 min.
    pub greeting: Duration,
    /// EHLO and HELO. Default 5 min.
    pub ehlo: Duration,
    /// STARTTLS and the handshake, each. Default 1 min (the RFC names none).
    pub tls: Duration,
    /// Each step of AUTH. Default 2 min (RFC 4954 §4 asks for no less than 3 min of a *server*).
    pub auth: Duration,
    /// RSET, and whatever has to be cleared away after a rejection. Default 20 s (the RFC names none).
    pub rset: Duration,
    /// MAIL FROM. Default 5 min.
    pub mail: Duration,
    /// RCPT TO. Default 5 min.
    pub rcpt: Duration,
    /// DATA, up to its 354. Default 2 min.
    pub data: Duration,
    /// While the message is written: the longest time without any byte taken. Default 3 min.
    pub body: Duration,
    /// The final dot. Default 10 min: a shorter one makes duplicates, since the relay may have taken the message.
    pub dot: Duration,
    /// QUIT, whose answer nobody needs. Default 5 s.
    pub quit: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(n * 60);
        Self {
            connect: Duration::from_secs(30),
            greeting: minutes(5),
            ehlo: minutes(5),
            tls: minutes(1),
            auth: minutes(2),
            rset: Duration::from_secs(20),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            body: minutes(3),
            dot: minutes(10),
            quit: Duration::from_secs(5),
        }
    }
}

impl Timeouts {
    /// The limit of one phase.
    pub fn of(&self, phase: Phase) -> Duration {
        match phase {
            Phase::Connect => self.connect,
            Phase::Greeting => self.greeting,
            Phase::Ehlo => self.ehlo,
            Phase::Tls => self.tls,
            Phase::Auth => self.auth,
            Phase::Rset => self.rset,
            Phase::Mail => self.mail,
            Phase::Rcpt => self.rcpt,
            Phase::Data => self.data,
            Phase::Body => self.body,
            Phase::Dot => self.dot,
            Phase::Quit => self.quit,
        }
    }

    /// These limits, but none above `limit`.
    pub fn at_most(&self, limit: Duration) -> Self {
        Self {
            connect: self.connect.min(limit),
            greeting: self.greeting.min(limit),
            ehlo: self.ehlo.min(limit),
            tls: self.tls.min(limit),
            auth: self.auth.min(limit),
            rset: self.rset.min(limit),
            mail: self.mail.min(limit),
            rcpt: self.rcpt.min(limit),
            data: self.data.min(limit),
            body: self.body.min(limit),
            dot: self.dot.min(limit),
            quit: self.quit.min(limit),
        }
    }

    /// The same limit for every phase.
    pub fn all(limit: Duration) -> Self {
        Self {
            connect: limit,
            greeting: limit,
            ehlo: limit,
            tls: limit,
            auth: limit,
            rset: limit,
            mail: limit,
            rcpt: limit,
            data: limit,
            body: limit,
            dot: limit,
            quit: limit,
        }
    }
}
