//! Our evaluation against the library's own: the same templates and data give the same text.

use handlebars::{Handlebars, RenderError};
use serde_json::{Value as Json, json};

use super::{Variables, attributes, try_preview, try_text, variables};

/// What the library makes of it, strictly.
fn library(template: &str, data: &Json, has_escape: bool) -> Result<String, RenderError> {
    let mut library = Handlebars::new();
    library.set_strict_mode(true);
    if !has_escape {
        library.register_escape_fn(handlebars::no_escape);
    }
    let attributes = attributes(data.clone());
    let Variables { recipient_address, recipient_id, campaign_id, campaign_name, unsubscribe_url, .. } =
        variables(&attributes);
    let mut context = data.clone();
    context["attributes"] = data.clone();
    context["recipient"] = json!({ "address": recipient_address, "id": recipient_id });
    context["campaign"] = json!({ "id": campaign_id, "name": campaign_name });
    context["unsubscribe_url"] = json!(unsubscribe_url);
    library.render_template(template, &context)
}

/// Numbers, and whether templates get tildes or comments: the library lets a tilde reach across a comment, and lets a tilde of a
/// tag that stands alone take blanks from a later line; Handlebars does neither.
struct Random(u64, bool);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % n
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    fn template(&mut self, depth: usize, scope: &str) -> String {
        (0..self.below(4)).map(|_| self.element(depth, scope)).collect()
    }

    fn path(&mut self, scope: &str) -> String {
        match (scope, self.below(4)) {
            ("root", _) => self
                .pick(&[
                    "attributes.s",
                    "n",
                    "attributes.z",
                    "campaign.name",
                    "attributes.o.a",
                    "this.attributes.s",
                    "./attributes.h",
                    "@root.attributes.s",
                    "attributes.[s]",
                    "attributes/s",
                ])
                .to_owned(),
            ("each", 0) => self.pick(&["@index", "@first", "@last", "this", "../attributes.s"]).to_owned(),
            (_, 1) => "@root.attributes.n".to_owned(),
            (_, 2) => "../attributes.s".to_owned(),
            _ => self.pick(&["t", "this.t", "./t"]).to_owned(),
        }
    }

    fn element(&mut self, depth: usize, scope: &str) -> String {
        let tilde = |random: &mut Self| if random.1 { random.pick(&["", "", "~"]).to_owned() } else { String::new() };
        let (a, b) = (tilde(self), tilde(self));
        let space = self.pick(&["", " ", "\n", "  \n", "\n  "]).to_owned();
        if depth == 0 {
            return match self.below(4) {
                0 => self.pick(&["text", " ", "\n", "é\n", "  x", "\\{{y}}", "\\\\", "{ }"]).to_owned() + "_",
                1 => format!("{{{{{{{}}}}}}}", self.path(scope)),
                _ => format!("{{{{{a}{}{b}}}}}", self.path(scope)),
            };
        }
        let (path, inner) = (self.path(scope), self.template(depth - 1, scope));
        match self.below(8) {
            0 => format!("{space}{{{{#if {path}}}}}{space}{inner}{space}{{{{/if}}}}{space}"),
            1 => {
                let other = self.template(depth - 1, scope);
                format!("{{{{#unless {path}}}}}{space}{inner}{{{{else}}}}{space}{other}{{{{/unless}}}}{space}")
            }
            2 => {
                let other = self.template(depth - 1, scope);
                let second = self.path(scope);
                format!(
                    "{{{{#if (eq {path} @root.attributes.n)}}}}{inner}{space}{{{{else if {second}}}}}{space}{other}{{{{^}}}}{space}e{{{{/if}}}}"
                )
            }
            3 => {
                let body = self.template(depth - 1, "each");
                format!("{space}{{{{#each @root.attributes.l}}}}{space}{body}{{{{/each}}}}{space}")
            }
            4 => {
                let body = self.template(depth - 1, "with");
                format!("{{{{#with @root.attributes.o2}}}}{space}{body}{space}{{{{/with}}}}")
            }
            5 if !self.1 => format!("{space}{{{{! note }}}}{space}{inner}{{{{!-- }} --}}}}"),
            6 => format!("{{{{#each @root.attributes.o as |v k|}}}}{{{{k}}}}={{{{v}}}}{space}{{{{/each}}}}{inner}"),
            _ => format!("{inner}{{{{lookup @root.attributes.l2 1}}}}{{{{not {path}}}}}{{{{and {path} {path}}}}}"),
        }
    }
}

#[test]
fn templates_render_as_the_library_renders_them() {
    let data = json!({
        "s": "a<b> \"q\"", "h": "=`'&", "n": 5, "z": 0, "o": {"a": "x", "b": true, "c": 1.5}, "o2": {"t": "with"},
        "l": [{"t": "one"}, {"t": "two"}], "l2": ["p", "q"],
    });
    let mut random = Random(11, false);
    let mut n_compared = 0;
    for n in 0..1_500 {
        random.1 = n % 2 == 0;
        // A last word, because the library leaves blanks at the very end alone.
        let template = format!("start {} {} end", random.template(3, "root"), random.template(2, "root"));
        // The library takes the square of their length.
        if template.len() > 600 {
            continue;
        }
        let ours = try_text(&template, data.clone());
        let theirs = library(&template, &data, false);
        match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => {
                assert_eq!(ours, theirs, "{template}");
                n_compared += 1;
            }
            // What ours alone refuses: printing lists and objects.
            (Err(error), Ok(theirs)) => {
                assert!(theirs.contains("[object]"), "{template}\n{error:?}\n{theirs}");
            }
            // What ours alone allows: `not` of what is missing.
            (Ok(ours), Err(theirs)) => {
                assert!(theirs.to_string().contains("Helper/Decorator not param"), "{template}\n{ours:?}\n{theirs}");
            }
            (Err(_), Err(_)) => {}
        }
        if let (Ok(ours), Ok(theirs)) =
            (try_preview("s", Some(&template), None, data.clone()), library(&template, &data, true))
        {
            assert_eq!(ours.html.unwrap(), theirs, "{template}");
        }
    }
    assert!(n_compared > 400, "only {n_compared} templates could be compared");
}
