//! A persistent connection as a state machine that does no I/O: what was asked on it, and which
//! answers are due. No request and no answer is stored; what is due is a few counts.

use crate::connection::Next;
use crate::http::{Found, Persistence, Place, Request, RequestParser, RequestRules, Status};
use crate::replies::{Answer, Ending, Replies};
use crate::unsent::Unsent;

/// What bounds a conversation; the same for all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConversationRules {
    pub(crate) request: RequestRules,
    /// The answer to the last of so many requests says so; 0 is no limit.
    pub(crate) requests_per_connection: u64,
}

/// So many of the same answer in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    answer: Answer,
    count: u32,
}

/// How many runs can be due. Whoever pipelines requests of different kinds in more turns than this
/// at once, and does not read the answers, is told with the last of them to come again.
const MOST_RUNS: usize = 16;

/// The answers that are due, oldest first.
#[derive(Clone, Debug)]
struct Due {
    runs: [Run; MOST_RUNS],
    first: u8,
    length: u8,
}

const NO_RUN: Run = Run { answer: Answer::Continue, count: 0 };

impl Due {
    fn is_full(&self) -> bool {
        self.length as usize == MOST_RUNS
    }

    fn first(&self) -> Option<Run> {
        (self.length > 0).then(|| self.runs[self.first as usize])
    }

    fn last(&mut self) -> Option<&mut Run> {
        let index = (self.first as usize + self.length as usize).checked_sub(1)?;
        (self.length > 0).then(|| &mut self.runs[index % MOST_RUNS])
    }

    /// One more. There must be room for another run.
    fn push(&mut self, answer: Answer) {
        match self.last() {
            Some(run) if run.answer == answer && run.count < u32::MAX => run.count += 1,
            _ => {
                assert!(!self.is_full(), "more runs than there is room for");
                let index = (self.first as usize + self.length as usize) % MOST_RUNS;
                self.runs[index] = Run { answer, count: 1 };
                self.length += 1;
            }
        }
    }

    /// So many of the first run have been sent.
    fn pop(&mut self, count: u32) {
        let run = &mut self.runs[self.first as usize];
        run.count -= count;
        if run.count == 0 {
            self.first = (self.first + 1) % MOST_RUNS as u8;
            self.length -= 1;
        }
    }
}

/// What a connection is waiting for, when it is not sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaits {
    FirstRequest,
    NextRequest,
    Head,
    Body,
}

/// What has been heard in one piece.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) requests: u64,
    pub(crate) refusal: Option<Status>,
    /// The stream has ended in the middle of a request, or before the first.
    pub(crate) ended_early: bool,
}

/// The machine.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    parser: RequestParser,
    due: Due,
    /// Of the first answer that is due, in bytes.
    sent_bytes: usize,
    requests: u64,
    /// The next answer is to be the last.
    ends_with_next: bool,
    /// Nothing that follows is looked at, and behind what is due comes the end.
    is_over: bool,
}

impl Default for Conversation {
    fn default() -> Self {
        Self {
            parser: RequestParser::default(),
            due: Due { runs: [NO_RUN; MOST_RUNS], first: 0, length: 0 },
            sent_bytes: 0,
            requests: 0,
            ends_with_next: false,
            is_over: false,
        }
    }
}

impl Conversation {
    /// Bytes came; none at all is the end of the peer's stream.
    pub(crate) fn heard(&mut self, mut bytes: &[u8], rules: &ConversationRules) -> Heard {
        let mut heard = Heard::default();
        if bytes.is_empty() && !self.is_over {
            heard.ended_early = self.parser.place() != Place::Before || self.requests == 0;
            self.is_over = true;
        }
        while !bytes.is_empty() && !self.is_over {
            let (count, found) = self.parser.read(bytes, &rules.request);
            bytes = &bytes[count..];
            match found {
                None => {}
                // It need not be told: whoever waits for it does not do so for ever.
                Some(Found::Continue) if self.is_full() => {}
                Some(Found::Continue) => self.due.push(Answer::Continue),
                Some(Found::Request(request)) => {
                    heard.requests += 1;
                    self.answer(request, rules);
                }
                Some(Found::Refused { status, wants_body }) => {
                    heard.refusal = Some(status);
                    self.finish(Answer::Refusal { status, has_body: wants_body });
                }
            }
        }
        heard
    }

