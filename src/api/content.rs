//! What a message says, in a body: `subject`, `html`, `text`, each a template that is compiled at the door.
//!
//! Not here: the language (`render`), pinning to a campaign (`campaign_content`).

use super::{
    problem::{Fault, Kind, Problem},
    reader::Reader,
};
use crate::{
    render::{self, RenderError},
    store::templates::NewContent,
};

const SUBJECT_MAX_CHARACTERS: usize = 998;
const BODY_MAX_CHARACTERS: usize = 262_144;

/// Content as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// One line.
    pub subject: String,
    /// HTML.
    pub html: Option<String>,
    /// Plain text.
    pub text: Option<String>,
}

impl Content {
    /// As the store takes it.
    pub fn as_new(&self) -> NewContent<'_> {
        NewContent { subject: &self.subject, html: self.html.as_deref(), text: self.text.as_deref() }
    }

    /// As the renderer takes it.
    pub fn as_template(&self) -> render::Content<'_> {
        render::Content { subject: &self.subject, html: self.html.as_deref(), text: self.text.as_deref() }
    }
}

/// Read content off the object that the reader stands on, and compile it. Every fault is noted, those of a template with
/// their line; then none may be answered.
pub fn read(reader: &Reader<'_>) -> Option<Content> {
    let subject = reader.required_line("subject", 1..=SUBJECT_MAX_CHARACTERS);
    let html = reader.text("html", 1..=BODY_MAX_CHARACTERS);
    let text = reader.text("text", 1..=BODY_MAX_CHARACTERS);
    let is_absent = |name| reader.raw(name).is_none_or(serde_json::Value::is_null);
    if is_absent("html") && is_absent("text") {
        reader.note("html", "required", "at least one of `html` and `text` is needed");
    }
    let content = Content { subject: subject?, html, text };
    if content.html.is_some() || content.text.is_some() {
        for fault in render::check(&content.as_template()).err().unwrap_or_default() {
            let hint = format!("line {}, column {}: {}", fault.at.line, fault.at.column, fault.message);
            reader.note_line(fault.part.name(), "template", shorten(&hint), fault.at.line);
        }
    }
    Some(content)
}

/// The faults of content that was sound when it was stored, under this pointer.
pub fn faults(pointer: &str, faults: &[render::Fault]) -> Vec<Fault> {
    let show = |fault: &render::Fault| {
        let place = match fault.part {
            render::Part::From => "/from".to_owned(),
            part => format!("{pointer}/{}", part.name()),
        };
        Fault::at(place, "template", shorten(&fault.to_string())).line(usize::try_from(fault.at.line).ok())
    };
    faults.iter().map(show).collect()
}

/// Content can't be rendered with these values.
pub fn rendering_failed(error: &RenderError) -> Problem {
    let fault = Fault::at("", "rendering", shorten(&error.to_string())).line(usize::try_from(error.at.line).ok());
    Problem::new(Kind::Rendering, "It can't be rendered with these values.").with_errors(vec![fault])
}

/// A hint as long as the contract lets it be.
fn shorten(text: &str) -> String {
    const MOST_CHARACTERS: usize = 1000;
    text.chars().take(MOST_CHARACTERS).collect()
}
