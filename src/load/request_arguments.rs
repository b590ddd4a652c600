//! The flags of HTTP requests, which `ringpoll load` and `ringpoll compare` share, and the requests
//! that they describe.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::kind::LoadKind;
use super::request::{Request, RequestParts};
use super::request_list::{MAX_LIST_LINES, RequestList};

/// The longest body, and the largest total length of the requests of a list. They are in memory.
const MAX_REQUEST_BYTES: usize = 256 * 1024 * 1024;

/// The flags of HTTP requests.
#[derive(Clone, Debug, Default, Args)]
pub struct RequestArguments {
    /// Path of the requests [default: /]
    #[arg(long, value_name = "PATH", conflicts_with = "requests_from")]
    path: Option<String>,
    /// Method of the requests [default: GET; with --body: POST]
    #[arg(long, value_name = "NAME")]
    method: Option<String>,
    /// Header of the requests; can be given more than once. `Host: NAME` replaces the default: the
    /// target, or `localhost` in a comparison
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Body of the requests: text, or with @ the contents of a file
    #[arg(long, value_name = "TEXT|@FILE")]
    body: Option<String>,
    /// Draw each request from the lines of FILE: a path, or a method and a path. The --seed
    /// determines the order; each line has the same probability. --body is not sent with GET and
    /// HEAD of the file
    #[arg(long, value_name = "FILE")]
    requests_from: Option<PathBuf>,
    /// Send the body after `100 Continue`, or after a second without a response
    #[arg(long, requires = "body")]
    expect_continue: bool,
}

impl RequestArguments {
    /// Returns the first of these flags that is given.
    pub fn first_given(&self) -> Option<&'static str> {
        let flags = [
            ("--path", self.path.is_some()),
            ("--method", self.method.is_some()),
            ("--header", !self.header.is_empty()),
            ("--body", self.body.is_some()),
            ("--requests-from", self.requests_from.is_some()),
            ("--expect-continue", self.expect_continue),
        ];
        flags.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    /// Reads the files that the flags name.
    ///
    /// # Errors
    /// Returns a message if a file cannot be read, or is not a list of requests.
    pub fn read(&self) -> Result<RequestTemplate, String> {
        let body = self.body.as_deref().map(read_body).transpose()?;
        let default_method = if body.is_some() { "POST" } else { "GET" };
        let lines = self.requests_from.as_deref().map(read_lines).transpose()?;
        Ok(RequestTemplate {
            path: self.path.clone().unwrap_or_else(|| "/".to_owned()),
            method: self.method.clone().unwrap_or_else(|| default_method.to_owned()),
            headers: self.header.clone(),
            body: body.unwrap_or_default().into(),
            file: self.requests_from.as_ref().map(|path| path.display().to_string()),
            lines: lines.unwrap_or_default(),
            expects_continue: self.expect_continue,
        })
    }
}

fn read_body(text: &str) -> Result<Vec<u8>, String> {
    let body = match text.strip_prefix('@') {
        Some(path) => fs::read(path).map_err(|error| format!("--body {text}: {error}"))?,
        None => text.as_bytes().to_vec(),
    };
    if body.len() > MAX_REQUEST_BYTES {
        return Err(format!("--body {text}: a body must have at most {MAX_REQUEST_BYTES} bytes"));
    }
    Ok(body)
}

/// A line of a list of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    number: usize,
    method: Option<String>,
    path: String,
}

fn read_lines(file: &Path) -> Result<Vec<Line>, String> {
    let problem =
        |problem: &dyn std::fmt::Display| format!("--requests-from {}: {problem}", file.display());
    let text = fs::read_to_string(file).map_err(|error| problem(&error))?;
    parse_lines(&text).map_err(|it| problem(&it))
}

fn parse_lines(text: &str) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let words: Vec<&str> = line.split_whitespace().collect();
        let (method, path) = match words[..] {
            [] => continue,
            [first, ..] if first.starts_with('#') => continue,
            [path] => (None, path),
            [method, path] => (Some(method.to_owned()), path),
            _ => return Err(format!("line {number}: expected a path, or a method and a path")),
        };
        if !path.starts_with('/') {
            return Err(format!(
                "line {number}: expected a path that starts with /, such as /a?b=c, instead of \
                 `{path}`. --target names the server."
            ));
        }
        lines.push(Line { number, method, path: path.to_owned() });
        if lines.len() > MAX_LIST_LINES {
            return Err(format!("a list must have at most {MAX_LIST_LINES} requests"));
        }
    }
    if lines.is_empty() { Err("there is no request in it".to_owned()) } else { Ok(lines) }
}

