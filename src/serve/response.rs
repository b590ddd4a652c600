//! The response to every request.

use std::fs::File;
use std::io::Read;

use crate::config::ServerSettings;
use crate::failure::Failure;

const BODY: &[u8] = b"Hello, world!";

/// The maximum of `server.response_body_bytes`, which also limits files.
const MAX_BODY_BYTES: u64 = 1024 * 1024 * 1024;

/// Returns the response of the reference programs with the configured body.
///
/// # Errors
/// The file cannot be read, or is too long.
pub(super) fn response(settings: &ServerSettings) -> Result<Vec<u8>, Failure> {
    if settings.response_file.is_empty() {
        let body_bytes = settings.response_body_bytes;
        let mut response = head(body_bytes);
        response.extend(BODY.iter().copied().cycle().take(body_bytes));
        return Ok(response);
    }
    let body = read(&settings.response_file)?;
    Ok([head(body.len()), body].concat())
}

fn read(path: &str) -> Result<Vec<u8>, Failure> {
    let problem = |what: &str| Failure::Usage(format!("server.response_file: {path}: {what}"));
    let mut body = Vec::new();
    File::open(path)
        // One byte more shows that it is too long; endless files such as /dev/zero end too.
        .and_then(|file| file.take(MAX_BODY_BYTES + 1).read_to_end(&mut body))
        .map_err(|error| problem(&error.to_string()))?;
    if body.len() as u64 > MAX_BODY_BYTES {
        return Err(problem("it is longer than 1 GiB"));
    }
    Ok(body)
}

fn head(body_bytes: usize) -> Vec<u8> {
    format!(
        "HTTP/1.0 200 OK\r\n\
         Date: Mon, 1 Jan 1996 01:01:01 GMT\r\n\
         Content-Type: text/plain\r\n\
         Content-Length: {body_bytes}\r\n\
         \r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use crate::config::{Sources, load};

    fn response(body_bytes: usize) -> Vec<u8> {
        let mut settings = load(&Sources::default()).unwrap().config.server;
        settings.response_body_bytes = body_bytes;
        super::response(&settings).unwrap()
    }

    #[test]
    fn file_content_is_the_body() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("body");
        let mut settings = load(&Sources::default()).unwrap().config.server;
        settings.response_file = file.display().to_string();
        assert_eq!(super::response(&settings).unwrap_err().exit_code(), 2);
        std::fs::write(&file, b"\0\xff\n").unwrap();
        let response = super::response(&settings).unwrap();
        assert!(response.ends_with(b"Content-Length: 3\r\n\r\n\0\xff\n"));
    }

    #[test]
    fn thirteen_bytes_are_the_reference_response() {
        let response = response(13);
        assert_eq!(response.len(), 114);
        assert!(response.ends_with(b"Content-Length: 13\r\n\r\nHello, world!"));
    }

    #[test]
    fn other_lengths_repeat_or_cut_the_body() {
        assert!(response(0).ends_with(b"Content-Length: 0\r\n\r\n"));
        assert!(response(15).ends_with(b"Content-Length: 15\r\n\r\nHello, world!He"));
    }
}
