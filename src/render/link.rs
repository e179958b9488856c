//! The links of a campaign: which ones a click is counted for, and their numbers.
//!
//! A link is numbered once, when the content is pinned; click tokens carry the number. The same URL in two places is one
//! link, and so is one with variables, counted by its template.
//!
//! Not here: tokens (`mail::token`), the redirect (`track`).

use std::collections::HashMap;

use super::{
    markup::{self, Url},
    node::{Base, Expression, Expressions, Node, Path, Text},
    scope::UNSUBSCRIBE_URL,
    url,
};

/// One link of a campaign's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTarget {
    /// Its number, from 1.
    pub n: u16,
    /// Where it leads: a URL that can be redirected to, or one with variables as it was written.
    pub url_template: String,
    /// Whether where it leads depends on the recipient.
    pub has_variables: bool,
}

/// What clicks are counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClickTracking<'a> {
    /// Nothing: links stay as they are.
    Off,
    /// Every http(s) link; they are numbered now.
    Number,
    /// The links that were numbered when the content was pinned.
    Numbered(&'a [LinkTarget]),
}

/// Numbers links as they are met.
pub(super) struct LinkTable<'a> {
    tracking: ClickTracking<'a>,
    pub targets: Vec<LinkTarget>,
    /// Where a template stands in `targets`.
    places: HashMap<String, usize>,
}

impl<'a> LinkTable<'a> {
    /// A table that begins empty, or with the numbers given before.
    pub fn new(tracking: ClickTracking<'a>) -> Self {
        let targets = match tracking {
            ClickTracking::Numbered(targets) => targets.to_vec(),
            ClickTracking::Off | ClickTracking::Number => Vec::new(),
        };
        let places = targets.iter().enumerate().map(|(place, target)| (target.url_template.clone(), place)).collect();
        Self { tracking, targets, places }
    }

    /// The number of a URL attribute, if clicks on it are counted.
    pub fn number(&mut self, url: &Url) -> Option<u16> {
        if !url.start.is_click || self.tracking == ClickTracking::Off {
            return None;
        }
        let written = markup::source(&url.value);
        let has_variables = url.source.is_none();
        let url_template = if has_variables {
            // What begins with another scheme can never be http(s); what unsubscribes must not pass through a redirect.
            let may_be_web = match url.value.iter().find(|node| !is_empty(node)) {
                Some(Node::Leaf(first)) => has_web_scheme(&first.text),
                _ => true,
            };
            if !may_be_web || uses_unsubscribe_url(&url.value) {
                return None;
            }
            written.trim().to_owned()
        } else {
            url::normalise(&written)?.into_owned()
        };
        let known = self.places.get(&url_template).and_then(|place| self.targets.get(*place));
        match (known, self.tracking) {
            (Some(target), _) => (target.has_variables == has_variables).then_some(target.n),
            (None, ClickTracking::Number) => {
                let n = u16::try_from(self.targets.len() + 1).ok()?;
                self.places.insert(url_template.clone(), self.targets.len());
                self.targets.push(LinkTarget { n, url_template, has_variables });
                Some(n)
            }
            (None, _) => None,
        }
    }
}

/// Whether `{{unsubscribe_url}}` is used in a tree.
pub(super) fn uses_unsubscribe_url<L: Expressions>(nodes: &[Node<L>]) -> bool {
    let mut is_used = false;
    nodes.visit(&mut |expression| {
        if let Expression::Path(Path { base: Base::This(0), keys, .. }) = expression {
            is_used |= keys.first().is_some_and(|key| key == UNSUBSCRIBE_URL);
        }
    });
    is_used
}

/// Whether a text begins like an http(s) URL, or could when a value follows: `https://…`, `http`.
fn has_web_scheme(text: &str) -> bool {
    let text = text.trim_start().to_ascii_lowercase();
    ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme) || scheme.starts_with(&text))
}

fn is_empty(node: &Node<Text>) -> bool {
    matches!(node, Node::Leaf(text) if text.text.trim().is_empty())
}
