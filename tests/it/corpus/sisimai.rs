//! The samples of Sisimai's set: one message a file, labels in `expected.json`.
//!
//! Where a label and we mean different things the sample is left out of "hard, agreed", by rules on what the report says
//! and never by its name: see [`differs`].

use std::{collections::BTreeMap, fs, path::Path};

use postrider::{
    domain::bounce::{RecipientDescription, Severity, describe},
    mail::report::inspect,
};
use serde::Deserialize;

use super::score::Scores;

#[derive(Deserialize)]
struct Label {
    /// Some are redacted: then there is nothing to compare.
    recipient: Option<String>,
    reason: String,
    hardbounce: bool,
}

/// What was measured.
#[derive(Default)]
pub struct Measured {
    pub scores: Scores,
    /// Addresses that were read and are not in the labels.
    pub surplus: Vec<String>,
    /// Non-bounces that were read as bounces.
    pub false_bounces: Vec<String>,
    /// Where hard or not was answered otherwise because we mean something else, and what.
    pub differing: Vec<String>,
}

/// Why a label's `hardbounce` is not the answer to our question, if it isn't.
fn differs(label: &Label, entry: &RecipientDescription) -> Option<&'static str> {
    let status = entry.status.as_deref().unwrap_or("");
    if status == "5.2.1" {
        return Some("5.2.1 condemns for us (RFC 3463: the mailbox is disabled), the labels call it soft");
    }
    if status == "5.4.4" || (entry.class == Some("no_such_domain") && label.reason == "networkerror") {
        return Some("5.4.4 is the way there, soft for us, hard in the labels");
    }
    if entry.action == "delayed" {
        return Some("a delay has no severity");
    }
    if label.reason == "filtered" && entry.class == Some("no_such_user") {
        return Some(
            "`filtered` in the labels means words like `user unknown` at an unknown phase; the words count for us",
        );
    }
    None
}

/// Reads all samples under `corpus`.
pub fn measure(corpus: &Path) -> Measured {
    let labels = fs::read(corpus.join("expected.json")).unwrap();
    let labels: BTreeMap<String, Vec<Label>> = serde_json::from_slice(&labels).unwrap();
    let mut measured = Measured::default();
    for (file, expected) in &labels {
        measured.count(file, expected, &fs::read(corpus.join("bounces").join(file)).unwrap());
    }
    measured
}

impl Measured {
    fn count(&mut self, file: &str, expected: &[Label], raw: &[u8]) {
        let found = describe(&inspect(raw).unwrap());
        let addresses: Vec<&str> = found.recipients.iter().filter_map(|r| r.address.as_deref()).collect();
        for label in expected {
            let Some(recipient) = &label.recipient else { continue };
            let same = |r: &&RecipientDescription| {
                r.address.as_deref().is_some_and(|address| address.eq_ignore_ascii_case(recipient))
            };
            let named = found.recipients.iter().find(same);
            let is_bounce = !matches!(label.reason.as_str(), "vacation" | "feedback" | "delivered");
            if is_bounce {
                self.scores
                    .count(0, file, named.is_some(), || format!("{recipient} not in {addresses:?} ({})", found.kind));
            }
            let entry = named.or(found.recipients.first());
            let action = entry.map_or("none", |r| r.action);
            let told = |action| format!("{} is {} {action}", label.reason, found.kind);
            // The labels know no delays: what says itself that it is one is a notice and not yet a bounce.
            let is_right = if is_bounce { matches!(action, "failed" | "delayed") } else { action != "failed" };
            self.scores.count(1, file, is_right, || told(action));
            self.scores.count(2, file, (action == "failed") == is_bounce, || told(action));
            if !is_bounce && action == "failed" {
                self.false_bounces.push(file.to_owned());
            }
            if !is_bounce {
                continue;
            }
            let is_hard = entry.is_some_and(|r| r.severity == Some(Severity::Hard));
            let is_right = is_hard == label.hardbounce;
            let got = || {
                let got = entry.map(|r| (r.class, r.status.as_deref(), r.diagnostic.as_deref()));
                format!("{} hard={} is {got:?}", label.reason, label.hardbounce)
            };
            self.scores.count(3, file, is_right, got);
            match entry.and_then(|entry| differs(label, entry)) {
                Some(why) if !is_right => self.differing.push(format!("{file}: {}: {why}", label.reason)),
                _ => self.scores.count(4, file, is_right, got),
            }
        }
        let known = |address: &&&str| {
            expected.iter().any(|l| l.recipient.as_deref().is_some_and(|r| r.eq_ignore_ascii_case(address)))
        };
        let extra = addresses.iter().filter(|address| !known(address));
        self.surplus.extend(extra.map(|address| format!("{file}: {address}")));
    }
}
