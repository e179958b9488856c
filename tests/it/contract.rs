//! `openapi.yaml` holds what it promises itself: examples that are right, errors that are listed, limits on what is taken.
//!
//! Not here: whether the service keeps to it; every test of the API sends its responses through `support::contract::check`.

use std::collections::BTreeSet;

use postrider::{
    domain::{
        bounce::BounceClass,
        campaign::{CampaignMove, CampaignState, OnUnknown},
        delivery::{DeliveryState, Outcome},
        suppression::SuppressionReason,
    },
    smtp::Phase,
};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::support::contract::{
    DOCUMENT, Operation, check, check_request, escape, faults, judge, operations, resolve, route_faults,
};

/// Call `visit` with every object of the document below `value`, and its JSON pointer. Examples are data and not visited.
fn walk(pointer: &str, value: &'static Value, visit: &mut dyn FnMut(&str, &'static Value)) {
    if value.is_object() {
        visit(pointer, value);
    }
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "example" | "examples" | "default" | "const" | "enum"))
            .map(|(key, value)| (escape(key), value))
            .collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => return,
    };
    for (key, child) in children {
        walk(&format!("{pointer}/{key}"), child, visit);
    }
}

fn media_types() -> Vec<(String, &'static Value)> {
    let mut found = Vec::new();
    walk("", &DOCUMENT, &mut |pointer, value| {
        if let Some(content) = value["content"].as_object()
            && !pointer.ends_with("/properties")
        {
            found.extend(content.iter().map(|(name, media)| (format!("{pointer}/content/{}", escape(name)), media)));
        }
    });
    found
}

fn parameter_named(operation: Operation, place: &str, name: Option<&str>) -> bool {
    operation
        .parameters()
        .any(|parameter| parameter["in"] == place && name.is_none_or(|name| parameter["name"] == name))
}

#[test]
fn every_example_is_valid() {
    let mut wrong = String::new();
    let mut n_examples = 0;
    let mut judge = |schema: String, example: &Value| {
        n_examples += 1;
        let faults = faults(&schema, example);
        if !faults.is_empty() {
            wrong += &format!("{schema}: {example}\n{faults}");
        }
    };
    walk("", &DOCUMENT, &mut |pointer, value| {
        if pointer.starts_with("/components/schemas/") {
            value["examples"].as_array().into_iter().flatten().for_each(|example| judge(pointer.to_owned(), example));
        }
        if value.get("schema").is_some() {
            let named = value["examples"].as_object().into_iter().flatten().map(|(_, example)| &example["value"]);
            named.chain(value.get("example")).for_each(|example| judge(format!("{pointer}/schema"), example));
        }
    });
    assert!(wrong.is_empty(), "{wrong}");
    assert!(n_examples > 150, "{n_examples}");
}

#[test]
fn every_body_and_every_parameter_in_a_path_has_an_example() {
    for (pointer, media) in media_types() {
        if media.get("schema").is_none() {
            let is_bytes = pointer.ends_with("image~1gif") || pointer.ends_with("application~1octet-stream");
            assert!(is_bytes, "{pointer} has no schema");
            continue;
        }
        let own = media.get("example").is_some() || media.get("examples").is_some();
        assert!(own || resolve(&media["schema"]).get("examples").is_some(), "{pointer} has no example");
    }
    for operation in operations() {
        for parameter in operation.parameters().filter(|parameter| parameter["in"] == "path") {
            assert!(parameter.get("example").is_some(), "{}: {} has no example", operation.id(), parameter["name"]);
        }
    }
}

