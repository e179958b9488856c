//! What a server says it can do: the reply to EHLO.
//!
//! RFC 5321 §4.1.1.1; PIPELINING 2920, SIZE 1870, 8BITMIME 6152, SMTPUTF8 6531, STARTTLS 3207, AUTH 4954, CHUNKING
//! 3030, ENHANCEDSTATUSCODES 2034.

use super::reply::RawReply;

/// The extensions that a server offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Several commands may be sent in one go.
    pub pipelining: bool,
    /// SIZE is offered.
    pub size: bool,
    /// The most bytes of a message, if a limit is announced.
    pub size_limit_bytes: Option<u64>,
    /// 8BITMIME.
    pub eight_bit_mime: bool,
    /// SMTPUTF8.
    pub smtp_utf8: bool,
    /// STARTTLS.
    pub start_tls: bool,
    /// CHUNKING, that is BDAT.
    pub chunking: bool,
    /// ENHANCEDSTATUSCODES. Enhanced codes are read also without it.
    pub enhanced_status_codes: bool,
    /// The mechanisms of AUTH, in capitals.
    pub auth: Vec<String>,
}

impl Capabilities {
    /// Reads them from the positive reply to EHLO; its first line is the server's greeting.
    pub(super) fn parse(reply: &RawReply) -> Self {
        let mut capabilities = Self::default();
        for line in reply.lines().skip(1) {
            let line = String::from_utf8_lossy(line).to_ascii_uppercase();
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default();
            match keyword {
                "PIPELINING" => capabilities.pipelining = true,
                "SIZE" => {
                    capabilities.size = true;
                    // 0 means no fixed limit; what is no number is no limit either.
                    capabilities.size_limit_bytes = words.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
                }
                "8BITMIME" => capabilities.eight_bit_mime = true,
                "SMTPUTF8" => capabilities.smtp_utf8 = true,
                "STARTTLS" => capabilities.start_tls = true,
                "CHUNKING" => capabilities.chunking = true,
                "ENHANCEDSTATUSCODES" => capabilities.enhanced_status_codes = true,
                // `AUTH=PLAIN` is how servers of before the RFC wrote it; some still give both.
                _ => {
                    if let Some(first) = keyword.strip_prefix("AUTH=") {
                        capabilities.add_mechanisms(std::iter::once(first).chain(words));
                    } else if keyword == "AUTH" {
                        capabilities.add_mechanisms(words);
                    }
                }
            }
        }
        capabilities
    }

    fn add_mechanisms<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names.filter(|name| name.bytes().all(|byte| byte.is_ascii_graphic())) {
            if !self.auth.iter().any(|known| known == name) && self.auth.len() < 32 {
                self.auth.push(name.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Capabilities {
        Capabilities::parse(&RawReply { code: 250, text: text.as_bytes().to_vec() })
    }

    #[test]
    fn the_extensions_of_an_ehlo_reply_are_read_in_any_case() {
        let capabilities = parse(
            "PIPELINING is my name\npipelining\nSIZE 10240000\nSTARTTLS\nAUTH PLAIN login\nAUTH=PLAIN xoauth2\n8BITMIME\nSMTPUTF8\nCHUNKING\nEnhancedStatusCodes\nVRFY",
        );
        assert!(capabilities.pipelining && capabilities.eight_bit_mime && capabilities.smtp_utf8);
        assert!(capabilities.start_tls && capabilities.chunking && capabilities.enhanced_status_codes);
        assert_eq!((capabilities.size, capabilities.size_limit_bytes), (true, Some(10_240_000)));
        assert_eq!(capabilities.auth, ["PLAIN", "LOGIN", "XOAUTH2"]);
    }

    #[test]
    fn a_greeting_line_offers_nothing() {
        assert_eq!(parse("PIPELINING"), Capabilities::default());
    }

    #[test]
    fn a_size_without_a_limit_is_no_limit() {
        for text in ["x\nSIZE", "x\nSIZE 0", "x\nSIZE much"] {
            assert_eq!((parse(text).size, parse(text).size_limit_bytes), (true, None));
        }
    }
}
