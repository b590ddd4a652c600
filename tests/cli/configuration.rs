//! Layers of the configuration, `config show`, and errors.

use std::fs;
use std::process::Stdio;

use crate::program::{Server, ringpoll, stderr_of_failure, stdout_of};

/// Returns the line of `config show` for a key.
fn line_about<'text>(shown: &'text str, key: &str) -> &'text str {
    let line = shown.lines().find(|line| line.starts_with(&format!("{key} = ")));
    line.unwrap_or_else(|| panic!("{key} is not in\n{shown}"))
}

/// Returns the line of a key with one space before the comment.
fn shown_for(shown: &str, key: &str) -> String {
    let (assignment, origin) = line_about(shown, key).split_once('#').unwrap();
    format!("{} #{origin}", assignment.trim_end())
}

#[test]
fn each_layer_overrides_the_ones_below() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let backlog = |preset: &[&str], variable: Option<&str>, flags: &[&str]| {
        let mut command = ringpoll(&[&["config", "show"], preset, flags].concat());
        command.current_dir(directory.path());
        command.envs(variable.map(|value| ("RINGPOLL_SERVER_BACKLOG", value)));
        shown_for(&stdout_of(&command.output().unwrap()), "server.backlog")
    };
    let preset = &["--preset", "reference"];
    assert_eq!(backlog(&[], None, &[]), "server.backlog = 4096 # default");
    assert_eq!(backlog(preset, None, &[]), "server.backlog = 1 # preset reference");
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
fn named_flags_set_their_keys() {
    let arguments =
        ["--backend", "epoll:edge", "--listen", "[::1]:0", "--workers", "3", "--stats", "json"];
    let command = &[&["config", "show"], &arguments[..]].concat();
    let shown = stdout_of(&ringpoll(command).output().unwrap());
    assert_eq!(shown_for(&shown, "backend"), "backend = \"epoll:edge\" # flag --backend");
    assert_eq!(shown_for(&shown, "server.listen"), "server.listen = \"[::1]:0\" # flag --listen");
    assert_eq!(shown_for(&shown, "server.workers"), "server.workers = 3 # flag --workers");
}

#[test]
fn named_file_is_read_instead_of_the_default_file() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.toml"), "server.backlog = 1\n").unwrap();
    fs::write(directory.path().join("other.toml"), "server.workers = 2\n").unwrap();
    let mut command = ringpoll(&["config", "show", "--config", "other.toml"]);
    let shown = stdout_of(&command.current_dir(directory.path()).output().unwrap());
    assert_eq!(shown_for(&shown, "server.workers"), "server.workers = 2 # file other.toml:1");
    assert_eq!(shown_for(&shown, "server.backlog"), "server.backlog = 4096 # default");
}

#[test]
fn output_of_config_show_is_a_valid_file_with_the_same_values() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["config", "show", "--preset", "reference", "--workers", "2"];
    let shown = stdout_of(&ringpoll(&arguments).output().unwrap());
    fs::write(directory.path().join("config.toml"), &shown).unwrap();
    let mut again = ringpoll(&["config", "show"]);
    let again = stdout_of(&again.current_dir(directory.path()).output().unwrap());
    let values = |text: &str| text.parse::<toml::Table>().unwrap();
    assert_eq!(values(&shown), values(&again));
}

#[test]
fn output_of_config_show_is_valid_even_if_the_path_has_control_characters() {
    let directory = tempfile::tempdir().unwrap();
    let name = "a\nb\u{1b}.toml";
    fs::write(directory.path().join(name), "server.backlog = 2\n").unwrap();
    let mut command = ringpoll(&["config", "show", "--config", name]);
    let shown = stdout_of(&command.current_dir(directory.path()).output().unwrap());
    shown.parse::<toml::Table>().unwrap();
    let expected = "server.backlog = 2 # file a\u{fffd}b\u{fffd}.toml:1";
    assert_eq!(shown_for(&shown, "server.backlog"), expected);
}

