//! Where a value comes from, and what is said about one that makes no sense.

use std::fs;

use crate::program::{complaint, printed, ringpoll};

/// The line of `config show` about that key.
fn line_about<'text>(shown: &'text str, key: &str) -> &'text str {
    let line = shown.lines().find(|line| line.starts_with(&format!("{key} = ")));
    line.unwrap_or_else(|| panic!("{key} is not in\n{shown}"))
}

/// Value and origin, with one space between the two.
fn shown_for(shown: &str, key: &str) -> String {
    let (assignment, origin) = line_about(shown, key).split_once('#').unwrap();
    format!("{} #{origin}", assignment.trim_end())
}

#[test]
fn each_layer_wins_over_those_below_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let backlog = |preset: &[&str], variable: Option<&str>, flags: &[&str]| {
        let mut command = ringpoll(&[&["config", "show"], preset, flags].concat());
        command.current_dir(directory.path());
        command.envs(variable.map(|value| ("RINGPOLL_SERVER_BACKLOG", value)));
        shown_for(&printed(&command.output().unwrap()), "server.backlog")
    };
    let preset = &["--preset", "documents"];
    assert_eq!(backlog(&[], None, &[]), "server.backlog = 4096 # default");
    assert_eq!(backlog(preset, None, &[]), "server.backlog = 1 # preset documents");
    fs::write(&file, "# mine\n[server]\nbacklog = 2\n").unwrap();
    assert_eq!(backlog(preset, None, &[]), "server.backlog = 2 # file config.toml:3");
    let variable = Some("3");
    assert_eq!(
        backlog(preset, variable, &[]),
        "server.backlog = 3 # environment RINGPOLL_SERVER_BACKLOG"
    );
    let flag = &["--set", "server.backlog=4"];
    assert_eq!(backlog(preset, variable, flag), "server.backlog = 4 # flag --set");
}

#[test]
fn flags_of_their_own_set_their_keys() {
    let arguments =
        ["--backend", "epoll:edge", "--listen", "[::1]:0", "--workers", "3", "--stats", "json"];
    let command = &[&["config", "show"], &arguments[..]].concat();
    let shown = printed(&ringpoll(command).output().unwrap());
    assert_eq!(shown_for(&shown, "backend"), "backend = \"epoll:edge\" # flag --backend");
    assert_eq!(shown_for(&shown, "server.listen"), "server.listen = \"[::1]:0\" # flag --listen");
    assert_eq!(shown_for(&shown, "server.workers"), "server.workers = 3 # flag --workers");
}

#[test]
fn a_named_file_is_read_in_place_of_the_one_that_lies_there() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.toml"), "server.backlog = 1\n").unwrap();
    fs::write(directory.path().join("other.toml"), "server.workers = 2\n").unwrap();
    let mut command = ringpoll(&["config", "show", "--config", "other.toml"]);
    let shown = printed(&command.current_dir(directory.path()).output().unwrap());
    assert_eq!(shown_for(&shown, "server.workers"), "server.workers = 2 # file other.toml:1");
    assert_eq!(shown_for(&shown, "server.backlog"), "server.backlog = 4096 # default");
}

#[test]
fn what_is_shown_is_a_valid_file_with_the_same_values() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["config", "show", "--preset", "documents", "--workers", "2"];
    let shown = printed(&ringpoll(&arguments).output().unwrap());
    fs::write(directory.path().join("config.toml"), &shown).unwrap();
    let mut again = ringpoll(&["config", "show"]);
    let again = printed(&again.current_dir(directory.path()).output().unwrap());
    let values = |text: &str| text.parse::<toml::Table>().unwrap();
    assert_eq!(values(&shown), values(&again));
}

#[test]
fn the_preset_is_what_the_documents_do() {
    let shown = printed(&ringpoll(&["config", "show", "--preset", "documents"]).output().unwrap());
    for assignment in [
        "backend = \"epoll:level\"",
        "server.listen = \"0.0.0.0:8080\"",
        "server.backlog = 1",
        "server.print_requests = true",
        "server.escape_prints = false",
        "server.keep_alive = false",
        "server.lingering_close = false",
        "server.send_more = false",
        "server.defer_accept_s = 0",
        "server.quick_ack = true",
        "server.no_delay = false",
        "deadlines.request_head_timeout_ms = 0",
        "deadlines.send_timeout_ms = 0",
        "deadlines.idle_timeout_ms = 0",
        "deadlines.linger_timeout_ms = 0",
        "deadlines.life_timeout_ms = 0",
    ] {
        let key = assignment.split(" = ").next().unwrap();
        assert_eq!(shown_for(&shown, key), format!("{assignment} # preset documents"));
    }
    assert_eq!(shown.matches("# preset documents").count(), 16);
}

