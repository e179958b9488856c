//! The page says all of the document, and loads nothing.

use std::collections::BTreeSet;

use super::{OPENAPI, node::Node, operation, page, write_page};

fn root() -> Node {
    Node::parse(OPENAPI).unwrap()
}

/// Every value of an attribute on the page.
fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
    let start = format!(" {attribute}=\"");
    page.split(start.as_str()).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn the_page_shows_every_operation_schema_and_error() {
    let root = root();
    let ids: BTreeSet<_> = values(page(), "id").into_iter().collect();
    let operations = operation::all(&root);
    assert!(operations.len() >= 80);
    for operation in operations {
        assert!(ids.contains(operation.id()), "{}", operation.id());
    }
    for (name, _) in root.get("components").get("schemas").map() {
        assert!(ids.contains(format!("schema-{name}").as_str()), "{name}");
    }
    assert!(ids.contains("error-NotFound") && ids.contains("header-ETag") && ids.contains("tag-lists"));
    assert_eq!(ids.len(), values(page(), "id").len(), "an anchor is there twice");
}

#[test]
fn every_link_of_the_page_leads_somewhere_on_it() {
    let ids: BTreeSet<_> = values(page(), "id").into_iter().collect();
    for link in values(page(), "href") {
        assert!(link == "/openapi.yaml" || link.strip_prefix('#').is_some_and(|id| ids.contains(id)), "{link}");
    }
}

#[test]
fn the_page_loads_nothing_and_runs_nothing() {
    for word in ["<script", "<link", "<img", "<iframe", " src=", "@import", "url(", " onclick"] {
        assert!(!page().contains(word), "{word}");
    }
}

#[test]
fn limits_stand_in_words_and_a_hostile_document_stays_text() {
    let yaml = r##"
info: { title: "<script>alert(1)</script>", description: "`<b>`" }
tags: [{ name: "x\" onload=\"y" }]
paths:
  /things/{id}:
    put:
      tags: ["x\" onload=\"y"]
      operationId: putThing
      requestBody:
        content:
          application/json:
            schema: { type: object, required: [n], properties: { n: { $ref: '#/components/schemas/N' } } }
            example: { n: "</pre><i>" }
      responses: { '204': { description: Done. } }
components:
  schemas:
    N: { type: [string, 'null'], minLength: 1, maxLength: 7, pattern: '^<$', default: a }
"##;
    let page = write_page(&Node::parse(yaml).unwrap());
    assert!(page.contains("1 to 7 characters; <code>^&lt;$</code>; default <code>&quot;a&quot;</code>"), "{page}");
    assert!(page.contains("<code>n</code> <span class=\"due\">required</span>"));
    for markup in ["<script", "<i>", "<b>", "x\" onload"] {
        assert!(!page.contains(markup), "{markup}");
    }
}
