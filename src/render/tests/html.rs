//! Templates in HTML: what is refused, what is checked, and the text that is made of them.

use serde_json::json;

use super::{derived, html, html_faults, render_error, try_preview};

#[test]
fn values_in_attributes_need_quotes() {
    assert_eq!(html_faults("<a href={{attributes.x}}>y</a>"), ["unquoted_attribute@1:9"]);
    assert_eq!(html_faults("<p\nclass=a{{attributes.x}}>y</p>"), ["unquoted_attribute@2:8"]);
    assert_eq!(
        html_faults("<a href=\"{{attributes.x}}\" {{attributes.y}}>y</a><p title='{{attributes.x}}'>"),
        [] as [&str; 0]
    );
}

#[test]
fn a_block_leaves_the_html_in_one_place() {
    for sound in [
        "{{#if attributes.a}}<a href=\"https://x\">{{else}}<b>{{/if}}y",
        "<p {{#if attributes.a}}class=\"x\"{{/if}}>y</p>",
        "<p class=\"{{#if attributes.a}}x{{else}}y{{/if}}\">",
        "<a href=\"https://x/{{#if attributes.a}}a{{else}}b{{/if}}\">",
        "{{#each attributes.l}}<!-- x --><br>{{/each}}",
        "<style>{{#if attributes.a}}p{color:red}{{/if}}</style>",
        "<td{{#if attributes.a}} class=\"x\"{{else}} id='y'{{/if}}>",
    ] {
        assert_eq!(html_faults(sound), [] as [&str; 0], "{sound}");
    }
    for broken in [
        "{{#if attributes.a}}<a href=\"https://x{{/if}}\">",
        "<a href=\"https://x/{{#if attributes.a}}\">{{/if}}",
        "<a href=\"https://x/{{#if attributes.a}}{{#if attributes.b}}'\">{{/if}}{{/if}}",
        "<p class=\"{{#if attributes.a}}\">{{else}}x{{/if}}",
        "{{#if attributes.a}}<!--{{/if}} x -->",
        "{{#each attributes.l}}<p {{/each}}>",
        "<{{#if attributes.a}}a{{else}}b{{/if}} href=\"x\">",
        "<a href=\"https://x",
    ] {
        assert!(html_faults(broken).iter().any(|fault| fault.starts_with("html_structure")), "{broken}");
    }
}

#[test]
fn urls_that_run_code_are_not_sent() {
    for static_url in [
        "javascript:alert(1)",
        "java&#115;cript:x",
        "JAVASCRIPT&colon;x",
        "vbscript:x",
        "data:text/html,x",
        "  javascript:x",
    ] {
        assert_eq!(html_faults(&format!("<a href=\"{static_url}\">")), ["unsafe_url@1:10"], "{static_url}");
    }
    assert_eq!(html_faults("<img src=\"data:image/png;base64,AA\"><img src='cid:x'>"), [] as [&str; 0]);
    for bad in ["javascript:alert(1)", " \tjava\nscript:x", "data:text/html,x", "vbscript:x", "file:///x"] {
        for template in [
            "<a href=\"{{attributes.x}}\">",
            "<a href=\" {{{attributes.x}}}\">",
            "<img src='{{attributes.x}}'>",
            "<area href=\"{{#if attributes.x}}{{attributes.x}}{{/if}}\">",
        ] {
            let error = render_error(try_preview("s", Some(template), Some("t"), json!({ "x": bad })));
            assert_eq!(error.reason.code(), "unsafe_url", "{template} {bad}");
        }
    }
    let error = render_error(try_preview(
        "s",
        Some("<p>\n<a href=\"java{{attributes.x}}\">"),
        Some("t"),
        json!({"x": "script:x"}),
    ));
    assert_eq!((error.at.line, error.at.column), (2, 10));
}

