//! All that a server with persistent connections ever answers, made once at startup and changed by
//! nobody: sending is handing out a slice. Small answers stand there many times in a row, so that
//! one send can carry those to several requests.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{BackendError, ErrorKind};
use crate::http::Status;

/// How much of the same answer stands in a row.
const IN_A_ROW_BYTES: usize = 16 * 1024;

/// Up to here a body is copied behind each head that it can have; a longer one stays where it is
/// and is sent behind the head, in a send of its own.
const COPIED_BODY_BYTES: usize = 256 * 1024;

/// How an answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// HTTP/1.1: nothing need be said.
    Persistent,
    /// It says so, as HTTP/1.0 wants it.
    PersistentIfTold,
    /// It says that nothing follows.
    Close,
}

/// One answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The response that the server was started with.
    Response { ending: Ending, has_body: bool },
    /// The request may go on.
    Continue,
    /// A refusal.
    Refusal { status: Status, has_body: bool },
}

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Where an answer stands.
#[derive(Clone, Debug)]
struct Place {
    /// In the bytes made here: the head, and the body behind it where that was copied.
    own: Range<usize>,
    /// How much of it is the head.
    head_bytes: usize,
    /// How often it stands there, one behind the other.
    times: usize,
}

/// See the top of this file.
#[derive(Debug)]
pub struct Replies {
    response: Arc<[u8]>,
    body_start: usize,
    own: Box<[u8]>,
    /// In the order of [`Ending`].
    places: [Place; 3],
}

impl Replies {
    /// The answers of HTTP/1.1 that are made of a whole response of HTTP/1.0: its fields, its
    /// body, and what has to be said of the connection.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where it is no response, or does not say how long its body is.
    pub fn new(response: Arc<[u8]>) -> Result<Self, BackendError> {
        let wrong = |cause: &str| BackendError::new(ErrorKind::Usage, "response", cause);
        let end = response.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.ok_or_else(|| wrong("it has no end of a head"))?;
        let head =
            std::str::from_utf8(&response[..end]).map_err(|_| wrong("its head is not text"))?;
        let fields = head
            .strip_prefix("HTTP/1.0 ")
            .or_else(|| head.strip_prefix("HTTP/1.1 "))
            .ok_or_else(|| wrong("it does not begin with HTTP/1.0"))?;
        let body_start = end + 4;
        let length = format!("content-length: {}", response.len() - body_start);
        if !fields.lines().any(|line| line.eq_ignore_ascii_case(&length)) {
            return Err(wrong("its Content-Length is not that of its body"));
        }
        let mut own = Vec::new();
        let places = ["", "Connection: keep-alive\r\n", "Connection: close\r\n"].map(|field| {
            let head = format!("HTTP/1.1 {fields}\r\n{field}\r\n");
            add(&mut own, head.as_bytes(), &response[body_start..])
        });
        Ok(Self { body_start, own: own.into(), places, response })
    }

    /// How long an answer is.
    pub(crate) fn length(&self, answer: Answer) -> usize {
        match answer {
            Answer::Response { ending, has_body } => {
                let body_bytes = if has_body { self.response.len() - self.body_start } else { 0 };
                self.places[ending as usize].head_bytes + body_bytes
            }
            Answer::Continue => CONTINUE.len(),
            Answer::Refusal { status, has_body: true } => status.answer().len(),
            Answer::Refusal { status, has_body: false } => status.head().len(),
        }
    }

