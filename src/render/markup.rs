//! A parsed template meets the HTML around it: each static text becomes content or markup, each URL attribute one thing, and
//! what HTML would make dangerous or ambiguous is refused.
//!
//! A value may stand in text, in a quoted attribute or in markup, never in an attribute without quotes, where a blank ends
//! it. A block must leave the HTML in one place whichever way it goes: what follows would otherwise be read as text for one
//! recipient and as an attribute for another.
//!
//! Not here: the states of HTML (`html`), what URLs may be (`url`), what becomes of them (`link`, `piece`).

use super::{
    entity,
    fault::{Fault, Part, Position},
    html::{Html, Place, TagEnd, UrlStart},
    node::{Block, BlockKind, Expression, Expressions, Node, Text, Value},
    url,
};

/// A leaf whose place in the HTML is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Mark {
    /// Text that is read.
    Content(Text),
    /// Tags, comments, styles.
    Markup(Text),
    /// A value in markup.
    MarkupValue(Value),
    /// A whole tag has ended here.
    Tag(TagEnd),
    /// The value of an attribute that holds a URL.
    Url(Url),
}

/// The value of an attribute that holds a URL.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Url {
    pub start: UrlStart,
    /// Its parts, character references replaced.
    pub value: Vec<Node<Text>>,
    /// As it was written, if it is the same for every recipient.
    pub source: Option<String>,
    pub at: Position,
}

impl Expressions for Mark {
    fn visit(&self, see: &mut dyn FnMut(&Expression)) {
        match self {
            Self::Url(url) => url.value.visit(see),
            Self::MarkupValue(value) => value.expression.visit(see),
            Self::Content(_) | Self::Markup(_) | Self::Tag(_) => {}
        }
    }
}

/// Marks the tree of an HTML template.
///
/// # Errors
/// All faults that were found; at least one.
pub(super) fn mark(nodes: Vec<Node<Text>>) -> Result<Vec<Node<Mark>>, Vec<Fault>> {
    let mut walker = Walker { html: Html::new(), faults: Vec::new() };
    let marked = walker.walk(nodes);
    if walker.faults.is_empty() { Ok(marked) } else { Err(walker.faults) }
}

struct Walker {
    html: Html,
    faults: Vec<Fault>,
}

/// A URL attribute that has begun.
struct Capture {
    start: UrlStart,
    nodes: Vec<Node<Text>>,
    at: Position,
}

/// A static text that is cut from its start to its end.
struct Cut<'t> {
    text: &'t Text,
    from: usize,
    at: Position,
}

impl Cut<'_> {
    /// What comes next, up to `to`.
    fn take(&mut self, to: usize) -> Text {
        let text = self.text.text.get(self.from..to).unwrap_or_default().to_owned();
        let at = self.at;
        self.at = at.after(&text);
        self.from = self.from.max(to);
        Text { text, at }
    }

    fn push(&mut self, mark: fn(Text) -> Mark, to: usize, out: &mut Vec<Node<Mark>>) {
        if self.from < to {
            out.push(Node::Leaf(mark(self.take(to))));
        }
    }
}

impl Walker {
    fn complain(&mut self, at: Position, code: &'static str, message: &str) {
        self.faults.push(Fault { part: Part::Html, at, code, message: message.to_owned() });
    }

    fn walk(&mut self, nodes: Vec<Node<Text>>) -> Vec<Node<Mark>> {
        let mut out = Vec::with_capacity(nodes.len());
        let mut capture = None;
        for node in nodes {
            match node {
                Node::Leaf(text) => self.walk_text(&text, &mut capture, &mut out),
                Node::Value(value) => self.walk_value(value, &mut capture, &mut out),
                Node::Block(block) => match &mut capture {
                    Some(Capture { nodes, .. }) => {
                        if !self.stays_in_value(&block) {
                            self.complain(block.at, "html_structure", "the attribute's value ends inside this block");
                        }
                        nodes.push(Node::Block(block));
                    }
                    None => {
                        let block = self.walk_block(*block);
                        out.push(Node::Block(Box::new(block)));
                    }
                },
            }
        }
        if let Some(capture) = capture {
            self.complain(capture.at, "html_structure", "the attribute's value that begins here doesn't end here");
        }
        out
    }

