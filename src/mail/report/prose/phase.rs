//! In which phase of the session the refusal came, as far as a notice tells. A leaf over `words`.

use super::words::Words;

/// Whether the refusal answered the message itself: said in words, or seen in the transcript of a session, where `DATA`
/// is followed by a refusal that isn't the mere want of a recipient.
pub(super) fn is_after_data(lines: &[String], words: &Words) -> bool {
    // Wrapped lines cut the phrase in two: each is read together with the next.
    let pairs = lines.iter().zip(lines.iter().skip(1).map(String::as_str).chain([""]));
    let mut said = pairs.map(|(line, next)| format!("{} {}", line.trim(), next.trim()));
    said.any(|line| words.after_data.is_match(&line)) || transcript_tells(lines)
}

fn transcript_tells(lines: &[String]) -> bool {
    let commands = || lines.iter().enumerate().filter(|(_, line)| line.trim_start().starts_with(">>> DATA"));
    commands().any(|(at, _)| {
        // Between the server's replies stand the reporter's own lines: `550 5.1.1 <a@b>... User unknown`.
        let said = lines.iter().skip(at + 1).map(|line| line.trim_start());
        let said = said.take_while(|line| line.starts_with("<<<") || line.starts_with(['4', '5']));
        let replies = said.filter_map(|line| line.strip_prefix("<<<"));
        let mut n_refusals = 0;
        for reply in replies.map(|reply| reply.trim().to_lowercase()) {
            if reply.starts_with("503") || (reply.starts_with("554") && reply.contains("valid recipient")) {
                return false;
            }
            n_refusals += usize::from(reply.starts_with(['4', '5']));
        }
        n_refusals > 0
    })
}
