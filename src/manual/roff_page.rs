//! A page of the manual in roff, for man(1).

use comfy_table::{ContentArrangement, Table, presets};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, italic, roman};

use super::{TOPICS, Topic, topic};

pub(super) const MANUAL: &str = "ringpoll manual";
pub(super) const SOURCE: &str = concat!("ringpoll ", env!("CARGO_PKG_VERSION"));

/// An empty argument of a macro; [`Roff::control`] quotes only arguments with spaces.
pub(super) const EMPTY: &str = "\"\"";

/// Indentation of list items and code blocks, in characters.
const INDENT: &str = "4";

/// Width of tables: a terminal of 80 columns, less the indentation of man(1).
const TABLE_WIDTH: u16 = 72;

/// Returns the man page of a topic.
pub(super) fn topic_page(topic: &Topic) -> String {
    let mut page = Page::default();
    let name = format!("ringpoll-{}", topic.name);
    page.roff.control("TH", [name.as_str(), "7", EMPTY, SOURCE, MANUAL]);
    // Lines with long names in them cannot be adjusted to the right margin.
    page.roff.control("ad", ["l"]);
    heading("SH", "NAME", &mut page.roff);
    page.roff.text([roman(format!("{name} - {}", topic.about))]);
    for event in Parser::new_ext(topic.text, Options::ENABLE_TABLES) {
        page.on_event(event);
    }
    page.end_line();
    see_also(&mut page.roff, &[topic.name]);
    page.roff.render()
}

/// Writes a heading with the macro `SH` or `SS`.
pub(super) fn heading(level: &str, title: &str, roff: &mut Roff) {
    roff.control(level, [title.replace('\\', r"\e").replace('"', r"\(dq").as_str()]);
}

/// Writes lines as they are.
pub(super) fn preformatted(text: &str, roff: &mut Roff) {
    let text = text.trim_matches('\n');
    if text.is_empty() {
        return;
    }
    roff.control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
}

/// Writes a section that refers to ringpoll(1) and all topics except those in `without`.
pub(super) fn see_also(roff: &mut Roff, without: &[&str]) {
    heading("SH", "SEE ALSO", roff);
    roff.text([bold("ringpoll"), roman("(1)")]);
    for Topic { name, .. } in TOPICS.iter().filter(|it| !without.contains(&it.name)) {
        roff.text([bold(format!("ringpoll-{name}")), roman("(7)")]);
    }
}

/// The state of a conversion.
#[derive(Default)]
struct Page {
    roff: Roff,
    /// The current line of a paragraph, list item or table cell.
    line: Vec<Inline>,
    /// Depth of emphasis, and of strong emphasis.
    emphasis: usize,
    strong: usize,
    /// The next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    /// True if a heading or the mark of a list item was the last macro: no paragraph follows it.
    is_after_mark: bool,
    has_section: bool,
    /// The text of an open heading or code block.
    verbatim: Option<String>,
    link: String,
    table: Vec<Vec<String>>,
}

