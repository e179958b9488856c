//! A template's source becomes a tree: tags find their blocks, names find their scopes, and every fault is named with its
//! place.
//!
//! Not here: cutting the source (`lex`), reading one tag (`expression`), what HTML makes of it (`markup`).

use super::{
    expression::{self, Complaint, Opening},
    fault::{Fault, Part, Position},
    lex::{self, Tag, TagKind, Token},
    limits::{BLOCKS_MAX_DEPTH, BODY_MAX_BYTES, SUBJECT_MAX_BYTES},
    node::{Block, BlockKind, Expression, Node, Text, Value},
    scope::{ScopeKind, Scopes},
};

/// After so many faults the rest is not looked at.
const FAULTS_MAX: usize = 20;

/// Parses a template.
///
/// # Errors
/// All faults that were found; at least one.
pub(super) fn parse(part: Part, source: &str) -> Result<Vec<Node<Text>>, Vec<Fault>> {
    check_text(part, source).map_err(|fault| vec![fault])?;
    let tokens = lex::cut(part, source).map_err(|fault| vec![fault])?;
    let mut parser = Parser { part, scopes: Scopes::new(), open: Vec::new(), nodes: Vec::new(), faults: Vec::new() };
    for token in tokens {
        match token {
            Token::Text(text) => parser.nodes.push(Node::Leaf(text)),
            Token::Tag(tag) => parser.take(tag),
        }
        if parser.open.len() > BLOCKS_MAX_DEPTH || parser.faults.len() >= FAULTS_MAX {
            parser.open.clear();
            break;
        }
    }
    while let Some(open) = parser.open.pop() {
        parser.complain(open.at, ("unclosed_block", format!("{{{{#{}}}}} is never closed", open.name)));
    }
    parser.faults.sort_by_key(|fault| fault.at);
    if parser.faults.is_empty() { Ok(parser.nodes) } else { Err(parser.faults) }
}

/// Size and characters, before anything is read.
fn check_text(part: Part, source: &str) -> Result<(), Fault> {
    let is_line = part == Part::Subject;
    let max_bytes = if is_line { SUBJECT_MAX_BYTES } else { BODY_MAX_BYTES };
    if source.len() > max_bytes {
        let message = format!("{} bytes are more than the {max_bytes} allowed", source.len());
        return Err(Fault { part, at: Position::START, code: "too_long", message });
    }
    let is_bad = |c: char| c.is_control() && (is_line || !matches!(c, '\n' | '\r' | '\t'));
    if let Some((place, c)) = source.char_indices().find(|(_, c)| is_bad(*c)) {
        let at = Position::START.after(source.get(..place).unwrap_or_default());
        let message = format!("the control character U+{:04X} is not allowed", u32::from(c));
        return Err(Fault { part, at, code: "control_character", message });
    }
    Ok(())
}

struct Parser {
    part: Part,
    scopes: Scopes,
    open: Vec<Open>,
    /// What stands in the innermost open branch.
    nodes: Vec<Node<Text>>,
    faults: Vec<Fault>,
}

/// A block whose end hasn't come yet.
struct Open {
    name: String,
    at: Position,
    kind: BlockKind,
    subject: Expression,
    source: String,
    /// What came before it.
    outside: Vec<Node<Text>>,
    /// Its first branch, once its `else` has come.
    body: Option<Vec<Node<Text>>>,
    has_scope: bool,
    /// It was opened by an `else` and ends with the block around it.
    is_chained: bool,
    /// It has a plain `else`: another one is wrong.
    has_else: bool,
}

impl Parser {
    fn complain(&mut self, at: Position, (code, message): Complaint) {
        self.faults.push(Fault { part: self.part, at, code, message });
    }

    fn take(&mut self, tag: Tag) {
        let at = tag.at;
        let result = match tag.kind {
            TagKind::Comment => Ok(()),
            TagKind::Value | TagKind::RawValue => self.take_value(tag),
            TagKind::Open => {
                self.open(&tag, false);
                Ok(())
            }
            TagKind::Else => self.take_else(&tag),
            TagKind::Close => self.close(&tag),
        };
        if let Err(complaint) = result {
            self.complain(at, complaint);
        }
    }

    fn take_value(&mut self, tag: Tag) -> Result<(), Complaint> {
        let expression = expression::parse_value(&tag.inner, &self.scopes)?;
        let is_escaped = tag.kind == TagKind::Value;
        self.nodes.push(Node::Value(Value { expression, is_escaped, source: tag.inner, at: tag.at }));
        Ok(())
    }

