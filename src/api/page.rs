//! Pages: `limit`, an opaque signed keyset cursor, `next_cursor`. Never OFFSET.
//!
//! A cursor carries the sort key and id of the last row and is bound to the path and filters it was made with.

use serde_json::{Value, json};

use super::{
    call::Call,
    problem::{Fault, Problem},
    reader::Reader,
};
use crate::mail::token;

/// Rows a page without `limit` has.
pub const DEFAULT_LIMIT: i64 = 50;
/// Rows a page has at most.
pub const MAX_LIMIT: i64 = 200;

/// Orders of things that have a name; a minus reverses. Ids sort by age.
pub const SORTS: &[&str] = &["created_at", "-created_at", "name", "-name"];

/// Orders of things that have none.
pub const AGES: &[&str] = &["created_at", "-created_at"];

/// What a page was asked for.
#[derive(Debug, Clone)]
pub struct Page {
    /// Rows at most.
    pub limit: i64,
    /// The last row of the page before: its sort key and id, as [`Page::answer`] wrote them.
    pub after: Option<Vec<String>>,
    scope: String,
}

impl Page {
    /// Read `limit` and `cursor` off a query. `scope` names the path, filters and order; a cursor made for another is refused.
    pub fn read(call: &Call, query: &Reader<'_>, scope: &str) -> Self {
        let owner = call.caller.workspace().map_or_else(|| "operator".to_owned(), |workspace| workspace.to_string());
        let scope = format!("{owner} {scope}");
        let limit = query.integer("limit", 1..=MAX_LIMIT).unwrap_or(DEFAULT_LIMIT);
        let after = query.parsed("cursor", "bad_format", |text| {
            token::verify_cursor(&call.context.keyring, &scope, text)
                .ok()
                .and_then(|payload| serde_json::from_slice::<Vec<String>>(&payload).ok())
                .ok_or("a `next_cursor` of the same filters and order is expected")
        });
        Self { limit, after, scope }
    }

    /// One row more than the page has: whether another page follows.
    pub fn fetch(&self) -> i64 {
        self.limit + 1
    }

    /// The key at `place` of the row to go on after, parsed.
    pub fn after<T: std::str::FromStr>(&self, place: usize) -> Result<Option<T>, Problem> {
        let Some(key) = self.after.as_ref().and_then(|keys| keys.get(place)) else { return Ok(None) };
        key.parse().map(Some).map_err(|_| {
            Problem::validation(vec![Fault::of("cursor", "bad_format", "a `next_cursor` of this page is expected")])
        })
    }

    /// Whether these rows fill the page and another page follows.
    pub fn is_full<T>(&self, rows: &[T]) -> bool {
        i64::try_from(rows.len()).is_ok_and(|n| n > self.limit)
    }

    /// The answer's body: at most `limit` rows, and the cursor of the last one if `rows` has more. `keys` are what
    /// [`Page::after`] will find.
    pub fn answer<T>(
        &self,
        call: &Call,
        rows: Vec<T>,
        keys: impl Fn(&T) -> Vec<String>,
        show: impl Fn(&T) -> Value,
    ) -> Value {
        self.answer_with_rest(call, rows, keys, show, None)
    }

    /// The same, where the search may have ended before the page was full: `rest` is then where it goes on.
    pub fn answer_with_rest<T>(
        &self,
        call: &Call,
        mut rows: Vec<T>,
        keys: impl Fn(&T) -> Vec<String>,
        show: impl Fn(&T) -> Value,
        rest: Option<Vec<String>>,
    ) -> Value {
        let more = self.is_full(&rows);
        rows.truncate(usize::try_from(self.limit).unwrap_or(usize::MAX));
        let next = rows.last().filter(|_| more).map(keys).or(rest).map(|keys| {
            let payload = serde_json::to_vec(&keys).unwrap_or_default();
            token::sign_cursor(&call.context.keyring, &self.scope, &payload)
        });
        json!({"items": rows.iter().map(show).collect::<Vec<_>>(), "next_cursor": next})
    }
}
