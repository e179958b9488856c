//! Runs a template for one recipient, inside hard limits: every span, value and turn of a loop is a step, long texts count as
//! several, and the output has a size it can't exceed.
//!
//! The library's own renderer is not used: it has no such limits, silently prints nothing for what is missing, and copies the
//! data it is given. A test holds this one to the library's results.
//!
//! Not here: links and the pixel (`piece`), where the output goes (`sink`).

use std::{borrow::Cow, collections::BTreeSet};

use crate::mail::quoted_printable::Encoded;

use super::{
    fault::{Part, Position, Reason, RenderError},
    limits::{OUTPUT_MAX_BYTES, STEPS_MAX},
    node::{Base, Block, BlockKind, Expression, Helper, Node, Path, Text},
    sink::Sink,
    url,
    value::Value,
    variables::Variables,
};

/// Bytes of a text that is looked through which count as one step.
const BYTES_PER_STEP: usize = 64;
/// A key of a path takes about as long as so many bytes.
const BYTES_PER_KEY: usize = 16;

/// One rendering of one part.
pub(super) struct Evaluation<'a, S> {
    sink: S,
    part: Part,
    urls: Option<&'a dyn SignedUrls>,
    scopes: Vec<Scope<'a>>,
    steps_left: u32,
    bytes_left: usize,
    /// Where the node that is being run stands.
    at: Position,
    /// What was missing, if that is only to be noted.
    missing: Option<BTreeSet<String>>,
}

/// What a scope knows.
struct Scope<'a> {
    this: Value<'a>,
    index: usize,
    key: Option<&'a str>,
    is_last: bool,
}

/// The URLs that only the recipient's own message has.
pub(super) trait SignedUrls {
    /// Where a click on link `n` goes.
    fn click_url(&self, n: u16, target: Option<&str>) -> String;
    /// Where the pixel comes from.
    fn pixel_url(&self) -> String;
}

/// A leaf that can write itself.
pub(super) trait Leaf {
    /// Writes it.
    fn write<'a, S: Sink>(&'a self, evaluation: &mut Evaluation<'a, S>) -> Result<(), RenderError>;
}

impl Leaf for Text {
    fn write<'a, S: Sink>(&'a self, evaluation: &mut Evaluation<'a, S>) -> Result<(), RenderError> {
        evaluation.write(&self.text, false)
    }
}

impl<'a, S: Sink> Evaluation<'a, S> {
    /// Begins one. Without `urls` there is no pixel, and links lead where they lead.
    pub fn new(part: Part, variables: &'a Variables<'a>, urls: Option<&'a dyn SignedUrls>, sink: S) -> Self {
        let scopes = vec![Scope { this: Value::Root(variables), index: 0, key: None, is_last: false }];
        Self {
            sink,
            part,
            urls,
            scopes,
            steps_left: STEPS_MAX,
            bytes_left: OUTPUT_MAX_BYTES,
            at: Position::START,
            missing: None,
        }
    }

    /// Runs nodes one after the other.
    ///
    /// # Errors
    /// What this recipient's data make impossible, with its place.
    pub fn run<L: Leaf>(&mut self, nodes: &'a [Node<L>]) -> Result<(), RenderError> {
        for node in nodes {
            self.step(0)?;
            match node {
                Node::Leaf(leaf) => leaf.write(self)?,
                Node::Value(value) => {
                    self.at = value.at;
                    let result = self.evaluate(&value.expression)?;
                    self.require(&result, Some(&value.expression))?;
                    let text = result.print();
                    let text = text.map_err(|what| self.error(Reason::NotText(name_of(&value.expression), what)))?;
                    self.write(&text, value.is_escaped)?;
                }
                Node::Block(block) => self.run_block(block)?,
            }
        }
        Ok(())
    }

    /// Runs nodes into a text of their own, unescaped, under the same limits.
    ///
    /// # Errors
    /// As [`Evaluation::run`].
    pub fn run_apart<L: Leaf>(&mut self, nodes: &'a [Node<L>]) -> Result<String, RenderError> {
        let mut inner = Evaluation {
            sink: String::new(),
            part: self.part,
            urls: None,
            scopes: std::mem::take(&mut self.scopes),
            steps_left: self.steps_left,
            bytes_left: self.bytes_left,
            at: self.at,
            missing: self.missing.take(),
        };
        let result = inner.run(nodes);
        self.missing = inner.missing;
        self.scopes = inner.scopes;
        self.steps_left = inner.steps_left;
        result.map(|()| inner.sink)
    }

