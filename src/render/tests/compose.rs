//! Whole messages, read back with a parser.

use chrono::{DateTime, Utc};
use mail_parser::MessageParser;
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::{
    domain::id::{CampaignId, DeliveryId, RecipientId, WorkspaceId},
    keyring::Keyring,
    mail::{
        address::Address,
        return_path::{ReturnPath, sign},
        token::{Link, Open, Unsubscribe},
    },
};

use super::{
    super::{Campaign, CampaignContent, ClickTracking, Composed, Content, LinkTarget, Part, Recipient, RenderError},
    attributes,
};

const HTML: &str = "<html><body><p>Hi {{attributes.name}}</p>\n\
    <a href=\"https://shop.example/a?x=1&amp;y=2\">one</a> <a href='https://shop.example/a?x=1&amp;y=2'>again</a>\n\
    <a href=\"https://shop.example/{{url_encode attributes.name}}?r={{recipient.id}}\">two</a>\n\
    <a href=\"{{default attributes.url 'https://fallback.example/'}}\">three</a>\n\
    <a href=\"mailto:help@shop.example\">mail</a> <a href=\"tel:+1\">call</a> <a href=\"#top\">up</a> <a href=\"/rel\">rel</a>\n\
    <link href=\"https://cdn.example/x.css\"><img src=\"https://cdn.example/x.png\">\n\
    <a href=\"{{unsubscribe_url}}\">leave</a></body></html>\n";

fn ring() -> Keyring {
    Keyring::from_keys(&[(7, [1; 32])]).unwrap()
}

fn workspace() -> WorkspaceId {
    WorkspaceId(Uuid::from_u128(1))
}

fn campaign_id() -> CampaignId {
    CampaignId(Uuid::from_u128(2))
}

fn compile(content: &Content<'_>, clicks: ClickTracking<'_>, has_opens: bool) -> CampaignContent {
    let from = Address::parse("news@acme.example").unwrap();
    let campaign = Campaign {
        workspace: workspace(),
        id: campaign_id(),
        name: "Spring",
        from_name: "Acme",
        from: &from,
        reply_to: None,
        link_base_url: "https://links.acme.example/",
        track_opens: has_opens,
        track_clicks: clicks,
    };
    CampaignContent::compile(content, &campaign).unwrap()
}

fn date() -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_507_200, 0).unwrap()
}

fn try_compose(content: &CampaignContent, delivery: Uuid, json: Json) -> Result<(Vec<u8>, Composed), RenderError> {
    let address = Address::parse("ann@example.com").unwrap();
    let attributes = attributes(json);
    let recipient = Recipient {
        id: RecipientId(Uuid::from_u128(3)),
        address: &address,
        attributes: &attributes,
        delivery: DeliveryId(delivery),
        date: date(),
    };
    let mut out = b"kept".to_vec();
    let result = content.compose(&ring(), &recipient, &mut out);
    assert!(out.starts_with(b"kept"));
    match result {
        Ok(composed) => Ok((out.split_off(4), composed)),
        Err(error) => {
            assert_eq!(out, b"kept");
            Err(error)
        }
    }
}

fn compose(content: &CampaignContent, json: Json) -> (Vec<u8>, Composed) {
    try_compose(content, Uuid::from_u128(4), json).unwrap()
}

fn html_of(message: &[u8]) -> String {
    MessageParser::default().parse(message).unwrap().body_html(0).unwrap().replace("\r\n", "\n")
}

/// What stands in every `prefix…"` of a text.
fn found<'t>(text: &'t str, prefix: &str) -> Vec<&'t str> {
    text.split(prefix).skip(1).map(|rest| rest.split(['"', '\'']).next().unwrap()).collect()
}

