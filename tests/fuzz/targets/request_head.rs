//! The response of HTTP/1.0 to a request head, compared with a naive definition.

use ringpoll_backends::protocols::Http10;
use ringpoll_backends::{Next, Output, Protocol};

const RESPONSE: &[u8] = b"ok";

/// Returns the end of the request head, by the literal definition: after the first empty line.
fn end_of_head(stream: &[u8]) -> Option<usize> {
    (0..=stream.len())
        .find(|&end| stream[..end].ends_with(b"\n\n") || stream[..end].ends_with(b"\n\r\n"))
}

/// Returns true if the head is complete within the limit, false if it is too long; `None` while it
/// is incomplete.
fn decision(stream: &[u8], limit: usize) -> Option<bool> {
    match end_of_head(stream) {
        Some(end) if end <= limit => Some(true),
        None if stream.len() < limit => None,
        _ => Some(false),
    }
}

/// Splits the stream into pieces of 1 to 32 bytes, with `lengths` repeated.
fn pieces<'a>(mut stream: &'a [u8], lengths: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        let length = usize::from(*lengths.next()? % 32) + 1;
        let (piece, rest) = stream.split_at(length.min(stream.len()));
        stream = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Takes one byte for the limit, four for the lengths of the pieces, and the stream.
pub fn request_head(bytes: &[u8]) {
    let Some((&[limit, ref lengths @ ..], stream)) = bytes.split_first_chunk::<5>() else { return };
    let stream = &stream[..stream.len().min(4096)];

    let limit = usize::from(limit).max(2);
    let mut http = Http10::new(RESPONSE);
    http.request_head_bytes = limit;
    let mut received = 0;
    let mut output = Output::default();
    let mut connection = http.on_open(&mut output);
    for piece in pieces(stream, lengths) {
        received += piece.len();
        let next = http.on_recv(&mut connection, piece, &mut output);
        match decision(&stream[..received], limit) {
            None => {
                assert_eq!(next, Next::Recv, "{}", stream.escape_ascii());
                assert!(output.is_empty(), "{}", stream.escape_ascii());
            }
            Some(is_complete) => {
                assert_eq!(next, Next::Shutdown, "{}", stream.escape_ascii());
                let sent = output.to_vec();
                assert_eq!(sent == RESPONSE, is_complete, "{}", stream.escape_ascii());
                assert!(is_complete || sent.starts_with(b"HTTP/1.0 431 "), "{sent:?}");
                return;
            }
        }
    }
}
