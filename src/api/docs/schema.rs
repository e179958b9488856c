//! Schemas as tables: the fields of an object, their types, and their limits in words.
//!
//! Not here: where the tables stand (`operation`, the face). JSON Schema 2020-12, as far as the document uses it.

use super::{html::Html, node::Node};

/// Longest line of an example, in characters.
pub const EXAMPLE_WIDTH: usize = 92;

/// A table of the fields of an object; for what is none, its type and limits.
pub fn write(html: &mut Html, root: &Node, schema: &Node) {
    let object = schema.resolve(root);
    let fields = object.get("properties").map();
    if fields.is_empty() {
        html.raw("<p>");
        write_type(html, root, object);
        html.raw(" ");
        write_limits(html, root, object);
        html.raw("</p>\n");
        return;
    }
    html.raw("<table><thead><tr><th>Field</th><th>Type</th><th>Meaning and limits</th></tr></thead><tbody>\n");
    for (name, field) in fields {
        html.raw("<tr><td>").code(name);
        if object.get("required").list().iter().any(|required| required.text() == name) {
            html.raw(" <span class=\"due\">required</span>");
        }
        html.raw("</td><td>");
        write_type(html, root, field);
        html.raw("</td><td>");
        write_meaning(html, root, field);
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody></table>\n");
}

/// A table of the schemas that are no objects: the words that the others are made of.
pub fn write_words(html: &mut Html, root: &Node, schemas: &[(String, Node)]) {
    html.raw("<table><thead><tr><th>Name</th><th>Type</th><th>Meaning and limits</th></tr></thead><tbody>\n");
    for (name, schema) in schemas.iter().filter(|(_, schema)| !is_object(root, schema)) {
        html.raw("<tr id=\"schema-").text(name).raw("\"><td>").code(name).raw("</td><td>");
        write_type(html, root, schema);
        html.raw("</td><td>");
        write_meaning(html, root, schema);
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody></table>\n");
}

/// Whether the schema is an object with fields of its own.
pub fn is_object(root: &Node, schema: &Node) -> bool {
    schema.resolve(root).has("properties")
}

/// Its type in words, with links to what it refers to.
pub fn write_type(html: &mut Html, root: &Node, schema: &Node) {
    if let Some(name) = schema.reference() {
        match schema.chain(root).nth(1) {
            // A name for "this or null" says less than the words.
            Some(alias) if alias.has("anyOf") || alias.has("$ref") => write_type(html, root, alias),
            _ => {
                html.link("schema-", name);
            }
        }
        return;
    }
    let choices = schema.get("anyOf").list();
    for (n, choice) in choices.iter().enumerate() {
        html.raw(if n == 0 { "" } else { " or " });
        write_type(html, root, choice);
    }
    if !choices.is_empty() {
        return;
    }
    let kinds: Vec<&str> = match schema.get("type") {
        Node::List(kinds) => kinds.iter().map(Node::text).collect(),
        kind => vec![kind.text()],
    };
    for (n, kind) in kinds.into_iter().enumerate() {
        html.raw(if n == 0 { "" } else { " or " });
        match kind {
            "array" if schema.has("items") => {
                html.raw("array of ");
                write_type(html, root, schema.get("items"));
            }
            "" => {
                html.raw("any");
            }
            kind => {
                html.text(kind);
            }
        }
    }
}

/// Its description and its limits; those of the word that it refers to come along.
pub fn write_meaning(html: &mut Html, root: &Node, schema: &Node) {
    let mut descriptions = schema.chain(root).map(|node| node.get("description").text());
    html.prose(descriptions.find(|description| !description.is_empty()).unwrap_or_default());
    write_limits(html, root, schema);
}

/// Its limits alone, in words.
pub fn write_limits(html: &mut Html, root: &Node, schema: &Node) {
    let target = schema.resolve(root);
    if is_object(root, schema) {
        return;
    }
    let mut limits = Vec::new();
    let range = |least: &str, most: &str, unit: &str| match (target.get(least).text(), target.get(most).text()) {
        ("", "") => None,
        (least, "") => Some(format!("at least {least}{unit}")),
        ("", most) => Some(format!("at most {most}{unit}")),
        (least, most) => Some(format!("{least} to {most}{unit}")),
    };
    limits.extend(range("minLength", "maxLength", " characters"));
    limits.extend(range("minimum", "maximum", ""));
    limits.extend(range("minItems", "maxItems", " items"));
    limits.extend(range("minProperties", "maxProperties", " entries"));
    for (key, words) in
        [("uniqueItems", "no item twice"), ("writeOnly", "never answered"), ("readOnly", "only answered")]
    {
        limits.extend(target.get(key).is_true().then(|| words.to_owned()));
    }
    let values: Vec<&Node> = target.get("enum").list().iter().collect();
    let default = if schema.has("default") { schema.get("default") } else { target.get("default") };
    if !limits.is_empty()
        || !values.is_empty()
        || target.has("pattern")
        || target.has("format")
        || *default != Node::Null
    {
        html.raw("<p class=\"limits\">");
        html.text(&limits.join(", "));
        let mut separator = if limits.is_empty() { "" } else { "; " };
        for (n, value) in values.iter().enumerate() {
            html.raw(if n == 0 { separator } else { " " }).code(value.text());
            separator = "; ";
        }
        for key in ["format", "pattern"] {
            if target.has(key) {
                html.raw(separator).raw(if key == "format" { "format " } else { "" }).code(target.get(key).text());
                separator = "; ";
            }
        }
        if *default != Node::Null {
            html.raw(separator).raw("default ").code(&default.to_line());
        }
        html.raw("</p>\n");
    }
    for choice in target.get("anyOf").list().iter().chain(target.has("items").then(|| target.get("items"))) {
        write_limits(html, root, choice);
    }
}

/// The examples of a media type: its own, else those of its schema.
pub fn write_examples(html: &mut Html, root: &Node, media: &Node) {
    let mut write = |title: &str, example: &Node, is_json: bool| {
        html.raw("<figure>");
        if !title.is_empty() {
            html.raw("<figcaption>").text(title).raw("</figcaption>");
        }
        html.block(&if is_json { example.to_json(EXAMPLE_WIDTH) } else { example.text().to_owned() })
            .raw("</figure>\n");
    };
    let is_json = |example: &Node| !matches!(example, Node::Text(_));
    if media.has("example") {
        write("Example", media.get("example"), is_json(media.get("example")));
        return;
    }
    for (name, example) in media.get("examples").map() {
        let title = if example.has("summary") { example.get("summary").text() } else { name };
        write(title, example.get("value"), is_json(example.get("value")));
    }
    for example in media.get("schema").resolve(root).get("examples").list() {
        write("Example", example, is_json(example));
    }
}