#[test]
fn preset_reference_sets_what_the_reference_programs_do() {
    let shown =
        stdout_of(&ringpoll(&["config", "show", "--preset", "reference"]).output().unwrap());
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
        "server.receive_buffer_bytes = 1024",
        "deadlines.request_head_timeout_ms = 0",
        "deadlines.send_timeout_ms = 0",
        "deadlines.idle_timeout_ms = 0",
        "deadlines.linger_timeout_ms = 0",
        "deadlines.connection_lifetime_ms = 0",
    ] {
        let key = assignment.split(" = ").next().unwrap();
        assert_eq!(shown_for(&shown, key), format!("{assignment} # preset reference"));
    }
    assert_eq!(shown.matches("# preset reference").count(), 17);
}

/// Files with the message about each.
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
fn invalid_file_is_one_error_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    for (text, error) in BAD_FILES {
        fs::write(directory.path().join("config.toml"), text).unwrap();
        for arguments in
            [&["serve", "--config", "config.toml"][..], &["config", "check", "config.toml"]]
        {
            let message = stderr_of_failure(ringpoll(arguments).current_dir(directory.path()), 2);
            assert_eq!(message, format!("{error}\n"), "{text}");
        }
        for arguments in [&["serve"][..], &["config", "show"]] {
            let message = stderr_of_failure(ringpoll(arguments).current_dir(directory.path()), 2);
            assert!(message.starts_with(error), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
}

#[test]
fn config_file_of_another_program_is_explained_and_can_be_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let in_directory = |arguments: &[&str]| {
        let mut command = ringpoll(arguments);
        command.current_dir(directory.path());
        command
    };
    fs::write(directory.path().join("config.toml"), "[package]\nname = \"other\"\n").unwrap();
    let file = directory.path().canonicalize().unwrap().join("config.toml");
    let expected = format!(
        "config.toml:2: unknown key package.name (this is {}, which is read because it is \
         ./config.toml of the current folder; --config none ignores it, --config FILE reads \
         another)\n",
        file.display()
    );
    let comparison = ["compare", "epoll", "epoll", "--blocks", "1"];
    for arguments in [&["serve"][..], &["config", "show"], &comparison] {
        assert!(stderr_of_failure(&mut in_directory(arguments), 2).contains(&expected));
    }
    let none = ["config", "show", "--config", "none"];
    let shown = stdout_of(&in_directory(&none).output().unwrap());
    assert_eq!(shown_for(&shown, "server.backlog"), "server.backlog = 4096 # default");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--config", "none"];
    let server = Server::start_as(in_directory(&serve).stdout(Stdio::null()));
    assert!(!server.start_line.contains("config"), "{}", server.start_line);

    fs::write(directory.path().join("none"), "server.backlog = 7\n").unwrap();
    let shown = stdout_of(&in_directory(&none).output().unwrap());
    assert_eq!(shown_for(&shown, "server.backlog"), "server.backlog = 4096 # default");
    let named = ["config", "show", "--config", "./none"];
    let shown = stdout_of(&in_directory(&named).output().unwrap());
    assert_eq!(shown_for(&shown, "server.backlog"), "server.backlog = 7 # file ./none:1");
}

#[test]
fn comparison_with_config_none_ignores_the_file_of_another_program() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("config.toml"), "[package]\nname = \"other\"\n").unwrap();
    let arguments = ["compare", "epoll", "epoll", "--config", "none", "--load", "churn"];
    let short = ["--blocks", "1", "--round", "20ms", "--warm-up", "5ms", "--budget", "5s"];
    let mut command = ringpoll(&[&arguments[..], &short].concat());
    let output = command.current_dir(directory.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Settings, a key, and the end of its line in `config show`.
const NOT_IN_FORCE: &[(&[&str], &str, &str)] = &[
    (
        &["backend=io_uring", "io_uring.provided_buffers=0"],
        "io_uring.multishot_receive",
        "# default; not in force: io_uring.provided_buffers = 0",
    ),
    (
        &["backend=io_uring:single_shot"],
        "io_uring.multishot_accept",
        "# default; not in force: backend = \"io_uring:single_shot\"",
    ),
    (&["backend=io_uring:single_shot"], "io_uring.submission_queue_entries", "# default"),
    (
        &["backend=epoll:level"],
        "io_uring.submission_queue_entries",
        "# default; not in force: backend = \"epoll:level\"",
    ),
    (
        &["backend=epoll:level"],
        "epoll.shutdown",
        "# default; not in force: backend = \"epoll:level\"",
    ),
    (&["backend=epoll:level"], "epoll.events_per_wait", "# default"),
    (&["backend=epoll:tuned"], "epoll.shutdown", "# default"),
    (
        &["backend=epoll:tuned", "epoll.shutdown=close"],
        "epoll.shutdown",
        "# flag --set; not in force: server.lingering_close = true",
    ),
    (
        &["backend=epoll:tuned", "epoll.shutdown=close", "server.lingering_close=false"],
        "epoll.shutdown",
        "# flag --set",
    ),
    (
        &["backend=io_uring", "io_uring.shutdown=close"],
        "io_uring.shutdown",
        "# flag --set; not in force: server.lingering_close = true",
    ),
    (
        &["backend=epoll"],
        "deadlines.keep_alive_timeout_ms",
        "# default; not in force: server.keep_alive = false",
    ),
    (
        &["backend=epoll", "server.lingering_close=false", "deadlines.linger_timeout_ms=5"],
        "deadlines.linger_timeout_ms",
        "# flag --set; not in force: server.lingering_close = false",
    ),
];

#[test]
fn config_show_tells_which_values_are_not_in_force() {
    for (settings, key, end) in NOT_IN_FORCE {
        let mut command = ringpoll(&["config", "show"]);
        settings.iter().for_each(|setting| _ = command.args(["--set", setting]));
        let shown = stdout_of(&command.output().unwrap());
        let line = line_about(&shown, key);
        assert!(line.ends_with(end), "{settings:?}: {line}");
        shown.parse::<toml::Table>().unwrap();
    }
}

#[test]
fn techniques_that_config_show_has_in_force_are_those_of_the_start_line() {
    for shutdown in ["call", "ring"] {
        let settings = ["--backend", "io_uring", "--set", &format!("io_uring.shutdown={shutdown}")];
        let shown =
            stdout_of(&ringpoll(&[&["config", "show"], &settings[..]].concat()).output().unwrap());
        let server = Server::start(&settings);
        let techniques: Vec<_> =
            server.start_line.split(" · ").nth(3).unwrap().split(", ").collect();
        for key in ["defer_taskrun", "coop_taskrun", "multishot_receive", "bundles"] {
            let line = line_about(&shown, &format!("io_uring.{key}"));
            let is_in_force = line.contains(" = true") && !line.contains("not in force");
            assert_eq!(techniques.contains(&key), is_in_force, "{line}\n{}", server.start_line);
        }
    }
}

#[test]
fn file_that_is_not_toml_is_one_error_with_its_line() {
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
        let message = stderr_of_failure(command.current_dir(directory.path()), 2);
        assert!(message.starts_with(&format!("config.toml:{line}: ")), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
}

#[test]
fn missing_file_is_named() {
    let error = "nowhere.toml: cannot be read: No such file or directory (os error 2)\n";
    for arguments in
        [&["serve", "--config", "nowhere.toml"][..], &["config", "check", "nowhere.toml"]]
    {
        assert_eq!(stderr_of_failure(&mut ringpoll(arguments), 2), error);
    }
}

#[test]
fn invalid_variable_is_named() {
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
        let message = stderr_of_failure(ringpoll(&["serve"]).env(variable, value), 2);
        assert_eq!(message, format!("{error}\n"));
    }
}

#[test]
fn invalid_flag_is_named() {
    for (arguments, error) in [
        (
            ["--set", "server.backlg=1"],
            "--set: unknown key server.backlg; did you mean server.backlog?",
        ),
        (["--set", "server.backlog"], "--set: expected KEY=VALUE, not server.backlog"),
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
        let message = stderr_of_failure(ringpoll(&["serve"]).args(arguments), 2);
        assert_eq!(message, format!("{error}\n"));
    }
}

#[test]
fn unknown_arguments_are_usage_errors() {
    for arguments in [
        &["serve", "--backend", "kqueue"][..],
        &["serve", "--preset", "none"],
        &["serve", "--colour"],
        &["fly"],
        &[],
    ] {
        stderr_of_failure(&mut ringpoll(arguments), 2);
    }
}
