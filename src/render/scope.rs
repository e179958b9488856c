//! Which names a template may use, and what a path means where it stands.
//!
//! A template sees the recipient's attributes by their names, `recipient.address` and `recipient.id`, `campaign.name` and
//! `campaign.id`, and `unsubscribe_url`. An attribute with one of these three names is hidden by it, but every attribute also
//! has a longer name: `attributes.campaign`. `{{#each}}` and `{{#with}}` open a scope of their own, out of which `../` leads.
//!
//! Not here: the values (`variables`).

use super::node::{Base, Path};

/// All attributes of the recipient.
pub(super) const ATTRIBUTES: &str = "attributes";
/// Where one click unsubscribes.
pub(super) const UNSUBSCRIBE_URL: &str = "unsubscribe_url";
/// The recipient, apart from the attributes.
pub(super) const RECIPIENT: &str = "recipient";
/// The campaign.
pub(super) const CAMPAIGN: &str = "campaign";
const GROUPS: [(&str, &[&str]); 2] = [(RECIPIENT, &["address", "id"]), (CAMPAIGN, &["id", "name"])];

/// The scopes around a place in a template, the root first.
#[derive(Debug, Clone)]
pub(super) struct Scopes {
    scopes: Vec<Scope>,
}

#[derive(Debug, Clone)]
struct Scope {
    kind: ScopeKind,
    /// `as |value key|`.
    value_name: Option<String>,
    key_name: Option<String>,
}

/// What opened a scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScopeKind {
    Root,
    Each,
    With,
}

/// A path as the grammar reads it, before its start is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawPath<'a> {
    pub source: &'a str,
    /// How many `../` it begins with.
    pub n_up: usize,
    /// It begins with `@root`.
    pub is_from_root: bool,
    pub keys: &'a [String],
}

impl Scopes {
    /// Outside of all blocks.
    pub fn new() -> Self {
        Self { scopes: vec![Scope { kind: ScopeKind::Root, value_name: None, key_name: None }] }
    }

    /// Enters a block.
    pub fn enter(&mut self, kind: ScopeKind, value_name: Option<String>, key_name: Option<String>) {
        self.scopes.push(Scope { kind, value_name, key_name });
    }

    /// Leaves the innermost block.
    pub fn leave(&mut self) {
        self.scopes.pop();
    }

    /// What a path means here.
    ///
    /// # Errors
    /// A code and a sentence when it means nothing.
    pub fn resolve(&self, raw: RawPath<'_>) -> Result<Path, (&'static str, String)> {
        let path = |base, keys: &[String]| Path { base, keys: keys.to_vec(), source: raw.source.to_owned() };
        if raw.n_up == 0
            && !raw.is_from_root
            && let Some((first, rest)) = raw.keys.split_first()
        {
            for (number, scope) in self.scopes.iter().enumerate().rev() {
                if scope.value_name.as_ref() == Some(first) {
                    return Ok(path(Base::This(number), rest));
                }
                if scope.key_name.as_ref() == Some(first) {
                    return Ok(path(Base::Key(number), rest));
                }
            }
        }
        let number = if raw.is_from_root { Some(0) } else { (self.scopes.len() - 1).checked_sub(raw.n_up) };
        let Some(number) = number else {
            return Err(("unknown_variable", format!("`{}` leads out of the template", raw.source)));
        };
        if number == 0 {
            check_root_name(raw)?;
        }
        Ok(path(Base::This(number), raw.keys))
    }

    /// What `@index` and its like mean here, seen from `n_up` scopes outside.
    ///
    /// # Errors
    /// A code and a sentence when there is no such thing.
    pub fn resolve_local(&self, name: &str, n_up: usize, source: &str) -> Result<Path, (&'static str, String)> {
        let number = (self.scopes.len() - 1).checked_sub(n_up);
        // `#with` hands on what the loop around it says.
        let number = number.and_then(|number| {
            let outwards = self.scopes.iter().enumerate().take(number + 1).rev();
            outwards.filter(|(_, scope)| scope.kind == ScopeKind::Each).map(|(number, _)| number).next()
        });
        let base = match (name, number) {
            ("root", _) => Base::This(0),
            ("index", Some(number)) => Base::Index(number),
            ("key", Some(number)) => Base::Key(number),
            ("first", Some(number)) => Base::First(number),
            ("last", Some(number)) => Base::Last(number),
            ("index" | "key" | "first" | "last", None) => {
                return Err(("unknown_variable", format!("`{source}` stands outside {{{{#each}}}}")));
            }
            _ => {
                return Err((
                    "unknown_variable",
                    format!("`{source}` is not known; there are @index, @key, @first, @last"),
                ));
            }
        };
        Ok(Path { base, keys: Vec::new(), source: source.to_owned() })
    }
}

impl Path {
    /// The attribute that it names, with dots between its keys; none for what is ours or begins inside a block.
    pub fn attribute(&self) -> Option<String> {
        let Base::This(0) = self.base else { return None };
        let keys = match self.keys.split_first() {
            Some((first, rest)) if first == ATTRIBUTES => rest,
            Some((first, _)) if first == UNSUBSCRIBE_URL || GROUPS.iter().any(|(group, _)| group == first) => {
                return None;
            }
            _ => &self.keys,
        };
        if keys.is_empty() { None } else { Some(keys.join(".")) }
    }
}

/// What our own names hold is known, so a misspelt one needn't wait for a recipient.
fn check_root_name(raw: RawPath<'_>) -> Result<(), (&'static str, String)> {
    let unknown = |message: String| Err(("unknown_variable", message));
    let mut keys = raw.keys.iter().map(String::as_str);
    match (keys.next(), keys.next()) {
        (Some(UNSUBSCRIBE_URL), Some(_)) => unknown(format!("`{UNSUBSCRIBE_URL}` is a text")),
        (Some(name), Some(field)) => match GROUPS.iter().find(|(group, _)| *group == name) {
            Some((group, fields)) if !fields.contains(&field) => {
                let fields = fields.join(", ");
                unknown(format!(
                    "`{group}` has only: {fields}; an attribute is written `{field}` or `{ATTRIBUTES}.{field}`"
                ))
            }
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}
