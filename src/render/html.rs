//! Where in HTML a byte stands: a tokenizer's states without the tokens, run over a template's static text.
//!
//! It follows the HTML standard's states as far as mail needs them: text, tags, attributes in their three quotings, comments,
//! and the elements whose content is not markup.
//!
//! Not here: what is done with it (`markup`). HTML standard §13.2.5.

use super::url::UrlUse;

/// Longest tag or attribute name that is told from others.
const NAME_MAX_BYTES: usize = 32;
/// Elements whose content is text up to their end tag.
const RAW_TEXT: [&str; 8] = ["script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes"];

/// The state between two bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Html {
    state: State,
    /// The tag that is being read, in lower case.
    tag: Vec<u8>,
    is_end_tag: bool,
    attribute: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Content,
    /// Behind `<`.
    Tag,
    /// Behind `</`.
    EndTag,
    TagName,
    BeforeAttribute,
    AttributeName,
    AfterAttributeName,
    BeforeValue,
    Value(Quote),
    /// Behind `<!`, with the number of dashes.
    Declaration(u8),
    /// In a comment, with the number of dashes just seen.
    Comment(u8),
    /// `<!doctype …>`, `<?…>` and the like.
    Bogus,
    /// In an element of raw text, with how much of its end tag was seen.
    RawText(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quote {
    Double,
    Single,
    None,
}

/// What a place in HTML is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Text that is read.
    Content,
    /// In a quoted attribute value.
    QuotedValue,
    /// In an attribute value without quotes, or where one may begin.
    UnquotedValue,
    /// Anything else: tags, comments, styles.
    Markup,
}

/// What a byte begins or ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// A tag, an end tag, a comment or a declaration began so many bytes before this one; 0: none did.
    pub n_markup_bytes: usize,
    /// A comment or a declaration ends with this byte.
    pub ends_comment: bool,
    /// An attribute value that holds a URL begins: behind this byte, or with it when it has no quotes.
    pub begins_url: Option<UrlStart>,
    /// It ended before this byte.
    pub ends_url: bool,
    /// A tag ends with this byte.
    pub ends_tag: Option<TagEnd>,
}

/// An attribute whose value is a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UrlStart {
    pub url_use: UrlUse,
    /// `href` of `a` or `area`: a click may be counted.
    pub is_click: bool,
    pub is_quoted: bool,
}

/// A whole tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TagEnd {
    pub name: String,
    pub is_end_tag: bool,
}

impl Html {
    /// The start of a document or of a piece of one.
    pub fn new() -> Self {
        Self { state: State::Content, tag: Vec::new(), is_end_tag: false, attribute: Vec::new() }
    }

    /// What the place between the last byte and the next is.
    pub fn place(&self) -> Place {
        match self.state {
            // A `<` is text until a letter follows.
            State::Content | State::Tag | State::EndTag => Place::Content,
            State::Value(Quote::Double | Quote::Single) => Place::QuotedValue,
            State::Value(Quote::None) | State::BeforeValue => Place::UnquotedValue,
            _ => Place::Markup,
        }
    }

    /// Whether two places are the same as far as what follows is concerned.
    pub fn continues_like(&self, other: &Self) -> bool {
        let between_attributes = |html: &Self| {
            matches!(
                html.state,
                State::TagName | State::BeforeAttribute | State::AttributeName | State::AfterAttributeName
            )
        };
        if between_attributes(self) && between_attributes(other) {
            return self.tag == other.tag && self.is_end_tag == other.is_end_tag;
        }
        match (self.state, other.state) {
            (State::Content, State::Content) | (State::Bogus, State::Bogus) => true,
            (State::Comment(_), State::Comment(_)) => true,
            (State::RawText(_), State::RawText(_)) => self.tag == other.tag,
            _ => self == other,
        }
    }

