//! The length of functions, found by counting braces outside of strings and comments.

pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of its `fn`, from 1.
    pub(crate) line: usize,
    /// From its `fn` to its closing brace.
    pub(crate) lines: usize,
}

/// Returns the functions of a Rust source file that have a body, outer ones after inner ones.
pub(crate) fn of(text: &str) -> Vec<Function> {
    let code = without_strings_and_comments(text);
    let mut functions = Vec::new();
    // Functions whose closing brace is not found yet, with the depth of their body.
    let mut open: Vec<(String, usize, usize)> = Vec::new();
    let mut declared: Option<(String, usize)> = None;
    let (mut depth, mut parentheses, mut line) = (0, 0, 1);
    let mut words = Words::default();
    for character in code.chars() {
        if let Some(name) = words.push(character) {
            declared = Some((name, line));
        }
        match character {
            '\n' => line += 1,
            '(' | '[' => parentheses += 1,
            ')' | ']' => parentheses -= 1,
            // A declaration without a body, unless the semicolon is that of an array's type.
            ';' if parentheses == 0 => declared = None,
            '{' => {
                depth += 1;
                if let Some((name, line)) = declared.take() {
                    open.push((name, line, depth));
                }
            }
            '}' => {
                if let Some((name, start, _)) = open.pop_if(|(_, _, body)| *body == depth) {
                    functions.push(Function { name, line: start, lines: line - start + 1 });
                }
                depth -= 1;
            }
            _ => {}
        }
    }
    functions
}

/// Finds the name that follows the word `fn`.
#[derive(Default)]
struct Words {
    word: String,
    after_fn: bool,
}

impl Words {
    fn push(&mut self, character: char) -> Option<String> {
        if character.is_alphanumeric() || character == '_' {
            self.word.push(character);
            return None;
        }
        let word = std::mem::take(&mut self.word);
        if word.is_empty() {
            // `fn(` is a type.
            self.after_fn &= character.is_whitespace();
            return None;
        }
        let is_name = std::mem::replace(&mut self.after_fn, word == "fn" && character == ' ');
        is_name.then_some(word)
    }
}

/// Replaces what strings, characters and comments contain by nothing, and keeps line breaks.
fn without_strings_and_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = skipped_at(rest);
        if skipped > 0 {
            code.extend(rest[..skipped].chars().filter(|&character| character == '\n'));
            // A string ends the word before it.
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// Returns the length of the comment, string or character at the start of `rest`; 0 if there is
/// none.
fn skipped_at(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if let Some(raw) = rest.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let start = 1 + hashes + 1;
            return rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len());
        }
    }
    if rest.starts_with('"') {
        let mut is_escaped = false;
        for (at, character) in rest.char_indices().skip(1) {
            match character {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '"' => return at + 1,
                _ => {}
            }
        }
        return rest.len();
    }
    character_at(rest)
}

/// Returns the length of a character literal; 0 for anything else, such as a lifetime.
fn character_at(rest: &str) -> usize {
    let Some(inner) = rest.strip_prefix('\'') else { return 0 };
    if let Some(escaped) = inner.strip_prefix('\\') {
        // The escaped character may be the quote itself.
        return escaped.get(1..).and_then(|it| it.find('\'')).map_or(0, |at| 3 + at + 1);
    }
    let Some(first) = inner.chars().next() else { return 0 };
    let closes = inner[first.len_utf8()..].starts_with('\'');
    if closes { 1 + first.len_utf8() + 1 } else { 0 }
}

#[test]
fn functions_are_measured_from_fn_to_brace() {
    let text = "fn one(a: [u8; 2]) {\n    '{';\n    \"}\\\"{\";\n}\n\
                trait T {\n    fn none(&self);\n    fn two<'a>() -> fn(u8) {\n        // }\n    }\n}\n";
    let found: Vec<_> = of(text).iter().map(|it| (it.name.clone(), it.line, it.lines)).collect();
    assert_eq!(found, [("one".to_owned(), 1, 4), ("two".to_owned(), 7, 3)]);
}
