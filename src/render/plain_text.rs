//! The plain text alternative of an HTML template, made once per template: the same values and blocks, without the tags.
//!
//! Blocks of text stand apart, list items get a dash, a link's target follows its text. It is meant to be readable, not
//! pretty: who cares about the text part writes it.
//!
//! Not here: what is content (`markup`).

use super::{
    entity,
    fault::Position,
    html::TagEnd,
    link::uses_unsubscribe_url,
    markup::{self, Mark, Url},
    node::{Block, BlockKind, Expression, Helper, Node, Text},
};

/// Longer targets are left out.
const TARGET_MAX_BYTES: usize = 2_048;

/// Derives the text from the marked HTML.
pub(super) fn derive(nodes: &[Node<Mark>]) -> Vec<Node<Text>> {
    let mut writer = Writer { gap: Gap::default(), n_lines: 2, target: None };
    let mut out = writer.branch(nodes);
    out.push(leaf("\n"));
    out
}

/// What has to come before the next word.
#[derive(Debug, Clone, Copy, Default)]
struct Gap {
    has_blank: bool,
    /// Line ends: 1 for a new line, 2 for a paragraph.
    n_lines: usize,
    is_item: bool,
}

impl Gap {
    const BLANK: Self = Self { has_blank: true, n_lines: 0, is_item: false };
    const LINE: Self = Self { has_blank: false, n_lines: 1, is_item: false };
    const ITEM: Self = Self { has_blank: false, n_lines: 1, is_item: true };
    const PARAGRAPH: Self = Self { has_blank: false, n_lines: 2, is_item: false };

    fn join(self, other: Self) -> Self {
        Self {
            has_blank: self.has_blank || other.has_blank,
            n_lines: self.n_lines.max(other.n_lines),
            is_item: self.is_item || other.is_item,
        }
    }
}

struct Writer {
    gap: Gap,
    /// Line ends that stand behind the last word already.
    n_lines: usize,
    /// Where the link leads whose text is being read.
    target: Option<Vec<Node<Text>>>,
}

impl Writer {
    fn branch(&mut self, nodes: &[Node<Mark>]) -> Vec<Node<Text>> {
        let mut out = Vec::new();
        for node in nodes {
            match node {
                Node::Leaf(Mark::Content(text)) => self.words(&text.text, &mut out),
                Node::Leaf(Mark::Tag(tag)) => self.tag(tag, &mut out),
                Node::Leaf(Mark::Url(url)) => self.url(url),
                Node::Leaf(Mark::Markup(_) | Mark::MarkupValue(_)) => {}
                Node::Value(value) => {
                    self.begin_word(&mut out);
                    out.push(Node::Value(value.clone()));
                }
                Node::Block(block) => self.block(block, &mut out),
            }
        }
        out
    }

    /// A block without the tags in it; nothing when nothing is left.
    fn block(&mut self, block: &Block<Mark>, out: &mut Vec<Node<Text>>) {
        let is_loop = block.kind == BlockKind::Each;
        if is_loop {
            // Its turns follow each other: each ends its own lines, and the lines before the first are not repeated.
            self.end_lines(out);
        }
        let (gap, n_lines, target) = (self.gap, self.n_lines, self.target.clone());
        let mut body = self.branch(&block.body);
        if is_loop {
            self.end_lines(&mut body);
        }
        let (gap_of_body, n_lines_of_body) = (self.gap, self.n_lines);
        (self.gap, self.n_lines) = (gap, n_lines);
        self.target.clone_from(&target);
        let otherwise = block.otherwise.as_ref().map(|nodes| self.branch(nodes));
        // Whichever way it goes, what follows must stand apart.
        self.gap = self.gap.join(gap_of_body);
        self.n_lines = self.n_lines.min(n_lines_of_body);
        self.target = target;
        if body.is_empty() && otherwise.as_ref().is_none_or(Vec::is_empty) {
            return;
        }
        let (kind, subject, source, at) = (block.kind, block.subject.clone(), block.source.clone(), block.at);
        out.push(Node::Block(Box::new(Block { kind, subject, body, otherwise, source, at })));
    }