#[test]
fn links_are_rewritten_once_per_campaign_and_lead_back() {
    let content = compile(&Content { subject: "s", html: Some(HTML), text: None }, ClickTracking::Number, true);
    let target = |n, url: &str, has_variables| LinkTarget { n, url_template: url.to_owned(), has_variables };
    assert_eq!(
        content.links(),
        [
            target(1, "https://shop.example/a?x=1&y=2", false),
            target(2, "https://shop.example/{{url_encode attributes.name}}?r={{recipient.id}}", true),
            target(3, "{{default attributes.url 'https://fallback.example/'}}", true),
        ]
    );
    let (message, _) = compose(&content, json!({"name": "Ann B"}));
    let html = html_of(&message);
    let links: Vec<Link> = found(&html, "https://links.acme.example/c/")
        .iter()
        .map(|token| Link::verify(&ring(), token).unwrap())
        .collect();
    assert_eq!(links.iter().map(|link| link.n).collect::<Vec<_>>(), [1, 1, 2, 3]);
    let recipient_id = RecipientId(Uuid::from_u128(3));
    let urls: Vec<_> = links.iter().map(|link| link.url.as_deref().unwrap_or("-")).collect();
    assert_eq!(
        urls,
        ["-", "-", &format!("https://shop.example/Ann%20B?r={recipient_id}"), "https://fallback.example/"]
    );
    for link in links {
        assert_eq!(
            (link.workspace, link.campaign, link.delivery),
            (workspace().0, campaign_id().0, Uuid::from_u128(4))
        );
    }
    for kept in ["\"mailto:help@shop.example\"", "\"tel:+1\"", "\"#top\"", "\"/rel\"", "\"https://cdn.example/x.css\""]
    {
        assert!(html.contains(kept), "{kept}");
    }
    let pixel = found(&html, "https://links.acme.example/o/");
    let open = Open::verify(&ring(), pixel[0].strip_suffix(".gif").unwrap()).unwrap();
    assert_eq!((pixel.len(), open.delivery), (1, Uuid::from_u128(4)));
    assert!(html.contains("\"></body></html>"), "the pixel stands at the end of the body: {html}");
    let unsubscribe = Unsubscribe::verify(&ring(), found(&html, "https://links.acme.example/u/")[0]).unwrap();
    assert_eq!((unsubscribe.recipient, unsubscribe.campaign), (Uuid::from_u128(3), campaign_id().0));
    // The text shows where links lead.
    let parsed = MessageParser::default().parse(&message).unwrap();
    let text = parsed.body_text(0).unwrap();
    assert!(text.contains("one (https://shop.example/a?x=1&y=2)"), "{text}");
    assert!(!text.contains("/c/"));
}

#[test]
fn without_tracking_nothing_is_rewritten() {
    let content = compile(&Content { subject: "s", html: Some(HTML), text: None }, ClickTracking::Off, false);
    assert!(content.links().is_empty());
    let html = html_of(&compose(&content, json!({"name": "x"})).0);
    assert!(!html.contains("/c/") && !html.contains("/o/"));
    assert!(html.contains("<a href=\"https://shop.example/a?x=1&amp;y=2\">"));
}

#[test]
fn links_keep_the_numbers_they_were_pinned_with() {
    let pinned = [LinkTarget { n: 9, url_template: "https://shop.example/a?x=1&y=2".to_owned(), has_variables: false }];
    let content =
        compile(&Content { subject: "s", html: Some(HTML), text: None }, ClickTracking::Numbered(&pinned), false);
    assert_eq!(content.links(), pinned);
    let html = html_of(&compose(&content, json!({"name": "x"})).0);
    let tokens = found(&html, "https://links.acme.example/c/");
    assert_eq!(tokens.iter().map(|token| Link::verify(&ring(), token).unwrap().n).collect::<Vec<_>>(), [9, 9]);
    assert!(html.contains("https://shop.example/x?r="));
}

#[test]
fn a_link_that_is_not_http_for_a_recipient_is_left_alone_or_fails() {
    let content = compile(&Content { subject: "s", html: Some(HTML), text: None }, ClickTracking::Number, false);
    let html = html_of(&compose(&content, json!({"name": "x", "url": "mailto:a@b.example"})).0);
    assert!(html.contains("<a href=\"mailto:a@b.example\">three"));
    let long = format!("https://e.example/{}", "a".repeat(3_000));
    let html = html_of(&compose(&content, json!({"name": "x", "url": long})).0);
    assert!(html.contains(&format!("<a href=\"{long}\">three")));
    let error = try_compose(&content, Uuid::from_u128(4), json!({"name": "x", "url": "javascript:x"})).unwrap_err();
    assert_eq!((error.part, error.reason.code(), error.at.line), (Part::Html, "unsafe_url", 4));
}

#[test]
fn a_message_is_the_same_at_every_try() {
    let content = compile(
        &Content { subject: "Hi {{attributes.name}}", html: Some(HTML), text: None },
        ClickTracking::Number,
        true,
    );
    let delivery = Uuid::now_v7();
    let first = try_compose(&content, delivery, json!({"name": "é"})).unwrap();
    assert_eq!(first, try_compose(&content, delivery, json!({"name": "é"})).unwrap());
    let again = compile(
        &Content { subject: "Hi {{attributes.name}}", html: Some(HTML), text: None },
        ClickTracking::Number,
        true,
    );
    assert_eq!(first, try_compose(&again, delivery, json!({"name": "é"})).unwrap());
}

