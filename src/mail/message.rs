//! A message's frame: what is the same for every recipient is made once, the rest is written around it.
//!
//! [`Skeleton`] holds the headers and MIME boundaries of one campaign as bytes. Per recipient a [`Head`] is written, then the
//! parts in quoted-printable; what leaves is 7 bit (but for an address that isn't) with CRLF line ends. Message-ID and Date
//! are the caller's, so that a second try carries the same ones.
//!
//! Not here: the text of the parts (`render`), DKIM, dot-stuffing (`smtp`).
//!
//! RFC 5322 (headers), RFC 2046 §5.1.4 (multipart/alternative), RFC 3834 §4 (what keeps auto-responders quiet).

use chrono::{DateTime, Datelike, Utc};
use uuid::Uuid;

use super::{
    address::Address,
    header::{self, HeaderError},
    list_unsubscribe,
    quoted_printable::Writer,
    return_path::DELIVERY_HEADER,
};

/// Which parts a message has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Plain text alone.
    Text,
    /// Plain text, and the same as HTML.
    Alternative,
}

/// What all messages of a campaign have in common.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    /// The name in front of the From address; may be empty.
    pub from_name: &'a str,
    /// The From address.
    pub from: &'a Address,
    /// Where answers go, if not to the From address.
    pub reply_to: Option<&'a Address>,
    /// Which parts.
    pub shape: Shape,
    /// What the MIME boundary is made from: the campaign.
    pub boundary: Uuid,
}

/// What is one recipient's own.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The recipient.
    pub to: &'a Address,
    /// The rendered subject.
    pub subject: &'a str,
    /// The same at every try.
    pub date: DateTime<Utc>,
    /// What the message itself is signed with, in a header of its own and as the left side of the Message-ID, for reports that
    /// lose the envelope. It is the same at every try, and nobody can guess another delivery's.
    pub delivery_token: &'a str,
    /// The right side of the Message-ID: a host name in ASCII.
    pub message_id_domain: &'a str,
    /// Where one click unsubscribes, unless the message is not for a list.
    pub unsubscribe_url: Option<&'a str>,
}

/// The bytes that all messages of a campaign share.
#[derive(Debug, Clone)]
pub struct Skeleton {
    shape: Shape,
    /// From, Reply-To, Precedence, MIME headers up to where the first part's text begins.
    opening: Vec<u8>,
    /// From the end of the text part to where the HTML begins.
    between: Vec<u8>,
    closing: Vec<u8>,
}

impl Skeleton {
    /// Makes the frame once per campaign.
    ///
    /// # Errors
    /// [`HeaderError`] when a name or an address can't stand in a header.
    pub fn new(common: &Common<'_>) -> Result<Self, HeaderError> {
        const TEXT: &str =
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
        const HTML: &str =
            "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
        let mut opening = Vec::with_capacity(512);
        header::write_mailbox("From", common.from_name, common.from, &mut opening)?;
        if let Some(reply_to) = common.reply_to {
            header::write_mailbox("Reply-To", "", reply_to, &mut opening)?;
        }
        opening.extend_from_slice(b"Precedence: bulk\r\nMIME-Version: 1.0\r\n");
        // `=_` can't occur in quoted-printable, so no part can hold the boundary.
        let boundary = format!("=_{}", common.boundary.simple());
        let (between, closing) = match common.shape {
            Shape::Text => {
                opening.extend_from_slice(TEXT.as_bytes());
                (String::new(), "\r\n".to_owned())
            }
            Shape::Alternative => {
                let first = format!(
                    "Content-Type: multipart/alternative;\r\n boundary=\"{boundary}\"\r\n\r\n--{boundary}\r\n{TEXT}"
                );
                opening.extend_from_slice(first.as_bytes());
                (format!("\r\n--{boundary}\r\n{HTML}"), format!("\r\n--{boundary}--\r\n"))
            }
        };
        Ok(Self { shape: common.shape, opening, between: between.into_bytes(), closing: closing.into_bytes() })
    }

    /// Which parts it has.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Writes the headers and begins the text part.
    ///
    /// # Errors
    /// [`HeaderError`] when the subject can't stand in a header.
    pub fn begin<'o>(&self, head: &Head<'_>, out: &'o mut Vec<u8>) -> Result<Writer<'o>, HeaderError> {
        out.extend_from_slice(b"Date: ");
        write_date(head.date, out);
        out.extend_from_slice(b"\r\n");
        header::write_address("To", head.to, out);
        header::write_text("Subject", head.subject, out)?;
        write_message_id(head, out)?;
        if let Some(url) = head.unsubscribe_url {
            list_unsubscribe::write(url, out);
        }
        header::check(DELIVERY_HEADER, head.delivery_token)?;
        for part in [DELIVERY_HEADER, ": ", head.delivery_token, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        out.extend_from_slice(&self.opening);
        Ok(Writer::new(out))
    }

    /// Begins the HTML part behind the finished text part.
    pub fn begin_html<'o>(&self, out: &'o mut Vec<u8>) -> Writer<'o> {
        out.extend_from_slice(&self.between);
        Writer::new(out)
    }

    /// Ends the message behind its finished last part.
    pub fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.closing);
    }
}

