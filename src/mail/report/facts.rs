//! What a report says, as plain values: the shape that every format is read into.
//!
//! A leaf: the formats fill it, `domain::bounce` judges it. All text in it comes from strangers; it is cut to
//! [`TEXT_MAX_BYTES`] and holds no control characters, nothing more is promised about it.

use std::fmt;

use crate::mail::status::EnhancedStatus;

/// Largest message that is looked into.
pub const REPORT_MAX_BYTES: usize = 5_000_000;
/// Deepest nesting of multiparts and of messages within messages; genuine reports have at most five.
pub const DEPTH_MAX: usize = 20;
/// Most MIME parts of one message.
pub const PARTS_MAX: usize = 1_000;
/// Longest text kept of one field or diagnostic.
pub const TEXT_MAX_BYTES: usize = 2_000;
/// Most recipients kept of one report.
pub const RECIPIENTS_MAX: usize = 1_000;

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// A notice of failure, delay or success, whatever its format.
    Dsn,
    /// An abuse, opt-out or other feedback report (RFC 5965).
    Arf,
    /// An answer by a machine: out of office, ticket received (RFC 3834).
    AutoReply,
    /// None of these: perhaps a person wrote.
    #[default]
    Other,
}

impl Kind {
    /// As it stands in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dsn => "dsn",
            Self::Arf => "arf",
            Self::AutoReply => "auto_reply",
            Self::Other => "other",
        }
    }
}

/// What happened to a recipient's copy. Only [`Action::Failed`] is a bounce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// It will not be delivered.
    Failed,
    /// Not yet; it will be tried again.
    Delayed,
    /// It is in the mailbox.
    Delivered,
    /// It left the world that sends such notices.
    Relayed,
    /// It was delivered to a list that goes on from there.
    Expanded,
    /// The recipient complained, or another kind of feedback came: see [`Inspection::feedback`].
    Complaint,
    /// A machine answered for the recipient.
    Replied,
}

impl Action {
    /// As it stands in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
            Self::Complaint => "complaint",
            Self::Replied => "replied",
        }
    }
}

/// The `Feedback-Type` of a feedback report (RFC 5965 §7.3, RFC 6430, RFC 6591).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feedback {
    /// Unwanted mail: the recipient pressed the button.
    Abuse,
    /// The recipient wants no more of it.
    OptOut,
    /// The recipient used an unsubscribe link of the service that sends: no complaint.
    Unsubscribe,
    /// Phishing or another fraud.
    Fraud,
    /// A virus was found.
    Virus,
    /// An authentication failure report.
    AuthFailure,
    /// The recipient says that it isn't spam.
    NotSpam,
    /// Anything else, or nothing said.
    Other,
}

impl Feedback {
    /// As it stands in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Abuse => "abuse",
            Self::OptOut => "opt_out",
            Self::Unsubscribe => "unsubscribe",
            Self::Fraud => "fraud",
            Self::Virus => "virus",
            Self::AuthFailure => "auth_failure",
            Self::NotSpam => "not_spam",
            Self::Other => "other",
        }
    }

    /// The type by its name in a report, in any case; what isn't known is [`Feedback::Other`].
    pub fn parse(name: &str) -> Self {
        match name.trim().to_ascii_lowercase().as_str() {
            "abuse" | "complaint" => Self::Abuse,
            "opt-out" | "opt-out-list" | "optout" => Self::OptOut,
            "fraud" => Self::Fraud,
            "virus" => Self::Virus,
            "auth-failure" | "dmarc" => Self::AuthFailure,
            "not-spam" => Self::NotSpam,
            _ => Self::Other,
        }
    }

    /// Whether a recipient who sent it must get no more mail: `abuse`, `opt-out` and an unsubscribe, and nothing else.
    pub const fn ends_mail(self) -> bool {
        matches!(self, Self::Abuse | Self::OptOut | Self::Unsubscribe)
    }
}

/// What a report says about one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRecipient {
    /// The address as the report spells it, without brackets and type; `None` when it was hidden. Unparsed: feed it to
    /// [`crate::mail::address::Address::parse`] before use.
    pub address: Option<String>,
    /// The address that was mailed, when the report names it apart from the one that failed (forwarding).
    pub original: Option<String>,
    /// What happened.
    pub action: Action,
    /// The enhanced code: the one inside the diagnostic, else the declared one.
    pub status: Option<EnhancedStatus>,
    /// The SMTP reply code in the diagnostic, 400 to 599.
    pub reply_code: Option<u16>,
    /// The words of the server that refused, or of the notice.
    pub diagnostic: Option<String>,
    /// The server that refused, as the report names it.
    pub remote_mta: Option<String>,
    /// Whether the refusal answered the message (DATA) and not the address (RCPT TO), as far as the report tells.
    pub after_data: bool,
}

