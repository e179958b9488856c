//! The samples of flufl.bounce, as `make corpus` unpacks them: the addresses that each reports on, exactly.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use postrider::{domain::bounce::describe, mail::report::inspect};

use super::score::Scores;

/// Reads all samples under `corpus`; the question is the exact set of failed and delayed addresses.
pub fn measure(corpus: &Path) -> Scores {
    let labels = fs::read(corpus.join("expected.json")).unwrap();
    let labels: BTreeMap<String, BTreeSet<String>> = serde_json::from_slice(&labels).unwrap();
    let mut scores = Scores::default();
    for (file, expected) in &labels {
        let found = describe(&inspect(&fs::read(corpus.join("samples").join(file)).unwrap()).unwrap());
        let named = found.recipients.iter().filter(|r| matches!(r.action, "failed" | "delayed"));
        let named: BTreeSet<String> = named.filter_map(|r| r.address.as_deref()).map(str::to_lowercase).collect();
        let expected = expected.iter().map(|address| address.to_lowercase()).collect();
        scores.count(0, file, named == expected, || format!("{named:?} instead of {expected:?} ({})", found.kind));
    }
    scores
}
