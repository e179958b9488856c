//! What mail services are given to hand back: their events about a message then carry what we signed for it.
//!
//! By the host of the relay. Amazon SES needs none, it tells the envelope's sender. Each takes its field out of the message before
//! it sends it on. Not here: reading the events (`mail::report`), taking them (`track`).
//!
//! Sources: twilio.com/docs/sendgrid, "X-SMTPAPI header, unique arguments"; documentation.mailgun.com, "Attaching data to
//! messages"; postmarkapp.com/developer, "Custom metadata".

/// The services' hosts, as their pages on SMTP name them.
const HOSTS: [(&str, Service); 4] = [
    (".sendgrid.net", Service::SendGrid),
    (".mailgun.org", Service::Mailgun),
    (".postmarkapp.com", Service::Postmark),
    (".mtasv.net", Service::Postmark),
];

#[derive(Debug, Clone, Copy)]
enum Service {
    SendGrid,
    Mailgun,
    Postmark,
}

/// The header field, with its line end, that has the service at this host echo the local part of this return path; none for
/// any other host.
pub(super) fn field(host: &str, return_path: &str) -> Option<Vec<u8>> {
    let (_, service) = HOSTS.iter().find(|(end, _)| host.ends_with(end))?;
    let signed = return_path.split('@').next()?;
    // Ours are letters, digits and a dash: nothing that JSON or a header would have to escape.
    if signed.is_empty() || !signed.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return None;
    }
    let field = match service {
        Service::SendGrid => format!("X-SMTPAPI: {{\"unique_args\":{{\"postrider-delivery\":\"{signed}\"}}}}\r\n"),
        Service::Mailgun => format!("X-Mailgun-Variables: {{\"postrider-delivery\":\"{signed}\"}}\r\n"),
        Service::Postmark => format!("X-PM-Metadata-postrider-delivery: {signed}\r\n"),
    };
    Some(field.into_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PATH: &str = "b-abc234@bounces.x.org";

    fn text(host: &str) -> String {
        String::from_utf8(field(host, PATH).unwrap_or_default()).unwrap()
    }

    #[test]
    fn each_service_is_given_its_own_field_and_nobody_else_any() {
        assert_eq!(text("smtp.sendgrid.net"), "X-SMTPAPI: {\"unique_args\":{\"postrider-delivery\":\"b-abc234\"}}\r\n");
        assert_eq!(text("smtp.eu.mailgun.org"), "X-Mailgun-Variables: {\"postrider-delivery\":\"b-abc234\"}\r\n");
        for host in ["smtp.postmarkapp.com", "smtp-broadcasts.postmarkapp.com"] {
            assert_eq!(text(host), "X-PM-Metadata-postrider-delivery: b-abc234\r\n");
        }
        for host in ["mx.example.org", "sendgrid.net.evil.test", "notpostmarkapp.com", "192.0.2.7", ""] {
            assert_eq!(field(host, PATH), None, "{host}");
        }
    }

    #[test]
    fn a_path_that_is_not_ours_is_never_written_into_a_header() {
        for path in ["", "@x.org", "a\r\nBcc: b@x.org", "\"a b\"@x.org", "a\"b@x.org"] {
            assert_eq!(field("smtp.sendgrid.net", path), None, "{path}");
        }
    }
}