    /// What stands in a row of so many of the same answer from there on, and whether it is all of
    /// them.
    pub(crate) fn rest(&self, answer: Answer, sent: usize, count: usize) -> (&[u8], bool) {
        let (ending, has_body) = match answer {
            Answer::Response { ending, has_body } => (ending, has_body),
            Answer::Continue => return (&CONTINUE[sent..], count == 1),
            Answer::Refusal { status, has_body: true } => return (&status.answer()[sent..], true),
            Answer::Refusal { status, has_body: false } => return (&status.head()[sent..], true),
        };
        let place = &self.places[ending as usize];
        let own = &self.own[place.own.clone()];
        if !has_body {
            return (&own[sent..place.head_bytes], count == 1);
        }
        let body = &self.response[self.body_start..];
        if place.times > 0 {
            let times = count.min(place.times);
            let length = place.head_bytes + body.len();
            (&own[sent..times * length], times == count)
        } else if sent < place.head_bytes {
            (&own[sent..], false)
        } else {
            (&body[sent - place.head_bytes..], count == 1)
        }
    }

    /// The longest of the answers.
    pub(crate) fn longest(&self) -> usize {
        self.own.len().max(self.response.len())
    }
}

/// Adds one answer, as often as it is to stand there.
fn add(own: &mut Vec<u8>, head: &[u8], body: &[u8]) -> Place {
    let start = own.len();
    let times = if body.len() > COPIED_BODY_BYTES {
        own.extend_from_slice(head);
        0
    } else {
        let times = (IN_A_ROW_BYTES / (head.len() + body.len())).max(1);
        for _ in 0..times {
            own.extend_from_slice(head);
            own.extend_from_slice(body);
        }
        times
    };
    Place { own: start..own.len(), head_bytes: head.len(), times }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body_bytes: usize) -> Arc<[u8]> {
        let head = format!("HTTP/1.0 200 OK\r\nContent-Length: {body_bytes}\r\n\r\n");
        [head.as_bytes(), &vec![b'b'; body_bytes]].concat().into()
    }

    /// All that is handed out of so many answers, in sends that take so many bytes at the most.
    fn sent(replies: &Replies, answer: Answer, mut count: usize, most: usize) -> Vec<u8> {
        let (mut all, mut offset) = (Vec::new(), 0);
        let length = replies.length(answer);
        while count > 0 {
            let (rest, _) = replies.rest(answer, offset, count);
            assert!(!rest.is_empty());
            let taken = &rest[..rest.len().min(most)];
            all.extend_from_slice(taken);
            count -= (offset + taken.len()) / length;
            offset = (offset + taken.len()) % length;
        }
        all
    }

    #[test]
    fn a_row_of_answers_is_the_answer_again_and_again() {
        for body_bytes in [0, 13, 9000, COPIED_BODY_BYTES, COPIED_BODY_BYTES + 1] {
            let replies = Replies::new(response(body_bytes)).unwrap();
            for (ending, field) in [
                (Ending::Persistent, ""),
                (Ending::PersistentIfTold, "Connection: keep-alive\r\n"),
                (Ending::Close, "Connection: close\r\n"),
            ] {
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {body_bytes}\r\n{field}\r\n");
                let whole = [head.as_bytes(), &vec![b'b'; body_bytes]].concat();
                for most in [1 + body_bytes / 50, 1 << 20] {
                    let answer = Answer::Response { ending, has_body: true };
                    assert!(sent(&replies, answer, 7, most) == whole.repeat(7));
                    let answer = Answer::Response { ending, has_body: false };
                    assert!(sent(&replies, answer, 3, most) == head.repeat(3).as_bytes());
                }
            }
        }
    }

    #[test]
    fn several_answers_are_in_one_slice() {
        let replies = Replies::new(response(13)).unwrap();
        let answer = Answer::Response { ending: Ending::Persistent, has_body: true };
        let (rest, is_all) = replies.rest(answer, 5, 16);
        assert_eq!((rest.len(), is_all), (16 * replies.length(answer) - 5, true));
    }

    #[test]
    fn what_is_no_response_is_refused() {
        for bytes in [
            &b"HTTP/1.0 200 OK\r\n"[..],
            b"hello\r\n\r\n",
            b"HTTP/1.0 200 OK\r\n\r\nhello",
            b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nhello",
        ] {
            assert_eq!(Replies::new(bytes.into()).unwrap_err().kind, ErrorKind::Usage);
        }
    }
}
