//! What a scripted SMTP server offers, and what it does at each step.

use std::sync::Arc;

use tokio::sync::watch;

/// Where a conversation stands: which command, or which moment, an action answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The connection was opened.
    Greeting,
    Ehlo,
    Helo,
    StartTls,
    /// AUTH and each further line of its exchange.
    Auth,
    Mail,
    Rcpt,
    Data,
    /// BDAT, before its chunk is read. What is answered here is said before the chunk was taken, and refuses it.
    Bdat,
    /// The first bytes of a message have arrived. `Proceed` reads the rest.
    Body,
    /// The whole message was read: up to its dot, or its last chunk.
    Dot,
    Rset,
    Noop,
    Quit,
}

/// What the server does at a step. The normal thing is `Proceed`.
#[derive(Clone)]
pub enum Action {
    /// What a good server would do.
    Proceed,
    /// This instead of the normal reply, without its line end; several lines are written as `250-a\r\n250 b`. What the
    /// command does depends on the code: a 2xx to the dot accepts the message, a 4xx to RCPT leaves no recipient.
    Reply(String),
    /// The same, a byte at a time.
    Slowly(String),
    /// The same, then the connection is closed.
    ReplyAndClose(String),
    /// The same, then a TCP reset: what the client still writes fails, what was said can still be read.
    ReplyAndReset(String),
    /// Waits until the client has sent something more, then proceeds: a client that waits for the reply first hangs.
    AwaitMore,
    /// These bytes and nothing else; the command has no effect.
    Raw(Vec<u8>),
    /// These bytes again and again, until the client goes away.
    Endless(Vec<u8>),
    /// This byte again and again, slowly, until the client goes away.
    Drip(u8),
    /// The connection is closed without a reply.
    Close,
    /// The same with a TCP reset.
    Reset,
    /// At the dot: the message is taken, then the connection is closed without a reply.
    TakeAndClose,
    /// No reply ever; what the client sends is read and thrown away.
    Silence,
    /// No reply ever, and nothing is read either.
    Stall,
    /// Waits until the gate is opened, then proceeds.
    Hold(Gate),
}

impl Action {
    pub fn reply(text: &str) -> Self {
        Self::Reply(text.into())
    }
}

/// Holds a server back until a test lets it go.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub fn close(&self) {
        self.0.send_replace(false);
    }

    pub(super) async fn pass(&self) {
        let _ = self.0.subscribe().wait_for(|&is_open| is_open).await;
    }
}

/// What a rule may look at.
pub struct Moment<'a> {
    /// The number of the connection, from 1.
    pub connection: usize,
    pub step: Step,
    /// How often this connection came to this step, this time included.
    pub n: usize,
    /// The command line without its line end; empty where there is none.
    pub line: &'a str,
    /// Of the transaction under way; at `Rcpt` the address in question is the last.
    pub recipients: &'a [String],
}

impl Moment<'_> {
    /// The recipient in question, or nobody.
    pub fn recipient(&self) -> &str {
        self.recipients.last().map_or("", String::as_str)
    }
}

/// Whether and how the server speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerTls {
    None,
    StartTls,
    Implicit,
}

type Rule = Arc<dyn Fn(&Moment) -> Action + Send + Sync>;

/// A server's behaviour. `Script::default()` is a good server with PIPELINING that accepts everything.
#[derive(Clone)]
pub struct Script {
    pub(super) extensions: Vec<String>,
    pub(super) tls: PeerTls,
    pub(super) certificate: &'static str,
    pub(super) login: Option<(String, String)>,
    pub(super) is_data_eager: bool,
    rules: Vec<Rule>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            extensions: ["PIPELINING", "SIZE 10240000", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
                .map(String::from)
                .to_vec(),
            tls: PeerTls::None,
            certificate: "server.pem",
            login: None,
            is_data_eager: false,
            rules: Vec::new(),
        }
    }
}

impl Script {
    /// Offers one more extension, or the same keyword with other parameters.
    pub fn with(self, extension: &str) -> Self {
        let keyword = extension.split(' ').next().unwrap();
        let mut script = self.without(keyword);
        script.extensions.push(extension.into());
        script
    }

    /// Doesn't offer this extension.
    pub fn without(mut self, keyword: &str) -> Self {
        self.extensions.retain(|extension| extension.split(' ').next() != Some(keyword));
        self
    }

    /// At a step, what the closure says; the first rule that doesn't say `Proceed` counts.
    pub fn at(mut self, step: Step, rule: impl Fn(&Moment) -> Action + Send + Sync + 'static) -> Self {
        self.rules
            .push(Arc::new(move |moment: &Moment| if moment.step == step { rule(moment) } else { Action::Proceed }));
        self
    }

    /// At a step, always the same.
    pub fn always(self, step: Step, action: Action) -> Self {
        self.at(step, move |_| action.clone())
    }

    /// The answer to RCPT TO, by recipient.
    pub fn on_recipient(self, rule: impl Fn(&str) -> Action + Send + Sync + 'static) -> Self {
        self.at(Step::Rcpt, move |moment| rule(moment.recipient()))
    }

    /// The answer to the final dot, by recipient.
    pub fn on_message(self, rule: impl Fn(&str) -> Action + Send + Sync + 'static) -> Self {
        self.at(Step::Dot, move |moment| rule(moment.recipient()))
    }

    /// Speaks TLS, with the certificate of `tests/it/fixtures/tls`: for relay.test, localhost and 127.0.0.1.
    pub fn tls(mut self, tls: PeerTls) -> Self {
        self.tls = tls;
        self
    }

    /// With a certificate that has expired.
    pub fn expired(mut self) -> Self {
        self.certificate = "expired.pem";
        self
    }

    /// Takes no mail before this login; every mechanism is offered.
    pub fn login(mut self, user: &str, secret: &str) -> Self {
        self.login = Some((user.into(), secret.into()));
        self.with("AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 XOAUTH2")
    }

    /// Answers DATA with 354 also when no recipient is valid.
    pub fn eager_data(mut self) -> Self {
        self.is_data_eager = true;
        self
    }

    pub(super) fn action(&self, moment: &Moment) -> Action {
        let actions = self.rules.iter().map(|rule| rule(moment));
        actions.into_iter().find(|action| !matches!(action, Action::Proceed)).unwrap_or(Action::Proceed)
    }
}