    fn walk_text(&mut self, text: &Text, capture: &mut Option<Capture>, out: &mut Vec<Node<Mark>>) {
        let mut cut = Cut { text, from: 0, at: text.at };
        for (place, byte) in text.text.bytes().enumerate() {
            let step = self.html.step(byte);
            if step.ends_url
                && let Some(mut ended) = capture.take()
            {
                ended.nodes.push(Node::Leaf(cut.take(place)));
                out.push(Node::Leaf(Mark::Url(self.end_url(ended))));
            }
            if step.n_markup_bytes > 0 {
                cut.push(Mark::Content, place.saturating_sub(step.n_markup_bytes), out);
            }
            if let Some(start) = step.begins_url {
                cut.push(Mark::Markup, if start.is_quoted { place + 1 } else { place }, out);
                *capture = Some(Capture { start, nodes: Vec::new(), at: cut.at });
            }
            if step.ends_comment || step.ends_tag.is_some() {
                cut.push(Mark::Markup, place + 1, out);
            }
            out.extend(step.ends_tag.map(|tag| Node::Leaf(Mark::Tag(tag))));
        }
        let end = text.text.len();
        match capture {
            Some(capture) => capture.nodes.push(Node::Leaf(cut.take(end))),
            None if self.html.place() == Place::Content => cut.push(Mark::Content, end, out),
            None => cut.push(Mark::Markup, end, out),
        }
    }

    fn walk_value(&mut self, value: Value, capture: &mut Option<Capture>, out: &mut Vec<Node<Mark>>) {
        if self.html.place() == Place::UnquotedValue {
            self.complain(value.at, "unquoted_attribute", "put quotes around the attribute's value");
        }
        match capture {
            Some(capture) => capture.nodes.push(Node::Value(value)),
            None if self.html.place() == Place::Content => out.push(Node::Value(value)),
            None => out.push(Node::Leaf(Mark::MarkupValue(value))),
        }
    }

    fn walk_block(&mut self, block: Block<Text>) -> Block<Mark> {
        let Block { kind, subject, body, otherwise, source, at } = block;
        let before = self.html.clone();
        let body = self.walk(body);
        let behind_body = std::mem::replace(&mut self.html, before.clone());
        let otherwise = otherwise.map(|nodes| self.walk(nodes));
        let is_one_place =
            behind_body.continues_like(&self.html) && (kind != BlockKind::Each || behind_body.continues_like(&before));
        if !is_one_place {
            let message = "this block ends in another place of the HTML (in a tag, in a text, in an attribute) than it would \
                           without its content or in its {{else}}: open and close tags and quotes in the same branch";
            self.complain(at, "html_structure", message);
        }
        self.html = behind_body;
        Block { kind, subject, body, otherwise, source, at }
    }

    /// Whether a block inside an attribute's value leaves the value open all the way.
    fn stays_in_value(&self, block: &Block<Text>) -> bool {
        let branches = [block.body.as_slice(), block.otherwise.as_deref().unwrap_or_default()];
        branches.into_iter().flatten().all(|node| match node {
            Node::Leaf(text) => {
                let mut html = self.html.clone();
                text.text.bytes().all(|byte| !html.step(byte).ends_url)
            }
            Node::Value(_) => self.html.place() == Place::QuotedValue,
            Node::Block(inner) => self.stays_in_value(inner),
        })
    }

    fn end_url(&mut self, capture: Capture) -> Url {
        let Capture { start, nodes, at } = capture;
        let is_static = nodes.iter().all(|node| matches!(node, Node::Leaf(_)));
        let source = is_static.then(|| source(&nodes));
        let mut value = nodes;
        decode(&mut value);
        if source.is_some()
            && let Err(scheme) = url::check(&self::source(&value), start.url_use, true)
        {
            self.complain(at, "unsafe_url", &format!("a URL with the scheme `{scheme}` is not sent"));
        }
        Url { start, value, source, at }
    }
}

fn decode(nodes: &mut [Node<Text>]) {
    for node in nodes {
        match node {
            Node::Leaf(text) => text.text = entity::decode(&text.text).into_owned(),
            Node::Value(_) => {}
            Node::Block(block) => {
                decode(&mut block.body);
                decode(block.otherwise.as_deref_mut().unwrap_or_default());
            }
        }
    }
}

/// A tree as it could be written in a template.
pub(super) fn source(nodes: &[Node<Text>]) -> String {
    let mut out = String::new();
    for node in nodes {
        match node {
            Node::Leaf(text) => out.push_str(&text.text),
            Node::Value(Value { source, is_escaped: true, .. }) => out.extend(["{{", source, "}}"]),
            Node::Value(Value { source, .. }) => out.extend(["{{{", source, "}}}"]),
            Node::Block(block) => {
                let name = block.source.split_whitespace().next().unwrap_or_default();
                out.extend(["{{#", &block.source, "}}", &source(&block.body)]);
                if let Some(otherwise) = &block.otherwise {
                    out.extend(["{{else}}", &source(otherwise)]);
                }
                out.extend(["{{/", name, "}}"]);
            }
        }
    }
    out
}
