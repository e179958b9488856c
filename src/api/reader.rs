//! Reading a body or a query by hand: every fault at once, each with its pointer, unknown fields refused.
//!
//! A [`Reader`] stands on one JSON object. Its methods take a field, note a fault where it breaks the rule and go on, so
//! that [`Reader::finish`] can list them all. Absent and `null` are told apart ([`Patch`]): absent keeps, null clears.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use std::{cell::RefCell, collections::HashSet, ops::RangeInclusive, rc::Rc, sync::LazyLock};

use super::problem::{Fault, Problem};
use crate::mail::address::Address;

/// A field of an edit.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch<T> {
    /// Not there: keep what stands.
    Keep,
    /// `null`: clear it.
    Clear,
    /// A new value.
    Set(T),
}

impl<T> Patch<T> {
    /// What follows from this edit for a field that can be empty.
    pub fn apply(self, old: Option<T>) -> Option<T> {
        match self {
            Self::Keep => old,
            Self::Clear => None,
            Self::Set(new) => Some(new),
        }
    }

    /// The new value, if there is one.
    pub fn set(self) -> Option<T> {
        match self {
            Self::Set(new) => Some(new),
            Self::Keep | Self::Clear => None,
        }
    }
}

enum Place {
    Body(String),
    Query,
}

