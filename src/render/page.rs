//! The pages that recipients see in a browser: one file each in `templates/pages`, embedded in the binary.
//!
//! They need no script, no cookie and nothing from elsewhere; [`CONTENT_SECURITY_POLICY`] holds them to it. The forms post to
//! the address they stand at, with [`SCOPE_FIELD`] as the only field.
//!
//! Not here: which page is shown when, and the act behind the form (`track`).

use handlebars::Handlebars;
use serde::Serialize;

/// What the browser may load for a page: nothing but its own style; forms go to where they came from.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// The field of the unsubscribe form: [`SCOPE_LISTS`] or [`SCOPE_ALL`].
pub const SCOPE_FIELD: &str = "scope";
/// The lists of the campaign: also what a mail program's one-click POST means.
pub const SCOPE_LISTS: &str = "lists";
/// All mail of the workspace.
pub const SCOPE_ALL: &str = "all";

const LAYOUT: &str = "layout";
const FILES: [(&str, &str); 5] = [
    (LAYOUT, include_str!("../../templates/pages/layout.hbs")),
    ("unsubscribe", include_str!("../../templates/pages/unsubscribe.hbs")),
    ("unsubscribed", include_str!("../../templates/pages/unsubscribed.hbs")),
    ("invalid", include_str!("../../templates/pages/invalid.hbs")),
    ("unavailable", include_str!("../../templates/pages/unavailable.hbs")),
];

/// A page and what it says. Everything in it is escaped.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum Page<'a> {
    /// Asks before anything happens: what a GET of an unsubscribe link shows.
    Unsubscribe {
        /// Who sends: the From name, or the workspace's.
        sender: &'a str,
        /// The address, masked: the link may have been passed on.
        address: &'a str,
        /// The names of the lists that will be left; may be empty when they are gone.
        lists: &'a [&'a str],
    },
    /// It has happened.
    Unsubscribed {
        /// Who sends.
        sender: &'a str,
        /// The address, masked.
        address: &'a str,
        /// The names of the lists that were left.
        lists: &'a [&'a str],
        /// All mail of the workspace was stopped, not only these lists.
        is_all: bool,
    },
    /// The token is not one of ours, or is of another kind: 404.
    Invalid,
    /// Postgres is away and nothing could be committed: 503.
    Unavailable,
}

impl Page<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Unsubscribe { .. } => "unsubscribe",
            Self::Unsubscribed { .. } => "unsubscribed",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A page that can't be made: a fault in its file, found by the tests.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A file is not sound.
    #[error("the page template {name} is broken: {cause}")]
    Template {
        /// The file.
        name: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// A page can't be rendered.
    #[error("a page can't be rendered: {0}")]
    Render(#[from] handlebars::RenderError),
}

/// All pages, parsed.
#[derive(Debug)]
pub struct Pages {
    library: Handlebars<'static>,
}

impl Pages {
    /// Parses the embedded files, once at the start.
    ///
    /// # Errors
    /// [`PageError::Template`].
    pub fn new() -> Result<Self, PageError> {
        let mut library = Handlebars::new();
        library.set_strict_mode(true);
        for (name, source) in FILES {
            library
                .register_template_string(name, source)
                .map_err(|error| PageError::Template { name, cause: error.to_string() })?;
        }
        Ok(Self { library })
    }

    /// Renders a page.
    ///
    /// # Errors
    /// [`PageError::Render`], for no page that the tests know.
    pub fn render(&self, page: &Page<'_>) -> Result<String, PageError> {
        Ok(self.library.render(page.name(), page)?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EVIL: &str = "<script>alert(1)</script>\" onload=\"x";

    fn all() -> Vec<String> {
        let pages = Pages::new().unwrap();
        let every = [
            Page::Unsubscribe { sender: "Acme & Sons", address: "a***@example.com", lists: &["News", EVIL] },
            Page::Unsubscribe { sender: EVIL, address: EVIL, lists: &[] },
            Page::Unsubscribed { sender: "Acme", address: "a***@example.com", lists: &["News"], is_all: false },
            Page::Unsubscribed { sender: "Acme", address: "a***@example.com", lists: &[], is_all: false },
            Page::Unsubscribed { sender: "Acme", address: "a***@example.com", lists: &["News"], is_all: true },
            Page::Invalid,
            Page::Unavailable,
        ];
        every.iter().map(|page| pages.render(page).unwrap()).collect()
    }

    #[test]
    fn every_page_stands_alone_and_reads_well_on_a_phone() {
        for page in all() {
            assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">"), "{page}");
            assert!(page.contains("name=\"viewport\"") && page.contains("<main>") && page.contains("<h1"));
            assert!(page.ends_with("</html>\n"));
            assert!(!page.contains("{{") && !page.contains("<title></title>"));
            for foreign in ["<script", "http:", "https:", "url(", "@import", "src=", " href=", "onclick"] {
                assert!(!page.contains(foreign), "{foreign} in {page}");
            }
        }
    }

    #[test]
    fn nothing_that_a_page_is_given_becomes_markup() {
        for page in all() {
            assert!(!page.contains("<script>") && !page.contains("\" onload"));
        }
        assert!(all().first().unwrap().contains("Acme &amp; Sons"));
    }

    #[test]
    fn the_form_says_what_is_to_be_left() {
        let pages = all();
        let first = pages.first().unwrap();
        assert!(first.contains("<form method=\"post\">"));
        for value in [SCOPE_LISTS, SCOPE_ALL] {
            assert!(first.contains(&format!("name=\"{SCOPE_FIELD}\" value=\"{value}\"")));
        }
        assert!(first.contains("<li>News</li>"));
        // Once all mail is stopped there is nothing left to stop.
        assert!(!pages.get(4).unwrap().contains("<form"));
        assert!(pages.get(2).unwrap().contains(&format!("value=\"{SCOPE_ALL}\"")));
        assert!(!pages.get(2).unwrap().contains(&format!("value=\"{SCOPE_LISTS}\"")));
    }
}
