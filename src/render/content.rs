//! The content of a campaign: parsed and checked, before anything is made of it.
//!
//! Not here: making messages of it (`compose`), showing it (`preview`).

use std::collections::BTreeSet;

use super::{
    fault::{Fault, Part, Position},
    link::uses_unsubscribe_url,
    markup::{self, Mark},
    node::{Expression, Expressions, Node, Text},
    parse, plain_text,
};

/// What a template or a campaign says, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content<'a> {
    /// The subject: one line.
    pub subject: &'a str,
    /// The HTML part; without it the message is plain text.
    pub html: Option<&'a str>,
    /// The plain text part; without it one is derived from the HTML.
    pub text: Option<&'a str>,
}

/// What is worth knowing about content that is sound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The attributes that it prints or asks for, in order: `first_name`, `address.city`. What stands in the scope of a loop
    /// is not among them.
    pub attributes: BTreeSet<String>,
    /// Whether it shows the unsubscribe link itself. (The headers carry it in any case.)
    pub uses_unsubscribe_url: bool,
}

/// Checks content at the door.
///
/// # Errors
/// All faults of all parts.
pub fn check(content: &Content<'_>) -> Result<Summary, Vec<Fault>> {
    Parsed::parse(content).map(|parsed| parsed.summary())
}

/// Content whose parts are trees.
#[derive(Debug)]
pub(super) struct Parsed {
    pub subject: Vec<Node<Text>>,
    pub html: Option<Vec<Node<Mark>>>,
    /// Given, or derived from the HTML.
    pub text: Vec<Node<Text>>,
}

impl Parsed {
    /// Parses all parts.
    pub fn parse(content: &Content<'_>) -> Result<Self, Vec<Fault>> {
        let subject = parse::parse(Part::Subject, content.subject);
        let html = given(content.html).map(|html| parse::parse(Part::Html, html).and_then(markup::mark)).transpose();
        let text = given(content.text).map(|text| parse::parse(Part::Text, text)).transpose();
        let mut faults = Vec::new();
        if content.subject.trim().is_empty() {
            let message = "a message needs a subject".to_owned();
            faults.push(Fault { part: Part::Subject, at: Position::START, code: "empty", message });
        }
        if given(content.html).is_none() && given(content.text).is_none() {
            let message = "a message needs HTML or text".to_owned();
            faults.push(Fault { part: Part::Html, at: Position::START, code: "empty", message });
        }
        match (subject, html, text) {
            (Ok(subject), Ok(html), Ok(text)) if faults.is_empty() => {
                let text = text.unwrap_or_else(|| plain_text::derive(html.as_deref().unwrap_or_default()));
                Ok(Self { subject, html, text })
            }
            (subject, html, text) => {
                faults.extend(subject.err().unwrap_or_default());
                faults.extend(html.err().unwrap_or_default());
                faults.extend(text.err().unwrap_or_default());
                Err(faults)
            }
        }
    }

    /// What is worth knowing about it.
    pub fn summary(&self) -> Summary {
        let mut attributes = BTreeSet::new();
        let mut note = |expression: &Expression| {
            if let Expression::Path(path) = expression {
                attributes.extend(path.attribute());
            }
        };
        self.subject.visit(&mut note);
        self.text.visit(&mut note);
        let html = self.html.as_deref().unwrap_or_default();
        html.visit(&mut note);
        let uses_unsubscribe_url = uses_unsubscribe_url(&self.text) || uses_unsubscribe_url(html);
        Summary { attributes, uses_unsubscribe_url }
    }
}

fn given(part: Option<&str>) -> Option<&str> {
    part.filter(|part| !part.trim().is_empty())
}
