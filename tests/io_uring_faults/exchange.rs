//! The protocols that are served, and the bytes that a client exchanges with each.

pub(crate) const RESPONSE: &[u8] = b"HTTP/1.0 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!";
/// The response with keep-alive to a client that sends `Connection: close`.
const LAST_RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\nHello, world!";

/// Length of the stream of a client, in words of four bytes: more than a receive buffer.
const STREAM_WORDS: u32 = 750;

/// The part of an endless stream that a client reads.
const ENDLESS_BYTES: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServedProtocol {
    Http10,
    Http11,
    Echo,
    Discard,
    Chargen,
}

impl ServedProtocol {
    pub(crate) fn is_stream(self) -> bool {
        !matches!(self, Self::Http10 | Self::Http11)
    }

    /// Returns true if the server sends until the client closes.
    pub(crate) fn is_endless(self) -> bool {
        self == Self::Chargen
    }

    /// Returns true if the server ends its stream only after the client has ended its own.
    pub(crate) fn ends_with_the_peer(self) -> bool {
        matches!(self, Self::Echo | Self::Discard)
    }

    /// Returns the two pieces that a client sends. Each word of a stream occurs once, and in the
    /// stream of one concurrent client.
    pub(crate) fn request(self, client: usize) -> [Vec<u8>; 2] {
        match self {
            Self::Http10 | Self::Http11 => [b"GET / HTTP/1.0\r\n".to_vec(), b"\r\n".to_vec()],
            Self::Echo | Self::Discard => {
                let half = STREAM_WORDS / 2;
                let first_word = (client as u32) << 16;
                [0..half, half..STREAM_WORDS]
                    .map(|words| words.flat_map(|it| (first_word + it).to_be_bytes()).collect())
            }
            Self::Chargen => [Vec::new(), Vec::new()],
        }
    }

    /// Returns what a client must get for what it has sent.
    pub(crate) fn expected(self, request: &[Vec<u8>]) -> Vec<u8> {
        match self {
            Self::Http10 => RESPONSE.to_vec(),
            Self::Http11 => LAST_RESPONSE.to_vec(),
            Self::Echo => request.concat(),
            Self::Discard => Vec::new(),
            Self::Chargen => (0..ENDLESS_BYTES).map(generated_character).collect(),
        }
    }
}

/// Returns the byte at `place` in the pattern of RFC 864.
fn generated_character(place: usize) -> u8 {
    let (line, column) = (place / 74, place % 74);
    match column {
        72 => b'\r',
        73 => b'\n',
        _ => b' ' + ((line + column) % 95) as u8,
    }
}
