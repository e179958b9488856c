//! The last form of a template: spans that were encoded ahead, values, and the URLs that are made for each recipient.
//!
//! Not here: signing those URLs (`compose`), which links are counted (`link`).

use std::borrow::Cow;

use crate::mail::quoted_printable::Encoded;

use super::{
    evaluate::{Evaluation, Leaf, SignedUrls},
    fault::{Position, Reason, RenderError},
    html::TagEnd,
    link::LinkTable,
    markup::{Mark, Url},
    node::{Block, Node, Text},
    sink::Sink,
    url::{self, UrlUse},
};

/// A leaf that is ready to be sent.
#[derive(Debug, Clone)]
pub(super) enum Piece {
    /// Static text, and the same encoded.
    Span(String, Encoded),
    /// A URL with values in it: checked for each recipient.
    Url { value: Vec<Node<Text>>, url_use: UrlUse, at: Position },
    /// A link whose clicks are counted; its target where that depends on the recipient.
    Link { n: u16, target: Option<Vec<Node<Text>>>, at: Position },
    /// The image whose loading counts as an open.
    Pixel,
}

impl Leaf for Piece {
    fn write<'a, S: Sink>(&'a self, evaluation: &mut Evaluation<'a, S>) -> Result<(), RenderError> {
        match self {
            Self::Span(text, encoded) => evaluation.write_span(text, encoded),
            Self::Url { value, url_use, at } => {
                let url = rendered(value, *url_use, *at, evaluation)?;
                evaluation.write(&escape_attribute(&url::tidy(&url)), false)
            }
            Self::Link { n, target: None, .. } => match evaluation.urls() {
                Some(urls) => evaluation.write(&urls.click_url(*n, None), false),
                None => Ok(()),
            },
            Self::Link { n, target: Some(target), at } => {
                let url = rendered(target, UrlUse::Link, *at, evaluation)?;
                match (url::normalise(&url), evaluation.urls()) {
                    (Some(url), Some(urls)) => evaluation.write(&urls.click_url(*n, Some(&url)), false),
                    _ => evaluation.write(&escape_attribute(&url::tidy(&url)), false),
                }
            }
            Self::Pixel => match evaluation.urls().map(SignedUrls::pixel_url) {
                Some(url) => {
                    evaluation.write("<img src=\"", false)?;
                    evaluation.write(&url, false)?;
                    evaluation
                        .write("\" width=\"1\" height=\"1\" alt=\"\" style=\"border:0;height:1px;width:1px\">", false)
                }
                None => Ok(()),
            },
        }
    }
}

fn rendered<'a, S: Sink>(
    value: &'a [Node<Text>],
    url_use: UrlUse,
    at: Position,
    evaluation: &mut Evaluation<'a, S>,
) -> Result<String, RenderError> {
    let url = evaluation.run_apart(value)?;
    url::check(&url, url_use, false).map_err(|scheme| evaluation.error_at(at, Reason::UnsafeUrl(scheme)))?;
    Ok(url)
}

/// Escapes for a quoted attribute.
fn escape_attribute(text: &str) -> Cow<'_, str> {
    if !text.contains(['&', '"', '\'', '<', '>']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Makes the pieces of a plain text part.
pub(super) fn of_text(nodes: Vec<Node<Text>>) -> Vec<Node<Piece>> {
    let mut pieces = Pieces::default();
    for node in nodes {
        match node {
            Node::Leaf(text) => pieces.text.push_str(&text.text),
            Node::Value(value) => pieces.push(Node::Value(value)),
            Node::Block(block) => pieces.push(Node::Block(Box::new(convert(*block, &mut of_text)))),
        }
    }
    pieces.finish()
}

/// Makes the pieces of an HTML part. The pixel goes in front of the last `</body>`, or to the end.
pub(super) fn of_html(mut nodes: Vec<Node<Mark>>, links: &mut LinkTable<'_>, has_pixel: bool) -> Vec<Node<Piece>> {
    let is_body_end =
        |node: &Node<Mark>| matches!(node, Node::Leaf(Mark::Tag(TagEnd { name, is_end_tag: true })) if name == "body");
    let rest = match nodes.iter().rposition(is_body_end) {
        // The tag's own text stands just before its mark.
        Some(place) if has_pixel => nodes.split_off(place.saturating_sub(1)),
        _ => Vec::new(),
    };
    let mut pieces = Pieces::default();
    pieces.extend(nodes, links);
    if has_pixel {
        pieces.push(Node::Leaf(Piece::Pixel));
    }
    pieces.extend(rest, links);
    pieces.finish()
}

/// Collects pieces; neighbouring static texts become one span.
#[derive(Default)]
struct Pieces {
    nodes: Vec<Node<Piece>>,
    text: String,
}

impl Pieces {
    fn push(&mut self, node: Node<Piece>) {
        self.flush();
        self.nodes.push(node);
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            let encoded = Encoded::new(&text);
            self.nodes.push(Node::Leaf(Piece::Span(text, encoded)));
        }
    }

    fn finish(mut self) -> Vec<Node<Piece>> {
        self.flush();
        self.nodes
    }

    fn extend(&mut self, nodes: Vec<Node<Mark>>, links: &mut LinkTable<'_>) {
        for node in nodes {
            match node {
                Node::Leaf(Mark::Content(text) | Mark::Markup(text)) => self.text.push_str(&text.text),
                Node::Leaf(Mark::Tag(_)) => {}
                Node::Leaf(Mark::MarkupValue(value)) | Node::Value(value) => self.push(Node::Value(value)),
                Node::Leaf(Mark::Url(url)) => self.push_url(url, links),
                Node::Block(block) => {
                    let mut branch = |nodes| {
                        let mut pieces = Self::default();
                        pieces.extend(nodes, links);
                        pieces.finish()
                    };
                    let block = convert(*block, &mut branch);
                    self.push(Node::Block(Box::new(block)));
                }
            }
        }
    }

    fn push_url(&mut self, url: Url, links: &mut LinkTable<'_>) {
        let n = links.number(&url);
        let Url { start, value, source, at } = url;
        match (n, source) {
            (Some(n), Some(_)) => self.push(Node::Leaf(Piece::Link { n, target: None, at })),
            (Some(n), None) => self.push(Node::Leaf(Piece::Link { n, target: Some(value), at })),
            (None, Some(source)) => self.text.push_str(&source),
            (None, None) => self.push(Node::Leaf(Piece::Url { value, url_use: start.url_use, at })),
        }
    }
}

fn convert<A, B>(block: Block<A>, branch: &mut impl FnMut(Vec<Node<A>>) -> Vec<Node<B>>) -> Block<B> {
    let Block { kind, subject, body, otherwise, source, at } = block;
    Block { kind, subject, body: branch(body), otherwise: otherwise.map(branch), source, at }
}
