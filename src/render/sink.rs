//! Where a rendering goes: a string, or the quoted-printable of a part.
//!
//! Not here: what is written (`evaluate`, `piece`).

use crate::mail::quoted_printable::{Encoded, Writer};

/// Takes rendered text.
pub(super) trait Sink {
    /// A value; in HTML it is escaped unless the template says otherwise. Gives how many bytes that made before encoding.
    fn write_value(&mut self, text: &str, is_escaped: bool) -> usize;

    /// Static text, and the same encoded ahead.
    fn write_span(&mut self, text: &str, encoded: &Encoded);
}

/// Plain text, nothing escaped: subjects, URLs, previews of text.
impl Sink for String {
    fn write_value(&mut self, text: &str, _: bool) -> usize {
        self.push_str(text);
        text.len()
    }

    fn write_span(&mut self, text: &str, _: &Encoded) {
        self.push_str(text);
    }
}

/// HTML as a string, for previews.
#[derive(Debug, Default)]
pub(super) struct HtmlText(pub String);

impl Sink for HtmlText {
    fn write_value(&mut self, text: &str, is_escaped: bool) -> usize {
        if is_escaped {
            return escape(text, &mut |run| self.0.push_str(run));
        }
        self.0.push_str(text);
        text.len()
    }

    fn write_span(&mut self, text: &str, _: &Encoded) {
        self.0.push_str(text);
    }
}

/// A plain text part of a message.
#[derive(Debug)]
pub(super) struct TextPart<'o>(pub Writer<'o>);

impl Sink for TextPart<'_> {
    fn write_value(&mut self, text: &str, _: bool) -> usize {
        self.0.push(text);
        text.len()
    }

    fn write_span(&mut self, _: &str, encoded: &Encoded) {
        self.0.push_encoded(encoded);
    }
}

/// The HTML part of a message.
#[derive(Debug)]
pub(super) struct HtmlPart<'o>(pub Writer<'o>);

impl Sink for HtmlPart<'_> {
    fn write_value(&mut self, text: &str, is_escaped: bool) -> usize {
        if is_escaped {
            return escape(text, &mut |run| self.0.push(run));
        }
        self.0.push(text);
        text.len()
    }

    fn write_span(&mut self, _: &str, encoded: &Encoded) {
        self.0.push_encoded(encoded);
    }
}

/// Escapes for HTML text and quoted attributes, the seven characters that Handlebars escapes. Gives what comes out in runs,
/// and their bytes together.
fn escape(text: &str, write: &mut dyn FnMut(&str)) -> usize {
    let mut n_bytes = text.len();
    let mut rest = text;
    while let Some(place) = rest.find(['<', '>', '"', '&', '\'', '`', '=']) {
        let Some((plain, special)) = rest.split_at_checked(place) else { break };
        write(plain);
        let mut characters = special.chars();
        let entity = match characters.next() {
            Some('<') => "&lt;",
            Some('>') => "&gt;",
            Some('"') => "&quot;",
            Some('&') => "&amp;",
            Some('\'') => "&#x27;",
            Some('`') => "&#x60;",
            _ => "&#x3D;",
        };
        write(entity);
        n_bytes += entity.len() - 1;
        rest = characters.as_str();
    }
    write(rest);
    n_bytes
}
