//! HTML notices as plain text: enough to find addresses and replies in them, nothing to look at.
//!
//! A leaf, and our own because it must take any bytes: tags become blanks or line ends, entities their characters.

/// Elements that end a line.
const BLOCKS: [&str; 12] = ["br", "p", "div", "tr", "li", "td", "h1", "h2", "h3", "table", "pre", "hr"];
/// Elements whose content isn't shown.
const HIDDEN: [&str; 4] = ["head", "style", "script", "title"];

/// Longest name of an entity that is looked for.
const ENTITY_MAX_BYTES: usize = 8;

/// The text of an HTML document.
pub(super) fn html_to_text(html: &str) -> String {
    let mut out = String::with_capacity(html.len() / 2);
    let mut rest = html;
    let mut hidden: Option<&str> = None;
    while let Some((text, after)) = rest.split_once('<') {
        if hidden.is_none() {
            push_text(&mut out, text);
        }
        if let Some(comment) = after.strip_prefix("!--") {
            rest = comment.split_once("-->").map_or("", |(_, tail)| tail);
            continue;
        }
        let Some((tag, tail)) = after.split_once('>') else {
            rest = "";
            break;
        };
        rest = tail;
        // `<user@example.com>` is no tag: unescaped addresses are common in machine-made notices.
        if hidden.is_none() && tag.contains('@') && !tag.contains(['=', ' ']) {
            out.push('<');
            out.push_str(tag);
            out.push('>');
            continue;
        }
        let (closes, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
        let name = tag.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("").to_ascii_lowercase();
        if let Some(element) = HIDDEN.iter().find(|hidden| **hidden == name) {
            match hidden {
                None if !closes => hidden = Some(element),
                Some(open) if closes && open == *element => hidden = None,
                _ => {}
            }
        } else if BLOCKS.contains(&name.as_str()) {
            out.push('\n');
        }
    }
    if hidden.is_none() {
        push_text(&mut out, rest);
    }
    out
}

/// Adds text with its entities decoded; line ends of the source are blanks.
fn push_text(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('&') {
        push_plain(out, plain);
        let near = after.get(..after.floor_char_boundary(ENTITY_MAX_BYTES + 1)).unwrap_or("");
        let decoded = near.split_once(';').and_then(|(name, _)| Some((entity(name)?, after.get(name.len() + 1..)?)));
        rest = match decoded {
            Some((c, tail)) => {
                out.push(c);
                tail
            }
            None => {
                out.push('&');
                after
            }
        };
    }
    push_plain(out, rest);
}

fn push_plain(out: &mut String, text: &str) {
    out.extend(text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }));
}

fn entity(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => {
            let digits = name.strip_prefix('#')?;
            let number = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(number)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::html_to_text;

    #[test]
    fn addresses_and_replies_survive() {
        let html = "<html><head><title>x</title></head><body><p>To <a href=\"mailto:a@b.example\">a@b.example</a><br>\
            550&#45;5.1.1 no&nbsp;such user &lt;a@b.example&gt; &unknown; <c@d.example></body>";
        assert_eq!(
            html_to_text(html),
            "\nTo a@b.example\n550-5.1.1 no such user <a@b.example> &unknown; <c@d.example>"
        );
    }

    #[test]
    fn broken_markup_ends_nowhere_bad() {
        for html in ["<", "<!--", "<script>x", "&", "&#;", "&#x110000;", "<é", "a<b", "</head>x", "&#xé;"] {
            html_to_text(html);
        }
    }
}
