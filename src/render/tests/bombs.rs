//! What ends other processes is refused here, and quickly.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{super::limits, html_faults, render_error, text_faults, try_preview};

/// Nothing here may take longer, not even in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(5);

#[test]
fn partials_and_decorators_are_refused() {
    for template in [
        "{{#*inline \"a\"}}x{{> a}}{{/inline}}{{> a}}",
        "{{> a}}",
        "{{~> a~}}",
        "{{#> a}}x{{/a}}",
        "{{* a}}",
        "{{#* a}}x{{/a}}",
        "{{ > a }}",
        "{{# > a}}{{/a}}",
        "{{{{raw}}}} {{x}} {{{{/raw}}}}",
        "{{> @partial-block}}",
    ] {
        assert!(!text_faults(template).is_empty(), "{template}");
        assert!(!html_faults(template).is_empty(), "{template}");
    }
}

#[test]
fn deep_templates_are_refused_quickly_and_never_end_the_process() {
    let started = Instant::now();
    let nested = |open: &str, close: &str, n: usize| open.repeat(n) + &close.repeat(n);
    for template in [
        nested("{{#if attributes.a}}", "{{/if}}", 1_100),
        "{{#if attributes.a}}".repeat(20_000),
        nested("{{#each attributes.a}}", "{{/each}}", limits::BLOCKS_MAX_DEPTH + 1),
        format!("{{{{#if attributes.a}}}}{}{{{{/if}}}}", "{{else if attributes.b}}".repeat(5_000)),
        format!("{{{{default {}a{} 1}}}}", "(default ".repeat(2_000), " 1)".repeat(2_000)),
        format!("{{{{not {}", "(not ".repeat(20_000)),
        format!("{{{{len {}1{}}}}}", "[".repeat(400), "]".repeat(400)),
        format!("{{{{len {}1{}}}}}", "{\"a\":".repeat(150), "}".repeat(150)),
        "{{".repeat(100_000),
        "{".repeat(500_000),
        "\\{{".repeat(100_000) + " {{x",
        "{{\"".repeat(100_000),
        "{{!--".repeat(100_000),
        "{{x}}".repeat(limits::TAGS_MAX + 1),
        "x".repeat(limits::BODY_MAX_BYTES + 1),
        format!("{{{{{}}}}}", "a".repeat(limits::TAG_MAX_BYTES + 1)),
    ] {
        let shown: String = template.chars().take(30).collect();
        assert!(!text_faults(&template).is_empty(), "{shown}");
        assert!(!html_faults(&template).is_empty(), "{shown}");
    }
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

#[test]
fn the_largest_template_allowed_compiles_quickly() {
    let started = Instant::now();
    let row =
        "<tr><td class=\"a\">{{attributes.first_name}}</td><td><a href=\"https://example.com/\">x</a></td></tr>\n";
    let many_tags = row.repeat(limits::TAGS_MAX);
    assert!(many_tags.len() < limits::BODY_MAX_BYTES);
    assert_eq!(html_faults(&many_tags), [] as [&str; 0]);
    let many_links: String = (0..15_000).map(|n| format!("<a href=http://a.example/{n}>")).collect();
    assert_eq!(html_faults(&many_links), [] as [&str; 0]);
    assert_eq!(html_faults(&"<a>".repeat(limits::BODY_MAX_BYTES / 3)), [] as [&str; 0]);
    let nested = format!(
        "<table>{}<tr><td>x</td></tr>{}</table>",
        "{{#each attributes.a}}<br>".repeat(limits::BLOCKS_MAX_DEPTH),
        "{{/each}}".repeat(limits::BLOCKS_MAX_DEPTH)
    );
    assert_eq!(html_faults(&nested), [] as [&str; 0]);
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

#[test]
fn loops_in_loops_stop_before_they_take_long() {
    let started = Instant::now();
    let list: Vec<u32> = (0..1_000).collect();
    let template =
        "{{#each attributes.l}}".repeat(8).replace("attributes", "@root.attributes") + &"{{/each}}".repeat(8);
    let error = render_error(try_preview("s", None, Some(&template), json!({ "l": list })));
    assert_eq!(error.reason.code(), "too_many_steps");
    let long = "x".repeat(60_000);
    for test in
        ["(eq @root.attributes.t @root.attributes.t)", "(len @root.attributes.t)", "(url_encode @root.attributes.t)"]
    {
        let template = format!(
            "{{{{#each attributes.l}}}}{{{{#each @root.attributes.l}}}}{{{{#if {test}}}}}{{{{/if}}}}{{{{/each}}}}{{{{/each}}}}"
        );
        let error = render_error(try_preview("s", None, Some(&template), json!({ "l": list, "t": long })));
        assert_eq!(error.reason.code(), "too_many_steps");
    }
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

#[test]
fn output_has_a_limit() {
    let started = Instant::now();
    let list: Vec<u32> = (0..1_000).collect();
    let template = "{{#each attributes.l}}{{#each @root.attributes.l}}{{@root.attributes.t}}{{/each}}{{/each}}";
    let data = json!({ "l": list, "t": "x".repeat(10_000) });
    let error = render_error(try_preview("s", None, Some(template), data.clone()));
    assert_eq!(error.reason.code(), "too_long");
    let error = render_error(try_preview("s", Some(&format!("<p>{template}</p>")), Some("t"), data));
    assert_eq!(error.reason.code(), "too_long");
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
}

#[test]
fn any_text_is_a_template_or_a_fault() {
    let alphabet = [
        "{{",
        "}}",
        "{{{",
        "}}}",
        "#",
        "/",
        "if",
        "each",
        "with",
        "else",
        " ",
        "~",
        "!",
        "--",
        "\\",
        "\"",
        "'",
        "[",
        "]",
        "(",
        ")",
        "@",
        "root",
        "../",
        "this",
        ".",
        "attributes",
        "x",
        "as |a b|",
        "=",
        "1",
        "^",
        "&",
        ">",
        "*",
        "é",
        "\n",
        "<a href=\"",
        "\">",
        "<",
        "default",
    ];
    let mut state: u64 = 3;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..20_000 {
        let template: String = (0..next(16)).map(|_| alphabet[next(alphabet.len())]).collect();
        let _ = try_preview(&template, Some(&template), Some(&template), json!({ "x": [1, { "y": "z" }] }));
    }
}