#[test]
fn a_message_names_its_delivery_and_how_to_leave() {
    let content = compile(
        &Content { subject: "Grüße {{attributes.name}}", html: None, text: Some("Hi\n") },
        ClickTracking::Number,
        true,
    );
    let delivery = Uuid::now_v7();
    let (message, composed) = try_compose(&content, delivery, json!({"name": "Ann"})).unwrap();
    let text = String::from_utf8(message).unwrap();
    assert!(text.is_ascii());
    let path = ReturnPath::parse(&composed.return_path).unwrap();
    assert_eq!(path.verify(&ring(), workspace().0, Utc::now()), Ok(delivery));
    let signed = sign(&ring(), workspace().0, delivery);
    assert_eq!(composed.return_path, signed.return_path);
    assert!(text.contains(&format!("\r\nX-Postrider-Delivery: {}\r\n", signed.message)));
    assert!(!text.contains(&signed.return_path), "who reads the message doesn't learn its return path");
    assert!(text.contains("\r\nList-Unsubscribe: <https://links.acme.example/u/"));
    assert!(text.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"));
    let parsed = MessageParser::default().parse(text.as_bytes()).unwrap();
    assert_eq!(parsed.subject(), Some("Grüße Ann"));
    assert_eq!(parsed.message_id(), Some(format!("{}@acme.example", signed.message).as_str()));
    assert_eq!(parsed.body_text(0).unwrap(), "Hi\r\n\r\n");
    assert!(!composed.needs_smtputf8);
}

#[test]
fn lines_are_short_and_end_in_crlf_whatever_a_recipient_brings() {
    let long = format!(
        "<p>{{{{attributes.name}}}}</p>{}\n<p>a{{{{attributes.name}}}}b</p>   {{{{attributes.name}}}}\n",
        "x".repeat(500)
    );
    let content = compile(&Content { subject: "s", html: Some(&long), text: Some(&long) }, ClickTracking::Number, true);
    for name in [
        "",
        " ",
        "\r",
        "\n",
        "\r\n.\r\n",
        "a\rb",
        "é".repeat(100).as_str(),
        "=",
        "\u{0}",
        "\n.\n",
        "x".repeat(5_000).as_str(),
    ] {
        let (message, _) = compose(&content, json!({ "name": name }));
        let text = String::from_utf8(message).unwrap();
        assert!(text.is_ascii());
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(body.split("\r\n").all(|line| line.len() <= 76 && !line.contains(['\r', '\n'])), "{name:?}");
        assert!(head.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
        let parsed = MessageParser::default().parse(text.as_bytes()).unwrap();
        let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
        let expected = lines(&long.replace("{{attributes.name}}", &lines(name)));
        assert_eq!(lines(&parsed.body_text(0).unwrap()), expected, "{name:?}");
    }
}

#[test]
fn a_subject_can_not_add_a_header() {
    let content =
        compile(&Content { subject: "Hi {{attributes.name}}", html: None, text: Some("t") }, ClickTracking::Off, false);
    for name in ["x\r\nBcc: victim@example.com", "x\n\nbody", "\u{0}"] {
        let error = try_compose(&content, Uuid::from_u128(4), json!({ "name": name })).unwrap_err();
        assert_eq!((error.part, error.reason.code()), (Part::Subject, "control_character"));
    }
}

#[test]
fn a_campaign_with_a_bad_header_is_a_fault() {
    let from = Address::parse("news@acme.example").unwrap();
    for (from_name, base) in [("a\r\nBcc: x", "https://l.example"), ("a", "ftp://l.example"), ("a", "")] {
        let campaign = Campaign {
            workspace: workspace(),
            id: campaign_id(),
            name: "x",
            from_name,
            from: &from,
            reply_to: None,
            link_base_url: base,
            track_opens: true,
            track_clicks: ClickTracking::Number,
        };
        let faults = CampaignContent::compile(&Content { subject: "s", html: None, text: Some("t") }, &campaign);
        assert_eq!(faults.unwrap_err()[0].part, Part::From);
    }
}

#[test]
fn an_address_that_is_not_ascii_says_what_the_relay_must_offer() {
    fn shared_by_threads<T: Send + Sync>(_: &T) {}
    let content = compile(&Content { subject: "s", html: None, text: Some("t") }, ClickTracking::Off, false);
    shared_by_threads(&content);
    for (given, header, needs_smtputf8) in
        [("é@example.com", "\r\nTo: é@example.com\r\n", true), ("e@é.example", "\r\nTo: e@xn--9ca.example\r\n", false)]
    {
        let address = Address::parse(given).unwrap();
        let recipient = Recipient {
            id: RecipientId::new(),
            address: &address,
            attributes: &attributes(json!({})),
            delivery: DeliveryId::new(),
            date: date(),
        };
        let mut out = Vec::new();
        let composed = content.compose(&ring(), &recipient, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains(header), "{text}");
        assert_eq!((composed.needs_smtputf8, text.is_ascii()), (needs_smtputf8, !needs_smtputf8));
    }
}