    /// Opens a block, also one with a fault in its tag: what stands in it is still to be checked.
    fn open(&mut self, tag: &Tag, is_chained: bool) {
        if self.open.len() == BLOCKS_MAX_DEPTH {
            self.complain(tag.at, ("nested_blocks", format!("blocks nest at most {BLOCKS_MAX_DEPTH} deep")));
        }
        let (opening, name) = match expression::parse_opening(&tag.inner) {
            Ok(opening) => {
                let name = opening.name.clone();
                (Some(opening), name)
            }
            Err(complaint) => {
                self.complain(tag.at, complaint);
                (None, expression::block_name(&tag.inner))
            }
        };
        let head = opening.as_ref().map(|opening| read_head(opening, &self.scopes));
        let (kind, subject) = match head {
            Some(Ok(head)) => head,
            Some(Err(complaint)) => {
                self.complain(tag.at, complaint);
                (fallback_kind(&name), Expression::Literal(serde_json::Value::Null))
            }
            None => (fallback_kind(&name), Expression::Literal(serde_json::Value::Null)),
        };
        let scope = match kind {
            BlockKind::If { .. } => None,
            BlockKind::Each => Some(ScopeKind::Each),
            BlockKind::With => Some(ScopeKind::With),
        };
        if let Some(kind) = scope {
            let (value_name, key_name) = opening.map_or((None, None), |opening| (opening.value_name, opening.key_name));
            self.scopes.enter(kind, value_name, key_name);
        }
        self.open.push(Open {
            name,
            at: tag.at,
            kind,
            subject,
            source: tag.inner.clone(),
            outside: std::mem::take(&mut self.nodes),
            body: None,
            has_scope: scope.is_some(),
            is_chained,
            has_else: false,
        });
    }

    fn take_else(&mut self, tag: &Tag) -> Result<(), Complaint> {
        let is_plain = tag.inner.is_empty();
        let Some(open) = self.open.last_mut() else {
            return Err(("stray_tag", "{{else}} stands outside of a block".to_owned()));
        };
        if open.has_else {
            return Err(("stray_tag", format!("{{{{#{}}}}} has an {{{{else}}}} already", open.name)));
        }
        open.has_else = true;
        open.body = Some(std::mem::take(&mut self.nodes));
        // The `else` branch of a block sees what its outside sees.
        if std::mem::take(&mut open.has_scope) {
            self.scopes.leave();
        }
        if !is_plain {
            self.open(tag, true);
        }
        Ok(())
    }

    fn close(&mut self, tag: &Tag) -> Result<(), Complaint> {
        loop {
            let Some(open) = self.open.pop() else {
                return Err(("stray_tag", format!("{{{{/{}}}}} closes nothing", tag.inner)));
            };
            if open.has_scope {
                self.scopes.leave();
            }
            let is_chained = open.is_chained;
            let (name, line) = (open.name.clone(), open.at.line);
            self.end(open);
            if is_chained {
                continue;
            }
            if name != tag.inner {
                let message = format!("{{{{/{}}}}} stands where {{{{#{name}}}}} of line {line} has to end", tag.inner);
                return Err(("mismatched_block", message));
            }
            return Ok(());
        }
    }

    /// Puts a finished block into the branch around it.
    fn end(&mut self, open: Open) {
        let last = std::mem::replace(&mut self.nodes, open.outside);
        let (body, otherwise) = match open.body {
            Some(body) => (body, Some(last)),
            None => (last, None),
        };
        let Open { kind, subject, source, at, .. } = open;
        self.nodes.push(Node::Block(Box::new(Block { kind, subject, body, otherwise, source, at })));
    }
}

fn read_head(opening: &Opening, scopes: &Scopes) -> Result<(BlockKind, Expression), Complaint> {
    let condition = |is_negated| BlockKind::If { is_negated, include_zero: opening.include_zero };
    let kind = match opening.name.as_str() {
        "if" => condition(false),
        "unless" => condition(true),
        "each" => BlockKind::Each,
        "with" => BlockKind::With,
        name => {
            let call = expression::call(name, &opening.arguments, scopes)?;
            return match &call {
                Expression::Call(helper, _) if helper.is_condition() => Ok((condition(false), call)),
                _ => Err(("unknown_helper", format!("`{name}` can't be a block"))),
            };
        }
    };
    match opening.arguments.as_slice() {
        [subject] => Ok((kind, expression::convert(subject, scopes)?)),
        other => Err(("helper_arguments", format!("`#{}` takes 1, not {} arguments", opening.name, other.len()))),
    }
}

/// What a faulty block would have been, so that the names in it are judged in the right scope.
fn fallback_kind(name: &str) -> BlockKind {
    match name {
        "each" => BlockKind::Each,
        "with" => BlockKind::With,
        _ => BlockKind::If { is_negated: false, include_zero: false },
    }
}
