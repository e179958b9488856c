//! Counts of right and wrong, by format, and the table that shows them.

use std::{collections::BTreeMap, fmt};

/// The questions that are asked of a sample, in the order of the table's columns.
pub const QUESTIONS: [&str; 5] = ["recipient", "bounce or not", "as the labels say", "hard or not", "hard, agreed"];

/// Right answers of all.
#[derive(Clone, Copy, Default)]
pub struct Score {
    pub n: usize,
    pub n_right: usize,
}

impl Score {
    pub fn percent(self) -> f64 {
        100.0 * self.n_right as f64 / self.n.max(1) as f64
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.n == 0 { f.write_str("-") } else { write!(f, "{}/{}", self.n_right, self.n) }
    }
}

/// Scores by format and question, with what went wrong.
#[derive(Default)]
pub struct Scores {
    by_format: BTreeMap<String, [Score; QUESTIONS.len()]>,
    pub total: [Score; QUESTIONS.len()],
    pub wrong: [Vec<String>; QUESTIONS.len()],
}

impl Scores {
    /// Counts the answer to a question about a sample; `what` says what was answered, should it be wrong.
    pub fn count(&mut self, question: usize, file: &str, is_right: bool, what: impl FnOnce() -> String) {
        let scores = self.by_format.entry(format_of(file).to_owned()).or_default();
        for score in [&mut scores[question], &mut self.total[question]] {
            score.n += 1;
            score.n_right += usize::from(is_right);
        }
        if !is_right {
            self.wrong[question].push(format!("{file}: {}", what()));
        }
    }

    /// The table and, where asked for, the wrong answers.
    pub fn print(&self, title: &str) {
        println!("\n{title}\n");
        println!("| format | {} |", QUESTIONS.join(" | "));
        println!("|---|{}", "---|".repeat(QUESTIONS.len()));
        for (format, scores) in &self.by_format {
            println!("| {format} | {} |", scores.map(|score| score.to_string()).join(" | "));
        }
        let percents = self.total.map(|s| if s.n == 0 { "-".to_owned() } else { format!("{s}, {:.1} %", s.percent()) });
        println!("| **all** | {} |", percents.join(" | "));
        if std::env::var_os("CORPUS_DETAILS").is_some() {
            for (question, lines) in QUESTIONS.iter().zip(&self.wrong) {
                println!("\n{question}:");
                lines.iter().for_each(|line| println!("  {line}"));
            }
        }
    }
}

/// The format that a sample's name begins with: `lhost-exim-03.eml` is of `lhost-exim`, `qmail_01.txt` of `qmail`.
fn format_of(file: &str) -> &str {
    let stem = file.split_once('.').map_or(file, |(stem, _)| stem);
    stem.rsplit_once(['-', '_']).map_or(stem, |(format, _)| format)
}
