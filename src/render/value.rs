//! Values while rendering: borrowed from the recipient's attributes wherever they can be.
//!
//! Not here: where they come from (`variables`), what an expression does with them (`evaluate`).

use std::{borrow::Cow, cmp::Ordering};

use serde_json::{Map, Value as Json};

use super::variables::Variables;

/// What a path, a literal or a helper gives.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// There is no such thing.
    Missing,
    /// Any JSON value.
    Json(&'a Json),
    /// A JSON object, such as the attributes.
    Fields(&'a Map<String, Json>),
    /// All names that a template knows.
    Root(&'a Variables<'a>),
    /// `recipient`.
    Recipient(&'a Variables<'a>),
    /// `campaign`.
    Campaign(&'a Variables<'a>),
    Text(Cow<'a, str>),
    Bool(bool),
    Count(usize),
}

/// What [`Value::walk`] gives: the name, if it is a field, and the value.
#[derive(Debug)]
pub(super) enum Walk<'a> {
    Elements(std::slice::Iter<'a, Json>),
    Fields(serde_json::map::Iter<'a>),
}

impl<'a> Iterator for Walk<'a> {
    type Item = (Option<&'a str>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Elements(elements) => elements.next().map(|element| (None, Value::Json(element))),
            Self::Fields(fields) => fields.next().map(|(key, value)| (Some(key.as_str()), Value::Json(value))),
        }
    }
}

impl<'a> Value<'a> {
    /// The field or element of that name.
    pub fn get(&self, key: &str) -> Self {
        let json = match self {
            Self::Json(Json::Object(fields)) => fields.get(key),
            Self::Fields(fields) => fields.get(key),
            Self::Json(Json::Array(elements)) => key.parse::<usize>().ok().and_then(|place| elements.get(place)),
            Self::Root(variables) => return variables.get(key),
            Self::Recipient(variables) => return variables.get_of_recipient(key),
            Self::Campaign(variables) => return variables.get_of_campaign(key),
            _ => None,
        };
        json.map_or(Self::Missing, Self::Json)
    }

    /// Missing or null: what `default` replaces, together with the empty text.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Missing | Self::Json(Json::Null) => true,
            _ => self.as_text().is_some_and(str::is_empty),
        }
    }

    /// What `#if` asks: not false, null, missing, empty or zero.
    pub fn is_truthy(&self, include_zero: bool) -> bool {
        match self {
            Self::Missing | Self::Json(Json::Null) => false,
            Self::Json(Json::Bool(yes)) | Self::Bool(yes) => *yes,
            Self::Json(Json::Number(number)) => number.as_f64().is_some_and(|n| include_zero || n.is_normal()),
            Self::Json(Json::String(text)) => !text.is_empty(),
            Self::Json(Json::Array(elements)) => !elements.is_empty(),
            Self::Json(Json::Object(fields)) => !fields.is_empty(),
            Self::Fields(fields) => !fields.is_empty(),
            Self::Root(_) | Self::Recipient(_) | Self::Campaign(_) => true,
            Self::Text(text) => !text.is_empty(),
            Self::Count(n) => include_zero || *n > 0,
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Json(Json::String(text)) => Some(text),
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What is printed: texts, numbers and truth values as they are, null as nothing.
    ///
    /// # Errors
    /// What it is instead, in words; "missing" is not among them.
    pub fn print(&self) -> Result<Cow<'_, str>, &'static str> {
        match self {
            Self::Json(Json::String(text)) => Ok(Cow::Borrowed(text)),
            Self::Text(text) => Ok(Cow::Borrowed(text)),
            Self::Json(Json::Number(number)) => Ok(Cow::Owned(number.to_string())),
            Self::Json(Json::Bool(yes)) | Self::Bool(yes) => Ok(Cow::Borrowed(if *yes { "true" } else { "false" })),
            Self::Count(n) => Ok(Cow::Owned(n.to_string())),
            Self::Json(Json::Null) | Self::Missing => Ok(Cow::Borrowed("")),
            Self::Json(Json::Array(_)) => Err("a list"),
            Self::Json(Json::Object(_)) | Self::Fields(_) => Err("an object"),
            Self::Root(_) | Self::Recipient(_) | Self::Campaign(_) => Err("an object"),
        }
    }

    /// How many elements, fields or characters.
    pub fn len(&self) -> usize {
        match self {
            Self::Json(Json::Array(elements)) => elements.len(),
            Self::Json(Json::Object(fields)) => fields.len(),
            Self::Fields(fields) => fields.len(),
            other => other.as_text().map_or(0, |text| text.chars().count()),
        }
    }

    /// The elements, or the fields with their names in the order of these: what the turns of `#each` see.
    pub fn walk(&self) -> Option<Walk<'a>> {
        match *self {
            Self::Json(Json::Array(elements)) => Some(Walk::Elements(elements.iter())),
            Self::Json(Json::Object(fields)) | Self::Fields(fields) => Some(Walk::Fields(fields.iter())),
            _ => None,
        }
    }

    /// Which of two comes first: numbers by size, texts by their characters, a number and a text that reads as one by size.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self.as_number(), other.as_number(), self.as_text(), other.as_text()) {
            (Some(a), Some(b), _, _) => a.partial_cmp(&b),
            (_, _, Some(a), Some(b)) => Some(a.cmp(b)),
            (Some(a), _, _, Some(b)) => a.partial_cmp(&b.trim().parse::<f64>().ok()?),
            (_, Some(b), Some(a), _) => a.trim().parse::<f64>().ok()?.partial_cmp(&b),
            _ => match (self.as_bool(), other.as_bool()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => None,
            },
        }
    }

    /// Whether two are the same: of one kind and equal. Lists and objects are the same as nothing.
    pub fn equals(&self, other: &Self) -> bool {
        match (self.as_text(), other.as_text(), self.as_number(), other.as_number()) {
            (Some(a), Some(b), _, _) => a == b,
            (_, _, Some(a), Some(b)) => a.partial_cmp(&b) == Some(Ordering::Equal),
            _ => match (self, other) {
                (Self::Json(Json::Null), Self::Json(Json::Null)) => true,
                _ => self.as_bool().is_some() && self.as_bool() == other.as_bool(),
            },
        }
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            Self::Json(Json::Number(number)) => number.as_f64(),
            // Far below 2^53: a list has no more elements than the request that brought it had bytes.
            #[allow(clippy::cast_precision_loss)]
            Self::Count(n) => Some(*n as f64),
            _ => None,
        }
    }

    fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Json(Json::Bool(yes)) | Self::Bool(yes) => Some(*yes),
            _ => None,
        }
    }
}