#[test]
fn urls_with_values_are_escaped_for_their_attribute() {
    let render = |x: &str| html("<a href=\"https://e.example/?a=1&amp;b={{attributes.x}}\">", json!({ "x": x }));
    assert_eq!(render("2"), "<a href=\"https://e.example/?a=1&amp;b=2\">");
    assert_eq!(render("\"><script> '&"), "<a href=\"https://e.example/?a=1&amp;b=%22%3E%3Cscript%3E%20&#39;&amp;\">");
    assert_eq!(
        html("<a href=\"{{unsubscribe_url}}\">x</a>", json!({})),
        "<a href=\"https://links.example/u/token\">x</a>"
    );
    assert_eq!(
        html("<a href=\"https://e.example/?q={{url_encode attributes.x}}\">", json!({"x": "a&b c"})),
        "<a href=\"https://e.example/?q=a%26b%20c\">"
    );
}

#[test]
fn static_html_is_not_changed() {
    let source = "<!doctype html>\n<HTML><head><style>a > b{}</style><title>x</title></head><body class=x>\n<A HREF='https://x/?a=1&amp;b=2'>é</A><!-- <a href=\"y\"> --></body></HTML>\n";
    assert_eq!(html(source, json!({})), source);
}

#[test]
fn text_is_derived_from_html() {
    for (template, expected) in [
        (
            "<html><head><style>p{}</style><title>T</title></head><body><h1>Hi</h1>\n<p>One\n  two<br>three</p><p>four</p></body></html>",
            "Hi\n\nOne two\nthree\n\nfour\n",
        ),
        ("<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n<p>c</p>", "- a\n- b\n\nc\n"),
        ("<p>x <a href=\"https://e.example/?a=1&amp;b=2\">link</a>, y</p>", "x link (https://e.example/?a=1&b=2), y\n"),
        ("<a href='mailto:a@b.example'>write</a> <a href=\"#top\">up</a>", "write (a@b.example) up\n"),
        ("<p>a &amp; b &copy; &nbsp;&lt;c&gt;</p><!-- no --><script>no()</script>", "a & b © \u{a0}<c>\n"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc\n"),
        ("<b>a</b>b <i> c</i>", "ab c\n"),
        ("1 < 2 <3", "1 < 2 <3\n"),
    ] {
        assert_eq!(derived(template, json!({})), expected, "{template}");
    }
}

#[test]
fn derived_text_keeps_values_and_blocks() {
    let data = || json!({"n": "O'B <x>", "l": ["a", "b"], "u": "q&r"});
    for (template, expected) in [
        ("<p class=\"{{attributes.n}}\">Hi <b>{{attributes.n}}</b>!</p>", "Hi O'B <x>!\n"),
        ("<p>Hi</p>{{#if attributes.nope}}<p>x</p>{{/if}}<p>y</p>", "Hi\n\ny\n"),
        ("<p>Hi</p>{{#if attributes.n}}<p>x</p>{{/if}}<p>y</p>", "Hi\n\nx\n\ny\n"),
        ("<p>Hello {{#if attributes.n}}dear {{/if}}friend</p>", "Hello dear friend\n"),
        ("<p>Hello {{#if attributes.nope}}dear {{/if}}friend</p>", "Hello friend\n"),
        ("<p>List</p><ul>{{#each attributes.l}}<li>{{this}}</li>{{/each}}</ul><p>end</p>", "List\n\n- a\n- b\n\nend\n"),
        ("{{#each attributes.l}}{{this}}<br>{{/each}}end", "a\nb\nend\n"),
        ("<a href=\"https://e.example/{{url_encode attributes.u}}\">x</a>", "x (https://e.example/q%26r)\n"),
        ("<a href=\"https://e.example/{{attributes.n}}\">x</a>", "x (https://e.example/O'B%20%3Cx%3E)\n"),
        ("<p {{#if attributes.n}}class=\"x\"{{/if}}>y</p>", "y\n"),
        ("<a href=\"{{unsubscribe_url}}\">leave</a>", "leave (https://links.example/u/token)\n"),
    ] {
        assert_eq!(derived(template, data()), expected, "{template}");
    }
}