fn write_message_id(head: &Head<'_>, out: &mut Vec<u8>) -> Result<(), HeaderError> {
    let is_plain = |side: &str| {
        !side.is_empty() && side.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
    };
    if !is_plain(head.delivery_token) || !is_plain(head.message_id_domain) {
        return Err(HeaderError::Address { header: "Message-ID" });
    }
    for part in ["Message-ID: <", head.delivery_token, "@", head.message_id_domain, ">\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    Ok(())
}

/// RFC 5322 §3.3; a year that it can't write (before 0, after 9999) becomes the epoch.
fn write_date(date: DateTime<Utc>, out: &mut Vec<u8>) {
    let date = if (0..=9999).contains(&date.year()) { date } else { DateTime::UNIX_EPOCH };
    out.extend_from_slice(date.to_rfc2822().as_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use mail_parser::{MessageParser, MimeHeaders};

    use super::*;

    fn compose(shape: Shape, subject: &str, domain: &str) -> Result<String, HeaderError> {
        let from = Address::parse("news@acme.example").unwrap();
        let reply_to = Address::parse("help@acme.example").unwrap();
        let to = Address::parse("ann@münchen.example").unwrap();
        let skeleton = Skeleton::new(&Common {
            from_name: "Acme, Inc.",
            from: &from,
            reply_to: Some(&reply_to),
            shape,
            boundary: Uuid::from_u128(9),
        })?;
        let head = Head {
            to: &to,
            subject,
            date: DateTime::from_timestamp(1_795_507_200, 0).unwrap(),
            delivery_token: "m-abc",
            message_id_domain: domain,
            unsubscribe_url: Some("https://links.acme.example/u/token"),
        };
        let mut out = Vec::new();
        let mut text = skeleton.begin(&head, &mut out)?;
        text.push("Hello\n\n--=_00000000000000000000000000000009--\nGrüße ");
        text.finish();
        if shape == Shape::Alternative {
            let mut html = skeleton.begin_html(&mut out);
            html.push("<p class=\"x\">Grüße</p>\n");
            html.finish();
        }
        skeleton.end(&mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_message_has_both_parts_and_every_header() {
        let text = compose(Shape::Alternative, "Grüße", "acme.example").unwrap();
        assert!(text.is_ascii());
        assert!(text.split("\r\n").all(|line| line.len() <= 78 && !line.contains(['\r', '\n'])), "{text}");
        let message = MessageParser::default().parse(text.as_bytes()).unwrap();
        assert_eq!(message.body_text(0).unwrap(), "Hello\r\n\r\n--=_00000000000000000000000000000009--\r\nGrüße ");
        assert_eq!(message.body_html(0).unwrap(), "<p class=\"x\">Grüße</p>\r\n");
        assert_eq!((message.text_body_count(), message.html_body_count(), message.attachment_count()), (1, 1, 0));
        assert_eq!(message.subject(), Some("Grüße"));
        assert_eq!(message.message_id(), Some("m-abc@acme.example"));
        assert_eq!(message.date().unwrap().to_rfc3339(), "2026-11-24T08:00:00Z");
        let first =
            |list: Option<&mail_parser::Address<'_>>| list.unwrap().first().unwrap().address().unwrap().to_owned();
        assert_eq!(first(message.from()), "news@acme.example");
        assert_eq!(first(message.to()), "ann@xn--mnchen-3ya.example");
        assert_eq!(first(message.reply_to()), "help@acme.example");
        assert!(text.contains("\r\nList-Unsubscribe: <https://links.acme.example/u/token>\r\n"));
        assert!(text.contains("\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"));
        assert!(text.contains("\r\nX-Postrider-Delivery: m-abc\r\n"));
        assert!(text.contains("\r\nPrecedence: bulk\r\n"));
    }

    #[test]
    fn a_message_of_text_alone_has_no_boundary() {
        let text = compose(Shape::Text, "Hi", "acme.example").unwrap();
        let message = MessageParser::default().parse(text.as_bytes()).unwrap();
        assert_eq!(message.content_type().unwrap().subtype(), Some("plain"));
        assert_eq!(message.parts.len(), 1);
        assert!(message.body_text(0).unwrap().ends_with("Grüße \r\n"));
    }

    #[test]
    fn nothing_that_varies_can_add_a_header() {
        assert!(compose(Shape::Text, "Hi\r\nBcc: x@example.com", "acme.example").is_err());
        assert!(compose(Shape::Text, "Hi", "acme.example>\r\nX: y").is_err());
        assert!(compose(Shape::Text, "Hi", "").is_err());
    }

    #[test]
    fn a_date_out_of_range_does_not_panic() {
        for date in [DateTime::<Utc>::MAX_UTC, DateTime::<Utc>::MIN_UTC] {
            let mut out = Vec::new();
            write_date(date, &mut out);
            assert!(out.ends_with(b"+0000"));
        }
    }
}