    /// Notes what is missing and prints nothing for it, instead of failing.
    pub fn forgiving(mut self) -> Self {
        self.missing = Some(BTreeSet::new());
        self
    }

    /// Ends it.
    pub fn into_sink(self) -> S {
        self.sink
    }

    /// Ends it, and gives what was missing.
    pub fn into_sink_and_missing(self) -> (S, BTreeSet<String>) {
        (self.sink, self.missing.unwrap_or_default())
    }

    /// The URLs of this recipient's message.
    pub fn urls(&self) -> Option<&'a dyn SignedUrls> {
        self.urls
    }

    /// Writes what was not encoded ahead.
    ///
    /// # Errors
    /// When the output grows too long.
    pub fn write(&mut self, text: &str, is_escaped: bool) -> Result<(), RenderError> {
        let n_bytes = self.sink.write_value(text, is_escaped);
        self.spend(n_bytes)
    }

    /// Writes what was encoded ahead.
    ///
    /// # Errors
    /// When the output grows too long.
    pub fn write_span(&mut self, text: &str, encoded: &Encoded) -> Result<(), RenderError> {
        self.sink.write_span(text, encoded);
        self.spend(text.len())
    }

    fn spend(&mut self, n_bytes: usize) -> Result<(), RenderError> {
        self.bytes_left =
            self.bytes_left.checked_sub(n_bytes).ok_or_else(|| self.error(Reason::TooLong(OUTPUT_MAX_BYTES)))?;
        Ok(())
    }

    /// An error at a place.
    pub fn error_at(&self, at: Position, reason: Reason) -> RenderError {
        RenderError { part: self.part, at, reason }
    }

    fn error(&self, reason: Reason) -> RenderError {
        self.error_at(self.at, reason)
    }

    fn step(&mut self, n_bytes: usize) -> Result<(), RenderError> {
        let n_steps = u32::try_from(1 + n_bytes / BYTES_PER_STEP).unwrap_or(u32::MAX);
        self.steps_left =
            self.steps_left.checked_sub(n_steps).ok_or_else(|| self.error(Reason::TooManySteps(STEPS_MAX)))?;
        Ok(())
    }

    fn run_block<L: Leaf>(&mut self, block: &'a Block<L>) -> Result<(), RenderError> {
        self.at = block.at;
        let subject = self.evaluate(&block.subject)?;
        let otherwise = block.otherwise.as_deref();
        match block.kind {
            BlockKind::If { is_negated, include_zero } => {
                let branch = if subject.is_truthy(include_zero) != is_negated { Some(&*block.body) } else { otherwise };
                branch.map_or(Ok(()), |nodes| self.run(nodes))
            }
            BlockKind::With if subject.is_truthy(false) => {
                self.scopes.push(Scope { this: subject, index: 0, key: None, is_last: false });
                let result = self.run(&block.body);
                self.scopes.pop();
                result
            }
            BlockKind::Each if subject.walk().is_some() && (subject.len() > 0 || otherwise.is_none()) => {
                self.run_each(&subject, &block.body)
            }
            BlockKind::With | BlockKind::Each => match otherwise {
                Some(nodes) => self.run(nodes),
                None if matches!(subject, Value::Missing) => self.require(&subject, Some(&block.subject)),
                None if block.kind == BlockKind::Each && !subject.is_absent() => {
                    Err(self.error(Reason::NotAList(name_of(&block.subject))))
                }
                None => Ok(()),
            },
        }
    }

    fn run_each<L: Leaf>(&mut self, subject: &Value<'a>, body: &'a [Node<L>]) -> Result<(), RenderError> {
        let n_turns = subject.len();
        let Some(turns) = subject.walk() else { return Ok(()) };
        for (index, (key, this)) in turns.enumerate() {
            self.step(0)?;
            self.scopes.push(Scope { this, index, key, is_last: index + 1 == n_turns });
            let result = self.run(body);
            self.scopes.pop();
            result?;
        }
        Ok(())
    }

    fn evaluate(&mut self, expression: &'a Expression) -> Result<Value<'a>, RenderError> {
        match expression {
            Expression::Literal(value) => {
                self.step(0)?;
                Ok(Value::Json(value))
            }
            Expression::Path(path) => {
                self.step(path.keys.len() * BYTES_PER_KEY)?;
                Ok(self.follow(path))
            }
            Expression::Call(helper, arguments) => {
                self.step(0)?;
                self.call(*helper, arguments)
            }
        }
    }

    fn follow(&self, path: &Path) -> Value<'a> {
        let scope = |number: usize| self.scopes.get(number);
        let start = match path.base {
            Base::This(number) => scope(number).map(|scope| scope.this.clone()),
            Base::Index(number) => scope(number).map(|scope| Value::Count(scope.index)),
            Base::Key(number) => scope(number).map(|scope| match scope.key {
                Some(key) => Value::Text(Cow::Borrowed(key)),
                None => Value::Count(scope.index),
            }),
            Base::First(number) => scope(number).map(|scope| Value::Bool(scope.index == 0)),
            Base::Last(number) => scope(number).map(|scope| Value::Bool(scope.is_last)),
        };
        path.keys.iter().fold(start.unwrap_or(Value::Missing), |value, key| value.get(key))
    }

    fn call(&mut self, helper: Helper, arguments: &'a [Expression]) -> Result<Value<'a>, RenderError> {
        if let Helper::And | Helper::Or = helper {
            let wanted = helper == Helper::Or;
            for argument in arguments {
                if self.evaluate(argument)?.is_truthy(false) == wanted {
                    return Ok(Value::Bool(wanted));
                }
            }
            return Ok(Value::Bool(!wanted));
        }
        let mut values = arguments.iter();
        let (first, second) = (values.next(), values.next());
        let value = first.map_or(Ok(Value::Missing), |argument| self.evaluate(argument))?;
        match (helper, second) {
            (Helper::Not, _) => return Ok(Value::Bool(!value.is_truthy(false))),
            (Helper::Default, Some(second)) if value.is_absent() => return self.evaluate(second),
            (Helper::Default, _) => return Ok(value),
            (Helper::Lookup, Some(second)) => {
                let key = self.evaluate(second)?;
                let key = key.print().map_err(|what| self.error(Reason::NotText(name_of(second), what)))?;
                return Ok(value.get(&key));
            }
            _ => {}
        }
        self.require(&value, first)?;
        self.step(value.as_text().map_or(0, str::len))?;
        let Some(second) = second else {
            return match helper {
                Helper::UrlEncode | Helper::UrlTidy => {
                    let text = value.print();
                    let text =
                        text.map_err(|what| self.error(Reason::NotText(first.map(name_of).unwrap_or_default(), what)))?;
                    let is_tidy = helper == Helper::UrlTidy;
                    let text = if is_tidy { url::tidy(&text).into_owned() } else { url::encode_component(&text) };
                    Ok(Value::Text(Cow::Owned(text)))
                }
                _ => Ok(Value::Count(value.len())),
            };
        };
        let other = self.evaluate(second)?;
        self.require(&other, Some(second))?;
        Ok(Value::Bool(match helper {
            Helper::Eq => value.equals(&other),
            Helper::Ne => !value.equals(&other),
            Helper::Lt => value.compare(&other).is_some_and(std::cmp::Ordering::is_lt),
            Helper::Lte => value.compare(&other).is_some_and(std::cmp::Ordering::is_le),
            Helper::Gt => value.compare(&other).is_some_and(std::cmp::Ordering::is_gt),
            _ => value.compare(&other).is_some_and(std::cmp::Ordering::is_ge),
        }))
    }

    /// Printing or comparing what is missing means nothing: that is reported, not guessed.
    fn require(&mut self, value: &Value<'_>, expression: Option<&Expression>) -> Result<(), RenderError> {
        if !matches!(value, Value::Missing) {
            return Ok(());
        }
        let name = expression.map(name_of).unwrap_or_default();
        match &mut self.missing {
            Some(missing) => {
                missing.insert(name);
                Ok(())
            }
            None => Err(self.error(Reason::Missing(name))),
        }
    }
}

/// How an expression is called in an error.
fn name_of(expression: &Expression) -> String {
    match expression {
        Expression::Path(path) => path.source.clone(),
        Expression::Literal(value) => value.to_string(),
        Expression::Call(_, arguments) => arguments.first().map(name_of).unwrap_or_default(),
    }
}
