//! Help, version, completions.

use ringpoll::config::KEYS;
use toml::Value;

use crate::program::printed_by;

#[test]
fn the_help_tells_the_exit_codes() {
    for arguments in [&["--help"][..], &["serve", "-h"], &["serve", "--help"]] {
        let help = printed_by(arguments);
        for code in ["  0  ", "  1  ", "  2  ", "  3  "] {
            assert!(help.contains(&format!("\n{code}")), "{help}");
        }
    }
}

#[test]
fn the_long_help_of_serve_lists_every_key_with_its_default_and_its_meaning() {
    let help = printed_by(&["serve", "--help"]);
    let one_line = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for key in KEYS {
        let entry = format!("{} = {} {}", key.name, Value::from(key.default), key.meaning());
        assert!(one_line.contains(&entry), "{entry}");
    }
}

#[test]
fn the_help_lists_every_backend() {
    let help = printed_by(&["serve", "--help"]);
    for name in ringpoll::config::BackendChoice::names() {
        assert!(help.contains(name), "{name}");
    }
}

#[test]
fn the_version_is_that_of_the_package() {
    assert_eq!(printed_by(&["--version"]), format!("ringpoll {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn every_shell_has_its_completions() {
    // The last two complete flags, but not the words that go with them.
    for (shell, words) in [
        ("bash", &["preset", "documents", "epoll:edge"][..]),
        ("fish", &["preset", "documents", "epoll:edge"]),
        ("zsh", &["preset", "documents", "epoll:edge"]),
        ("elvish", &["preset"]),
        ("powershell", &["preset"]),
    ] {
        // Where a colon means something to the shell it is escaped.
        let script = printed_by(&["completions", shell]).replace('\\', "");
        for word in words.iter().chain(&["ringpoll"]) {
            assert!(script.contains(word), "{word} is not in the script for {shell}");
        }
    }
}
