//! Answers by machines: out of office, ticket received (RFC 3834, and what was in use before it), and mailboxes that ask
//! the sender to prove that he is one. How they are told is data (`auto_reply.toml`).
//!
//! Asked last: Postfix marks its DSNs `Auto-Submitted: auto-replied` as well.

use std::sync::LazyLock;

use regex::{Regex, RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;

use super::{headers::Headers, parts::Part};

const TABLE: &str = include_str!("auto_reply.toml");
/// Most bytes of a text that are searched for a challenge, and of a header field for a mark.
const TEXT_MAX_BYTES: usize = 4_000;
const FIELD_MAX_BYTES: usize = 300;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    headers: Vec<(String, String)>,
    subjects: Vec<String>,
    challenges: Vec<String>,
}

struct Words {
    headers: Vec<(String, Regex)>,
    subjects: RegexSet,
    challenges: RegexSet,
}

/// `None` only if the table has a fault; a test makes sure that it hasn't.
static WORDS: LazyLock<Option<Words>> = LazyLock::new(|| Words::parse().ok());

impl Words {
    fn parse() -> Result<Self, Box<dyn std::error::Error>> {
        let Table { headers, subjects, challenges } = toml::from_str(TABLE)?;
        let one = |pattern: &str| RegexBuilder::new(pattern).case_insensitive(true).build();
        let set = |patterns: Vec<String>| RegexSetBuilder::new(patterns).case_insensitive(true).build();
        let headers = headers.into_iter().map(|(name, pattern)| Ok((name, one(&pattern)?)));
        Ok(Self {
            headers: headers.collect::<Result<_, regex::Error>>()?,
            subjects: set(subjects.iter().map(|pattern| format!("^(?:{pattern})")).collect())?,
            challenges: set(challenges)?,
        })
    }
}

/// Whether a message was answered by a machine, and in which way.
pub(super) fn read(headers: &Headers, subject: &str, parts: &[Part<'_>]) -> Option<&'static str> {
    let is_reply = is_marked(headers) || (!is_by_person(headers) && is_announced(subject));
    let words = WORDS.as_ref()?;
    let text = || parts.iter().find(|part| part.n_enclosing == 0 && part.is_prose()).map(|part| part.text());
    // Somebody who writes about a challenge writes more than its words; a machine says who it is.
    let is_machine = is_reply || is_generated(headers) || is_bare(headers);
    if words.challenges.is_match(cut(subject, FIELD_MAX_BYTES))
        || (is_machine && text().is_some_and(|text| words.challenges.is_match(cut(&text, TEXT_MAX_BYTES))))
    {
        return Some("challenge");
    }
    // Machines answer with an empty return path (RFC 3834 §3.3); so do receipts, which tell what a person did.
    let is_receipt = parts.first().is_some_and(|part| part.report_type.is_some());
    let is_bare = !is_receipt && !is_by_person(headers) && is_bare(headers);
    // What a machine made in answer to something names it.
    let answers = names_another(headers) || is_answer(subject);
    (is_reply || is_bare || (is_generated(headers) && answers)).then_some("rfc3834")
}

/// Whether its header says that it is an automatic answer.
pub(super) fn is_marked(headers: &Headers) -> bool {
    WORDS.as_ref().is_some_and(|words| {
        let marks =
            |(name, value): &(String, Regex)| headers.all(name).any(|v| value.is_match(cut(v, FIELD_MAX_BYTES)));
        words.headers.iter().any(marks)
    })
}

/// Whether its subject says that it is an automatic answer.
pub(super) fn is_announced(subject: &str) -> bool {
    let subject = cut(subject.trim(), FIELD_MAX_BYTES);
    WORDS.as_ref().is_some_and(|words| words.subjects.is_match(subject))
}

/// Whether the subject is that of an answer: `Re:` in several languages.
pub(super) fn is_answer(subject: &str) -> bool {
    const MARKS: [&str; 10] = ["re", "aw", "sv", "vs", "antw", "rif", "odp", "ynt", "回复", "返信"];
    let mark = subject.trim().split([':', '：']).next().filter(|mark| mark.len() < subject.trim().len());
    mark.is_some_and(|mark| MARKS.contains(&mark.trim().to_lowercase().as_str()))
}

/// Whether it names the message that it answers.
pub(super) fn names_another(headers: &Headers) -> bool {
    headers.get("In-Reply-To").is_some() || headers.get("References").is_some()
}

/// Whether it came with an empty return path.
pub(super) fn is_bare(headers: &Headers) -> bool {
    headers.get("Return-Path").is_some_and(|path| path.trim() == "<>")
}

fn is_generated(headers: &Headers) -> bool {
    headers.get("Auto-Submitted").is_some_and(|value| value.trim().to_lowercase().starts_with("auto-"))
}

fn is_by_person(headers: &Headers) -> bool {
    headers.get("Auto-Submitted").is_some_and(|value| value.trim().to_lowercase().starts_with("no"))
}

fn cut(text: &str, n_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(n_bytes)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_parses() {
        assert_eq!(Words::parse().err().map(|error| error.to_string()), None);
    }

    #[test]
    fn answers_in_many_languages_are_told_by_their_subject() {
        for subject in [
            "Automatic reply: Hello",
            "Out of Office: Hello",
            "AUTO: Ann is out of the office",
            "Automatische Antwort: Hallo",
            "Réponse automatique : Bonjour",
            "Respuesta automática: Hola",
            "Resposta automática: Olá",
            "Risposta automatica: Ciao",
            "Automatisch antwoord: Hallo",
            "Autosvar: Hej",
            "Automatyczna odpowiedź: Witam",
            "Automatická odpověď: Dobrý den",
            "Автоматический ответ: Привет",
            "自動応答: こんにちは",
            "自动回复：你好",
            "자동 회신: 안녕",
            "Your request has been received",
        ] {
            assert!(is_announced(subject), "{subject}");
        }
        for subject in ["Hello", "About the office", "Delivery Status Notification (Failure)", "Re: automatic"] {
            assert!(!is_announced(subject), "{subject}");
        }
        assert!(is_answer("Re: Hello") && is_answer("AW : Hallo") && !is_answer("Hello") && !is_answer("re"));
    }
}
