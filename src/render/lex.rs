//! A template's source, cut into static text and tags: linear in its length, whatever stands in it.
//!
//! Cutting is ours and not the library's, because its parser recurses once per open block and bracket and counts lines from
//! the start for every tag: a few hundred brackets end the process, 2,000 tags take seconds. Cut into tags, nothing it gets is
//! long or deep. The rules are Handlebars': `\{{` is text, a tag that stands alone on its line takes the line with it, `~`
//! eats blanks.
//!
//! Not here: what stands in a tag (`expression`), which block it belongs to (`parse`).

use super::{
    fault::{Fault, Part, Position},
    limits::{TAG_MAX_BRACKETS, TAG_MAX_BYTES, TAGS_MAX},
    node::Text,
};

/// A piece of a template's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Text(Text),
    Tag(Tag),
}

/// A tag without its braces, tildes and mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    pub kind: TagKind,
    /// What stands behind the mark, blanks around it taken off.
    pub inner: String,
    pub at: Position,
}

/// What a tag's mark says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TagKind {
    /// `{{x}}`.
    Value,
    /// `{{{x}}}` and `{{&x}}`.
    RawValue,
    /// `{{#x}}`.
    Open,
    /// `{{else}}` and `{{^}}`, perhaps with another condition.
    Else,
    /// `{{/x}}`.
    Close,
    /// `{{! x }}`.
    Comment,
}

/// A tag, and where it lay in the source.
struct Found<'s> {
    tag: Tag,
    start: usize,
    end: usize,
    source: &'s str,
    eats_before: bool,
    eats_behind: bool,
}

/// Cuts a template into text and tags.
///
/// # Errors
/// The first fault that makes the rest unreadable.
pub(super) fn cut(part: Part, source: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut text = String::new();
    let mut text_at = Position::START;
    let mut at = Position::START;
    let mut done = 0;
    let mut n_tags = 0;
    let mut trim = Trim::None;
    loop {
        let rest = source.get(done..).unwrap_or_default();
        let Some(braces) = rest.find("{{") else {
            trim.apply(rest, &mut text, &mut text_at);
            break;
        };
        let before = rest.get(..braces).unwrap_or_default();
        let n_backslashes = before.bytes().rev().take_while(|byte| *byte == b'\\').count();
        // One backslash makes the braces text; of several, one goes and the tag stays.
        let (kept, _) = before.split_at_checked(before.len() - n_backslashes.min(1)).unwrap_or((before, ""));
        trim.apply(kept, &mut text, &mut text_at);
        at = at.after(before);
        done += braces;
        if n_backslashes == 1 {
            let n_braces = if source.get(done..).is_some_and(|rest| rest.starts_with("{{{{")) { 4 } else { 2 };
            text.push_str(source.get(done..done + n_braces).unwrap_or_default());
            at = at.after(source.get(done..done + n_braces).unwrap_or_default());
            done += n_braces;
            trim = Trim::None;
            continue;
        }
        n_tags += 1;
        if n_tags > TAGS_MAX {
            return Err(fault(part, at, "too_many_tags", format!("a template has at most {TAGS_MAX} tags")));
        }
        let found = find_tag(part, source, done, at)?;
        let stands_alone = !matches!(found.tag.kind, TagKind::Value | TagKind::RawValue) && found.stands_alone();
        if found.eats_before {
            text.truncate(text.trim_end().len());
        }
        if stands_alone {
            text.truncate(text.trim_end_matches([' ', '\t']).len());
        }
        if !text.is_empty() {
            tokens.push(Token::Text(Text { text: std::mem::take(&mut text), at: text_at }));
        }
        trim = match (found.eats_behind, stands_alone) {
            (true, _) => Trim::Blanks,
            (false, true) => Trim::Line,
            (false, false) => Trim::None,
        };
        at = at.after(source.get(found.start..found.end).unwrap_or_default());
        text_at = at;
        done = found.end;
        tokens.push(Token::Tag(found.tag));
    }
    if !text.is_empty() {
        tokens.push(Token::Text(Text { text, at: text_at }));
    }
    Ok(tokens)
}

/// What goes from the start of the text behind a tag.
#[derive(Clone, Copy)]
enum Trim {
    None,
    /// The rest of the tag's line.
    Line,
    /// All blanks.
    Blanks,
}

impl Trim {
    /// Appends `source` to an empty or begun text; only an empty one is trimmed.
    fn apply(self, source: &str, text: &mut String, text_at: &mut Position) {
        let kept = match self {
            _ if !text.is_empty() => source,
            Self::None => source,
            Self::Blanks => source.trim_start(),
            Self::Line => {
                let rest = source.trim_start_matches([' ', '\t']);
                rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n')).unwrap_or(rest)
            }
        };
        if text.is_empty() {
            *text_at = text_at.after(source.get(..source.len() - kept.len()).unwrap_or_default());
        }
        text.push_str(kept);
    }
}