    fn words(&mut self, text: &str, out: &mut Vec<Node<Text>>) {
        let text = entity::decode(text);
        // Blanks that don't break (U+00A0) and joiners are the author's: they stay.
        let is_blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{c}');
        if text.starts_with(is_blank) {
            self.widen(Gap::BLANK);
        }
        let mut is_first = true;
        for word in text.split(is_blank).filter(|word| !word.is_empty()) {
            if !is_first {
                self.widen(Gap::BLANK);
            }
            is_first = false;
            self.begin_word(out);
            push(word, out);
        }
        if !is_first && text.ends_with(is_blank) {
            self.widen(Gap::BLANK);
        }
    }

    fn tag(&mut self, tag: &TagEnd, out: &mut Vec<Node<Text>>) {
        match (tag.name.as_str(), tag.is_end_tag) {
            ("a", true) => {
                if let Some(target) = self.target.take() {
                    push(" (", out);
                    out.extend(target);
                    push(")", out);
                }
            }
            ("br", _) => self.gap.n_lines = (self.gap.n_lines + 1).min(2),
            ("li", false) => self.widen(Gap::ITEM),
            ("li", true) => self.widen(Gap::LINE),
            (
                "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "blockquote" | "table" | "hr" | "pre",
                _,
            ) => {
                self.widen(Gap::PARAGRAPH);
            }
            ("div" | "tr" | "section" | "article" | "header" | "footer" | "main" | "center" | "dt" | "dd", _) => {
                self.widen(Gap::LINE);
            }
            ("td" | "th", _) => self.widen(Gap::BLANK),
            _ => {}
        }
    }

    fn url(&mut self, url: &Url) {
        if !url.start.is_click {
            return;
        }
        let written = markup::source(&url.value);
        let is_worth_it = !written.starts_with('#') && !written.trim().is_empty() && written.len() <= TARGET_MAX_BYTES;
        let mut target = url.value.clone();
        tidy(&mut target);
        if let Some(Node::Leaf(first)) = target.first_mut()
            && !uses_unsubscribe_url(&url.value)
        {
            first.text = first.text.trim_start().trim_start_matches("mailto:").trim_start_matches("tel:").to_owned();
        }
        self.target = is_worth_it.then_some(target);
    }

    fn widen(&mut self, gap: Gap) {
        self.gap = self.gap.join(gap);
    }

    /// Writes what has to come before a word.
    fn begin_word(&mut self, out: &mut Vec<Node<Text>>) {
        let gap = self.gap;
        self.end_lines(out);
        if gap.is_item {
            push("- ", out);
        }
        self.n_lines = 0;
    }

    fn end_lines(&mut self, out: &mut Vec<Node<Text>>) {
        let n_missing = self.gap.n_lines.saturating_sub(self.n_lines);
        if n_missing > 0 {
            push("\n\n".get(..n_missing).unwrap_or("\n\n"), out);
        } else if self.gap.has_blank && self.n_lines == 0 {
            push(" ", out);
        }
        self.n_lines += n_missing;
        self.gap = Gap::default();
    }
}

/// Keeps a URL in one piece: a reader of text takes it to end at the first blank.
fn tidy(nodes: &mut [Node<Text>]) {
    for node in nodes {
        match node {
            Node::Leaf(text) => text.text.retain(|c| !c.is_whitespace()),
            Node::Value(value) => {
                let inner = value.expression.clone();
                value.expression = Expression::Call(Helper::UrlTidy, vec![inner]);
            }
            Node::Block(block) => {
                tidy(&mut block.body);
                tidy(block.otherwise.as_deref_mut().unwrap_or_default());
            }
        }
    }
}

fn push(text: &str, out: &mut Vec<Node<Text>>) {
    match out.last_mut() {
        Some(Node::Leaf(last)) => last.text.push_str(text),
        _ if text.is_empty() => {}
        _ => out.push(leaf(text)),
    }
}

fn leaf(text: &str) -> Node<Text> {
    Node::Leaf(Text { text: text.to_owned(), at: Position::START })
}
