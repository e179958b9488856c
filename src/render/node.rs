//! The tree of a parsed template. Its leaves change on the way: plain text when parsed, marked text when the HTML around it is
//! known, encoded spans when it is ready to be sent.
//!
//! Not here: how it is made (`parse`, `markup`), how it is run (`evaluate`).

use serde_json::Value as Json;

use super::fault::Position;

/// A node of a template whose leaves are `L`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node<L> {
    /// Something static, or made of static things.
    Leaf(L),
    /// A value printed in place.
    Value(Value),
    /// A block with what stands in it.
    Block(Box<Block<L>>),
}

/// Static text of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub text: String,
    pub at: Position,
}

/// `{{…}}` or `{{{…}}}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub expression: Expression,
    /// Whether HTML around it escapes it: not for `{{{…}}}`.
    pub is_escaped: bool,
    /// What stood between the braces.
    pub source: String,
    pub at: Position,
}

/// `{{#…}}…{{else}}…{{/…}}`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Block<L> {
    pub kind: BlockKind,
    pub subject: Expression,
    pub body: Vec<Node<L>>,
    pub otherwise: Option<Vec<Node<L>>>,
    /// What stood in the opening tag behind the `#`.
    pub source: String,
    pub at: Position,
}

/// What a block does with its subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// `#if`, and `#eq` and its like; `#unless` when negated.
    If { is_negated: bool, include_zero: bool },
    /// `#each`.
    Each,
    /// `#with`.
    With,
}

/// Something that has a value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expression {
    Path(Path),
    Literal(Json),
    Call(Helper, Vec<Expression>),
}

/// A path whose start is known: which scope it begins in was decided when the template was parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    pub base: Base,
    pub keys: Vec<String>,
    /// As it was written.
    pub source: String,
}

/// Where a path begins. Scopes are counted from the outside; scope 0 is the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// `this` of a scope.
    This(usize),
    /// `@index` of a scope.
    Index(usize),
    /// `@key` of a scope, and the second block parameter: the key of an object, the index of a list.
    Key(usize),
    /// `@first` of a scope.
    First(usize),
    /// `@last` of a scope.
    Last(usize),
}

/// The functions that expressions may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Helper {
    Default,
    UrlEncode,
    /// Not for templates: what a value in a URL needs so that the URL stays in one piece.
    UrlTidy,
    Lookup,
    Len,
    Eq,
    Ne,
    Lt,
    Lte,
    Gt,
    Gte,
    And,
    Or,
    Not,
}

impl Helper {
    /// The helper of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "default" => Self::Default,
            "url_encode" => Self::UrlEncode,
            "lookup" => Self::Lookup,
            "len" => Self::Len,
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "lt" => Self::Lt,
            "lte" => Self::Lte,
            "gt" => Self::Gt,
            "gte" => Self::Gte,
            "and" => Self::And,
            "or" => Self::Or,
            "not" => Self::Not,
            _ => return None,
        })
    }

    /// Fewest and most arguments.
    pub fn n_arguments(self) -> (usize, usize) {
        match self {
            Self::UrlEncode | Self::UrlTidy | Self::Len | Self::Not => (1, 1),
            Self::Default | Self::Lookup | Self::Eq | Self::Ne | Self::Lt | Self::Lte | Self::Gt | Self::Gte => (2, 2),
            Self::And | Self::Or => (1, usize::MAX),
        }
    }

    /// Whether it answers yes or no, so that it may stand as a block: `{{#eq a b}}`.
    pub fn is_condition(self) -> bool {
        !matches!(self, Self::Default | Self::UrlEncode | Self::UrlTidy | Self::Lookup | Self::Len)
    }
}

/// What holds expressions.
pub(super) trait Expressions {
    /// Shows every expression, outermost first.
    fn visit(&self, see: &mut dyn FnMut(&Expression));
}

impl Expressions for Expression {
    fn visit(&self, see: &mut dyn FnMut(&Expression)) {
        see(self);
        if let Self::Call(_, arguments) = self {
            arguments.iter().for_each(|argument| argument.visit(see));
        }
    }
}

impl Expressions for Text {
    fn visit(&self, _: &mut dyn FnMut(&Expression)) {}
}

impl<L: Expressions> Expressions for Node<L> {
    fn visit(&self, see: &mut dyn FnMut(&Expression)) {
        match self {
            Self::Leaf(leaf) => leaf.visit(see),
            Self::Value(value) => value.expression.visit(see),
            Self::Block(block) => {
                block.subject.visit(see);
                block.body.visit(see);
                block.otherwise.as_deref().unwrap_or_default().visit(see);
            }
        }
    }
}

impl<L: Expressions> Expressions for [Node<L>] {
    fn visit(&self, see: &mut dyn FnMut(&Expression)) {
        self.iter().for_each(|node| node.visit(see));
    }
}
