//! Delivery status notifications (RFC 3464), also those whose MIME labels are wrong.
//!
//! Not here: notices in prose (`prose`, `vendor`), what a status means (`domain::bounce`).

use super::{
    diagnosis::diagnose,
    facts::{Action, RECIPIENTS_MAX, ReportRecipient, tidy},
    fields::{Line, address_in, parse_lines, untyped},
    parts::Part,
};

/// What the status part of a DSN says.
#[derive(Debug, Default)]
pub(super) struct Dsn {
    pub(super) recipients: Vec<ReportRecipient>,
    pub(super) reporting_mta: Option<String>,
    /// The envelope sender of the original, where an extension field tells it (Postfix: `X-Postfix-Sender`).
    pub(super) sender: Option<String>,
}

/// Reads the first status part of the report itself; parts of enclosed messages are someone else's.
pub(super) fn read(parts: &[Part<'_>]) -> Option<Dsn> {
    let own = || parts.iter().filter(|part| part.n_enclosing == 0);
    let labelled = own().filter(|part| {
        matches!(part.media_type.as_str(), "message/delivery-status" | "message/global-delivery-status")
    });
    let mislabelled = own().filter(|part| part.is_prose());
    labelled.map(|part| part.text()).map(|text| parse(&text)).find(|dsn| !dsn.recipients.is_empty()).or_else(|| {
        mislabelled.filter_map(|part| parse_mislabelled(&part.text())).find(|dsn| !dsn.recipients.is_empty())
    })
}

/// Finds a status block inside other text: it begins at `Reporting-MTA:` or at a recipient field.
fn parse_mislabelled(text: &str) -> Option<Dsn> {
    const STARTS: [&str; 3] = ["reporting-mta:", "final-recipient:", "original-recipient:"];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let starts = STARTS.iter().any(|name| line.get(..name.len()).is_some_and(|l| l.eq_ignore_ascii_case(name)));
        if starts {
            let dsn = parse(text.get(at..)?);
            // Prose may quote one field; a block has an action or a status as well.
            let whole = dsn.recipients.iter().any(|r| r.status.is_some() || r.diagnostic.is_some());
            return whole.then_some(dsn);
        }
        at += line.len();
    }
    None
}

#[derive(Default)]
struct Group {
    final_recipient: Option<String>,
    original_recipient: Option<String>,
    actual_recipient: Option<String>,
    action: Option<String>,
    status: Option<String>,
    diagnostic: Option<String>,
    remote_mta: Option<String>,
}

impl Group {
    fn names_recipient(&self) -> bool {
        self.final_recipient.is_some() || self.original_recipient.is_some() || self.actual_recipient.is_some()
    }

    fn is_complete(&self) -> bool {
        self.names_recipient() && (self.action.is_some() || self.status.is_some())
    }
}

/// Reads the groups of a status part. Blank lines inside a group and missing ones between groups are put up with: a
/// group ends where a field of it comes a second time, or at a blank line once it is complete.
fn parse(text: &str) -> Dsn {
    let mut dsn = Dsn::default();
    let mut group = Group::default();
    for line in parse_lines(text) {
        let Line::Field(name, value) = line else {
            if group.is_complete() {
                dsn.finish(std::mem::take(&mut group));
            }
            continue;
        };
        let slot = match name.as_str() {
            "final-recipient" => &mut group.final_recipient,
            "original-recipient" => &mut group.original_recipient,
            "x-actual-recipient" => &mut group.actual_recipient,
            "action" => &mut group.action,
            "status" => &mut group.status,
            "diagnostic-code" => &mut group.diagnostic,
            "remote-mta" => &mut group.remote_mta,
            "reporting-mta" => {
                dsn.reporting_mta.get_or_insert_with(|| tidy(untyped(&value)));
                continue;
            }
            "x-postfix-sender" | "x-email-security-gateway-sender" | "x-symantec-messaging-gateway-sender" => {
                dsn.sender = dsn.sender.take().or_else(|| address_in(&value));
                continue;
            }
            _ => continue,
        };
        if slot.is_some() && name == "final-recipient" {
            dsn.finish(std::mem::take(&mut group));
            group.final_recipient = Some(value);
        } else if slot.is_none() {
            *slot = Some(value);
        }
    }
    dsn.finish(group);
    dsn
}

