//! Notices in prose: bounces of servers that know no RFC 3464, read by the words that such notices share.
//!
//! One way of reading serves nearly all of them: cut the notice from the original, find the addresses that stand where
//! failed ones stand, and take the words next to each as its diagnostic. The words are data (`words.toml`).
//!
//! Not here: formats that need a reading of their own.

mod about;
mod mention;
mod notice;
mod phase;
mod words;

use super::{
    diagnosis::diagnose,
    facts::{Action, RECIPIENTS_MAX, ReportRecipient},
    fields::address_in,
    headers::Headers,
    origin::{addresses, mailed},
    parts::Part,
};
use about::About;
use mention::{Certainty, Mention, Mentions, find_mentions};
use notice::Notice;
use words::WORDS;

/// What a notice in prose says.
#[derive(Default)]
pub(super) struct Prose {
    /// Empty when it isn't a notice.
    pub(super) recipients: Vec<ReportRecipient>,
    /// Whether the refusal answered the message and not the address.
    pub(super) after_data: bool,
    /// The original's header, when it stands in the text.
    pub(super) original: Headers,
}

/// Reads a message as a notice in prose; `original` is the header of an enclosed message, if there is one.
pub(super) fn read(headers: &Headers, subject: &str, parts: &[Part<'_>], original: &Headers) -> Prose {
    let Some(words) = WORDS.as_ref() else { return Prose::default() };
    let notice = Notice::collect(parts, words);
    let after_data = phase::is_after_data(&notice.lines, words);
    if !notice.is_one(headers, subject, parts, words) {
        return Prose { after_data, ..Prose::default() };
    }
    let action = match () {
        () if notice.is_delay(subject, words) => Action::Delayed,
        () if notice.is_success(subject, words) => Action::Delivered,
        () => Action::Failed,
    };
    let Mentions { addresses: mut mentions, names } = find_mentions(&notice.lines, words);
    let mut failed = addresses(headers, "X-Failed-Recipients");
    if failed.is_empty() {
        let mut original_to = mailed(headers, original);
        original_to.extend(mailed(headers, &notice.original));
        failed = choose_sure(&mentions, headers);
        // Nothing that is sure: a server that leaves its own domain away, else whom the original was for.
        if failed.is_empty() && original_to.is_empty() {
            let named = complete_names(&names, headers, &notice.lines);
            failed.extend(named.iter().map(|mention| mention.address.clone()));
            mentions.extend(named);
        }
        if failed.is_empty() {
            failed = choose_likely(&mentions, headers, &original_to);
        }
    }
    dedupe(&mut failed);
    failed.truncate(RECIPIENTS_MAX);
    let about = About::new(&notice.lines, &mentions, &failed);
    let entry = |address: String| {
        let diagnostic = about.address(&address);
        let mut recipient = ReportRecipient { address: Some(address), ..ReportRecipient::new(action) };
        recipient.after_data = after_data && failed.len() == 1;
        recipient.original = recipient.address.as_deref().and_then(|address| about.came_from(address, words));
        diagnose(&mut recipient, diagnostic.as_deref(), None);
        recipient
    };
    let recipients = failed.iter().cloned().map(entry).collect();
    Prose { recipients, after_data, original: notice.original }
}

/// The addresses of the report itself, which no one reports on.
fn own_addresses(headers: &Headers) -> Vec<String> {
    let fields = ["From", "Reply-To", "To", "Delivered-To", "X-Original-To"];
    fields.iter().flat_map(|name| addresses(headers, name)).collect()
}

fn holds(addresses: &[String], address: &str) -> bool {
    addresses.iter().any(|own| own.eq_ignore_ascii_case(address))
}

fn at(mentions: &[Mention], certainty: Certainty) -> impl Iterator<Item = &String> {
    mentions.iter().filter(move |mention| mention.certainty == certainty).map(|mention| &mention.address)
}

/// The failed addresses: the most certain mentions, without the report's own.
fn choose_sure(mentions: &[Mention], headers: &Headers) -> Vec<String> {
    let own = own_addresses(headers);
    let sure = [Certainty::Listed, Certainty::Refused, Certainty::Leads].into_iter();
    sure.map(|certainty| at(mentions, certainty).filter(|address| !holds(&own, address)).cloned().collect())
        .find(|found: &Vec<String>| !found.is_empty())
        .unwrap_or_default()
}

/// Who is probably meant: whom the original was for.
fn choose_likely(mentions: &[Mention], headers: &Headers, original_to: &[String]) -> Vec<String> {
    let own = own_addresses(headers);
    let named = || at(mentions, Certainty::Named);
    let mailed: Vec<String> = named().filter(|address| holds(original_to, address)).cloned().collect();
    if !mailed.is_empty() {
        return mailed;
    }
    let own_listed: Vec<String> = at(mentions, Certainty::Listed).cloned().collect();
    if !own_listed.is_empty() {
        return own_listed;
    }
    // A single recipient of the original is the one; of several, nobody knows which. The same for a single stranger.
    if let [only] = original_to
        && !holds(&own, only)
    {
        return vec![only.clone()];
    }
    let has_domain = |address: &&String| address.rsplit('@').next().is_some_and(|domain| domain.contains('.'));
    let mut strangers: Vec<String> =
        named().filter(|address| !holds(&own, address)).filter(has_domain).cloned().collect();
    dedupe(&mut strangers);
    if strangers.len() == 1 { strangers } else { Vec::new() }
}

/// Names in a list of failed recipients, with the domain of the server that wrote it.
fn complete_names(names: &[(&str, usize)], headers: &Headers, lines: &[String]) -> Vec<Mention> {
    let from = headers.get("From").and_then(address_in);
    let Some((_, domain)) = from.as_deref().and_then(|from| from.rsplit_once('@')) else { return Vec::new() };
    let complete = |(name, line): &(&str, usize)| Mention {
        address: format!("{name}@{domain}").to_lowercase(),
        certainty: Certainty::Listed,
        line: *line,
        end: lines.get(*line).map_or(0, String::len),
    };
    names.iter().map(complete).collect()
}

fn dedupe(addresses: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    addresses.retain(|address| seen.insert(address.to_lowercase()));
}
