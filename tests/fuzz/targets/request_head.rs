//! The scanner and the decision that rests on it, against the definition taken literally.

use ringpoll_backends::connection::{Connection, Next, Reply, Rules};
use ringpoll_backends::request_head::RequestHead;

/// The first place where either end stands in the whole.
fn end_in_the_whole(stream: &[u8]) -> Option<usize> {
    (0..=stream.len())
        .find(|&end| stream[..end].ends_with(b"\n\n") || stream[..end].ends_with(b"\n\r\n"))
}

/// What a stream has earned under a limit; `None` while it has to go on.
fn decision(stream: &[u8], limit: usize) -> Option<Reply> {
    match end_in_the_whole(stream) {
        Some(end) if end <= limit => Some(Reply::Response),
        None if stream.len() < limit => None,
        _ => Some(Reply::HeadTooLarge),
    }
}

/// The stream in pieces of the lengths that `lengths` names in turn, each of one byte at least.
fn pieces<'a>(mut stream: &'a [u8], lengths: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut lengths = lengths.iter().cycle();
    std::iter::from_fn(move || {
        let length = usize::from(*lengths.next()? % 32) + 1;
        let (piece, rest) = stream.split_at(length.min(stream.len()));
        stream = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// One byte for the limit, four for the cuts, and then the stream.
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
    assert_eq!(found, end_in_the_whole(stream), "the end of {}", stream.escape_ascii());

    let limit = usize::from(limit).max(2);
    let rules = Rules { request_head_bytes: limit, lingering_close_bytes: None };
    let (mut connection, mut received) = (Connection::default(), 0);
    for piece in pieces(stream, lengths) {
        received += piece.len();
        let next = connection.received(piece, &rules);
        let expected = decision(&stream[..received], limit);
        match expected {
            None => assert_eq!(next, Next::Recv, "{}", stream.escape_ascii()),
            Some(reply) => {
                assert_eq!(next, Next::Send, "{}", stream.escape_ascii());
                assert_eq!(connection.chosen_reply(), reply, "{}", stream.escape_ascii());
            }
        }
    }
    // However it was cut, it is the same in one piece.
    let mut whole = Connection::default();
    if !stream.is_empty() {
        let _ = whole.received(stream, &rules);
        assert_eq!(whole.wants(), connection.wants(), "{}", stream.escape_ascii());
        assert_eq!(whole.chosen_reply(), connection.chosen_reply(), "{}", stream.escape_ascii());
    }
}
