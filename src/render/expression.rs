//! What stands in one tag, read by Handlebars' own parser and turned into an [`Expression`].
//!
//! The library's grammar decides what is valid; it gets one short tag at a time, so it never recurses far.
//!
//! Not here: which tags there are (`lex`), what names mean (`scope`).

use handlebars::{
    Path as ParsedPath, PathSeg, Template,
    template::{BlockParam, HelperTemplate, Parameter, TemplateElement},
};

use super::{
    node::{Expression, Helper},
    scope::{RawPath, Scopes},
};

/// A code and a sentence.
pub(super) type Complaint = (&'static str, String);

/// An opening tag, taken apart.
#[derive(Debug)]
pub(super) struct Opening {
    pub name: String,
    pub arguments: Vec<Parameter>,
    pub include_zero: bool,
    pub value_name: Option<String>,
    pub key_name: Option<String>,
}

/// Reads the inside of `{{…}}`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse_value(inner: &str, scopes: &Scopes) -> Result<Expression, Complaint> {
    let tag = match parse_one(&format!("{{{{{inner}}}}}"), inner)? {
        TemplateElement::Expression(tag) => *tag,
        _ => return Err(syntax(inner)),
    };
    let is_path = tag.params.is_empty() && tag.hash.is_empty();
    match tag.name {
        Parameter::Path(path) if is_path => {
            let name = path_source(&path);
            if Helper::parse(name).is_some() || is_block_name(name) {
                return Err(("helper_arguments", format!("`{name}` is a helper and needs arguments")));
            }
            resolve(&path, scopes)
        }
        _ => convert_call(&tag, scopes),
    }
}

/// Reads the inside of `{{#…}}` or what follows an `else`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse_opening(inner: &str) -> Result<Opening, Complaint> {
    let name = block_name(inner);
    let tag = match parse_one(&format!("{{{{#{inner}}}}}{{{{/{name}}}}}"), inner)? {
        TemplateElement::HelperBlock(tag) => *tag,
        _ => return Err(syntax(inner)),
    };
    let mut include_zero = false;
    for (key, value) in &tag.hash {
        match (key.as_str(), value) {
            ("includeZero", Parameter::Literal(serde_json::Value::Bool(yes))) => include_zero = *yes,
            _ => return Err(("helper_arguments", format!("`{name}` has no option `{key}`"))),
        }
    }
    let (value_name, key_name) = match tag.block_param {
        Some(BlockParam::Single(Parameter::Name(value))) => (Some(value), None),
        Some(BlockParam::Pair((Parameter::Name(value), Parameter::Name(key)))) => (Some(value), Some(key)),
        _ => (None, None),
    };
    Ok(Opening { name, arguments: tag.params, include_zero, value_name, key_name })
}

/// The name that an opening tag begins with.
pub(super) fn block_name(inner: &str) -> String {
    inner.chars().take_while(|c| !c.is_whitespace() && *c != '(').collect()
}

/// Turns a parsed argument into an expression.
///
/// # Errors
/// What is wrong with it.
pub(super) fn convert(argument: &Parameter, scopes: &Scopes) -> Result<Expression, Complaint> {
    match argument {
        Parameter::Literal(value) => Ok(Expression::Literal(value.clone())),
        Parameter::Path(path) => resolve(path, scopes),
        Parameter::Name(name) => Err(syntax(name)),
        Parameter::Subexpression(inner) => match inner.as_element() {
            TemplateElement::Expression(tag) => convert_call(tag, scopes),
            _ => Err(syntax("(…)")),
        },
        // The library says that there may be more kinds one day.
        _ => Err(syntax("…")),
    }
}

/// A helper's call with its arguments checked.
///
/// # Errors
/// What is wrong with it.
pub(super) fn call(name: &str, arguments: &[Parameter], scopes: &Scopes) -> Result<Expression, Complaint> {
    let Some(helper) = Helper::parse(name) else {
        let hint = if is_block_name(name) { format!("; write {{{{#{name} …}}}}") } else { String::new() };
        return Err(("unknown_helper", format!("there is no helper `{name}`{hint}")));
    };
    let (fewest, most) = helper.n_arguments();
    if !(fewest..=most).contains(&arguments.len()) {
        let wanted = if fewest == most { fewest.to_string() } else { format!("at least {fewest}") };
        return Err(("helper_arguments", format!("`{name}` takes {wanted}, not {} arguments", arguments.len())));
    }
    let arguments: Result<_, _> = arguments.iter().map(|argument| convert(argument, scopes)).collect();
    Ok(Expression::Call(helper, arguments?))
}

fn convert_call(tag: &HelperTemplate, scopes: &Scopes) -> Result<Expression, Complaint> {
    let name = tag.name.as_name().ok_or_else(|| syntax("(…)"))?;
    if let Some(option) = tag.hash.keys().next() {
        return Err(("helper_arguments", format!("`{name}` has no option `{option}`")));
    }
    call(name, &tag.params, scopes)
}

/// The one element of a tag that stands alone.
fn parse_one(tag: &str, shown: &str) -> Result<TemplateElement, Complaint> {
    let mut template = Template::compile(tag).map_err(|_| syntax(shown))?;
    match (template.elements.pop(), template.elements.is_empty()) {
        (Some(element), true) => Ok(element),
        _ => Err(syntax(shown)),
    }
}

fn resolve(path: &ParsedPath, scopes: &Scopes) -> Result<Expression, Complaint> {
    let source = path_source(path);
    let path = match path {
        ParsedPath::Local((n_up, name, _)) => scopes.resolve_local(name, *n_up, source)?,
        ParsedPath::Relative((segments, _)) => {
            // The library doesn't export what its other segments are; how the text begins says the same.
            let rest = ["this.", "this/", "./"].iter().find_map(|this| source.strip_prefix(this)).unwrap_or(source);
            let is_from_root = rest.starts_with("@root");
            let ups = std::iter::successors(Some(rest), |rest| rest.strip_prefix("../").or(rest.strip_prefix("...")));
            let n_up = ups.count() - 1;
            let keys: Vec<String> = segments
                .iter()
                .filter_map(|segment| match segment {
                    PathSeg::Named(key) => Some(key.clone()),
                    _ => None,
                })
                .collect();
            scopes.resolve(RawPath { source, n_up, is_from_root, keys: &keys })?
        }
    };
    Ok(Expression::Path(path))
}

fn path_source(path: &ParsedPath) -> &str {
    match path {
        ParsedPath::Relative((_, source)) | ParsedPath::Local((_, _, source)) => source,
    }
}

fn is_block_name(name: &str) -> bool {
    matches!(name, "if" | "unless" | "each" | "with")
}

fn syntax(shown: &str) -> Complaint {
    let mut shown: String = shown.chars().take(60).collect();
    shown.retain(|c| !c.is_control());
    ("syntax", format!("`{shown}` is not a valid Handlebars expression"))
}
