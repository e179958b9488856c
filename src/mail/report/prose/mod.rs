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
    headers::Headers,
    origin::addresses,
    parts::Part,
};
use about::About;
use mention::{Certainty, Mention, find_mentions};
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
    let action = if notice.is_delay(subject, words) { Action::Delayed } else { Action::Failed };
    let mentions = find_mentions(&notice.lines, words);
    let original_to = || {
        let mut to = addresses(original, "To");
        to.extend(addresses(&notice.original, "To"));
        to
    };
    let mut failed = addresses(headers, "X-Failed-Recipients");
    if failed.is_empty() {
        failed = choose(&mentions, headers, &original_to());
    }
    dedupe(&mut failed);
    failed.truncate(RECIPIENTS_MAX);
    let about = About::new(&notice.lines, &mentions, &failed);
    let entry = |address: String| {
        let diagnostic = about.address(&address);
        let mut recipient = ReportRecipient { address: Some(address), ..ReportRecipient::new(action) };
        recipient.after_data = after_data && failed.len() == 1;
        diagnose(&mut recipient, diagnostic.as_deref(), None);
        recipient
    };
    let recipients = failed.iter().cloned().map(entry).collect();
    Prose { recipients, after_data, original: notice.original }
}

/// The failed addresses: the most certain mentions, without the report's own; else whom the original was for.
fn choose(mentions: &[Mention], headers: &Headers, original_to: &[String]) -> Vec<String> {
    let own: Vec<String> = ["From", "Reply-To", "To", "Delivered-To", "X-Original-To"]
        .iter()
        .flat_map(|n| addresses(headers, n))
        .collect();
    let is_own = |address: &str| own.iter().any(|o| o.eq_ignore_ascii_case(address));
    let was_mailed = |address: &str| original_to.iter().any(|to| to.eq_ignore_ascii_case(address));
    let at = |certainty: Certainty, with_own: bool| -> Vec<String> {
        let sure = mentions.iter().filter(|mention| mention.certainty == certainty);
        sure.map(|mention| mention.address.clone()).filter(|address| with_own || !is_own(address)).collect()
    };
    for certainty in [Certainty::Listed, Certainty::Refused, Certainty::Leads] {
        let found = at(certainty, false);
        if !found.is_empty() {
            return found;
        }
    }
    let named = at(Certainty::Named, true);
    let mailed: Vec<String> = named.iter().filter(|address| was_mailed(address)).cloned().collect();
    if !mailed.is_empty() {
        return mailed;
    }
    let own_listed = at(Certainty::Listed, true);
    if !own_listed.is_empty() {
        return own_listed;
    }
    // A single recipient of the original is the one; of several, nobody knows which. The same for a single stranger.
    if let [only] = original_to
        && !is_own(only)
    {
        return vec![only.clone()];
    }
    let mut strangers = at(Certainty::Named, false);
    dedupe(&mut strangers);
    if strangers.len() == 1 { strangers } else { Vec::new() }
}

fn dedupe(addresses: &mut Vec<String>) {
    let mut seen = std::collections::HashSet::new();
    addresses.retain(|address| seen.insert(address.to_lowercase()));
}
