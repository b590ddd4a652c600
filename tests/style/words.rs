//! Words that the code does not use, because its field has others. CONTRIBUTING.md says which.

/// Words and phrases, in lower case. Identifiers are split into words first, so `may accept` is
/// also `may_accept` and `MayAccept`.
const PHRASES: &[&str] = &[
    // Not plain English.
    "nobody",
    "somebody",
    "whoever",
    "whomever",
    "whom",
    "anew",
    "all the same",
    "at the most",
    "in place of",
    "so many",
    "so much",
    "for ever",
    "to be known",
    "as you like",
    "beside",
    "came",
    "told",
    "heard",
    "hear out",
    "hear no more",
    "rightly",
    "makes no sense",
    "one behind the other",
    // Kernel interfaces.
    "landed",
    "put off",
    "found full",
    "fell silent",
    "prove and restrict",
    "over kernels",
    "spin until",
    "may rest",
    "end turn",
    "turn bytes",
    "lobby",
    "newcomer",
    "newcomers",
    "take in",
    "taken in",
    "may accept",
    "greedy",
    "parked",
    "stands back",
    "cooperative task run",
    "deferred task run",
    "submission queue polling",
    "no submission queue array",
    "minimum wait",
    "zero copy send bytes",
    "skips success",
    // Protocols and connections.
    "answer",
    "answers",
    "answered",
    "answering",
    "unanswered",
    "reply",
    "replies",
    "replied",
    "conversation",
    "converse",
    "conversing",
    "persists",
    "ended early",
    "cut off",
    "given up",
    "gives up",
    "given back",
    "gives back",
    "give back",
    "life",
    "life timeout",
    // Statistics and measurement.
    "contestant",
    "contestants",
    "entrant",
    "entrants",
    "heat",
    "heats",
    "rung",
    "rungs",
    "climb",
    "working point",
    "working points",
    "allowance",
    "allowances",
    "lateness",
    "remarks",
    "own cost",
    "under way",
    "yardstick",
    "yardsticks",
    "laboratory",
    // Names of this project's past.
    "the documents",
    "unkillable",
    "document syscalls",
    "socket switches",
    "tiny resources",
    // Machines.
    "processor",
    "processors",
];

/// Phrases in which a word of [`PHRASES`] is what the field says.
const ALLOWED: &[&str] = &["processor max cstate"];

/// Parts of identifiers, as written.
const PARTS: &[&str] = &[
    "PATIENCE",
    "PLENTY",
    "BEARABLE",
    "MOST_",
    "LEAST_",
    "NOBODY",
    "A_MEBIBYTE",
    "OfProcess",
    "OfRing",
];

/// Beginnings of comments that describe a question, not a thing.
const OPENINGS: &[&str] =
    &["What ", "How ", "Whether ", "Who ", "Whom ", "See the top of this file", "The same"];

/// Returns the banned words, parts and openings of one line.
pub(crate) fn banned_in(line: &str) -> Vec<String> {
    let words = format!(" {} ", ALLOWED.iter().fold(split(line), |text, it| text.replace(it, "")));
    let phrases = PHRASES.iter().filter(|phrase| words.contains(&format!(" {phrase} ")));
    let mut found: Vec<_> = phrases.map(|phrase| format!("`{phrase}`")).collect();
    found.extend(PARTS.iter().filter(|part| line.contains(*part)).map(|part| format!("`{part}`")));
    found.extend(opening(line).map(|opening| format!("a comment that opens with `{opening}`")));
    found
}

fn opening(line: &str) -> Option<&'static str> {
    let comment = line.trim_start().strip_prefix("//")?;
    let text = comment.trim_start_matches(['/', '!']).strip_prefix(' ')?;
    OPENINGS.iter().copied().find(|opening| text.starts_with(opening))
}

/// Returns the words of a line in lower case, separated by single spaces: `MayAccept`, `may_accept`
/// and `may accept` are the same two words.
fn split(line: &str) -> String {
    let mut words = String::with_capacity(line.len() + 8);
    let mut previous = ' ';
    for character in line.chars() {
        if !character.is_alphanumeric() {
            if !words.ends_with(' ') {
                words.push(' ');
            }
        } else {
            if character.is_uppercase() && previous.is_lowercase() {
                words.push(' ');
            }
            words.extend(character.to_lowercase());
        }
        previous = character;
    }
    words.trim().to_owned()
}

#[test]
fn a_banned_word_is_found_however_it_is_written() {
    for line in ["fn may_accept()", "MayAccept", "// It may\u{20}accept.", "let may_accept=1"] {
        assert_eq!(banned_in(line), ["`may accept`"], "{line}");
    }
    assert_eq!(banned_in("const MOST_SLOTS: u8 = 1;"), ["`MOST_`"]);
    assert_eq!(banned_in("    /// Whether it is."), ["a comment that opens with `Whether `"]);
    for line in ["fn can_accept()", "lifecycle", "lifetime", "besides", "/// Returns whether."] {
        assert!(banned_in(line).is_empty(), "{line}");
    }
}