/// A file, and all that is said about it.
const BAD_FILES: &[(&str, &str)] = &[
    (
        "# a\n\n[server]\nworkers = 2\n\n# b\nbacklg = 3\n",
        "config.toml:7: unknown key server.backlg; did you mean server.backlog?",
    ),
    ("backlog = 3\n", "config.toml:1: unknown key backlog; did you mean server.backlog?"),
    (
        "[severs]\n\nlisten = \"a\"\n",
        "config.toml:3: unknown key severs.listen; did you mean server.listen?",
    ),
    ("[colours]\n", "config.toml:1: unknown key colours"),
    ("server.colour = 1\n", "config.toml:1: unknown key server.colour"),
    ("server = 1\n", "config.toml:1: unknown key server"),
    (
        "[server]\nworkers = \"two\"\n",
        "config.toml:2: server.workers must be a whole number from 1 to 1024, not \"two\"",
    ),
    (
        "[server]\nworkers = 0\n",
        "config.toml:2: server.workers must be a whole number from 1 to 1024, not 0",
    ),
    (
        "[server.workers]\nmany = 1\n",
        "config.toml:1: server.workers must be a whole number from 1 to 1024, not a table",
    ),
    (
        "[server]\nprint_requests = 1\n",
        "config.toml:2: server.print_requests must be true or false, not 1",
    ),
    (
        "[server]\nlisten = \"localhost\"\n",
        "config.toml:2: server.listen must be an address and a port, such as 127.0.0.1:8080 or \
         [::1]:8080, not \"localhost\"",
    ),
    (
        "backend = \"kqueue\"\n",
        "config.toml:1: backend must be one of auto, epoll, io_uring, epoll:level, epoll:edge, \
         epoll:tuned, io_uring:single_shot, io_uring:tuned, not \"kqueue\"",
    ),
    (
        "[io_uring]\nsubmission_queue_entries = 100\n",
        "config.toml:2: io_uring.submission_queue_entries must be a power of two up to 32768, \
         not 100",
    ),
    (
        "[io_uring]\nsubmission_queue_entries = 65536\n",
        "config.toml:2: io_uring.submission_queue_entries must be a power of two up to 32768, \
         not 65536",
    ),
    (
        "[io_uring]\ncompletion_queue_entries = 128\n",
        "config.toml:2: io_uring.completion_queue_entries must be 0, or at least \
         io_uring.submission_queue_entries, which is 256; it is 128",
    ),
];

#[test]
fn a_wrong_file_is_one_error_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    for (text, error) in BAD_FILES {
        fs::write(directory.path().join("config.toml"), text).unwrap();
        for arguments in [&["serve"][..], &["config", "show"], &["config", "check", "config.toml"]]
        {
            let said = complaint(ringpoll(arguments).current_dir(directory.path()), 2);
            assert_eq!(said, format!("{error}\n"), "{text}");
        }
    }
}

#[test]
fn a_file_that_is_no_toml_is_one_error_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let files: [(&[u8], usize); 4] = [
        (b"[server]\nworkers = = 2\n", 2),
        (b"[server]\nworkers = 1\nworkers = 2\n", 3),
        (b"\n\n# caf\xe9\n", 3),
        (b"[server]\nworkers = 99999999999999999999\n", 2),
    ];
    for (bytes, line) in files {
        fs::write(directory.path().join("config.toml"), bytes).unwrap();
        let mut command = ringpoll(&["config", "check", "config.toml"]);
        let said = complaint(command.current_dir(directory.path()), 2);
        assert!(said.starts_with(&format!("config.toml:{line}: ")), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = "nowhere.toml: cannot be read: No such file or directory (os error 2)\n";
    for arguments in
        [&["serve", "--config", "nowhere.toml"][..], &["config", "check", "nowhere.toml"]]
    {
        assert_eq!(complaint(&mut ringpoll(arguments), 2), error);
    }
}

#[test]
fn a_wrong_variable_is_named() {
    for (variable, value, error) in [
        (
            "RINGPOLL_SERVER_LISTE",
            "127.0.0.1:0",
            "RINGPOLL_SERVER_LISTE: unknown variable; did you mean RINGPOLL_SERVER_LISTEN?",
        ),
        (
            "RINGPOLL_LIMITS_CONNECTIONS",
            "many",
            "RINGPOLL_LIMITS_CONNECTIONS: limits.connections must be a whole number from 0 to \
             16777216, not \"many\"",
        ),
        (
            "RINGPOLL_BACKEND",
            "",
            "RINGPOLL_BACKEND: backend must be one of auto, epoll, io_uring, epoll:level, \
             epoll:edge, epoll:tuned, io_uring:single_shot, io_uring:tuned, not \"\"",
        ),
    ] {
        let said = complaint(ringpoll(&["serve"]).env(variable, value), 2);
        assert_eq!(said, format!("{error}\n"));
    }
}

#[test]
fn a_wrong_flag_is_named() {
    for (arguments, error) in [
        (
            ["--set", "server.backlg=1"],
            "--set: unknown key server.backlg; did you mean server.backlog?",
        ),
        (["--set", "server.backlog"], "--set: KEY=VALUE is expected, not server.backlog"),
        (
            ["--workers", "0"],
            "--workers: server.workers must be a whole number from 1 to 1024, not 0",
        ),
        (
            ["--listen", "8080"],
            "--listen: server.listen must be an address and a port, such as 127.0.0.1:8080 or \
             [::1]:8080, not \"8080\"",
        ),
    ] {
        let said = complaint(ringpoll(&["serve"]).args(arguments), 2);
        assert_eq!(said, format!("{error}\n"));
    }
}

#[test]
fn unknown_words_of_the_command_line_are_errors_of_usage() {
    for arguments in [
        &["serve", "--backend", "kqueue"][..],
        &["serve", "--preset", "none"],
        &["serve", "--colour"],
        &["fly"],
        &[],
    ] {
        complaint(&mut ringpoll(arguments), 2);
    }
}
