//! Request-head scanner and the decision that uses it, compared with a naive definition.

use ringpoll_backends::connection::{Connection, ConnectionLimits, Next, ResponseKind};
use ringpoll_backends::request_head::RequestHead;

/// Returns the end of the request head, by the literal definition: after the first empty line.
fn end_of_head(stream: &[u8]) -> Option<usize> {
    (0..=stream.len())
        .find(|&end| stream[..end].ends_with(b"\n\n") || stream[..end].ends_with(b"\n\r\n"))
}

/// Returns the response that is due to a stream; `None` while the head is incomplete.
fn decision(stream: &[u8], limit: usize) -> Option<ResponseKind> {
    match end_of_head(stream) {
        Some(end) if end <= limit => Some(ResponseKind::Response),
        None if stream.len() < limit => None,
        _ => Some(ResponseKind::HeadTooLarge),
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

    let (mut head, mut seen, mut found) = (RequestHead::default(), 0, None);
    for piece in pieces(stream, lengths) {
        found = head.scan(piece).map(|end| seen + end);
        if found.is_some() {
            break;
        }
        seen += piece.len();
    }
    assert_eq!(found, end_of_head(stream), "end of {}", stream.escape_ascii());

    let limit = usize::from(limit).max(2);
    let limits = ConnectionLimits { request_head_bytes: limit, lingering_close_bytes: None };
    let (mut connection, mut received) = (Connection::default(), 0);
    for piece in pieces(stream, lengths) {
        received += piece.len();
        let next = connection.on_received(piece, &limits);
        let expected = decision(&stream[..received], limit);
        match expected {
            None => assert_eq!(next, Next::Recv, "{}", stream.escape_ascii()),
            Some(response) => {
                assert_eq!(next, Next::Send, "{}", stream.escape_ascii());
                assert_eq!(connection.response(), response, "{}", stream.escape_ascii());
            }
        }
    }
    // The result does not depend on the pieces.
    let mut whole = Connection::default();
    if !stream.is_empty() {
        let _ = whole.on_received(stream, &limits);
        assert_eq!(whole.next(), connection.next(), "{}", stream.escape_ascii());
        assert_eq!(whole.response(), connection.response(), "{}", stream.escape_ascii());
    }
}