impl Found<'_> {
    /// Whether nothing but blanks is on the tag's line (or lines).
    fn stands_alone(&self) -> bool {
        let blank = |c: char| c == ' ' || c == '\t';
        let before = self.source.get(..self.start).unwrap_or_default().trim_end_matches(blank);
        let behind = self.source.get(self.end..).unwrap_or_default();
        let is_first = before.is_empty() || before.ends_with(['\n', '\r']);
        is_first && (behind.is_empty() || behind.trim_start_matches(blank).starts_with(['\n', '\r']))
    }
}

/// Reads the tag that begins at `start`.
fn find_tag(part: Part, source: &str, start: usize, at: Position) -> Result<Found<'_>, Fault> {
    let rest = source.get(start..).unwrap_or_default();
    let comment = |inner: &str, n_bytes: usize| Found {
        tag: Tag { kind: TagKind::Comment, inner: inner.to_owned(), at },
        start,
        end: start + n_bytes,
        source,
        eats_before: false,
        eats_behind: false,
    };
    let unclosed = || fault(part, at, "unclosed_tag", "this tag is not closed".to_owned());
    if let Some(body) = rest.strip_prefix("{{!--")
        && let Some(end) = body.find("--}}")
    {
        return Ok(comment("", end + 9));
    }
    if let Some(body) = rest.strip_prefix("{{!") {
        return Ok(comment("", body.find("}}").ok_or_else(unclosed)? + 5));
    }
    if rest.starts_with("{{{{") {
        return Err(fault(part, at, "raw_block", "raw blocks are not allowed; write \\{{ for braces".to_owned()));
    }
    let (opening, closing) = if rest.starts_with("{{{") { ("{{{", "}}}") } else { ("{{", "}}") };
    let body = rest.strip_prefix(opening).unwrap_or_default();
    let n_inner = find_closing(body, closing).ok_or_else(unclosed)?;
    let inner = body.get(..n_inner).unwrap_or_default();
    if inner.len() > TAG_MAX_BYTES {
        return Err(fault(part, at, "long_tag", format!("a tag has at most {TAG_MAX_BYTES} bytes")));
    }
    if inner.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count() > TAG_MAX_BRACKETS {
        return Err(fault(part, at, "nested_tag", format!("a tag opens at most {TAG_MAX_BRACKETS} brackets")));
    }
    let end = start + opening.len() + n_inner + closing.len();
    let inner = inner.trim();
    let (eats_before, inner) = inner.strip_prefix('~').map_or((false, inner), |inner| (true, inner));
    let (eats_behind, inner) = inner.strip_suffix('~').map_or((false, inner), |inner| (true, inner));
    let inner = inner.trim();
    let (kind, inner) = if opening.len() == 3 { (TagKind::RawValue, inner) } else { read_mark(part, at, inner)? };
    Ok(Found { tag: Tag { kind, inner: inner.to_owned(), at }, start, end, source, eats_before, eats_behind })
}

fn read_mark(part: Part, at: Position, inner: &str) -> Result<(TagKind, &str), Fault> {
    let refused = |what: &str| fault(part, at, "partial", format!("{what} are not allowed in templates"));
    let mark = inner.chars().next().unwrap_or_default();
    let rest = inner.strip_prefix(mark).unwrap_or_default().trim_start();
    Ok(match mark {
        '#' if rest.starts_with('>') => return Err(refused("partials")),
        '#' if rest.starts_with('*') => return Err(refused("inline partials and decorators")),
        '>' => return Err(refused("partials")),
        '*' => return Err(refused("decorators")),
        '#' => (TagKind::Open, rest),
        '/' => (TagKind::Close, rest),
        '^' => (TagKind::Else, rest),
        '&' => (TagKind::RawValue, rest),
        '{' => (TagKind::RawValue, rest.strip_suffix('}').unwrap_or(rest).trim_end()),
        _ => match inner.strip_prefix("else") {
            Some(rest) if rest.is_empty() || rest.starts_with(char::is_whitespace) => {
                (TagKind::Else, rest.trim_start())
            }
            _ => (TagKind::Value, inner),
        },
    })
}

/// Where a tag's body ends: at the first closing braces outside quotes, or the very first ones when the quotes don't add up.
fn find_closing(body: &str, closing: &str) -> Option<usize> {
    let bytes = body.as_bytes();
    let mut quote = None;
    let mut is_escaped = false;
    for (place, byte) in bytes.iter().enumerate() {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if *byte == b'\\' => is_escaped = true,
            Some(open) if *byte == open => quote = None,
            Some(_) => {}
            None if matches!(byte, b'"' | b'\'') => quote = Some(*byte),
            None if bytes.get(place..).is_some_and(|rest| rest.starts_with(closing.as_bytes())) => return Some(place),
            None => {}
        }
        // No tag is that long: its quotes don't add up, and looking further would make long templates slow.
        if place > TAG_MAX_BYTES {
            break;
        }
    }
    body.find(closing)
}

fn fault(part: Part, at: Position, code: &'static str, message: String) -> Fault {
    Fault { part, at, code, message }
}
