//! A notice in prose: is it one, what is its text, where does the original begin, does it speak of a delay. A leaf over
//! `words`.

use super::{
    super::{
        auto_reply::{is_announced, is_answer, is_bare, is_marked, names_another},
        headers::Headers,
        parts::Part,
    },
    words::Words,
};

/// Most lines of a notice that are looked at.
const LINES_MAX: usize = 2_000;
/// Most bytes of a line that are looked at: Gmail puts a whole reply on one.
const LINE_MAX_BYTES: usize = 2_000;
/// Most bytes of a notice that are looked at: a thousand recipients take no more.
const NOTICE_MAX_BYTES: usize = 128_000;
/// Most text parts that are looked at.
const PARTS_MAX: usize = 10;

/// The text of a notice, cut from the original that follows it.
pub(in super::super) struct Notice {
    /// Up to the original.
    pub(in super::super) lines: Vec<String>,
    /// The original's header, when it stands in the text.
    pub(in super::super) original: Headers,
}

impl Notice {
    /// Collects the text parts of the report itself: plain ones, else HTML.
    pub(super) fn collect(parts: &[Part<'_>], words: &Words) -> Self {
        let own = || parts.iter().filter(|part| part.n_enclosing == 0 && part.is_prose()).take(PARTS_MAX);
        let plain: String =
            own().filter(|part| part.media_type != "text/html").map(|part| part.text() + "\n").collect();
        let text = if plain.trim().is_empty() { own().map(|part| part.text() + "\n").collect() } else { plain };
        let mut lines = Vec::new();
        let mut rest = text.as_str();
        let (mut is_told, mut n_bytes) = (false, 0);
        while let Some((line, after)) = rest.split_once('\n') {
            if lines.len() >= LINES_MAX || n_bytes > NOTICE_MAX_BYTES {
                break;
            }
            let line = line.get(..line.floor_char_boundary(LINE_MAX_BYTES)).unwrap_or("").trim_end();
            if is_told && words.separators.is_match(line.trim_start()) {
                return Self { lines, original: header_behind(rest) };
            }
            is_told |= !line.is_empty();
            n_bytes += line.len();
            lines.push(line.to_owned());
            rest = after;
        }
        Self { lines, original: Headers::default() }
    }

    /// Whether it is a notice at all: two of sender, subject and words say so, or one sign that is enough.
    pub(super) fn is_one(&self, headers: &Headers, subject: &str, parts: &[Part<'_>], words: &Words) -> bool {
        let from = headers.decoded("From").unwrap_or_default();
        let is_typed = parts.first().is_some_and(|part| part.report_type.as_deref() == Some("delivery-status"));
        if is_typed || headers.get("X-Failed-Recipients").is_some() || words.daemons.is_match(&from) {
            return true;
        }
        // `Re: Undelivered mail` is a person's; `Automatic reply: Undelivered mail` a machine's that is no mail server.
        let is_answer = is_answer(subject) && names_another(headers);
        let is_titled = words.subjects.is_match(subject) && !is_answer && !is_announced(subject);
        let is_sender = words.senders.is_match(&from) || (is_titled && words.weak_senders.is_match(&from));
        let is_worded = self.lines.iter().any(|line| words.openings.is_match(line));
        // An empty return path counts with words only: automatic answers have it too.
        let is_bare = is_bare(headers);
        match (is_sender, is_titled, is_worded) {
            (true, true, _) | (_, true, true) => true,
            (true, false, true) => !is_announced(subject),
            (false, false, true) => is_bare && !is_marked(headers) && !is_announced(subject) && !is_answer,
            _ => false,
        }
    }

    /// Whether it tells of success.
    pub(super) fn is_success(&self, subject: &str, words: &Words) -> bool {
        let lines = || self.lines.iter().map(String::as_str).chain([subject]);
        lines().any(|line| words.successes.is_match(line))
            && !words.subjects.is_match(subject)
            && !lines().any(|line| words.finals.is_match(line))
    }

    /// Whether the message still waits.
    pub(super) fn is_delay(&self, subject: &str, words: &Words) -> bool {
        // "You will be notified if the delivery fails permanently": the subject knows better than the text.
        if words.delays.is_match(subject) && !words.finals.is_match(subject) {
            return true;
        }
        let lines = || self.lines.iter().map(String::as_str).chain([subject]);
        lines().any(|line| words.delays.is_match(line)) && !lines().any(|line| words.finals.is_match(line))
    }
}

/// The header block behind a separator line: at the line itself when it is a header, else at the next that is one.
fn header_behind(text: &str) -> Headers {
    let mut rest = text;
    for _ in 0..10 {
        let (headers, _) = Headers::parse(rest.as_bytes());
        if !headers.is_empty() {
            return headers;
        }
        let Some((_, after)) = rest.split_once('\n') else { break };
        rest = after;
    }
    Headers::default()
}
