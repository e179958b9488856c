//! The project's own samples: `tests/it/samples/NAME.eml`, one for each format and written for it, with what is to be read from
//! it beside it (`NAME.json`), and `replies.tsv`: what servers say, and what it means.

use std::{collections::BTreeMap, fs, path::PathBuf};

use postrider::{
    domain::bounce::{classify_recipient, classify_reply, describe},
    mail::report::{Action, ReportRecipient, inspect},
};
use serde_json::{Value, json};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/samples")
}

/// The samples by name: message, and what is to be read from it.
pub fn samples() -> BTreeMap<String, (Vec<u8>, Value)> {
    let files = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path());
    let messages = files.filter(|path| path.extension().is_some_and(|extension| extension == "eml"));
    let sample = |path: PathBuf| {
        let expected = fs::read(path.with_extension("json")).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, (fs::read(&path).unwrap(), serde_json::from_slice(&expected).unwrap()))
    };
    messages.map(sample).collect()
}

/// What was read, in the shape of the files beside the samples: the words of the servers are left out.
fn told(raw: &[u8]) -> Value {
    let mut told = serde_json::to_value(describe(&inspect(raw).unwrap())).unwrap();
    for recipient in told["recipients"].as_array_mut().unwrap() {
        recipient.as_object_mut().unwrap().remove("diagnostic");
    }
    json!({ "kind": told["kind"], "recipients": told["recipients"] })
}

#[test]
fn every_sample_is_read_as_it_says_beside_it() {
    let samples = samples();
    assert!(samples.len() >= 50, "only {} samples", samples.len());
    for (name, (raw, expected)) in samples {
        assert_eq!(told(&raw), expected, "{name}");
    }
}

#[test]
fn the_kind_of_line_end_changes_nothing() {
    for (name, (raw, expected)) in samples() {
        for line_end in [b"\r\n".as_slice(), b"\r", b"\r\r\n"] {
            let lines: Vec<&[u8]> = raw.split(|byte| *byte == b'\n').collect();
            assert_eq!(told(&lines.join(line_end)), expected, "{name} with {line_end:?}");
        }
    }
}

#[test]
fn every_reply_means_what_it_says_beside_it() {
    let table = fs::read_to_string(folder().join("replies.tsv")).unwrap();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let [code, status, class, severity, text] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let (code, status) = (code.parse().ok(), status.parse().ok());
        let recipient = ReportRecipient {
            reply_code: code,
            status,
            diagnostic: Some(text.to_owned()),
            ..ReportRecipient::new(Action::Failed)
        };
        let verdict = classify_recipient(&recipient);
        assert_eq!((verdict.class.as_str(), verdict.severity.as_str()), (class, severity), "{line}");
        // The session and the report judge alike.
        if let Some(code) = code {
            assert_eq!(classify_reply(code, status, text), verdict, "{line}");
        }
    }
}