    fn answer(&mut self, request: Request, rules: &ConversationRules) {
        self.requests += 1;
        let is_last =
            self.ends_with_next || self.requests == rules.requests_per_connection || self.is_full();
        let ending = match request.persistence {
            _ if is_last => Ending::Close,
            Persistence::Persistent => Ending::Persistent,
            Persistence::PersistentIfTold => Ending::PersistentIfTold,
            Persistence::Close => Ending::Close,
        };
        let answer = Answer::Response { ending, has_body: request.wants_body };
        if ending == Ending::Close { self.finish(answer) } else { self.due.push(answer) }
    }

    /// Whether there is room for the last answer alone.
    fn is_full(&self) -> bool {
        self.due.length as usize >= MOST_RUNS - 1
    }

    fn finish(&mut self, answer: Answer) {
        self.due.push(answer);
        self.is_over = true;
    }

    /// So many bytes of what was handed out are the kernel's; how many answers are complete by it.
    pub(crate) fn sent(&mut self, count: usize, replies: &Replies) -> u64 {
        let run = self.due.first().expect("an engine sends what is due");
        let length = replies.length(run.answer);
        self.sent_bytes += count;
        if self.sent_bytes < length {
            return 0;
        }
        let complete = if self.sent_bytes == length { 1 } else { self.sent_bytes / length };
        self.sent_bytes -= complete * length;
        let complete = u32::try_from(complete).expect("no more than were due");
        self.due.pop(complete);
        // Nobody has asked for a word to go on, nor is it an answer.
        if run.answer == Answer::Continue { 0 } else { u64::from(complete) }
    }

    /// What is to be sent; `last_flags` are those of a send that the end follows.
    pub(crate) fn unsent<'server>(
        &self,
        replies: &'server Replies,
        last_flags: i32,
    ) -> Unsent<'server> {
        let run = self.due.first().expect("an engine asks for what is due");
        let (bytes, is_all) = replies.rest(run.answer, self.sent_bytes, run.count as usize);
        let is_last = is_all && self.is_over && self.due.length == 1;
        Unsent { bytes, flags: if is_last { last_flags } else { 0 } }
    }

    /// What it wants as it stands.
    pub(crate) fn wants(&self) -> Next {
        match (self.due.first(), self.is_over) {
            (Some(_), _) => Next::Send,
            (None, false) => Next::Recv,
            (None, true) => Next::Shutdown,
        }
    }

    /// What it waits for when it is not sending.
    pub(crate) fn awaits(&self) -> Awaits {
        match self.parser.place() {
            Place::Before if self.requests == 0 => Awaits::FirstRequest,
            Place::Before => Awaits::NextRequest,
            Place::Head => Awaits::Head,
            Place::Body => Awaits::Body,
        }
    }

    /// Whether a part of an answer has been sent, and not all of it.
    pub(crate) fn is_within_answer(&self) -> bool {
        self.sent_bytes > 0
    }

    /// The next answer that can say so says that nothing follows. What the kernel may be sending
    /// already is not changed any more.
    pub(crate) fn end_soon(&mut self) {
        self.ends_with_next = true;
        if self.is_over || self.due.length < 2 || self.parser.place() != Place::Before {
            return;
        }
        let is_full = self.due.is_full();
        let Some(run) = self.due.last() else { return };
        let Answer::Response { has_body, .. } = run.answer else { return };
        let answer = Answer::Response { ending: Ending::Close, has_body };
        if run.count == 1 {
            run.answer = answer;
        } else if !is_full {
            run.count -= 1;
            self.due.push(answer);
        } else {
            return;
        }
        self.is_over = true;
    }
}