/// The HTTP requests of a load, without the name of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTemplate {
    path: String,
    method: String,
    headers: Vec<String>,
    body: Arc<[u8]>,
    /// The name of the list.
    file: Option<String>,
    lines: Vec<Line>,
    expects_continue: bool,
}

impl Default for RequestTemplate {
    fn default() -> Self {
        RequestArguments::default().read().expect("no file is named")
    }
}

impl RequestTemplate {
    /// Returns the request, or the first one of the list and the list.
    ///
    /// # Errors
    /// Returns a message if the method, a path or a header is not valid in a request.
    pub fn requests(
        &self,
        host: &str,
        is_persistent: bool,
        seed: u64,
    ) -> Result<(Request, Option<Arc<RequestList>>), String> {
        let create = |method: &str, path: &str, body: &[u8]| {
            let (headers, expects_continue) = (&self.headers[..], self.expects_continue);
            let parts = RequestParts { method, path, host, headers, body, expects_continue };
            if is_persistent { Request::http_persistent(&parts) } else { Request::http(&parts) }
        };
        let Some(file) = &self.file else {
            return Ok((create(&self.method, &self.path, &self.body)?, None));
        };
        if self.body.len().saturating_mul(self.lines.len()) > MAX_REQUEST_BYTES {
            return Err(format!(
                "--requests-from {file}: all requests with their bodies must have at most \
                 {MAX_REQUEST_BYTES} bytes. Use a shorter list or --body."
            ));
        }
        let of_line = |line: &Line| {
            let has_no_body = matches!(line.method.as_deref(), Some("GET" | "HEAD"));
            let body = if has_no_body { &[][..] } else { &self.body[..] };
            let method = line.method.as_deref().unwrap_or(&self.method);
            let problem = |it| format!("--requests-from {file}: line {}: {it}", line.number);
            create(method, &line.path, body).map_err(problem)
        };
        let requests = self.lines.iter().map(of_line).collect::<Result<Vec<_>, _>>()?;
        let first = requests[0].clone();
        Ok((first, Some(Arc::new(RequestList::new(file, requests, seed)?))))
    }

    /// Returns true if requests are drawn from a list.
    pub const fn is_list(&self) -> bool {
        self.file.is_some()
    }

    /// Returns the names of the headers. Their values may be secret, and results are shared.
    fn header_names(&self) -> Vec<&str> {
        self.headers.iter().filter_map(|header| header.split(':').next()).collect()
    }

    /// # Errors
    /// Returns a message if the requests do not suit this load.
    pub fn check(&self, load: LoadKind, fragments: usize) -> Result<(), String> {
        let problem = if load == LoadKind::Large && self.method == "HEAD" && self.file.is_none() {
            "--method HEAD cannot be used with --load large: its response has no body"
        } else if self.expects_continue && load == LoadKind::Pipelined {
            "--expect-continue cannot be used with --load pipelined, whose requests do not wait \
             for a response. Use --load keep-alive."
        } else if self.expects_continue && self.body.is_empty() {
            "--expect-continue needs a --body that is not empty"
        } else if self.file.is_some() && fragments != 1 {
            "--fragments cannot be used with --requests-from"
        } else {
            return Ok(());
        };
        Err(problem.to_owned())
    }

    /// Describes what differs from GET requests without a body; empty if nothing does.
    pub fn text(&self) -> String {
        let mut parts = Vec::new();
        if let Some(file) = &self.file {
            parts.push(format!("{} requests of {file}", self.lines.len()));
        } else if self.method != "GET" {
            parts.push(format!("method {}", self.method));
        }
        if !self.body.is_empty() {
            parts.push(format!("request bodies of {} bytes", self.body.len()));
        }
        if self.expects_continue {
            parts.push("sent after 100 Continue".to_owned());
        }
        parts.join(", ")
    }

