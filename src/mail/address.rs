//! An address: a mailbox string as it is given, as it is mailed, and as it is identified.
//!
//! The grammar is RFC 5321's `Mailbox` with RFC 6531's UTF-8 local parts, narrowed to what may stand in an SMTP command
//! without any escaping. A quoted local part is taken only when it holds nothing but `atext` and dots (it then exists
//! for the odd dots of `".a..b"@example.com`): quoted blanks, angle brackets and backslashes can smuggle ESMTP
//! parameters into `MAIL` and `RCPT`. Address literals (`[192.0.2.1]`) are refused, and so is a domain of one label other
//! than `localhost`: no recipient on the internet has either.
//!
//! Not here: who runs the mailbox (`domain::provider`), return paths (`mail::return_path`).
//!
//! RFC 5321 §4.1.2 and §4.5.3.1, RFC 6531 §3.3, RFC 5890 (A-labels), UTS 46 with STD3 rules.

use std::{borrow::Cow, fmt, hash};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use serde::{Deserialize, Serialize};

/// Most bytes of a local part (RFC 5321 §4.5.3.1.1).
pub const LOCAL_PART_MAX_BYTES: usize = 64;
/// Most bytes of an address (RFC 5321 §4.5.3.1.3, less the angle brackets of the path).
pub const ADDRESS_MAX_BYTES: usize = 254;

/// What is wrong with a text that should be an address. The text itself is not repeated: it may be anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is no text.
    #[error("the address is empty")]
    Empty,
    /// More than [`ADDRESS_MAX_BYTES`], as given or with its domain as A-labels.
    #[error("the address is longer than {ADDRESS_MAX_BYTES} bytes")]
    TooLong,
    /// No `@`.
    #[error("the address has no @")]
    NoAt,
    /// Nothing before the `@`.
    #[error("nothing stands before the @")]
    NoLocalPart,
    /// More than [`LOCAL_PART_MAX_BYTES`] before the `@`.
    #[error("more than {LOCAL_PART_MAX_BYTES} bytes stand before the @")]
    LocalPartTooLong,
    /// A character that may not stand before the `@`.
    #[error("the character U+{:04X} may not stand before the @", u32::from(*.0))]
    LocalPartCharacter(char),
    /// Dots at the start, at the end or in a row, without quotes.
    #[error("dots before the @ may not come first, last or twice in a row")]
    Dots,
    /// Quotes that are not closed, or hold something other than letters, digits, dots and the marks of an atom.
    #[error("a quoted part before the @ may hold only letters, digits, dots and !#$%&'*+-/=?^_`{{|}}~")]
    Quoted,
    /// Nothing behind the `@`.
    #[error("nothing stands behind the @")]
    NoDomain,
    /// An address literal or a bare IP address.
    #[error("an IP address may not stand behind the @")]
    Literal,
    /// Not a domain name by IDNA and the host name rules.
    #[error("what stands behind the @ is not a domain name")]
    Domain,
    /// One label that isn't `localhost`.
    #[error("the domain has no dot")]
    SingleLabel,
}

/// A parsed address. Two are equal when their [`key`](Self::key) is; the spelling doesn't count.
///
/// It has no `Display`, and its `Debug` is masked, so that it doesn't get into a log by accident.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    given: String,
    key: String,
    domain: String,
}

