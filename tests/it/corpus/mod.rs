//! How well reports of the wild are read: measured on samples that others collected and labelled. They are not ours to
//! keep here: Sisimai's lie beside the checkout (`../shared/corpus`, or where `POSTRIDER_CORPUS` says), those of
//! flufl.bounce are fetched by `make corpus`. Where they are missing the test says on the terminal that it measured nothing; with
//! `POSTRIDER_CORPUS_REQUIRED` set it fails. What always runs are the project's own samples (`samples.rs`).

mod flufl;
mod score;
mod sisimai;

use std::{env, io::Write, path::PathBuf};

use sisimai::Measured;

/// The folder of a corpus: what the variable names, else the first that exists of the customary places.
fn folder(variable: &str, places: &[&str]) -> Option<PathBuf> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let found = match env::var_os(variable) {
        Some(path) => Some(PathBuf::from(path)),
        None => places.iter().map(|place| root.join(place)).find(|path| path.is_dir()),
    };
    if found.is_none() {
        assert!(env::var_os("POSTRIDER_CORPUS_REQUIRED").is_none(), "none of {places:?} is there");
        // Straight to the terminal: the harness keeps what a test that passes prints.
        let _ = writeln!(std::io::stderr(), "NOT MEASURED: none of {places:?} is there ({variable}, make corpus)");
    }
    found
}

#[test]
fn the_samples_of_sisimai_are_read_as_well_as_promised() {
    let Some(corpus) = folder("POSTRIDER_CORPUS", &["../shared/corpus", "../../shared/corpus"]) else { return };
    let Measured { scores, surplus, false_bounces, differing } = sisimai::measure(&corpus);
    scores.print("Sisimai's samples");
    println!("\nsurplus recipients: {surplus:#?}\nwhere labels and we differ: {differing:#?}");
    let [recipient, bounce, _, _, hard] = scores.total.map(score::Score::percent);
    assert!(recipient >= 98.0, "recipients: {recipient:.1} %");
    assert!(bounce >= 99.0, "bounce or not: {bounce:.1} %");
    assert!(hard >= 95.0, "hard or not: {hard:.1} %");
    assert!(false_bounces.is_empty(), "bounces among what is none: {false_bounces:?}");
}

#[test]
fn the_samples_of_flufl_bounce_are_read_as_well_as_promised() {
    let Some(corpus) = folder("POSTRIDER_CORPUS_FLUFL", &[".corpus/flufl.bounce"]) else { return };
    let scores = flufl::measure(&corpus);
    scores.print("flufl.bounce's samples");
    assert!(scores.total[0].percent() >= 92.0, "addresses: {:.1} %", scores.total[0].percent());
}
