//! All programs give the same bytes, or what one costs says nothing of the other. A comparison holds
//! each arm to its own first answer only.

use ringpoll_yardsticks::program::Program;
use ringpoll_yardsticks::{ANSWER, PERSISTENT_ANSWER};

use crate::programs::Programs;

const BODY: &[u8] = b"\r\n\r\nHello, world!";

/// Asks ringpoll, in both lives, and nginx, of which only the body can be the same. The others are
/// held to the same bytes by their tests, and asked here once more.
pub(crate) fn check(programs: &Programs) -> Result<(), String> {
    let named = |name: &str, error: std::io::Error| format!("{name}: {error}");
    for engine in ["epoll:tuned", "io_uring:tuned", "epoll:level", "epoll:edge"] {
        for keep_alive in [false, true] {
            let set = format!("server.keep_alive={keep_alive}");
            let arguments = ["serve", "--backend", engine, "--listen", "127.0.0.1:{port}"];
            let arguments = [&arguments[..], &["--config", "/dev/null", "--set", &set]].concat();
            let arguments: Vec<_> = arguments.into_iter().map(str::to_owned).collect();
            let server = Program::start(&programs.ringpoll, &arguments);
            let server = server.map_err(|error| named(engine, error))?;
            same(engine, &server, keep_alive, true).map_err(|error| named(engine, error))?;
        }
    }
    let mut yardsticks =
        vec!["bare_epoll", "blocking", "mio_server", "monoio_server", "tokio_server"];
    if programs.no_nginx.is_none() {
        yardsticks.push("nginx_server");
    }
    for name in yardsticks {
        for keep_alive in [false, true] {
            if keep_alive && name == "blocking" {
                continue;
            }
            let flags = if keep_alive { &["--keep-alive"][..] } else { &[] };
            let command = programs.command(name, flags);
            let server = Program::start(programs.yardstick(name), &command[1..]);
            let server = server.map_err(|error| named(name, error))?;
            let is_whole = name != "nginx_server";
            same(name, &server, keep_alive, is_whole).map_err(|error| named(name, error))?;
        }
    }
    Ok(())
}

fn same(name: &str, server: &Program, keep_alive: bool, is_whole: bool) -> std::io::Result<()> {
    let (expected, answer) = match keep_alive {
        true => (PERSISTENT_ANSWER, server.persistent_answers(2, BODY)?.swap_remove(1)),
        false => (ANSWER, server.answer()?),
    };
    if answer == expected || (!is_whole && answer.ends_with(BODY)) {
        return Ok(());
    }
    let answer = String::from_utf8_lossy(&answer);
    Err(std::io::Error::other(format!("{name} answers otherwise than the others: {answer}")))
}