impl Address {
    /// Parses one bare mailbox: no display name, no angle brackets, no surrounding blanks.
    ///
    /// # Errors
    /// The first thing that is wrong, as an [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.len() > ADDRESS_MAX_BYTES {
            return Err(AddressError::TooLong);
        }
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoAt)?;
        let atom = parse_local_part(local)?;
        let domain = parse_domain(domain)?;
        if local.len() + 1 + domain.len() > ADDRESS_MAX_BYTES {
            return Err(AddressError::TooLong);
        }
        let key = format!("{}@{domain}", atom.to_lowercase());
        Ok(Self { given: text.to_owned(), key, domain })
    }

    /// The spelling that was given: what headers and the API show, and what is mailed.
    pub fn as_given(&self) -> &str {
        &self.given
    }

    /// The identity: lower-cased local part, `@`, domain as A-labels; quotes that aren't needed are gone.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The domain as A-labels in lower case.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// What stands before the `@`, as given.
    pub fn local_part(&self) -> &str {
        self.given.rsplit_once('@').map_or("", |(local, _)| local)
    }

    /// What stands in `MAIL FROM:<…>` and `RCPT TO:<…>`: the local part as given, the domain as A-labels.
    pub fn envelope(&self) -> Cow<'_, str> {
        match self.given.rsplit_once('@') {
            Some((local, domain)) if domain != self.domain => Cow::Owned(format!("{local}@{}", self.domain)),
            _ => Cow::Borrowed(&self.given),
        }
    }

    /// Whether the envelope needs the peer to offer SMTPUTF8 (RFC 6531): the local part isn't ASCII.
    pub fn needs_smtputf8(&self) -> bool {
        !self.local_part().is_ascii()
    }

    /// For logs: the first character of the local part, `***`, and the domain.
    pub fn masked(&self) -> String {
        let first = self.local_part().chars().next().unwrap_or('*');
        format!("{first}***@{}", self.domain)
    }
}

/// Checks a local part and gives it without quotes that aren't needed.
fn parse_local_part(local: &str) -> Result<Cow<'_, str>, AddressError> {
    if local.is_empty() {
        return Err(AddressError::NoLocalPart);
    }
    if local.len() > LOCAL_PART_MAX_BYTES {
        return Err(AddressError::LocalPartTooLong);
    }
    if let Some(rest) = local.strip_prefix('"') {
        let inner = rest.strip_suffix('"').ok_or(AddressError::Quoted)?;
        if inner.is_empty() || !inner.chars().all(|c| c == '.' || is_atext(c)) {
            return Err(AddressError::Quoted);
        }
        return Ok(Cow::Borrowed(if has_odd_dots(inner) { local } else { inner }));
    }
    if let Some(bad) = local.chars().find(|c| *c != '.' && !is_atext(*c)) {
        return Err(AddressError::LocalPartCharacter(bad));
    }
    if has_odd_dots(local) {
        return Err(AddressError::Dots);
    }
    Ok(Cow::Borrowed(local))
}

fn has_odd_dots(local: &str) -> bool {
    local.starts_with('.') || local.ends_with('.') || local.contains("..")
}

/// RFC 5322 `atext`, and of what RFC 6531 adds all but blanks, controls and marks that reorder or hide text.
fn is_atext(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    }
    let invisible = matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{FEFF}' | '\u{FFF0}'..='\u{FFFF}' | '\u{E0000}'..='\u{E0FFF}' | '\u{00AD}');
    !(invisible || c.is_control() || c.is_whitespace())
}

/// A domain as A-labels in lower case.
///
/// # Errors
/// [`AddressError`] when it is no domain name by IDNA and the host name rules.
pub fn parse_domain(domain: &str) -> Result<String, AddressError> {
    if domain.is_empty() {
        return Err(AddressError::NoDomain);
    }
    if domain.starts_with('[') {
        return Err(AddressError::Literal);
    }
    let ascii = Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .map_err(|_| AddressError::Domain)?;
    match ascii.rsplit_once('.') {
        None if ascii == "localhost" => Ok(ascii.into_owned()),
        None => Err(AddressError::SingleLabel),
        Some((_, last)) if last.bytes().all(|b| b.is_ascii_digit()) => Err(AddressError::Literal),
        Some(_) => Ok(ascii.into_owned()),
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Address {}

impl hash::Hash for Address {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.masked())
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        Self::parse(&text)
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.given
    }
}

#[cfg(test)]
#[path = "address/tests.rs"]
mod tests;