#[test]
fn every_operation_is_described_and_has_a_name_a_tag_and_a_scope() {
    let tags: BTreeSet<_> =
        DOCUMENT["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let scopes = DOCUMENT["components"]["schemas"]["Scope"]["enum"].as_array().unwrap();
    let (mut ids, mut used_tags, mut used_scopes) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for operation in operations() {
        let (id, value) = (operation.id(), operation.value);
        assert!(ids.insert(id), "{id} is there twice");
        assert!(value["summary"].is_string(), "{id} has no summary");
        used_tags.extend(value["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()));
        match (operation.path.starts_with("/v1/"), value.get("security")) {
            (true, None) => {
                assert!(scopes.contains(&value["x-scope"]), "{id} has the scope {}", value["x-scope"]);
                used_scopes.insert(value["x-scope"].as_str().unwrap());
            }
            (true, Some(security)) => {
                assert_eq!(security, &json!([{ "OperatorKey": [] }]), "{id}");
                assert_eq!(value["x-scope"], "operator", "{id}");
            }
            (false, security) => assert_eq!(security, Some(&json!([])), "{id}"),
        }
    }
    assert_eq!(tags, used_tags);
    assert_eq!(scopes.len(), used_scopes.len(), "a scope that no operation asks for");
}

#[test]
fn every_operation_lists_the_errors_it_can_end_in() {
    for operation in operations() {
        let (id, responses) = (operation.id(), operation.value["responses"].as_object().unwrap());
        let due = |due: bool, statuses: &[&str]| {
            for status in statuses {
                assert!(!due || responses.contains_key(*status), "{id} doesn't list {status}");
            }
        };
        due(true, &["500"]);
        due(operation.path.starts_with("/v1/"), &["401", "403", "429", "503"]);
        due(
            operation.path.starts_with("/v1/") && operation.value.get("requestBody").is_some(),
            &["400", "413", "415", "422"],
        );
        due(operation.value.get("requestBody").is_some(), &["413"]);
        due(parameter_named(operation, "query", None), &["422"]);
        due(parameter_named(operation, "path", None) && operation.path.starts_with("/v1/"), &["404"]);
        due(parameter_named(operation, "header", Some("If-Match")), &["412"]);
        due(parameter_named(operation, "header", Some("Idempotency-Key")), &["409", "422"]);
        for (status, response) in responses {
            let response = resolve(response);
            assert!(response["headers"].get("X-Request-Id").is_some(), "{id} {status} has no X-Request-Id");
            if status.as_str() >= "400" {
                assert!(response["content"].get("application/problem+json").is_some(), "{id} {status} is no problem");
            }
        }
    }
}

#[test]
fn what_creates_or_starts_is_idempotent_and_what_is_edited_has_an_etag() {
    for operation in operations().into_iter().filter(|operation| operation.path.starts_with("/v1/")) {
        let (id, responses) = (operation.id(), &operation.value["responses"]);
        let creates = operation.method == "post" && responses.get("201").is_some();
        let starts = ["/start", "/schedule", "/resume"].iter().any(|end| operation.path.ends_with(end));
        if creates || starts {
            assert!(parameter_named(operation, "header", Some("Idempotency-Key")), "{id} takes no Idempotency-Key");
        }
        if operation.method == "patch" {
            assert!(parameter_named(operation, "header", Some("If-Match")), "{id} takes no If-Match");
            let read = &DOCUMENT["paths"][operation.path]["get"]["responses"]["200"];
            for response in [&responses["200"], read] {
                assert!(resolve(response)["headers"].get("ETag").is_some(), "{id} answers no ETag");
            }
        }
        let page =
            resolve(&responses["200"])["content"]["application/json"]["schema"]["$ref"].as_str().unwrap_or_default();
        if page.ends_with("Page") {
            for name in ["limit", "cursor"] {
                assert!(parameter_named(operation, "query", Some(name)), "{id} takes no {name}");
            }
        }
    }
}

#[test]
fn objects_are_closed_and_what_is_taken_is_bounded() {
    // Open by intent: an item that is judged by itself, a form that mail programs send, JSON of the recipients' own.
    let open = ["/components/schemas/BulkUpsert/properties/items/items/anyOf/1", "/components/schemas/UnsubscribeForm"];
    let mut requests = BTreeSet::new();
    for operation in operations() {
        let id = operation.id();
        let body = operation.value["requestBody"]["content"].as_object().into_iter().flatten();
        for schema in
            body.map(|(_, media)| &media["schema"]).chain(operation.parameters().map(|parameter| &parameter["schema"]))
        {
            gather(&format!("/paths of {id}"), schema, &mut requests);
        }
    }
    walk("/components/schemas", &DOCUMENT["components"]["schemas"], &mut |pointer, schema| {
        if schema["type"] == "object" && !open.contains(&pointer) {
            assert!(schema.get("additionalProperties").is_some(), "{pointer} takes unknown fields");
        }
    });
    assert!(requests.len() > 50, "{requests:?}");
}

/// Assert bounds on every string, number and array of a request's schema, following references.
fn gather(pointer: &str, schema: &'static Value, seen: &mut BTreeSet<String>) {
    walk(pointer, schema, &mut |pointer, part| {
        if let Some(reference) = part["$ref"].as_str()
            && seen.insert(reference.to_owned())
        {
            gather(reference, resolve(part), seen);
        }
        let is = |kind: &str| {
            part["type"] == kind || part["type"].as_array().is_some_and(|kinds| kinds.contains(&json!(kind)))
        };
        let has = |key: &str| part.get(key).is_some();
        if pointer.contains("UnsubscribeForm") {
            return;
        }
        assert!(!is("string") || has("maxLength") || has("enum") || has("pattern"), "{pointer}: how long?");
        assert!(!is("integer") || (has("minimum") && has("maximum")), "{pointer}: from what to what?");
        assert!(!is("array") || has("maxItems"), "{pointer}: how many?");
    });
}

#[test]
fn the_check_tells_a_wrong_response_from_a_right_one() {
    let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    };
    let id = "req_01m8696nt5ek5v5nrx14zshrkq";
    let common = [("x-request-id", id), ("ratelimit", "\"key\";r=597;t=1"), ("ratelimit-policy", "\"key\";q=600;w=60")];
    let with = |more: &[(&'static str, &str)]| headers(&[&common[..], more].concat());
    let list = DOCUMENT["components"]["schemas"]["List"]["examples"][0].clone();
    let path = "/v1/lists/lst_01m8693p0xe3pt0yekqqme4qcm";
    let json = [("content-type", "application/json"), ("etag", "\"1\"")];
    let answer = |status: u16, headers: &HeaderMap, body: &Value| {
        judge("GET", path, status, headers, body.to_string().as_bytes())
    };

    assert_eq!(answer(200, &with(&json), &list), Ok(()));
    assert!(answer(200, &headers(&json), &list).unwrap_err().contains("is due"));
    assert!(
        answer(200, &with(&[("content-type", "text/html"), ("etag", "\"1\"")]), &list)
            .unwrap_err()
            .contains("text/html")
    );
    assert!(answer(202, &with(&json), &list).unwrap_err().contains("getList lists 200"));
    let mut more = list.clone();
    more["secret"] = json!("x");
    assert!(answer(200, &with(&json), &more).unwrap_err().contains("secret"));
    more = list.clone();
    more["created_at"] = json!("yesterday");
    assert!(answer(200, &with(&json), &more).unwrap_err().contains("/created_at"));

    let problem = |status: u16, kind: &str, instance: &str| json!({ "type": format!("/problems/{kind}"), "title": "A title", "status": status, "detail": "What.", "instance": instance });
    let head = with(&[("content-type", "application/problem+json"), ("allow", "GET, POST")]);
    let body = problem(404, "not-found", id);
    assert_eq!(answer(404, &head, &body), Ok(()));
    assert!(answer(404, &head, &problem(404, "not-found", "req_01m8696nt5ek5v5nrx14zshrkr")).is_err());
    assert!(answer(404, &head, &problem(404, "nonsense", id)).is_err());
    assert!(answer(404, &head, &problem(400, "not-found", id)).is_err());
    assert_eq!(judge("GET", "/nowhere", 404, &head, body.to_string().as_bytes()), Ok(()));
    let body = problem(405, "method-not-allowed", id).to_string();
    assert_eq!(judge("DELETE", "/v1/lists?limit=1", 405, &head, body.as_bytes()), Ok(()));
    assert!(judge("DELETE", path, 405, &head, body.as_bytes()).is_err());
    assert!(judge("GET", "/v1/recipients/bulk", 405, &head, body.as_bytes()).unwrap_err().contains("post"));
}

#[test]
#[should_panic(expected = "GET /v1/lists answered 418, against openapi.yaml:\nlistLists lists 200")]
fn a_response_that_is_not_listed_fails_its_test_in_words() {
    check("GET", "/v1/lists", 418, &HeaderMap::new(), b"a teapot");
}

#[test]
#[should_panic(expected = "nmae")]
fn a_body_that_is_taken_against_the_document_fails_its_test() {
    check_request("POST", "/v1/lists", &json!({ "name": "Spring news" }));
    check_request("PATCH", "/v1/campaigns/cmp_01m8695kvje6ka93mwvaae7fwh", &json!({ "reply_to": null }));
    check_request("POST", "/v1/lists", &json!({ "nmae": "Spring news" }));
}

#[test]
fn a_route_that_is_in_one_place_only_is_told() {
    let mut routes: Vec<_> = operations()
        .into_iter()
        .map(|operation| (operation.method, operation.path, operation.value["x-scope"].as_str()))
        .collect();
    assert_eq!(route_faults(routes.iter().copied()), "");
    routes.retain(|(_, path, _)| *path != "/docs");
    routes.push(("get", "/v1/metrics", Some("campaigns.read")));
    let faults = "  in openapi.yaml only: GET /docs, no key\n  in the routes only: GET /v1/metrics, campaigns.read\n";
    assert_eq!(route_faults(routes), faults);
}

#[test]
fn the_words_of_the_document_are_those_of_the_code() {
    let words = |name: &str, code: Vec<&str>| {
        let listed = DOCUMENT["components"]["schemas"][name]["enum"].as_array().unwrap();
        assert_eq!(listed.iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>(), code, "{name}");
    };
    words("CampaignState", CampaignState::ALL.map(CampaignState::as_str).to_vec());
    words("CampaignMove", CampaignMove::ALL.map(CampaignMove::as_str).to_vec());
    words("OnUnknown", vec![OnUnknown::RetryOnce.as_str(), OnUnknown::NeverResend.as_str()]);
    words("DeliveryState", DeliveryState::ALL.map(DeliveryState::as_str).to_vec());
    words("Outcome", Outcome::ALL.map(Outcome::as_str).to_vec());
    words("SuppressionReason", SuppressionReason::ALL.map(SuppressionReason::as_str).to_vec());
    words("BounceClass", BounceClass::ALL.map(BounceClass::as_str).to_vec());
    use Phase::{Auth, Body, Connect, Data, Dot, Ehlo, Greeting, Mail, Quit, Rcpt, Rset, Tls};
    let phases = [Connect, Greeting, Ehlo, Tls, Auth, Rset, Mail, Rcpt, Data, Body, Dot, Quit];
    words("Phase", phases.map(Phase::as_str).to_vec());
}
