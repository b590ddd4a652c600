//! Checks that all servers send the same bytes: only then are they comparable. `ringpoll compare`
//! checks only that the responses of one arm are equal.

use ringpoll_competitors::program::Program;
use ringpoll_competitors::{KEEP_ALIVE_RESPONSE, RESPONSE};

use crate::programs::Programs;

const BODY: &[u8] = b"\r\n\r\nHello, world!";

/// Sends requests to all servers, with and without keep-alive. Of nginx only the body is compared.
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
    let mut competitors =
        vec!["bare_epoll", "blocking", "mio_server", "monoio_server", "tokio_server"];
    if programs.no_nginx.is_none() {
        competitors.push("nginx_server");
    }
    for name in competitors {
        for keep_alive in [false, true] {
            if keep_alive && name == "blocking" {
                continue;
            }
            let flags = if keep_alive { &["--keep-alive"][..] } else { &[] };
            let command = programs.command(name, flags);
            let server = Program::start(programs.competitor(name), &command[1..]);
            let server = server.map_err(|error| named(name, error))?;
            let is_whole = name != "nginx_server";
            same(name, &server, keep_alive, is_whole).map_err(|error| named(name, error))?;
        }
    }
    Ok(())
}

fn same(name: &str, server: &Program, keep_alive: bool, is_whole: bool) -> std::io::Result<()> {
    let (expected, response) = match keep_alive {
        true => (KEEP_ALIVE_RESPONSE, server.keep_alive_requests(2, BODY)?.swap_remove(1)),
        false => (RESPONSE, server.request()?),
    };
    if response == expected || (!is_whole && response.ends_with(BODY)) {
        return Ok(());
    }
    let response = String::from_utf8_lossy(&response);
    Err(std::io::Error::other(format!("{name} sends a different response: {response}")))
}