impl ReportRecipient {
    /// A recipient of which only the action is known.
    pub const fn new(action: Action) -> Self {
        Self {
            address: None,
            original: None,
            action,
            status: None,
            reply_code: None,
            diagnostic: None,
            remote_mta: None,
            after_data: false,
        }
    }
}

impl ReportRecipient {
    /// The words that decide: the diagnostic, or the reply that a gateway quotes in it behind a guess of its own,
    /// `5.1.0 - Unknown address error 550-'5.7.1 …'` (Cisco's mail gateways, Amazon SES).
    pub fn reply(&self) -> &str {
        const GUESSES: [&str; 2] = ["- Unknown address error ", "- Other network problem "];
        let diagnostic = self.diagnostic.as_deref().unwrap_or("");
        let quoted = GUESSES.iter().find_map(|guess| diagnostic.split_once(guess)).map(|(_, quoted)| quoted);
        quoted.filter(|quoted| quoted.starts_with(['4', '5'])).unwrap_or(diagnostic)
    }
}

/// What is left of the message that the report is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Original {
    /// Its `Message-ID`, without angle brackets.
    pub message_id: Option<String>,
    /// Its envelope senders, as far as headers and report fields tell: where our return path stands.
    pub return_paths: Vec<String>,
    /// The addresses of its `To`.
    pub to: Vec<String>,
    /// Its headers in order, unfolded and cut: names as written.
    pub headers: Vec<(String, String)>,
}

impl Original {
    /// The first header of a name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Everything that a message found in the mailbox says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inspection {
    /// What kind of message it is.
    pub kind: Kind,
    /// Which format it was read as, in one word (for logs and metrics).
    pub format: &'static str,
    /// One entry for each recipient it reports on, in its order, none twice.
    pub recipients: Vec<ReportRecipient>,
    /// For [`Kind::Arf`]: what it complains about.
    pub feedback: Option<Feedback>,
    /// The server that made the report, as it names itself.
    pub reporting_mta: Option<String>,
    /// The message that the report is about.
    pub original: Original,
    /// Where the report itself was delivered to: `Delivered-To`, `X-Original-To`, `Envelope-To`, then `To`.
    pub delivered_to: Vec<String>,
    /// The report's own envelope sender (`Return-Path`); empty for `<>`.
    pub return_path: Option<String>,
    /// The report's own `Message-ID`, without angle brackets.
    pub message_id: Option<String>,
    /// The Message-IDs that the report says it answers (`In-Reply-To`, else the last of `References`), without angle brackets.
    pub answers: Vec<String>,
    /// The report's subject, decoded.
    pub subject: Option<String>,
}

impl Inspection {
    /// Every address at which a signed return path of ours may stand, most telling first. Each of them may be forged: the
    /// signature decides, not the place.
    pub fn return_path_candidates(&self) -> impl Iterator<Item = &str> {
        self.delivered_to.iter().chain(&self.original.return_paths).map(String::as_str)
    }

    /// The Message-ID of the message that it is about: the one that the report encloses, and only where it encloses none,
    /// what it answers. (What it answers may be further up a thread: Exim repeats the references of what bounced.)
    pub fn message_id_candidates(&self) -> impl Iterator<Item = &str> {
        let answers = if self.original.message_id.is_some() { &[][..] } else { &self.answers };
        self.original.message_id.iter().chain(answers).map(String::as_str)
    }
}

/// Why a message isn't looked into: it goes to quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// More bytes than [`REPORT_MAX_BYTES`].
    #[error("the message has {n_bytes} bytes, more than {}", REPORT_MAX_BYTES)]
    TooLarge {
        /// Its size.
        n_bytes: usize,
    },
    /// Parts within parts deeper than [`DEPTH_MAX`].
    #[error("the message is nested deeper than {} parts", DEPTH_MAX)]
    TooDeep,
    /// More parts than [`PARTS_MAX`].
    #[error("the message has more than {} parts", PARTS_MAX)]
    TooManyParts,
    /// What came by an inbound webhook is not what its service sends.
    #[error("it is no event of this service")]
    NoEvent,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text fit to keep: control characters become blanks, runs of blanks one, and it is cut at [`TEXT_MAX_BYTES`].
pub(super) fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(TEXT_MAX_BYTES));
    for c in text.chars() {
        let c = if c.is_control() || c.is_whitespace() { ' ' } else { c };
        if c == ' ' && (out.is_empty() || out.ends_with(' ')) {
            continue;
        }
        if out.len() + c.len_utf8() > TEXT_MAX_BYTES {
            break;
        }
        out.push(c);
    }
    out.truncate(out.trim_end().len());
    out
}
