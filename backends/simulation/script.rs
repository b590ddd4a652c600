//! What a peer says on a connection that persists, and what it must be answered: a naive account,
//! of the whole stream at once, that is compared with every byte that the server hands over.

use super::choices::Choices;
use super::setup::Setup;
use crate::http::Status;

/// One request.
struct Line {
    /// The end of the bytes that decide about it, in the stream.
    end: usize,
    /// Its answer where the connection goes on, and where it ends with it.
    answers: [Vec<u8>; 2],
    /// The connection ends with it in any case.
    is_last: bool,
}

/// All that a peer will say, and its answers.
pub(super) struct Script {
    lines: Vec<Line>,
}

/// How far a peer has been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answered {
    /// Answers that are whole.
    pub(super) whole: usize,
    /// Whether a part of another one stands behind them.
    pub(super) has_part: bool,
    /// Whether the last of them said that nothing follows.
    pub(super) has_ended: bool,
}

const REQUESTS: [&[u8]; 5] = [
    b"GET / HTTP/1.1\r\nHost:a\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost:a\r\n\r\n",
    b"PUT / HTTP/1.1\r\nHost:a\r\nContent-Length:3\r\n\r\nGET",
    b"PUT / HTTP/1.1\r\nHost:a\r\nTransfer-Encoding:chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
];

impl Script {
    /// A stream, and the script that goes with it.
    pub(super) fn choose(choices: &mut Choices, setup: &Setup) -> (Vec<u8>, Self) {
        let (mut stream, mut lines) = (Vec::new(), Vec::new());
        for _ in 0..choices.below(6) {
            let which = choices.below(REQUESTS.len());
            lines.push(line(stream.len(), which, setup));
            stream.extend_from_slice(REQUESTS[which]);
        }
        if choices.below(4) == 1 {
            let part = &REQUESTS[0][..choices.below(20)];
            if part.len() >= setup.limits.request_head_bytes {
                lines.push(refusal(stream.len(), true, setup));
            }
            stream.extend_from_slice(part);
        }
        let last = lines.iter().position(|line| line.is_last);
        lines.truncate(last.map_or(lines.len(), |last| last + 1));
        (stream, Self { lines })
    }

    /// How many answers so much of the stream deserves.
    pub(super) fn deserves(&self, written: usize) -> usize {
        self.lines.iter().filter(|line| line.end <= written).count()
    }

    /// Whether so much of the stream ends between two requests.
    pub(super) fn is_between(&self, delivered: usize) -> bool {
        delivered == 0 || self.lines.iter().any(|line| line.end == delivered)
    }

    /// Reads what was handed over.
    ///
    /// # Panics
    /// If one byte of it is not the answer that is due.
    pub(super) fn answered(&self, mut handed: &[u8]) -> Answered {
        let mut answered = Answered { whole: 0, has_part: false, has_ended: false };
        for Line { answers, is_last, .. } in &self.lines {
            if handed.is_empty() || answered.has_ended {
                break;
            }
            let fits = |answer: &&Vec<u8>| {
                let most = answer.len().min(handed.len());
                answer[..most] == handed[..most]
            };
            let answer = answers.iter().find(fits).unwrap_or_else(|| {
                panic!("sends what is not the answer that is due: {}", handed.escape_ascii())
            });
            if handed.len() < answer.len() {
                answered.has_part = true;
                return answered;
            }
            answered.whole += 1;
            answered.has_ended = *is_last || *answer == answers[1];
            handed = &handed[answer.len()..];
        }
        assert!(handed.is_empty(), "sends what nobody has asked for: {}", handed.escape_ascii());
        answered
    }
}

fn line(start: usize, which: usize, setup: &Setup) -> Line {
    let request = REQUESTS[which];
    let has_body = which != 1;
    let head = request.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |end| end + 4);
    if head > setup.limits.request_head_bytes {
        // Not known to be HEAD where the limit lies within the method.
        return refusal(start, has_body || setup.limits.request_head_bytes < 4, setup);
    }
    let answer = |field: &str| {
        let body = &setup.response[setup.response_body_start..];
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n{field}\r\n");
        [head.as_bytes(), if has_body { body } else { b"" }].concat()
    };
    let is_last = which == 4;
    let last = answer("Connection: close\r\n");
    let goes_on = if is_last { last.clone() } else { answer("") };
    Line { end: start + request.len(), answers: [goes_on, last], is_last }
}

fn refusal(start: usize, has_body: bool, setup: &Setup) -> Line {
    let status = Status::HeadTooLarge;
    let answer = if has_body { status.answer() } else { status.head() };
    let end = start + setup.limits.request_head_bytes;
    Line { end, answers: [answer.to_vec(), answer.to_vec()], is_last: true }
}
