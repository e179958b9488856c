//! What templates can say, and what they are told when they say it wrong.

use serde_json::json;

use super::{
    super::{Content, Part, check},
    faults, html, render_error, text, text_faults, try_preview, try_text,
};

#[test]
fn the_names_of_a_template_have_their_values() {
    assert_eq!(
        text(
            "{{attributes.first_name}} {{recipient.address}} {{recipient.id}} {{campaign.name}} {{campaign.id}} {{unsubscribe_url}}",
            json!({"first_name": "O'Brien <x>"})
        ),
        "O'Brien <x> ann@example.com rcp_1 Spring & Sons cmp_1 https://links.example/u/token"
    );
}

#[test]
fn attributes_have_a_short_and_a_long_name() {
    let data = json!({"city": "Dublin", "campaign": "mine", "address": {"zip": 1}});
    assert_eq!(
        text("{{city}} {{attributes.city}} {{address.zip}} {{campaign.name}} {{attributes.campaign}}", data),
        "Dublin Dublin 1 Spring & Sons mine"
    );
}

#[test]
fn values_print_as_they_are() {
    let data = json!({"i": 5, "f": 1.5, "t": true, "n": null, "s": "x", "big": 12345678901234567u64});
    assert_eq!(
        text(
            "{{attributes.i}} {{attributes.f}} {{attributes.t}} [{{attributes.n}}] {{attributes.s}} {{attributes.big}}",
            data
        ),
        "5 1.5 true [] x 12345678901234567"
    );
}

#[test]
fn html_is_escaped_and_subject_and_text_are_not() {
    let data = json!({"x": "<b>&\"'`="});
    let rendered = try_preview(
        "{{attributes.x}}",
        Some("<p title=\"{{attributes.x}}\">{{attributes.x}} {{{attributes.x}}}</p>"),
        Some("{{attributes.x}}"),
        data,
    )
    .unwrap();
    let escaped = "&lt;b&gt;&amp;&quot;&#x27;&#x60;&#x3D;";
    assert_eq!(rendered.subject, "<b>&\"'`=");
    assert_eq!(rendered.text, "<b>&\"'`=");
    assert_eq!(rendered.html.unwrap(), format!("<p title=\"{escaped}\">{escaped} <b>&\"'`=</p>"));
}

#[test]
fn blocks_choose_repeat_and_enter() {
    let data = json!({"plan": "gold", "n": 0, "items": [{"t": "a"}, {"t": "b"}], "o": {"k": {"v": 1}}, "e": []});
    for (template, expected) in [
        ("{{#if attributes.plan}}y{{else}}n{{/if}}", "y"),
        ("{{#if attributes.nope}}y{{else if attributes.n}}z{{else}}n{{/if}}", "n"),
        ("{{#if attributes.n includeZero=true}}y{{/if}}", "y"),
        ("{{#unless attributes.nope}}y{{/unless}}", "y"),
        ("{{#if (eq attributes.plan \"gold\")}}y{{/if}}{{#eq attributes.plan 'x'}}{{else}}n{{/eq}}", "yn"),
        ("{{#each attributes.items}}{{@index}}{{t}}{{#if @last}}.{{else}},{{/if}}{{/each}}", "0a,1b."),
        ("{{#each attributes.items as |item i|}}{{i}}{{item.t}}{{/each}}", "0a1b"),
        ("{{#each attributes.o}}{{@key}}={{this.v}}{{/each}}", "k=1"),
        ("{{#each attributes.e}}x{{else}}none{{/each}}{{#each attributes.e}}x{{/each}}", "none"),
        ("{{#each attributes.nope}}x{{else}}none{{/each}}", "none"),
        ("{{#with attributes.o.k}}{{v}}{{../attributes.n}}{{@root.attributes.plan}}{{/with}}", "10gold"),
        ("{{#with attributes.nope}}x{{else}}none{{/with}}", "none"),
        (
            "{{#each attributes.items}}{{#with this}}{{@index}}{{/with}}{{#if t}}{{../attributes.plan}}{{/if}}{{/each}}",
            "0gold1gold",
        ),
        ("{{#with attributes.o as |o|}}{{o.k.v}}{{/with}}", "1"),
        ("{{attributes.items.[1].t}}{{lookup attributes.items 0}}", ""),
    ] {
        if expected.is_empty() {
            assert_eq!(render_error(try_preview("s", None, Some(template), data.clone())).reason.code(), "wrong_type");
        } else {
            assert_eq!(text(template, data.clone()), expected, "{template}");
        }
    }
}

