//! Single values of an object: lines, texts, numbers, times, ids, addresses, words.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::core::{Place, Reader};
use crate::mail::address::Address;

impl Reader<'_> {
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
}

/// Line breaks that are no control characters (Unicode's line and paragraph separator).
fn is_line_break(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}')
}