    /// Takes one byte.
    pub fn step(&mut self, byte: u8) -> Step {
        let mut step = Step::default();
        match self.state {
            State::Content if byte == b'<' => self.state = State::Tag,
            State::Content => {}
            State::Tag => self.step_tag(byte, &mut step),
            State::EndTag => match byte {
                b'a'..=b'z' | b'A'..=b'Z' => self.begin_tag(byte, true, &mut step),
                b'>' => self.state = State::Content,
                _ => {
                    step.n_markup_bytes = 2;
                    self.state = State::Bogus;
                }
            },
            State::TagName => match byte {
                b'>' => self.end_tag(&mut step),
                _ if byte.is_ascii_whitespace() || byte == b'/' => self.state = State::BeforeAttribute,
                _ => push_name(&mut self.tag, byte),
            },
            State::BeforeAttribute | State::AfterAttributeName => match byte {
                b'>' => self.end_tag(&mut step),
                b'=' if self.state == State::AfterAttributeName => self.state = State::BeforeValue,
                b'/' => self.state = State::BeforeAttribute,
                _ if byte.is_ascii_whitespace() => {}
                _ => {
                    self.attribute.clear();
                    push_name(&mut self.attribute, byte);
                    self.state = State::AttributeName;
                }
            },
            State::AttributeName => match byte {
                b'=' => self.state = State::BeforeValue,
                b'>' => self.end_tag(&mut step),
                b'/' => self.state = State::BeforeAttribute,
                _ if byte.is_ascii_whitespace() => self.state = State::AfterAttributeName,
                _ => push_name(&mut self.attribute, byte),
            },
            State::BeforeValue => match byte {
                b'"' => self.begin_value(Quote::Double, &mut step),
                b'\'' => self.begin_value(Quote::Single, &mut step),
                b'>' => self.end_tag(&mut step),
                _ if byte.is_ascii_whitespace() => {}
                _ => self.begin_value(Quote::None, &mut step),
            },
            State::Value(quote) => {
                let ends = match quote {
                    Quote::Double => byte == b'"',
                    Quote::Single => byte == b'\'',
                    Quote::None => byte == b'>' || byte.is_ascii_whitespace(),
                };
                if ends {
                    step.ends_url = self.url_start(quote).is_some();
                    self.state = State::BeforeAttribute;
                    if byte == b'>' && quote == Quote::None {
                        self.end_tag(&mut step);
                    }
                }
            }
            State::Declaration(n_dashes) => {
                step.ends_comment = byte == b'>';
                self.state = match byte {
                    b'-' if n_dashes == 1 => State::Comment(2),
                    b'-' => State::Declaration(1),
                    b'>' => State::Content,
                    _ => State::Bogus,
                };
            }
            State::Comment(n_dashes) => {
                step.ends_comment = byte == b'>' && n_dashes >= 2;
                self.state = match byte {
                    b'>' if n_dashes >= 2 => State::Content,
                    b'-' => State::Comment((n_dashes + 1).min(2)),
                    _ => State::Comment(0),
                };
            }
            State::Bogus if byte == b'>' => {
                step.ends_comment = true;
                self.state = State::Content;
            }
            State::Bogus => {}
            State::RawText(n_seen) => self.step_raw_text(byte, n_seen, &mut step),
        }
        step
    }

