//! The document as it is written: maps keep their order, which the page follows.
//!
//! Not here: what the parts mean (`operation`, `schema`). YAML 1.2.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

static NULL: Node = Node::Null;

/// A value of the document.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Nothing; also what is not there.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as JSON writes it.
    Number(String),
    /// A text.
    Text(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in its order.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Parse a document.
    pub fn parse(yaml: &str) -> Result<Self, serde_saphyr::Error> {
        // As YAML 1.2 has it: `n` is a text.
        serde_saphyr::from_str_with_options(yaml, serde_saphyr::options! { strict_booleans: true })
    }

    /// The value under this key; null where there is none.
    pub fn get(&self, key: &str) -> &Self {
        self.map().iter().find(|(name, _)| name == key).map_or(&NULL, |(_, value)| value)
    }

    /// Whether there is a value under this key.
    pub fn has(&self, key: &str) -> bool {
        *self.get(key) != Self::Null
    }

    /// The text; empty for what is none.
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
            _ => "",
        }
    }

    /// The items; none for what is no sequence.
    pub fn list(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The entries; none for what is no mapping.
    pub fn map(&self) -> &[(String, Self)] {
        match self {
            Self::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Whether it is `true`.
    pub fn is_true(&self) -> bool {
        *self == Self::Bool(true)
    }

    /// Itself, what its `$ref` leads to in the document `root`, and so on to the end.
    pub fn chain<'a>(&'a self, root: &'a Self) -> impl Iterator<Item = &'a Self> {
        let follow = move |node: &&'a Self| {
            let path = node.get("$ref").text().strip_prefix("#/")?;
            Some(path.split('/').fold(root, |node, key| node.get(key)))
        };
        // A circle of references would be a fault of the document; it ends here instead of never.
        std::iter::successors(Some(self), follow).take(8)
    }

    /// The end of that chain; itself where it has no `$ref`.
    pub fn resolve<'a>(&'a self, root: &'a Self) -> &'a Self {
        self.chain(root).last().unwrap_or(self)
    }

    /// The last part of its `$ref`: the name of a component.
    pub fn reference(&self) -> Option<&str> {
        self.get("$ref").text().rsplit_once('/').map(|(_, name)| name)
    }

    /// As JSON on one line.
    pub fn to_line(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(digits) => digits.clone(),
            Self::Text(text) => quote(text),
            Self::List(items) => format!("[{}]", items.iter().map(Self::to_line).collect::<Vec<_>>().join(", ")),
            Self::Map(entries) if entries.is_empty() => "{}".to_owned(),
            Self::Map(entries) => {
                let entries: Vec<_> =
                    entries.iter().map(|(key, value)| format!("{}: {}", quote(key), value.to_line())).collect();
                format!("{{ {} }}", entries.join(", "))
            }
        }
    }

    /// As JSON for people: what fits on a line of `width` characters stands on one.
    pub fn to_json(&self, width: usize) -> String {
        self.lines(width, 0)
    }

    fn lines(&self, width: usize, depth: usize) -> String {
        let line = self.to_line();
        let indent = "  ".repeat(depth + 1);
        let room = width.saturating_sub(indent.len());
        let (open, parts, close) = match self {
            Self::List(items) if line.chars().count() > room => {
                ('[', items.iter().map(|item| item.lines(width, depth + 1)).collect::<Vec<_>>(), ']')
            }
            // The outermost object is always spread: it is what the reader looks at.
            Self::Map(entries) if !entries.is_empty() && (depth == 0 || line.chars().count() > room) => {
                let part = |(key, value): &(String, Self)| format!("{}: {}", quote(key), value.lines(width, depth + 1));
                ('{', entries.iter().map(part).collect(), '}')
            }
            _ => return line,
        };
        let separator = format!(",\n{indent}");
        format!("{open}\n{indent}{}\n{}{close}", parts.join(&separator), "  ".repeat(depth))
    }
}

fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Number(value.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Node::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_types_are_kept_and_references_are_followed() {
        let node = Node::parse("b: { $ref: '#/a/c' }\na: { c: [n, 1, 0.5, true, null, '7'] }\n").unwrap();
        assert_eq!(node.map().iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(node.get("b").resolve(&node).to_line(), r#"["n", 1, 0.5, true, null, "7"]"#);
        assert_eq!(node.get("b").reference(), Some("c"));
        assert!(!node.has("nothing"));
        let circle = Node::parse("a: { $ref: '#/a' }").unwrap();
        assert!(circle.get("a").resolve(&circle).has("$ref"));
    }

    #[test]
    fn json_for_people_breaks_only_what_is_too_long() {
        let node = Node::parse("{ a: [1, 2], b: { c: a rather long text, d: another one } }").unwrap();
        let json =
            "{\n  \"a\": [1, 2],\n  \"b\": {\n    \"c\": \"a rather long text\",\n    \"d\": \"another one\"\n  }\n}";
        assert_eq!(node.to_json(40), json);
        assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap()["a"][1], 2);
    }
}