impl Dsn {
    /// Takes from the prose beside the fields what these don't say: matched by address, or as the only one. An only
    /// recipient without an address is the one whom the original was `mailed` to.
    pub(super) fn complete(&mut self, prose: &[ReportRecipient], after_data: bool, mailed: &[String]) {
        let is_single = self.recipients.len() == 1;
        for recipient in &mut self.recipients {
            recipient.after_data = is_single && after_data;
            let same = |other: &&ReportRecipient| (is_single && prose.len() == 1) || other.address == recipient.address;
            let Some(told) = prose.iter().find(same) else {
                if let (true, None, [only]) = (is_single, &recipient.address, mailed) {
                    recipient.address = Some(only.clone());
                }
                continue;
            };
            if recipient.address.is_none() {
                recipient.address.clone_from(&told.address);
            }
            if recipient.diagnostic.is_none() {
                let declared = recipient.status;
                diagnose(recipient, told.diagnostic.as_deref(), declared);
            }
        }
    }

    fn finish(&mut self, group: Group) {
        if !group.names_recipient() || self.recipients.len() >= RECIPIENTS_MAX {
            return;
        }
        let declared = group.status.as_deref().and_then(|s| s.split_whitespace().next()).and_then(|s| s.parse().ok());
        let mut recipient = ReportRecipient::new(parse_action(group.action.as_deref(), group.status.as_deref()));
        diagnose(&mut recipient, group.diagnostic.as_deref().map(untyped), declared);
        // The comment of a status says something where there is no diagnostic: `4.4.0 (no answer)`.
        if recipient.diagnostic.is_none() {
            let comment = group.status.as_deref().and_then(|s| s.split_once('(')).map(|(_, c)| c.trim_end_matches(')'));
            recipient.diagnostic = comment.map(tidy).filter(|c| !c.is_empty());
        }
        recipient.remote_mta = group.remote_mta.as_deref().map(|mta| tidy(untyped(mta))).filter(|mta| !mta.is_empty());
        let address = |value: &Option<String>| value.as_deref().and_then(address_in);
        let named = address(&group.final_recipient);
        let actual = address(&group.actual_recipient);
        let mailed = address(&group.original_recipient);
        // A server's inner name (`user@store`, Exchange's `IMCEAEX-_O=…@`) says nothing outside.
        let is_inner = |address: &String| {
            let has_domain = address.rsplit('@').next().is_some_and(|domain| domain.contains('.'));
            !has_domain || address.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("IMCEAE"))
        };
        let named = named.filter(|named| !(is_inner(named) && mailed.is_some()));
        recipient.address = named.or(actual).or_else(|| mailed.clone());
        recipient.original = mailed.filter(|mailed| Some(mailed) != recipient.address.as_ref());
        self.recipients.push(recipient);
    }
}

fn parse_action(action: Option<&str>, status: Option<&str>) -> Action {
    let word: String = action
        .unwrap_or("")
        .trim()
        .chars()
        .take_while(char::is_ascii_alphabetic)
        .collect::<String>()
        .to_ascii_lowercase();
    match word.as_str() {
        "failed" | "failure" | "fail" | "expired" | "dropped" | "hard" | "error" => Action::Failed,
        "delayed" | "deferred" | "delay" => Action::Delayed,
        "delivered" | "deliverable" => Action::Delivered,
        "relayed" => Action::Relayed,
        "expanded" => Action::Expanded,
        _ if status.is_some_and(|status| status.starts_with('2')) => Action::Delivered,
        _ if status.is_some_and(|status| status.starts_with('4')) => Action::Delayed,
        _ => Action::Failed,
    }
}
