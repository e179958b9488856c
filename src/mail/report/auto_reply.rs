//! Answers by machines: out of office, ticket received (RFC 3834, and what was in use before it).
//!
//! Asked last: Postfix marks its DSNs `Auto-Submitted: auto-replied` as well.

use super::headers::Headers;

/// Subjects that vacation programs make, at their start, in lower case.
const SUBJECTS: [&str; 22] = [
    "automatic reply",
    "auto reply",
    "auto-reply",
    "autoreply",
    "auto response",
    "auto-response",
    "automated reply",
    "out of office",
    "out of the office",
    "out-of-office",
    "away from",
    "vacation",
    "i am out of",
    "i'm out of",
    "abwesenheit",
    "automatische antwort",
    "réponse automatique",
    "absence",
    "respuesta automática",
    "risposta automatica",
    "automatisch antwoord",
    "自動応答",
];

/// Whether a message was answered by a machine.
pub(super) fn is_auto_reply(headers: &Headers, subject: &str) -> bool {
    let starts =
        |name: &str, word: &str| headers.get(name).is_some_and(|value| value.trim().to_lowercase().starts_with(word));
    let marked = starts("Auto-Submitted", "auto-replied")
        || starts("Precedence", "auto_reply")
        || starts("X-Precedence", "auto_reply")
        || starts("X-Autoreply", "yes")
        || headers.get("X-Autorespond").is_some()
        || headers.get("X-Auto-Reply").is_some()
        || headers.get("X-MS-Exchange-Inbox-Rules-Loop").is_some();
    let subject = subject.trim().to_lowercase();
    marked || (!starts("Auto-Submitted", "no") && SUBJECTS.iter().any(|words| subject.starts_with(words)))
}
