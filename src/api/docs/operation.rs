//! One operation: what it does, what it takes, what it answers, how it can fail.
//!
//! Not here: the fields of bodies (`schema`), the order of the page (the face). OpenAPI 3.1.0 §4.8.10.

use super::{html::Html, node::Node, schema};

/// A method of a path.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// Lower case.
    pub method: &'a str,
    /// With its `{parameters}`.
    pub path: &'a str,
    /// What all methods of the path share.
    pub item: &'a Node,
    /// The operation object.
    pub node: &'a Node,
}

/// Every operation, in the order of the document.
pub fn all(root: &Node) -> Vec<Operation<'_>> {
    let paths = root.get("paths").map().iter();
    paths
        .flat_map(|(path, item)| {
            let methods = item.map().iter().filter(|(method, _)| method != "parameters");
            methods.map(move |(method, node)| Operation { method, path, item, node })
        })
        .collect()
}

impl Operation<'_> {
    /// Its name: the anchor of its section.
    pub fn id(&self) -> &str {
        self.node.get("operationId").text()
    }

    /// The method as a coloured word.
    pub fn write_method(&self, html: &mut Html) {
        html.raw("<span class=\"method ").text(self.method).raw("\">").text(&self.method.to_ascii_uppercase());
        html.raw("</span>");
    }

    /// Its section.
    pub fn write(&self, html: &mut Html, root: &Node) {
        html.raw("<section class=\"operation\" id=\"").text(self.id()).raw("\">\n<h3>");
        self.write_method(html);
        html.raw(" ").code(self.path).raw(" <a class=\"here\" href=\"#").text(self.id()).raw("\">#</a></h3>\n");
        html.raw("<p class=\"summary\">").text(self.node.get("summary").text());
        match self.node.get("x-scope").text() {
            "" => html.raw(" <span class=\"scope\">no key</span>"),
            "operator" => html.raw(" <span class=\"scope\">the operator's key</span>"),
            scope => html.raw(" <span class=\"scope\">scope ").code(scope).raw("</span>"),
        };
        html.raw("</p>\n").prose(self.node.get("description").text());
        self.write_parameters(html, root);
        self.write_body(html, root);
        let (good, bad): (Vec<_>, Vec<_>) =
            self.node.get("responses").map().iter().partition(|(status, _)| status.starts_with(['2', '3']));
        for (status, response) in good {
            write_answer(html, root, status, response.resolve(root));
        }
        write_errors(html, root, &bad);
        html.raw("</section>\n");
    }

    fn write_parameters(&self, html: &mut Html, root: &Node) {
        let parameters: Vec<&Node> = [self.item, self.node]
            .into_iter()
            .flat_map(|node| node.get("parameters").list())
            .map(|parameter| parameter.resolve(root))
            .collect();
        if parameters.is_empty() {
            return;
        }
        html.raw("<h4>Parameters</h4>\n<table><thead><tr><th>Name</th><th>In</th><th>Type</th>");
        html.raw("<th>Meaning and limits</th></tr></thead><tbody>\n");
        for parameter in parameters {
            html.raw("<tr><td>").code(parameter.get("name").text());
            html.raw("</td><td>").text(parameter.get("in").text()).raw("</td><td>");
            schema::write_type(html, root, parameter.get("schema"));
            html.raw("</td><td>").prose(parameter.get("description").text());
            // The description of the word would say again what the one of the parameter says.
            schema::write_limits(html, root, parameter.get("schema"));
            html.raw("</td></tr>\n");
        }
        html.raw("</tbody></table>\n");
    }

    fn write_body(&self, html: &mut Html, root: &Node) {
        let body = self.node.get("requestBody");
        for (n, (media_type, media)) in body.get("content").map().iter().enumerate() {
            html.raw("<h4>Body ").code(media_type);
            html.raw(if body.get("required").is_true() { "" } else { ", optional" }).raw("</h4>\n");
            // Further media types carry the same fields.
            if n == 0 {
                schema::write(html, root, media.get("schema"));
                schema::write_examples(html, root, media);
            }
        }
    }
}

fn write_answer(html: &mut Html, root: &Node, status: &str, answer: &Node) {
    html.raw("<h4>Answer ").text(status).raw("</h4>\n").prose(answer.get("description").text());
    let headers = answer.get("headers").map();
    if !headers.is_empty() {
        html.raw("<p class=\"limits\">Headers:");
        for (name, _) in headers {
            html.raw(" <a href=\"#header-").text(name).raw("\">").code(name).raw("</a>");
        }
        html.raw("</p>\n");
    }
    for (media_type, media) in answer.get("content").map() {
        let name = media.get("schema").reference();
        html.raw("<details><summary>").code(media_type);
        if let Some(name) = name {
            html.raw(": ").text(name);
        }
        html.raw("</summary>\n");
        if media.has("schema") {
            schema::write(html, root, media.get("schema"));
            schema::write_examples(html, root, media);
        }
        html.raw("</details>\n");
    }
}

fn write_errors(html: &mut Html, root: &Node, errors: &[&(String, Node)]) {
    html.raw("<details class=\"errors\"><summary>Errors");
    for (status, _) in errors {
        html.raw(" ").code(status);
    }
    html.raw("</summary>\n<table><tbody>\n");
    for (status, error) in errors {
        html.raw("<tr><td>").code(status).raw("</td><td>");
        html.prose(error.resolve(root).get("description").text()).raw("</td><td>");
        if let Some(name) = error.reference() {
            html.raw("<a href=\"#error-").text(name).raw("\">example</a>");
        }
        html.raw("</td></tr>\n");
    }
    html.raw("</tbody></table>\n</details>\n");
}