/// Reads one object and notes its faults.
pub struct Reader<'a> {
    object: &'a Map<String, Value>,
    place: Place,
    seen: RefCell<HashSet<&'static str>>,
    faults: Rc<RefCell<Vec<Fault>>>,
}

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl<'a> Reader<'a> {
    /// Stand on a request's body.
    pub fn of_body(body: &'a Value) -> Self {
        let faults = Rc::new(RefCell::new(Vec::new()));
        let object = body.as_object().unwrap_or_else(|| {
            faults.borrow_mut().push(Fault::at("", "wrong_type", "an object is expected"));
            &EMPTY
        });
        Self { object, place: Place::Body(String::new()), seen: RefCell::default(), faults }
    }

    /// Stand on a query whose parameters have been made strings of an object.
    pub fn of_query(query: &'a Map<String, Value>) -> Self {
        Self { object: query, place: Place::Query, seen: RefCell::default(), faults: Rc::default() }
    }

    fn fault(&self, name: &str, code: &'static str, hint: impl Into<String>) -> Fault {
        match &self.place {
            Place::Body(pointer) if name.is_empty() => Fault::at(pointer.clone(), code, hint),
            Place::Body(pointer) => Fault::at(format!("{pointer}/{}", escape(name)), code, hint),
            Place::Query => Fault::of(name, code, hint),
        }
    }

    /// Note a fault of a field that only the caller can see.
    pub fn note(&self, name: &str, code: &'static str, hint: impl Into<String>) {
        let fault = self.fault(name, code, hint);
        self.faults.borrow_mut().push(fault);
    }

    fn note_value(&self, name: &str, code: &'static str, hint: impl Into<String>, value: &Value) {
        let fault = self.fault(name, code, hint).received(value);
        self.faults.borrow_mut().push(fault);
    }

    /// Whether the field is there, be it null.
    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// The raw value of a field: none when absent.
    pub fn raw(&self, name: &'static str) -> Option<&'a Value> {
        self.seen.borrow_mut().insert(name);
        self.object.get(name)
    }

    fn present(&self, name: &'static str) -> Option<&'a Value> {
        self.raw(name).filter(|value| !value.is_null())
    }

    fn required<T>(&self, name: &'static str, found: Option<T>) -> Option<T> {
        if found.is_none() && self.present(name).is_none() {
            self.note(name, "required", "this field is required");
        }
        found
    }

    /// Lift an optional field to an edit's.
    pub fn patch<T>(&self, name: &'static str, found: Option<T>) -> Patch<T> {
        match (self.object.get(name), found) {
            (None, _) => Patch::Keep,
            (Some(_), Some(value)) => Patch::Set(value),
            (Some(_), None) => Patch::Clear,
        }
    }

    /// Lift an optional field to that of an edit in which `null` is refused.
    pub fn keep_or_set<T>(&self, name: &'static str, found: Option<T>) -> Option<T> {
        if self.object.get(name).is_some_and(Value::is_null) {
            self.note(name, "required", "this field can't be cleared");
        }
        found
    }

    /// One line of text: `length` characters, no control characters, no surrounding space.
    pub fn line(&self, name: &'static str, length: RangeInclusive<usize>) -> Option<String> {
        self.string(name, length, |character| character.is_control() || is_line_break(character))
    }

    /// Required [`Reader::line`].
    pub fn required_line(&self, name: &'static str, length: RangeInclusive<usize>) -> Option<String> {
        let found = self.line(name, length);
        self.required(name, found)
    }

    /// Text of several lines: tabs and line breaks are allowed, other control characters are not.
    pub fn text(&self, name: &'static str, length: RangeInclusive<usize>) -> Option<String> {
        self.string(name, length, |character| character.is_control() && !matches!(character, '\t' | '\r' | '\n'))
    }

    /// Required [`Reader::text`].
    pub fn required_text(&self, name: &'static str, length: RangeInclusive<usize>) -> Option<String> {
        let found = self.text(name, length);
        self.required(name, found)
    }

    fn string(
        &self,
        name: &'static str,
        length: RangeInclusive<usize>,
        refused: impl Fn(char) -> bool,
    ) -> Option<String> {
        let value = self.present(name)?;
        let Value::String(text) = value else {
            self.note_value(name, "wrong_type", "a string is expected", value);
            return None;
        };
        let n = text.chars().count();
        if !length.contains(&n) {
            let code = if n < *length.start() { "too_short" } else { "too_long" };
            let hint = format!("{} to {} characters", length.start(), length.end());
            self.note_value(name, code, hint, value);
        } else if let Some(character) = text.chars().find(|character| refused(*character)) {
            let hint = format!("the control character U+{:04X} is not allowed", u32::from(character));
            self.note(name, "control_character", hint);
        } else if *length.start() > 0 && text.trim().is_empty() {
            self.note(name, "bad_format", "something besides white space is expected");
        } else {
            return Some(text.clone());
        }
        None
    }

    /// A whole number within `range`.
    pub fn integer(&self, name: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.present(name)?;
        let number = match (&self.place, value) {
            (Place::Query, Value::String(text)) => text.parse().ok(),
            _ => value.as_i64(),
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(_) => {
                self.note_value(name, "out_of_range", format!("{} to {}", range.start(), range.end()), value);
                None
            }
            None => {
                let hint = format!("a whole number from {} to {} is expected", range.start(), range.end());
                self.note_value(name, "wrong_type", hint, value);
                None
            }
        }
    }

    /// Required [`Reader::integer`].
    pub fn required_integer(&self, name: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let found = self.integer(name, range);
        self.required(name, found)
    }

    /// `true` or `false`.
    pub fn boolean(&self, name: &'static str) -> Option<bool> {
        let value = self.present(name)?;
        let found = match (&self.place, value) {
            (Place::Query, Value::String(text)) => text.parse().ok(),
            _ => value.as_bool(),
        };
        if found.is_none() {
            self.note_value(name, "wrong_type", "true or false is expected", value);
        }
        found
    }

    /// A time (RFC 3339), within the years 1970 to 2999.
    pub fn time(&self, name: &'static str) -> Option<DateTime<Utc>> {
        let value = self.present(name)?;
        let found = value
            .as_str()
            .and_then(|text| DateTime::parse_from_rfc3339(text).ok())
            .map(|time| time.with_timezone(&Utc))
            .filter(|time| (0..32_472_144_000).contains(&time.timestamp()));
        if found.is_none() {
            self.note_value(name, "bad_format", "a time such as 2026-11-24T08:00:00Z is expected", value);
        }
        found
    }

    /// Required [`Reader::time`].
    pub fn required_time(&self, name: &'static str) -> Option<DateTime<Utc>> {
        let found = self.time(name);
        self.required(name, found)
    }

    /// Anything that is parsed from a string; `code` and the parser's error name the fault.
    pub fn parsed<T, E: std::fmt::Display>(
        &self,
        name: &'static str,
        code: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.present(name)?;
        let Value::String(text) = value else {
            self.note_value(name, "wrong_type", "a string is expected", value);
            return None;
        };
        match parse(text) {
            Ok(found) => Some(found),
            Err(error) => {
                self.note_value(name, code, error.to_string(), value);
                None
            }
        }
    }

    /// Required [`Reader::parsed`].
    pub fn required_parsed<T, E: std::fmt::Display>(
        &self,
        name: &'static str,
        code: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let found = self.parsed(name, code, parse);
        self.required(name, found)
    }

    /// An id such as `lst_…`.
    pub fn id<T: std::str::FromStr<Err = crate::domain::id::IdError>>(&self, name: &'static str) -> Option<T> {
        self.parsed(name, "bad_format", str::parse)
    }

    /// Required [`Reader::id`].
    pub fn required_id<T: std::str::FromStr<Err = crate::domain::id::IdError>>(&self, name: &'static str) -> Option<T> {
        let found = self.id(name);
        self.required(name, found)
    }

    /// An address (RFC 5321).
    pub fn address(&self, name: &'static str) -> Option<Address> {
        self.parsed(name, "bad_format", Address::parse)
    }

    /// Required [`Reader::address`].
    pub fn required_address(&self, name: &'static str) -> Option<Address> {
        let found = self.address(name);
        self.required(name, found)
    }

    /// One of these words.
    pub fn word(&self, name: &'static str, words: &[&'static str]) -> Option<&'static str> {
        self.parsed(name, "not_one_of", |text| {
            words.iter().find(|word| **word == text).copied().ok_or_else(|| format!("one of {}", words.join(", ")))
        })
    }

    /// Required [`Reader::word`].
    pub fn required_word(&self, name: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let found = self.word(name, words);
        self.required(name, found)
    }

    /// A list; `read` is called with a reader's eye on each element and may note faults at `/<name>/<index>`.
    pub fn list<T>(
        &self,
        name: &'static str,
        n_items: RangeInclusive<usize>,
        mut read: impl FnMut(&Self, &str, &'a Value) -> Option<T>,
    ) -> Option<Vec<T>> {
        let value = self.present(name)?;
        let Value::Array(items) = value else {
            self.note_value(name, "wrong_type", "a list is expected", value);
            return None;
        };
        if !n_items.contains(&items.len()) {
            let code = if items.len() < *n_items.start() { "too_few" } else { "too_many" };
            self.note(name, code, format!("{} to {} elements", n_items.start(), n_items.end()));
            return None;
        }
        Some(
            items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| {
                    let element = self.element(name, index);
                    read(&element, "", item)
                })
                .collect(),
        )
    }

    fn element(&self, name: &str, index: usize) -> Self {
        let place = match &self.place {
            Place::Body(pointer) => Place::Body(format!("{pointer}/{}/{index}", escape(name))),
            Place::Query => Place::Query,
        };
        Self { object: &EMPTY, place, seen: RefCell::default(), faults: Rc::clone(&self.faults) }
    }

    /// A list of ids, each once.
    pub fn ids<T: std::str::FromStr<Err = crate::domain::id::IdError> + PartialEq>(
        &self,
        name: &'static str,
        n_items: RangeInclusive<usize>,
    ) -> Option<Vec<T>> {
        let mut found: Vec<T> = Vec::new();
        self.list(name, n_items, |element, place, item| {
            match item.as_str().map(str::parse) {
                Some(Ok(id)) if !found.contains(&id) => found.push(id),
                Some(Ok(_)) => {}
                Some(Err(error)) => element.note_value(place, "bad_format", error.to_string(), item),
                None => element.note_value(place, "wrong_type", "a string is expected", item),
            }
            None::<()>
        })?;
        Some(found)
    }

    /// An object within this one.
    pub fn object(&self, name: &'static str) -> Option<Reader<'a>> {
        let value = self.present(name)?;
        let Value::Object(object) = value else {
            self.note_value(name, "wrong_type", "an object is expected", value);
            return None;
        };
        let place = match &self.place {
            Place::Body(pointer) => Place::Body(format!("{pointer}/{}", escape(name))),
            Place::Query => Place::Query,
        };
        Some(Reader { object, place, seen: RefCell::default(), faults: Rc::clone(&self.faults) })
    }

    /// A reader of a list's element that is an object; its pointer is the element's. Call inside [`Reader::list`].
    pub fn within(&self, item: &'a Value) -> Option<Reader<'a>> {
        let Value::Object(object) = item else {
            self.note("", "wrong_type", "an object is expected");
            return None;
        };
        let place = match &self.place {
            Place::Body(pointer) => Place::Body(pointer.clone()),
            Place::Query => Place::Query,
        };
        Some(Reader { object, place, seen: RefCell::default(), faults: Rc::clone(&self.faults) })
    }

    /// Note every field that nobody asked for.
    pub fn close(&self) {
        let seen = self.seen.borrow();
        for name in self.object.keys().filter(|name| !seen.contains(name.as_str())) {
            let mut known: Vec<_> = seen.iter().copied().collect();
            known.sort_unstable();
            let shown: String = name.chars().take(100).collect();
            self.note(&shown, "unknown_field", format!("known here: {}", known.join(", ")));
        }
    }

    /// Refuse unknown fields, then answer what `made` makes of the fields, or all faults at once.
    ///
    /// `made` is called only when there is no fault; where it still answers none, that is a fault of the caller's.
    pub fn finish<T>(self, made: impl FnOnce() -> Option<T>) -> Result<T, Problem> {
        self.close();
        let faults = self.faults.take();
        if !faults.is_empty() {
            return Err(Problem::validation(faults));
        }
        made().ok_or_else(|| Problem::validation(vec![Fault::at("", "bad_format", "the request can't be understood")]))
    }

    /// The faults so far, to be told per item of a bulk request.
    pub fn take_faults(&self) -> Vec<Fault> {
        self.faults.take()
    }
}

/// Line breaks that are no control characters (Unicode's line and paragraph separator).
fn is_line_break(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}')
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
