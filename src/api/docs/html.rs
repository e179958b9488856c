//! Markup that can't be broken by text: what is not a literal of this program is escaped on its way in.
//!
//! Not here: what the page says (`operation`, `schema`).

/// Markup under construction.
#[derive(Debug, Default)]
pub struct Html(String);

impl Html {
    /// Markup of ours.
    pub fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Any text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                _ => self.0.push(character),
            }
        }
        self
    }

    /// A text as code.
    pub fn code(&mut self, text: &str) -> &mut Self {
        self.raw("<code>").text(text).raw("</code>")
    }

    /// A link to an anchor of this page, which is `kind` and `name` put together.
    pub fn link(&mut self, kind: &'static str, name: &str) -> &mut Self {
        self.raw("<a href=\"#").raw(kind).text(name).raw("\">").text(name).raw("</a>")
    }

    /// A block of text whose lines and spaces are kept.
    pub fn block(&mut self, text: &str) -> &mut Self {
        self.raw("<pre>").text(text).raw("</pre>\n")
    }

    /// The little Markdown that the document uses: paragraphs, lists, `code` and **bold**.
    pub fn prose(&mut self, markdown: &str) -> &mut Self {
        for block in markdown.trim().split("\n\n") {
            if block.trim_start().starts_with("- ") {
                self.raw("<ul>\n");
                for (n, line) in block.lines().enumerate() {
                    match line.trim_start().strip_prefix("- ") {
                        Some(item) => self.raw(if n == 0 { "<li>" } else { "</li>\n<li>" }).inline(item),
                        None => self.raw("\n").inline(line.trim_start()),
                    };
                }
                self.raw("</li>\n</ul>\n");
            } else if !block.is_empty() {
                self.raw("<p>").inline(block).raw("</p>\n");
            }
        }
        self
    }

    /// One line of that Markdown, without a block around it.
    pub fn inline(&mut self, markdown: &str) -> &mut Self {
        for (n, part) in markdown.trim_end().split('`').enumerate() {
            if n % 2 == 1 {
                self.code(part);
                continue;
            }
            for (n, part) in part.split("**").enumerate() {
                if n % 2 == 1 {
                    self.raw("<strong>").text(part).raw("</strong>");
                } else {
                    self.text(part);
                }
            }
        }
        self
    }

    /// The markup.
    pub fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_never_becomes_markup() {
        let mut html = Html::default();
        html.prose("<b>&\"' `</code><script>`\n\n- **one**\n  more\n- two").link("x-", "\"><i>");
        assert_eq!(
            html.finish(),
            "<p>&lt;b&gt;&amp;&quot;&#39; <code>&lt;/code&gt;&lt;script&gt;</code></p>\n<ul>\n<li><strong>one</strong>\nmore</li>\n<li>two</li>\n</ul>\n\
             <a href=\"#x-&quot;&gt;&lt;i&gt;\">&quot;&gt;&lt;i&gt;</a>"
        );
    }
}