#[test]
fn helpers_compute() {
    let data = json!({"s": "a b&c", "e": "", "n": null, "x": 3, "l": [1, 2], "t": "10"});
    for (template, expected) in [
        (
            "{{default attributes.nope 'you'}} {{default attributes.e 'you'}} {{default attributes.n 1}} {{default attributes.x 1}}",
            "you you 1 3",
        ),
        ("{{default (default attributes.a attributes.b) \"z\"}}", "z"),
        ("{{url_encode attributes.s}} {{len attributes.l}} {{len attributes.s}}", "a%20b%26c 2 5"),
        ("{{lookup attributes 's'}} {{lookup attributes.l 1}} {{default (lookup attributes 'zz') '-'}}", "a b&c 2 -"),
        ("{{#if (and attributes.x (or attributes.nope attributes.s))}}y{{/if}}{{not attributes.x}}", "yfalse"),
        (
            "{{gt attributes.x 2}}{{lt attributes.x 3}}{{lte attributes.x 3}}{{gte attributes.t attributes.x}}{{ne attributes.x 3}}",
            "truefalsetruetruefalse",
        ),
        ("{{eq attributes.x 3.0}}{{eq attributes.x '3'}}{{gt 'b' 'a'}}", "truefalsetrue"),
    ] {
        assert_eq!(text(template, data.clone()), expected, "{template}");
    }
}

#[test]
fn what_is_missing_is_said_with_its_place() {
    for (template, name) in [
        ("a\n b {{attributes.x}}", "attributes.x"),
        ("a\n b {{#each attributes.x}}{{/each}}", "attributes.x"),
        ("a\n b {{#with attributes.x.y}}{{/with}}", "attributes.x.y"),
        ("a\n b {{#if (eq attributes.x 1)}}{{/if}}", "attributes.x"),
        ("a\n b {{url_encode attributes.x}}", "attributes.x"),
        ("a\n b {{lookup attributes 'x'}}", "attributes"),
        ("a\n b {{x}}", "x"),
    ] {
        let error = try_text(template, json!({})).unwrap_err();
        assert_eq!((error.part, error.at.line, error.at.column), (Part::Text, 2, 4), "{template}");
        assert_eq!(error.reason, super::super::Reason::Missing(name.to_owned()), "{template}");
    }
    assert_eq!(
        try_text("Hi {{x}}", json!({})).unwrap_err().to_string(),
        "text line 1, column 4: `x` is missing; write {{default x \"…\"}} or ask with {{#if}}"
    );
}

#[test]
fn a_preview_lists_what_is_missing_instead_of_failing() {
    let html = "<a href=\"https://x/{{a}}\">{{b.c}}</a>{{#each d}}x{{/each}}{{#if e}}{{/if}}{{default f 1}}{{#if (eq g 1)}}x{{/if}}";
    let preview = try_preview("Hi {{name}}!", Some(html), None, json!({"b": {}})).unwrap();
    assert_eq!(preview.missing.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "b.c", "d", "g", "name"]);
    assert_eq!((preview.subject.as_str(), preview.html.unwrap().as_str()), ("Hi !", "<a href=\"https://x/\"></a>1"));
    assert!(try_preview("Hi", None, Some("{{a}}"), json!({"a": null})).unwrap().missing.is_empty());
}

#[test]
fn objects_and_lists_are_not_printed() {
    for template in [
        "{{attributes.o}}",
        "{{attributes.l}}",
        "{{attributes}}",
        "{{recipient}}",
        "{{this}}",
        "{{#each attributes.s}}{{/each}}",
    ] {
        let error = render_error(try_preview("s", None, Some(template), json!({"o": {}, "l": [], "s": "x"})));
        assert_eq!(error.reason.code(), "wrong_type", "{template}");
    }
}

#[test]
fn a_subject_is_one_line_of_printable_text() {
    for bad in ["a\r\nBcc: x@example.com", "a\nb", "\u{0}", "\t"] {
        assert_eq!(
            faults(check(&Content { subject: bad, html: None, text: Some("t") })).len(),
            1 + usize::from(bad == "\t")
        );
        let error = render_error(try_preview("{{attributes.x}}", None, Some("t"), json!({ "x": bad })));
        assert_eq!((error.part, error.reason.code()), (Part::Subject, "control_character"));
    }
    let error = render_error(try_preview("{{attributes.x}}", None, Some("t"), json!({ "x": "y".repeat(999) })));
    assert_eq!(error.reason.code(), "header");
}

