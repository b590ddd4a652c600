//! The manual: one page for each topic, printed by `ringpoll help TOPIC` and written as man pages
//! by `ringpoll man`.

mod man_pages;
mod roff_page;

pub use man_pages::write_man_pages;

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};

use crate::config::nearest;

/// A page of the manual.
#[derive(Debug)]
pub struct Topic {
    /// The argument of `ringpoll help`, and the end of the man page's name.
    pub name: &'static str,
    /// The subject in one line.
    pub about: &'static str,
    /// The page in Markdown: a heading of level 1, then sections of level 2.
    pub text: &'static str,
}

impl Topic {
    /// Returns the page for a terminal: a link to another page or section is only its text, and
    /// one to a site is followed by its address.
    pub fn plain_text(&self) -> String {
        let mut plain = String::new();
        let (mut copied, mut padding) = (0, 0);
        for (event, range) in Parser::new_ext(self.text, Options::ENABLE_TABLES).into_offset_iter()
        {
            match event {
                Event::Start(Tag::TableCell) => padding = 0,
                Event::Start(Tag::Link { link_type: LinkType::Inline, dest_url, .. }) => {
                    let link = &self.text[range.clone()];
                    let end = link.rfind("](").expect("an inline link has a target");
                    let site =
                        if dest_url.contains("://") { format!(" <{dest_url}>") } else { "".into() };
                    plain += &self.text[copied..range.start];
                    plain += &link[1..end];
                    plain += &site;
                    copied = range.end;
                    padding += link.len() - (end - 1) - site.len();
                }
                // The columns of a table stay aligned.
                Event::End(TagEnd::TableCell) => {
                    plain += &self.text[copied..range.end];
                    plain += &" ".repeat(padding);
                    copied = range.end;
                }
                _ => {}
            }
        }
        plain + &self.text[copied..]
    }
}

macro_rules! topics {
    ($($name:literal: $about:literal,)+) => {
        /// All pages, in the order in which they are listed.
        pub const TOPICS: &[Topic] = &[
            $(Topic {
                name: $name,
                about: $about,
                text: include_str!(concat!("manual/", $name, ".md")),
            },)+
        ];
    };
}

topics! {
    "comparing": "how to run a comparison and read its result",
    "statistics": "how a comparison reaches a verdict, and how certain it is",
    "techniques": "the io_uring techniques: what each does, needs and is for",
    "disputes": "the field's old arguments about epoll and io_uring, measured here",
    "robustness": "limits, deadlines, and how the server treats misbehaving peers",
    "kernels": "kernel versions: what they support, and known faults",
    "results": "measured results",
    "configuration": "configuration files, environment, presets and keys",
    "testing": "how ringpoll is tested",
}

/// Returns the topic of that name.
pub fn topic(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

/// Returns the list of topics for `--help`.
pub fn list() -> String {
    let lines = TOPICS.iter().map(|Topic { name, about, .. }| format!("\n  {name:14} {about}"));
    format!("Topics:{}\n", lines.collect::<String>())
}

/// Returns the error for a name that is neither a topic nor one of `commands`.
pub fn unknown_topic(name: &str, commands: &[String]) -> String {
    let topics: Vec<_> = TOPICS.iter().map(|topic| topic.name).collect();
    let known = topics.iter().copied().chain(commands.iter().map(String::as_str));
    let hint = nearest(name, known).map(|name| format!("Did you mean {name}? "));
    format!(
        "ringpoll help: no topic or command `{name}`. {}Topics: {}. Commands: {}.",
        hint.unwrap_or_default(),
        topics.join(", "),
        commands.join(", "),
    )
}
