//! How a mailbox is read, in a body: which folders, how often, and what becomes of a message that was read.
//!
//! POP3 has one maildrop, no folders and no flags: what speaks of them is refused there. Not here: the server and the login
//! (`peer`).

use serde_json::{Value, json};

use super::reader::Reader;
use crate::{
    mailbox::{Filing, Kind},
    store::mailboxes::Mailbox,
};

const N_FOLDERS_MAX: usize = 20;
/// Fields that mean nothing to POP3.
const OF_IMAP: [&str; 3] = ["folders", "filed_folder", "filed_flag"];

/// What a body says of it; none keeps what stands.
#[derive(Debug)]
pub struct Terms {
    folders: Option<Vec<String>>,
    filing: Option<&'static str>,
    filed_folder: Option<String>,
    filed_flag: Option<String>,
    delete_after_days: Option<i32>,
    poll_seconds: Option<i32>,
    enabled: Option<bool>,
}

impl Terms {
    /// Read them; `stands` is the mailbox that is edited, or a new one of this kind with its defaults. Where there is a
    /// fault it is noted.
    pub fn read(reader: &Reader<'_>, stands: &Mailbox) -> Self {
        let integer = |name, range| {
            let found = reader.keep_or_set(name, reader.integer(name, range));
            found.and_then(|n| i32::try_from(n).ok())
        };
        let terms = Self {
            folders: reader.keep_or_set("folders", read_folders(reader)),
            filing: reader.keep_or_set("filing", reader.word("filing", &Filing::WORDS)),
            filed_folder: reader.keep_or_set("filed_folder", reader.line("filed_folder", 1..=200)),
            filed_flag: reader.keep_or_set("filed_flag", reader.parsed("filed_flag", "bad_format", parse_flag)),
            delete_after_days: integer("delete_after_days", 0..=3650),
            poll_seconds: integer("poll_seconds", 1..=86_400),
            enabled: reader.keep_or_set("enabled", reader.boolean("enabled")),
        };
        if stands.kind == Kind::Pop3.as_str() {
            for name in OF_IMAP.into_iter().filter(|name| reader.has(name)) {
                reader.note(name, "conflict", "a POP3 server has neither folders nor flags");
            }
            if matches!(terms.filing, Some("move" | "mark")) {
                reader.note("filing", "conflict", "on a POP3 server a message can only be left or deleted");
            }
        }
        let filing = terms.filing.unwrap_or(&stands.filing);
        let filed_folder = terms.filed_folder.as_ref().unwrap_or(&stands.filed_folder);
        let folders = terms.folders.as_ref().unwrap_or(&stands.folders);
        if filing == "move" && folders.iter().any(|folder| is_same_folder(folder, filed_folder)) {
            let hint = "read reports are moved away: a folder that isn't read is needed";
            reader.note("filed_folder", "conflict", hint);
        }
        terms
    }

    /// Write them into the mailbox.
    pub fn apply(self, mailbox: &mut Mailbox) {
        if let Some(folders) = self.folders {
            mailbox.folders = folders;
        }
        if let Some(filing) = self.filing {
            filing.clone_into(&mut mailbox.filing);
        }
        if let Some(folder) = self.filed_folder {
            mailbox.filed_folder = folder;
        }
        if let Some(flag) = self.filed_flag {
            mailbox.filed_flag = flag;
        }
        mailbox.delete_after_days = self.delete_after_days.unwrap_or(mailbox.delete_after_days);
        mailbox.poll_seconds = self.poll_seconds.unwrap_or(mailbox.poll_seconds);
        mailbox.enabled = self.enabled.unwrap_or(mailbox.enabled);
    }
}

/// Show them in `shown`, an object.
pub fn show(mailbox: &Mailbox, shown: &mut Value) {
    let is_imap = mailbox.kind == Kind::Imap.as_str();
    let of_imap = |value: Value, none: Value| if is_imap { value } else { none };
    if let Value::Object(shown) = shown {
        shown.insert("folders".to_owned(), of_imap(json!(mailbox.folders), json!([])));
        shown.insert("filing".to_owned(), json!(mailbox.filing));
        shown.insert("filed_folder".to_owned(), of_imap(json!(mailbox.filed_folder), Value::Null));
        shown.insert("filed_flag".to_owned(), of_imap(json!(mailbox.filed_flag), Value::Null));
        shown.insert("delete_after_days".to_owned(), json!(mailbox.delete_after_days));
        shown.insert("poll_seconds".to_owned(), json!(mailbox.poll_seconds));
        shown.insert("enabled".to_owned(), json!(mailbox.enabled));
    }
}

fn read_folders(reader: &Reader<'_>) -> Option<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    reader.list("folders", 1..=N_FOLDERS_MAX, |element, place, item| {
        match item.as_str() {
            None => element.note(place, "wrong_type", "a string is expected"),
            Some(text) if text.trim().is_empty() || text.chars().count() > 200 => {
                element.note(place, "bad_format", "1 to 200 characters, not only white space");
            }
            Some(text) if text.contains(char::is_control) => {
                element.note(place, "control_character", "no control character is allowed");
            }
            Some(text) if found.iter().any(|folder| is_same_folder(folder, text)) => {
                element.note(place, "duplicate", "once is enough");
            }
            Some(text) => found.push(text.to_owned()),
        }
        None::<()>
    })?;
    Some(found)
}

/// The name INBOX alone is the same in any case (RFC 3501 §5.1).
fn is_same_folder(a: &str, b: &str) -> bool {
    a == b || (a.eq_ignore_ascii_case("INBOX") && b.eq_ignore_ascii_case("INBOX"))
}

fn parse_flag(text: &str) -> Result<String, &'static str> {
    let is_keyword = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'$' | b'_' | b'-' | b'.');
    let is_flag = matches!(text, "\\Seen" | "\\Flagged" | "\\Answered")
        || ((1..=64).contains(&text.len()) && text.bytes().all(is_keyword));
    is_flag.then(|| text.to_owned()).ok_or("\\Seen, \\Flagged, \\Answered, or a keyword of letters, digits and $ _ - .")
}