impl Page {
    fn on_event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.on_start(tag),
            Event::End(tag) => self.on_end(tag),
            Event::Text(text) => self.push(&text, self.strong > 0),
            Event::Code(text) => self.push(&text, true),
            Event::SoftBreak if self.is_in_table() => self.line.push(roman(" ")),
            Event::SoftBreak => self.end_line(),
            Event::HardBreak => {
                self.end_line();
                self.roff.control("br", []);
            }
            _ => {}
        }
    }

    fn on_start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.start_block(),
            Tag::Heading { .. } => self.verbatim = Some(String::new()),
            Tag::CodeBlock(CodeBlockKind::Fenced(_) | CodeBlockKind::Indented) => {
                self.start_block();
                self.verbatim = Some(String::new());
            }
            Tag::List(first) => {
                self.end_line();
                if self.lists.is_empty() {
                    self.start_section();
                } else {
                    self.roff.control("RS", [INDENT]);
                }
                self.lists.push(first);
            }
            Tag::Item => self.start_item(),
            Tag::Table(_) => {
                self.start_block();
                self.table = Vec::new();
            }
            Tag::TableHead | Tag::TableRow => self.table.push(Vec::new()),
            Tag::BlockQuote(_) => {
                self.end_line();
                self.roff.control("RS", [INDENT]);
            }
            Tag::Emphasis => self.emphasis += 1,
            Tag::Strong => self.strong += 1,
            Tag::Link { dest_url, .. } => self.link = dest_url.into_string(),
            _ => {}
        }
    }

    fn on_end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph | TagEnd::Item => self.end_line(),
            TagEnd::Heading(level) => self.end_heading(level),
            TagEnd::CodeBlock => {
                let code = self.verbatim.take().unwrap_or_default();
                self.roff.control("RS", [INDENT]);
                preformatted(&code, &mut self.roff);
                self.roff.control("RE", []);
                self.is_after_mark = false;
            }
            TagEnd::List(_) => {
                self.lists.pop();
                if !self.lists.is_empty() {
                    self.roff.control("RE", []);
                }
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.line).iter().map(text_of).collect();
                self.table.last_mut().expect("a cell is in a row").push(cell);
            }
            TagEnd::Table => self.end_table(),
            TagEnd::BlockQuote(_) => {
                self.end_line();
                self.roff.control("RE", []);
            }
            TagEnd::Emphasis => self.emphasis -= 1,
            TagEnd::Strong => self.strong -= 1,
            TagEnd::Link => self.end_link(),
            _ => {}
        }
    }

    fn push(&mut self, text: &str, is_bold: bool) {
        match &mut self.verbatim {
            Some(verbatim) => *verbatim += text,
            None if is_bold => self.line.push(bold(text)),
            None if self.emphasis > 0 => self.line.push(italic(text)),
            None => self.line.push(roman(text)),
        }
    }

    fn is_in_table(&self) -> bool {
        !self.table.is_empty()
    }

    /// Writes the current line. The next one continues the same paragraph.
    fn end_line(&mut self) {
        if !self.line.is_empty() {
            self.roff.text(std::mem::take(&mut self.line));
            self.is_after_mark = false;
        }
    }

    /// Starts the section for text before the first heading.
    fn start_section(&mut self) {
        if !self.has_section {
            self.has_section = true;
            self.is_after_mark = true;
            heading("SH", "DESCRIPTION", &mut self.roff);
        }
    }

    /// Starts a paragraph. mandoc warns about one that follows a heading.
    fn start_block(&mut self) {
        self.end_line();
        self.start_section();
        match (self.is_after_mark, self.lists.is_empty()) {
            (true, _) => {}
            (false, true) => {
                self.roff.control("PP", []);
            }
            // A further paragraph of a list item keeps its indentation.
            (false, false) => {
                self.roff.control("IP", [EMPTY, INDENT]);
            }
        }
    }

    fn start_item(&mut self) {
        self.end_line();
        let mark = match self.lists.last_mut() {
            Some(Some(number)) => {
                *number += 1;
                format!("{}.", *number - 1)
            }
            _ => r"\(bu".to_owned(),
        };
        self.roff.control("IP", [mark.as_str(), INDENT]);
        self.is_after_mark = true;
    }

    fn end_heading(&mut self, level: HeadingLevel) {
        let title = self.verbatim.take().unwrap_or_default();
        // The title of the page is in the section NAME.
        if level > HeadingLevel::H1 {
            let is_section = level == HeadingLevel::H2 || !self.has_section;
            heading(if is_section { "SH" } else { "SS" }, &title, &mut self.roff);
            (self.has_section, self.is_after_mark) = (true, true);
        }
    }

    fn end_link(&mut self) {
        let target = std::mem::take(&mut self.link);
        let file = target.rsplit('/').next().unwrap_or_default();
        let page = file.split('#').next().and_then(|file| topic(file.strip_suffix(".md")?));
        let text = self.line.last().map_or("", text_of);
        // A page is in `src/manual`; the text of a link to a source is its path from the root.
        let target = target.trim_start_matches("../");
        if self.verbatim.is_some() || target.starts_with('#') {
            // A link within the page is only its text.
        } else if let Some(page) = page {
            let name = bold(format!("ringpoll-{}", page.name));
            if text.eq_ignore_ascii_case(page.name) {
                self.line.pop();
                self.line.extend([name, roman("(7)")]);
            } else {
                self.line.extend([roman(" ("), name, roman("(7))")]);
            }
        } else if text.is_empty() || !target.starts_with(text) {
            self.line.push(roman(format!(" <{target}>")));
        }
    }

    fn end_table(&mut self) {
        let rows = std::mem::take(&mut self.table);
        let mut table = Table::new();
        table.load_style(presets::ASCII_HORIZONTAL_ONLY);
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(TABLE_WIDTH);
        let (header, body) = rows.split_first().expect("a table has a header");
        table.set_header(header).add_rows(body);
        preformatted(&table.to_string(), &mut self.roff);
        self.is_after_mark = false;
    }
}

fn text_of(inline: &Inline) -> &str {
    match inline {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text,
        Inline::LineBreak => " ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKDOWN: &str = "\
# Title

Text with `--code`, *emphasis*,
.and a [page](results.md#a), [Results](results.md), a [site](https://example.org),
<https://example.net> and a [`src/source.rs`](../../src/source.rs).

```sh
ringpoll serve

.dot
```

## Section `code`

- one

  more
- two
  1. first
  2. second

### Part \"x\"

| key | meaning |
|---|---|
| `a` | long text, long text, long text, long text, long text, long text, long text, long text |
";

    const ROFF: &str = r#".TH ringpoll-test 7 "" "ringpoll VERSION" "ringpoll manual"
.ad l
.SH NAME
ringpoll\-test \- about
.SH DESCRIPTION
Text with \fB\-\-code\fR, \fIemphasis\fR,
\&.and a page (\fBringpoll\-results\fR(7)), \fBringpoll\-results\fR(7), a site <https://example.org>,
https://example.net and a \fBsrc/source.rs\fR.
.PP
.RS 4
.nf
ringpoll serve

\&.dot
.fi
.RE
.SH "Section code"
.IP \(bu 4
one
.IP "" 4
more
.IP \(bu 4
two
.RS 4
.IP 1. 4
first
.IP 2. 4
second
.RE
.SS "Part \(dqx\(dq"
.nf
"#;

    #[test]
    fn markdown_becomes_roff() {
        let page = topic_page(&Topic { name: "test", about: "about", text: MARKDOWN });
        let page = page.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        let start = page.find(".TH").unwrap();
        let (text, rest) = page[start..].split_at(ROFF.len());
        assert_eq!(text, ROFF);
        let (table, rest) = rest.split_once("\n.fi\n").unwrap();
        assert!(table.contains("key") && table.lines().count() > 4, "{table}");
        assert!(table.lines().all(|line| line.replace("\\-", "-").len() <= 72), "{table}");
        assert!(rest.starts_with(".SH \"SEE ALSO\"\n\\fBringpoll\\fR(1)\n"), "{rest}");
    }
}