#[test]
fn all_faults_are_named_at_once_with_their_places() {
    assert_eq!(
        text_faults(
            "{{recipient.x}}\n {{#if}}{{attributes.a b}}{{/if}}\n{{foo attributes.a}} {{#each attributes.l}}{{/if}}"
        ),
        ["unknown_variable@1:1", "helper_arguments@2:2", "syntax@2:9", "unknown_helper@3:1", "mismatched_block@3:44"]
    );
    let all =
        check(&Content { subject: "{{@x}}", html: Some("<p>{{@y}}"), text: Some("{{recipient.z}}") }).unwrap_err();
    assert_eq!(all.iter().map(|fault| fault.part).collect::<Vec<_>>(), [Part::Subject, Part::Html, Part::Text]);
    assert_eq!(
        all[2].to_string(),
        "text line 1, column 1: `recipient` has only: address, id; an attribute is written `z` or `attributes.z`"
    );
}

#[test]
fn faults_have_codes() {
    for (template, expected) in [
        ("{{", "unclosed_tag@1:1"),
        ("é {{#if attributes.a}}", "unclosed_block@1:3"),
        ("{{/if}}", "stray_tag@1:1"),
        ("{{else}}", "stray_tag@1:1"),
        ("{{#if attributes.a}}{{else}}{{else}}{{/if}}", "stray_tag@1:29"),
        ("{{}}", "syntax@1:1"),
        ("{{attributes.}}", "syntax@1:1"),
        ("{{#if attributes.a}}x{{/unless}}", "mismatched_block@1:22"),
        ("{{recipient.name}}", "unknown_variable@1:1"),
        ("{{unsubscribe_url.x}}", "unknown_variable@1:1"),
        ("{{../x}}", "unknown_variable@1:1"),
        ("{{@index}}", "unknown_variable@1:1"),
        ("{{#each attributes.a}}{{@nope}}{{/each}}", "unknown_variable@1:23"),
        ("{{default attributes.a}}", "helper_arguments@1:1"),
        ("{{if attributes.a}}", "unknown_helper@1:1"),
        ("{{default}}", "helper_arguments@1:1"),
        ("{{#foo}}x{{/foo}}", "unknown_helper@1:1"),
        ("{{#default attributes.a 1}}x{{/default}}", "unknown_helper@1:1"),
        ("{{log attributes.a}}", "unknown_helper@1:1"),
        ("{{default attributes.a 1 x=2}}", "helper_arguments@1:1"),
        ("{{#each attributes.a x=2}}{{/each}}", "helper_arguments@1:1"),
        ("a\u{1}", "control_character@1:2"),
        ("", "empty@1:1"),
    ] {
        assert_eq!(text_faults(template), [expected], "{template}");
    }
}

#[test]
fn tags_that_stand_alone_take_their_line_along() {
    let data = || json!({"l": ["a", "b"]});
    assert_eq!(text("x\n{{#each attributes.l}}\n- {{this}}\n{{/each}}\ny", data()), "x\n- a\n- b\ny");
    assert_eq!(text("x\r\n  {{! note }}  \r\ny", data()), "x\r\ny");
    assert_eq!(text("x {{~#if attributes.l~}} y {{~else~}} n {{~/if~}} z", data()), "xyz");
    assert_eq!(text("\\{{x}} \\\\{{len attributes.l}} {{!-- {{ --}}.", data()), "{{x}} \\2 .");
}

#[test]
fn the_attributes_of_a_template_are_listed() {
    let content = Content {
        subject: "{{a}} {{recipient.address}} {{campaign.name}}",
        html: Some(
            "<a href=\"https://x/{{attributes.b}}\" {{#if c.d}}title=\"{{d}}\"{{/if}}>{{default e 1}}{{#with w}}{{../o}}{{/with}}</a>",
        ),
        text: Some("{{#each f}}{{g}}{{@root.h}}{{@index}}{{/each}}{{unsubscribe_url}}"),
    };
    let summary = check(&content).unwrap();
    let names: Vec<_> = summary.attributes.iter().map(String::as_str).collect();
    assert_eq!(names, ["a", "b", "c.d", "d", "e", "f", "h", "o", "w"]);
    assert!(summary.uses_unsubscribe_url);
    assert!(!check(&Content { subject: "s", html: None, text: Some("t") }).unwrap().uses_unsubscribe_url);
    assert_eq!(html("<p>x</p>", json!({})), "<p>x</p>");
}
