//! The contract as a page for people: made once from the document that is embedded in the binary, with nothing to load.
//!
//! Not here: the routes `/docs` and `/openapi.yaml` (`api`), the document itself (`openapi.yaml`).

mod html;
mod node;
mod operation;
mod schema;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use html::Html;
use node::Node;

/// The contract of the HTTP interface, OpenAPI 3.1 in YAML, as it is served at `/openapi.yaml`.
pub const OPENAPI: &str = include_str!("../../../openapi.yaml");

static PAGE: LazyLock<String> = LazyLock::new(|| {
    // A test holds that the document parses; a page that shows it as it is would still be of use.
    Node::parse(OPENAPI).map_or_else(|_| write_raw(OPENAPI), |root| write_page(&root))
});

/// The page: HTML that needs no script and no other file.
pub fn page() -> &'static str {
    &PAGE
}

fn write_raw(document: &str) -> String {
    let mut html = Html::default();
    html.raw("<!doctype html>\n<meta charset=\"utf-8\"><title>Postrider</title>\n").block(document);
    html.finish()
}

fn write_page(root: &Node) -> String {
    let mut html = Html::default();
    let info = root.get("info");
    html.raw("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    html.text(info.get("title").text()).raw(": the HTTP interface</title>\n<style>\n");
    html.raw(include_str!("sheet.css")).raw("</style>\n</head>\n<body>\n");
    write_contents(&mut html, root);
    html.raw("<main>\n<h1 id=\"top\">").text(info.get("title").text()).raw(" <small>");
    html.text(info.get("version").text()).raw("</small></h1>\n<p class=\"lead\">").text(info.get("summary").text());
    html.raw("</p>\n").prose(info.get("description").text());
    html.raw("<p>The same for programs: <a href=\"/openapi.yaml\">openapi.yaml</a>.</p>\n");
    let operations = operation::all(root);
    for tag in root.get("tags").list() {
        let name = tag.get("name").text();
        html.raw("<section id=\"tag-").text(name).raw("\">\n<h2>").text(name).raw("</h2>\n");
        html.prose(tag.get("description").text());
        for operation in operations.iter().filter(|operation| is_tagged(operation, name)) {
            operation.write(&mut html, root);
        }
        html.raw("</section>\n");
    }
    write_components(&mut html, root);
    html.raw("</main>\n</body>\n</html>\n");
    html.finish()
}

fn is_tagged(operation: &operation::Operation<'_>, tag: &str) -> bool {
    operation.node.get("tags").list().iter().any(|name| name.text() == tag)
}

fn write_contents(html: &mut Html, root: &Node) {
    html.raw("<nav>\n<p><a href=\"#top\"><strong>Postrider</strong></a></p>\n");
    let operations = operation::all(root);
    for tag in root.get("tags").list() {
        let name = tag.get("name").text();
        html.raw("<h2>").link("tag-", name).raw("</h2>\n<ul>\n");
        for operation in operations.iter().filter(|operation| is_tagged(operation, name)) {
            html.raw("<li><a href=\"#").text(operation.id()).raw("\">");
            operation.write_method(html);
            html.raw(" ").text(operation.node.get("summary").text()).raw("</a></li>\n");
        }
        html.raw("</ul>\n");
    }
    html.raw("<h2><a href=\"#errors\">errors</a></h2>\n<h2><a href=\"#headers\">headers</a></h2>\n");
    html.raw("<h2><a href=\"#schemas\">schemas</a></h2>\n</nav>\n");
}

fn write_components(html: &mut Html, root: &Node) {
    let components = root.get("components");
    html.raw("<section id=\"errors\">\n<h2>errors</h2>\n");
    html.prose(components.get("schemas").get("Problem").get("description").text());
    for (name, response) in components.get("responses").map() {
        let problem = response.get("content").get("application/problem+json");
        if *problem != Node::Null {
            html.raw("<section class=\"operation\" id=\"error-").text(name).raw("\">\n<h3>").text(name).raw("</h3>\n");
            html.prose(response.get("description").text());
            schema::write_examples(html, root, problem);
            html.raw("</section>\n");
        }
    }
    html.raw("</section>\n<section id=\"headers\">\n<h2>headers</h2>\n<table><tbody>\n");
    for (name, header) in components.get("headers").map() {
        html.raw("<tr id=\"header-").text(name).raw("\"><td>").code(name).raw("</td><td>");
        html.prose(header.get("description").text()).raw("</td></tr>\n");
    }
    html.raw("</tbody></table>\n</section>\n<section id=\"schemas\">\n<h2>schemas</h2>\n");
    let schemas = components.get("schemas").map();
    schema::write_words(html, root, schemas);
    for (name, object) in schemas.iter().filter(|(_, schema)| schema::is_object(root, schema)) {
        html.raw("<section class=\"operation\" id=\"schema-").text(name).raw("\">\n<h3>").text(name).raw("</h3>\n");
        html.prose(object.get("description").text());
        schema::write(html, root, object);
        for example in object.get("examples").list() {
            html.raw("<figure><figcaption>Example</figcaption>");
            html.block(&example.to_json(schema::EXAMPLE_WIDTH)).raw("</figure>\n");
        }
        html.raw("</section>\n");
    }
    html.raw("</section>\n");
}