    /// The flags as keys and values.
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let line = match &self.file {
            Some(file) => vec![("requests_from", file.clone())],
            None => vec![("path", self.path.clone())],
        };
        let others = [
            ("method", self.method.clone()),
            ("headers", self.header_names().join(", ")),
            ("request_body_bytes", self.body.len().to_string()),
            ("expect_continue", self.expects_continue.to_string()),
        ];
        line.into_iter().chain(others).collect()
    }
}

/// Returns a command line with `…` for the values of headers and for bodies: they may be secret,
/// and results are shared.
pub fn without_secrets(command_line: impl IntoIterator<Item = String>) -> Vec<String> {
    let masked = |flag: &str, value: &str| match flag {
        "--header" => value.split_once(':').map(|(name, _)| format!("{name}: …")),
        "--body" => (!value.starts_with('@')).then(|| "…".to_owned()),
        _ => None,
    };
    let mut flag = String::new();
    let mut argument = |argument: String| {
        if let Some(value) = masked(&std::mem::take(&mut flag), &argument) {
            return value;
        }
        match argument.split_once('=') {
            Some((flag, value)) => {
                masked(flag, value).map_or(argument.clone(), |value| format!("{flag}={value}"))
            }
            None => {
                flag.clone_from(&argument);
                argument
            }
        }
    };
    command_line.into_iter().map(&mut argument).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_headers_and_bodies_are_left_out() {
        let without = |line: &str| {
            let arguments = shlex::split(line).unwrap();
            without_secrets(arguments).join(" ")
        };
        assert_eq!(
            without(
                "compare --header 'A: b' --header=C:d=e --body secret --path /a=b --body @file"
            ),
            "compare --header A: … --header=C: … --body … --path /a=b --body @file"
        );
        assert_eq!(without("--body=a --body=@b --header"), "--body=… --body=@b --header");
    }

    #[test]
    fn lines_have_a_path_and_optionally_a_method() {
        let lines = parse_lines("# a list\n\n/a?b\n  POST\t/c \n# /d\n/e\r\n").unwrap();
        let line = |number, method: Option<&str>, path: &str| Line {
            number,
            method: method.map(str::to_owned),
            path: path.to_owned(),
        };
        let expected = [line(3, None, "/a?b"), line(4, Some("POST"), "/c"), line(6, None, "/e")];
        assert_eq!(lines, expected);
        for (text, part) in [
            ("", "no request"),
            ("# /a", "no request"),
            ("/a\nGET /b HTTP/1.1", "line 2: expected a path, or"),
            ("/a\nhttp://a/b", "line 2: expected a path that starts with /"),
            (&"/\n".repeat(MAX_LIST_LINES + 1), "at most 10000"),
        ] {
            let problem = parse_lines(text).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn body_goes_with_the_requests_of_a_list_that_can_have_one() {
        let lines = parse_lines("/a\nGET /b\nPUT /c\nHEAD /d\nDELETE /e").unwrap();
        let (file, body) = (Some("list".to_owned()), Arc::from(*b"hello"));
        let method = "POST".to_owned();
        let template = RequestTemplate { file, lines, body, method, ..Default::default() };
        let (first, list) = template.requests("a", true, 1).unwrap();
        let list = list.unwrap();
        let described: Vec<_> =
            list.requests().iter().map(|it| (it.line(), it.body_bytes())).collect();
        let expected = [("POST /a", 5), ("GET /b", 0), ("PUT /c", 5), ("HEAD /d", 0)];
        assert!(
            described.iter().zip(expected).all(|(it, (line, body))| *it == (line.into(), body))
        );
        assert_eq!((described[4].1, first.line()), (5, "POST /a".to_owned()));
        assert!(list.requests()[3].is_head());
        let lines = parse_lines("/a\nCONNECT /b").unwrap();
        let problem = RequestTemplate { lines, ..template }.requests("a", true, 1).unwrap_err();
        assert!(problem.starts_with("--requests-from list: line 2: method CONNECT"), "{problem}");
    }

    #[test]
    fn body_is_text_or_a_file() {
        assert_eq!(read_body("a=b"), Ok(b"a=b".to_vec()));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("body");
        fs::write(&path, b"\0\xff").unwrap();
        let argument = format!("@{}", path.display());
        assert_eq!(read_body(&argument), Ok(b"\0\xff".to_vec()));
        fs::remove_file(&path).unwrap();
        assert!(read_body(&argument).unwrap_err().contains("No such file"));
    }
}
