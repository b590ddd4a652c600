//! Pages in Markdown: their commands, links and code spans.

use std::fs;

use ringpoll::manual::TOPICS;

use crate::{commands, root};

pub(crate) struct Page {
    /// Relative to the root of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn readme() -> Self {
        Self::read("README.md".to_owned())
    }

    pub(crate) fn manual() -> Vec<Self> {
        let path = |name: &str| format!("src/manual/{name}.md");
        TOPICS.iter().map(|topic| Self::read(path(topic.name))).collect()
    }

    pub(crate) fn all() -> Vec<Self> {
        [vec![Self::readme()], Self::manual()].into_iter().flatten().collect()
    }

    fn read(path: String) -> Self {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        Self { path, text }
    }

    /// Returns true for the page of results, which is generated: its lines are not
    /// wrapped, and its commands are those that measured the results.
    pub(crate) fn is_generated(&self) -> bool {
        self.path == "src/manual/results.md"
    }

    /// Returns every line outside of code blocks, and every line of a block in this language.
    fn lines(&self, language: &str) -> (Vec<&str>, Vec<&str>) {
        let (mut prose, mut code, mut block) = (Vec::new(), Vec::new(), None);
        for line in self.text.lines() {
            match (line.trim_start().strip_prefix("```"), block) {
                (Some(opened), None) => block = Some(opened),
                (Some(_), Some(_)) => block = None,
                (None, None) => prose.push(line),
                (None, Some(opened)) if opened == language => code.push(line),
                _ => {}
            }
        }
        (prose, code)
    }

    /// Returns every code span.
    pub(crate) fn codes(&self) -> Vec<&str> {
        let prose = self.lines("").0;
        prose.into_iter().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
    }

    /// Returns every command of a shell block, and every code span that begins with a program's
    /// name.
    pub(crate) fn commands(&self) -> Vec<String> {
        let blocks = self.lines("sh").1.join("\n").replace("\\\n", "");
        let commands = blocks.lines().filter(|line| !line.is_empty()).map(str::to_owned);
        let spans = self.codes().into_iter().filter(|code| is_command(code)).map(str::to_owned);
        commands.chain(spans).collect()
    }

    /// Returns the target of every link and image.
    pub(crate) fn links(&self) -> Vec<&str> {
        let prose = self.lines("").0;
        let targets = prose.into_iter().flat_map(|line| line.split("](").skip(1));
        targets.map(|rest| rest.split(')').next().unwrap_or_default()).collect()
    }
}

fn is_command(code: &str) -> bool {
    let words = commands::words(code).unwrap_or_default();
    let program = words.first().map_or("", String::as_str);
    words.len() > 1 && ["ringpoll", "cargo", "curl", "diff"].contains(&program)
}

/// Returns the anchor of each heading, as a forge derives it from the title.
pub(crate) fn anchors(text: &str) -> Vec<String> {
    let titles = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |title: &str| -> String {
        let title = title.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        title.chars().filter(|&letter| letter.is_alphanumeric() || "-_".contains(letter)).collect()
    };
    titles.map(anchor).collect()
}