    fn step_tag(&mut self, byte: u8, step: &mut Step) {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => self.begin_tag(byte, false, step),
            b'/' => self.state = State::EndTag,
            b'!' | b'?' => {
                step.n_markup_bytes = 1;
                self.state = if byte == b'!' { State::Declaration(0) } else { State::Bogus };
            }
            b'<' => {}
            _ => self.state = State::Content,
        }
    }

    fn step_raw_text(&mut self, byte: u8, n_seen: usize, step: &mut Step) {
        let n_name = self.tag.len();
        let wanted = match n_seen {
            0 => Some(b'<'),
            1 => Some(b'/'),
            n => self.tag.get(n - 2).copied(),
        };
        self.state = match wanted {
            Some(wanted) if byte.to_ascii_lowercase() == wanted => State::RawText(n_seen + 1),
            None if n_seen == n_name + 2 && (byte.is_ascii_whitespace() || byte == b'/' || byte == b'>') => {
                self.is_end_tag = true;
                State::BeforeAttribute
            }
            _ => State::RawText(usize::from(byte == b'<')),
        };
        if self.state == State::BeforeAttribute && byte == b'>' {
            self.end_tag(step);
        }
    }

    fn begin_tag(&mut self, byte: u8, is_end_tag: bool, step: &mut Step) {
        step.n_markup_bytes = if is_end_tag { 2 } else { 1 };
        self.tag.clear();
        self.attribute.clear();
        push_name(&mut self.tag, byte);
        self.is_end_tag = is_end_tag;
        self.state = State::TagName;
    }

    fn end_tag(&mut self, step: &mut Step) {
        let name = String::from_utf8_lossy(&self.tag).into_owned();
        let is_raw_text = !self.is_end_tag && RAW_TEXT.contains(&name.as_str());
        self.state = if is_raw_text { State::RawText(0) } else { State::Content };
        step.ends_tag = Some(TagEnd { name, is_end_tag: self.is_end_tag });
    }

    fn begin_value(&mut self, quote: Quote, step: &mut Step) {
        self.state = State::Value(quote);
        step.begins_url = self.url_start(quote);
    }

    fn url_start(&self, quote: Quote) -> Option<UrlStart> {
        if self.is_end_tag {
            return None;
        }
        let is_quoted = quote != Quote::None;
        match self.attribute.as_slice() {
            b"href" | b"xlink:href" => {
                let is_click = matches!(self.tag.as_slice(), b"a" | b"area") && self.attribute == b"href";
                Some(UrlStart { url_use: UrlUse::Link, is_click, is_quoted })
            }
            b"action" | b"formaction" | b"cite" => Some(UrlStart { url_use: UrlUse::Link, is_click: false, is_quoted }),
            b"src" | b"background" | b"poster" | b"data" | b"lowsrc" | b"dynsrc" => {
                Some(UrlStart { url_use: UrlUse::Resource, is_click: false, is_quoted })
            }
            _ => None,
        }
    }
}

fn push_name(name: &mut Vec<u8>, byte: u8) {
    if name.len() < NAME_MAX_BYTES {
        name.push(byte.to_ascii_lowercase());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The bytes that are content, and `name` or `/name` of every tag.
    fn read(source: &str) -> (String, Vec<String>) {
        let mut html = Html::new();
        let (mut content, mut tags) = (Vec::new(), Vec::new());
        for byte in source.bytes() {
            let was_content = html.state == State::Content;
            let step = html.step(byte);
            if was_content && html.state == State::Content {
                content.push(byte);
            }
            if let Some(tag) = step.ends_tag {
                tags.push(format!("{}{}", if tag.is_end_tag { "/" } else { "" }, tag.name));
            }
        }
        (String::from_utf8(content).unwrap(), tags)
    }

    #[test]
    fn content_is_told_from_markup() {
        let (content, tags) = read("a<P class='>'>b</p ><!-- <i> -- > -->c<br/>d<!doctype html>e<?x?>f");
        assert_eq!((content.as_str(), tags.join(" ").as_str()), ("abcdef", "p /p br"));
        let (content, tags) = read("<style>a > b { } </styl></STYLE >x<title><b></title>y<!-->z<!--->w");
        assert_eq!((content.as_str(), tags.join(" ").as_str()), ("xyzw", "style /style title /title"));
    }

    #[test]
    fn urls_are_found_in_any_quoting() {
        let url_starts = |source: &str| {
            let mut html = Html::new();
            source.bytes().filter_map(|byte| html.step(byte).begins_url).map(|start| start.is_click).collect::<Vec<_>>()
        };
        assert_eq!(url_starts("<a href=\"x\">"), [true]);
        assert_eq!(url_starts("<A\nclass=b HREF = 'x' href=x>"), [true, true]);
        assert_eq!(url_starts("<link href=x><img src=x title='href=\"x\"'>"), [false, false]);
        assert_eq!(url_starts("</a href=x><a data-href=x><a xhref=x>href=x"), [] as [bool; 0]);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic() {
        let mut state: u64 = 7;
        let alphabet = b"<>/!-='\" aAhrefstyle\n?\xff";
        let mut html = Html::new();
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let place = usize::try_from(state >> 33).unwrap() % alphabet.len();
            html.step(*alphabet.get(place).unwrap());
        }
    }
}
