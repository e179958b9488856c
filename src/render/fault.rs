//! What can be wrong with a template, and with rendering one for a recipient.
//!
//! A [`Fault`] is found once, when the content is stored; all of them are reported together. A [`RenderError`] is one
//! recipient's: that delivery fails with it as its reason, and the campaign goes on.
//!
//! Not here: the problem documents that show them (`api`).

use std::fmt;

use crate::mail::header::HeaderError;

/// Which part of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The subject.
    Subject,
    /// The HTML part.
    Html,
    /// The plain text part.
    Text,
    /// The From and Reply-To headers.
    From,
}

impl Part {
    /// Its name in a JSON pointer: `/content/html`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Html => "html",
            Self::Text => "text",
            Self::From => "from",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A place in a template; both count characters from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl Position {
    /// Where every template begins.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The place behind this text, when the text begins here.
    pub fn after(self, text: &str) -> Self {
        text.chars().fold(self, |at, c| match c {
            '\n' => Self { line: at.line.saturating_add(1), column: 1 },
            _ => Self { line: at.line, column: at.column.saturating_add(1) },
        })
    }
}

/// One thing that is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part} line {}, column {}: {message}", .at.line, .at.column)]
pub struct Fault {
    /// Which part.
    pub part: Part,
    /// Where in it.
    pub at: Position,
    /// A word for programs, such as `unknown_variable`.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
}

/// Why one recipient's message can't be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part} line {}, column {}: {reason}", .at.line, .at.column)]
pub struct RenderError {
    /// Which part.
    pub part: Part,
    /// Where in its template.
    pub at: Position,
    /// What happened.
    pub reason: Reason,
}

/// What happened while rendering.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The recipient has no such attribute, and the template has no `default` for it.
    #[error("`{0}` is missing; write {{{{default {0} \"…\"}}}} or ask with {{{{#if}}}}")]
    Missing(String),
    /// An object or a list where a text is needed.
    #[error("`{0}` is {1}, not a text")]
    NotText(String, &'static str),
    /// `{{#each}}` over something else.
    #[error("`{0}` is neither a list nor an object")]
    NotAList(String),
    /// The scheme of a rendered URL, such as `javascript`, has no place in mail.
    #[error("a link with the scheme `{0}` is not sent")]
    UnsafeUrl(String),
    /// More than [`super::limits::OUTPUT_MAX_BYTES`].
    #[error("the rendered part is longer than {0} bytes")]
    TooLong(usize),
    /// More than [`super::limits::STEPS_MAX`].
    #[error("rendering takes more than {0} steps")]
    TooManySteps(u32),
    /// The rendered subject can't stand in a header.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

impl Reason {
    /// A word for programs: what stands in `deliveries.reason`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing_variable",
            Self::NotText(..) | Self::NotAList(_) => "wrong_type",
            Self::UnsafeUrl(_) => "unsafe_url",
            Self::TooLong(_) => "too_long",
            Self::TooManySteps(_) => "too_many_steps",
            Self::Header(HeaderError::Control { .. }) => "control_character",
            Self::Header(_) => "header",
        }
    }
}
