//! The protocols that a server ships, and the bytes that a client exchanges with each.

use super::RESPONSE;

/// [`RESPONSE`] with keep-alive, to a client that sends `Connection: close` or HTTP/1.0.
const LAST_RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Date: Mon, 1 Jan 1996 01:01:01 GMT\r\n\
    Content-Type: text/plain\r\n\
    Content-Length: 13\r\n\
    Connection: close\r\n\
    \r\n\
    Hello, world!";

/// Length of the stream of a client, in words of four bytes: more than the default receive buffer.
const STREAM_WORDS: u32 = 750;

/// The part of an endless stream that a client reads.
const ENDLESS_BYTES: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedProtocol {
    Http10,
    Http11,
    Echo,
    Discard,
    Chargen,
}

impl ServedProtocol {
    /// Returns its name in `--protocol`.
    pub fn key(self) -> &'static str {
        match self {
            Self::Http10 | Self::Http11 => "http",
            Self::Echo => "echo",
            Self::Discard => "discard",
            Self::Chargen => "chargen",
        }
    }

    pub fn is_stream(self) -> bool {
        !matches!(self, Self::Http10 | Self::Http11)
    }

    /// Returns true if the server sends until the client closes.
    pub fn is_endless(self) -> bool {
        self == Self::Chargen
    }

    /// Returns true if the server ends its stream only after the client has ended its own.
    pub fn ends_with_the_peer(self) -> bool {
        matches!(self, Self::Echo | Self::Discard)
    }

    /// Returns the two pieces that a client sends. Each word of a stream occurs once, and in the
    /// stream of one concurrent client, if the clients have different numbers.
    pub fn request(self, client: u16) -> [Vec<u8>; 2] {
        match self {
            Self::Http10 | Self::Http11 => [b"GET / HTTP/1.0\r\n".to_vec(), b"\r\n".to_vec()],
            Self::Echo | Self::Discard => {
                let half = STREAM_WORDS / 2;
                let first_word = u32::from(client) << 16;
                [0..half, half..STREAM_WORDS]
                    .map(|words| words.flat_map(|it| (first_word + it).to_be_bytes()).collect())
            }
            Self::Chargen => [Vec::new(), Vec::new()],
        }
    }

    /// Returns what a client must get for what it has sent.
    pub fn expected(self, request: &[Vec<u8>]) -> Vec<u8> {
        match self {
            Self::Http10 => RESPONSE.to_vec(),
            Self::Http11 => LAST_RESPONSE.to_vec(),
            Self::Echo => request.concat(),
            Self::Discard => Vec::new(),
            Self::Chargen => (0..ENDLESS_BYTES).map(chargen_byte).collect(),
        }
    }
}

/// Returns the byte of RFC 864's pattern at this position: lines of 72 of the 95 printable
/// characters, each starting one character later.
pub fn chargen_byte(position: usize) -> u8 {
    match (position / 74, position % 74) {
        (_, 72) => b'\r',
        (_, 73) => b'\n',
        (line, column) => b' ' + ((line + column) % 95) as u8,
    }
}
