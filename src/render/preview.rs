//! Content as one recipient would see it, for the API's render preview: nothing is tracked, nothing is encoded, and what is
//! missing is listed where a message would fail.
//!
//! Not here: messages (`compose`).

use std::collections::BTreeSet;

use crate::mail::header;

use super::{
    content::{Content, Parsed},
    evaluate::Evaluation,
    fault::{Fault, Part, Position, Reason, RenderError},
    link::{ClickTracking, LinkTable},
    piece,
    sink::HtmlText,
    variables::Variables,
};

/// The rendered parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The subject.
    pub subject: String,
    /// The HTML part, if there is one.
    pub html: Option<String>,
    /// The plain text part, given or derived.
    pub text: String,
    /// What has no value and no default: a recipient like this one gets no message.
    pub missing: BTreeSet<String>,
}

/// Why there is no preview.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PreviewError {
    /// The content is not sound.
    #[error("the content has {} faults", .0.len())]
    Faults(Vec<Fault>),
    /// It can't be rendered with these values.
    #[error(transparent)]
    Render(#[from] RenderError),
}

/// Renders content with these values.
///
/// # Errors
/// [`PreviewError`].
pub fn preview(content: &Content<'_>, variables: &Variables<'_>) -> Result<Preview, PreviewError> {
    let parsed = Parsed::parse(content).map_err(PreviewError::Faults)?;
    let mut subject = Evaluation::new(Part::Subject, variables, None, String::new()).forgiving();
    subject.run(&parsed.subject)?;
    let (subject, mut missing) = subject.into_sink_and_missing();
    header::check("Subject", &subject).map_err(|error| RenderError {
        part: Part::Subject,
        at: Position::START,
        reason: Reason::Header(error),
    })?;
    let mut text = Evaluation::new(Part::Text, variables, None, String::new()).forgiving();
    text.run(&parsed.text)?;
    let (text, missing_in_text) = text.into_sink_and_missing();
    missing.extend(missing_in_text);
    let html = match parsed.html {
        Some(nodes) => {
            let pieces = piece::of_html(nodes, &mut LinkTable::new(ClickTracking::Off), false);
            let mut html = Evaluation::new(Part::Html, variables, None, HtmlText::default()).forgiving();
            html.run(&pieces)?;
            let (html, missing_in_html) = html.into_sink_and_missing();
            missing.extend(missing_in_html);
            Some(html.0)
        }
        None => None,
    };
    Ok(Preview { subject, html, text, missing })
}
