//! A reader: where it stands, what it has seen, the faults it has noted; objects and lists within.
//!
//! Not here: single values (`fields`).

use serde_json::{Map, Value};
use std::{cell::RefCell, collections::HashSet, ops::RangeInclusive, rc::Rc, sync::LazyLock};

use super::super::{
    body::MAX_FAULTS,
    problem::{Fault, Problem},
};

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

/// Where the object is.
pub(super) enum Place {
    /// In a body, at this pointer.
    Body(String),
    /// In a query.
    Query,
}

/// Reads one object and notes its faults.
pub struct Reader<'a> {
    object: &'a Map<String, Value>,
    pub(super) place: Place,
    seen: RefCell<HashSet<&'static str>>,
    faults: Rc<RefCell<Vec<Fault>>>,
    /// No more are kept: a body made of faults must not fill the memory.
    max_faults: usize,
}

/// Faults of one element of a bulk request.
const MAX_FAULTS_OF_ELEMENT: usize = 20;

static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl<'a> Reader<'a> {
    /// Stand on a request's body.
    pub fn of_body(body: &'a Value) -> Self {
        let faults = Rc::new(RefCell::new(Vec::new()));
        let object = body.as_object().unwrap_or_else(|| {
            faults.borrow_mut().push(Fault::at("", "wrong_type", "an object is expected"));
            &EMPTY
        });
        Self { object, place: Place::Body(String::new()), seen: RefCell::default(), faults, max_faults: MAX_FAULTS }
    }

    /// Stand on an element of a body that is judged by itself; `pointer` is where it stands.
    pub fn of_element(value: &'a Value, pointer: &str) -> Self {
        let mut reader = Self::of_body(value);
        reader.place = Place::Body(pointer.to_owned());
        reader.max_faults = MAX_FAULTS_OF_ELEMENT;
        for fault in reader.faults.borrow_mut().iter_mut() {
            fault.pointer = Some(pointer.to_owned());
        }
        reader
    }

    /// Stand on a query whose parameters have been made strings of an object.
    pub fn of_query(query: &'a Map<String, Value>) -> Self {
        Self {
            object: query,
            place: Place::Query,
            seen: RefCell::default(),
            faults: Rc::default(),
            max_faults: MAX_FAULTS,
        }
    }

    fn fault(&self, name: &str, code: &'static str, hint: impl Into<String>) -> Fault {
        match &self.place {
            Place::Body(pointer) if name.is_empty() => Fault::at(pointer.clone(), code, hint),
            Place::Body(pointer) => Fault::at(format!("{pointer}/{}", escape(name)), code, hint),
            Place::Query => Fault::of(name, code, hint),
        }
    }

    fn push(&self, fault: Fault) {
        let mut faults = self.faults.borrow_mut();
        if faults.len() < self.max_faults {
            faults.push(fault);
        }
    }

    /// Note a fault of a field that only the caller can see.
    pub fn note(&self, name: &str, code: &'static str, hint: impl Into<String>) {
        let fault = self.fault(name, code, hint);
        self.push(fault);
    }

    /// Note a fault at a pointer below where this reader stands.
    pub fn note_at(&self, below: &str, code: &'static str, hint: impl Into<String>) {
        let fault = match &self.place {
            Place::Body(pointer) => Fault::at(format!("{pointer}{below}"), code, hint),
            Place::Query => Fault::of(below, code, hint),
        };
        self.push(fault);
    }

    /// Note a fault at this line of a field that is a template.
    pub fn note_line(&self, name: &str, code: &'static str, hint: impl Into<String>, line: u32) {
        let fault = self.fault(name, code, hint).line(usize::try_from(line).ok());
        self.push(fault);
    }

    pub(super) fn note_value(&self, name: &str, code: &'static str, hint: impl Into<String>, value: &Value) {
        let fault = self.fault(name, code, hint).received(value);
        self.push(fault);
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

    pub(super) fn present(&self, name: &'static str) -> Option<&'a Value> {
        self.raw(name).filter(|value| !value.is_null())
    }

    pub(super) fn required<T>(&self, name: &'static str, found: Option<T>) -> Option<T> {
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

    /// Lift an optional field to one in which `null` is refused.
    pub fn keep_or_set<T>(&self, name: &'static str, found: Option<T>) -> Option<T> {
        if self.object.get(name).is_some_and(Value::is_null) {
            self.note(name, "wrong_type", "null is not allowed here; leave the field out to keep what stands");
        }
        found
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
        Self {
            object: &EMPTY,
            place,
            seen: RefCell::default(),
            faults: Rc::clone(&self.faults),
            max_faults: self.max_faults,
        }
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
                Some(Ok(id)) if found.contains(&id) => element.note(place, "duplicate", "once is enough"),
                Some(Ok(id)) => found.push(id),
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
        Some(Reader {
            object,
            place,
            seen: RefCell::default(),
            faults: Rc::clone(&self.faults),
            max_faults: self.max_faults,
        })
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
        Some(Reader {
            object,
            place,
            seen: RefCell::default(),
            faults: Rc::clone(&self.faults),
            max_faults: self.max_faults,
        })
    }

    /// Note every field that nobody asked for.
    pub fn close(&self) {
        let seen = self.seen.borrow();
        let mut known: Vec<_> = seen.iter().copied().collect();
        known.sort_unstable();
        let unknown = self.object.keys().filter(|name| !seen.contains(name.as_str()));
        for name in unknown.take(self.max_faults) {
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

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
