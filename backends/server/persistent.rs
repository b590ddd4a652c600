//! The server's side of connections that persist: what the conversation on each wants, and which
//! deadline holds for it.

use std::sync::Arc;

use super::Server;
use crate::backend::{KeepAlive, Limits, Step};
use crate::connection::Next;
use crate::conversation::{Awaits, Conversation, ConversationRules};
use crate::deadlines::Deadline;
use crate::http::{RequestRules, Status};
use crate::replies::Replies;
use crate::slots::ConnectionId;
use crate::unsent::Unsent;

/// What a server needs only where connections persist.
pub(super) struct Persistent {
    replies: Arc<Replies>,
    rules: ConversationRules,
    /// One a slot.
    talks: Box<[Talk]>,
}

/// A conversation, and what is remembered beside it.
#[derive(Clone, Default)]
struct Talk {
    conversation: Conversation,
    /// Its life was over once: the next time it is put out.
    has_outlived: bool,
    /// A request came whole that has not been logged.
    is_unlogged: bool,
}

impl Persistent {
    pub(super) fn new(keep_alive: KeepAlive, limits: &Limits) -> Self {
        Self {
            replies: keep_alive.replies,
            rules: ConversationRules {
                request: RequestRules {
                    head_bytes: limits.request_head_bytes,
                    body_bytes: keep_alive.request_body_bytes,
                },
                requests_per_connection: keep_alive.requests_per_connection,
            },
            talks: vec![Talk::default(); limits.connections].into_boxed_slice(),
        }
    }

    pub(super) fn replies(&self) -> Arc<Replies> {
        Arc::clone(&self.replies)
    }

    pub(super) fn unsent(&self, id: ConnectionId, last_flags: i32) -> Unsent<'_> {
        self.talks[id.slot as usize].conversation.unsent(&self.replies, last_flags)
    }

    /// Whether a request of it came whole since the last time that this was asked.
    pub(super) fn take_unlogged(&mut self, id: ConnectionId) -> bool {
        std::mem::take(&mut self.talks[id.slot as usize].is_unlogged)
    }

    fn talk(&mut self, slot: u32) -> &mut Talk {
        &mut self.talks[slot as usize]
    }
}

/// The deadline of whoever is waited for.
fn deadline_of(awaits: Awaits) -> Deadline {
    match awaits {
        Awaits::FirstRequest => Deadline::Idle,
        Awaits::NextRequest => Deadline::KeepAlive,
        Awaits::Head => Deadline::RequestHead,
        Awaits::Body => Deadline::RequestBody,
    }
}

impl Server {
    fn talk(&mut self, slot: u32) -> &mut Talk {
        self.persistent.as_mut().expect("only where connections persist").talk(slot)
    }

    pub(super) fn begin_conversation(&mut self, id: ConnectionId) {
        let ends_soon = self.is_stopping();
        let talk = self.talk(id.slot);
        *talk = Talk::default();
        if ends_soon {
            talk.conversation.end_soon();
        }
    }

    /// Bytes came, or the end of the peer's stream.
    pub(super) fn heard(&mut self, id: ConnectionId, bytes: &[u8]) -> Next {
        let persistent = self.persistent.as_mut().expect("only where connections persist");
        let talk = &mut persistent.talks[id.slot as usize];
        let (was, awaited) = (talk.conversation.wants(), talk.conversation.awaits());
        let heard = talk.conversation.heard(bytes, &persistent.rules);
        let (wants, awaits) = (talk.conversation.wants(), talk.conversation.awaits());
        talk.is_unlogged |= heard.requests > 0;
        self.counters.requests += heard.requests;
        match heard.refusal {
            None => {}
            Some(Status::HeadTooLarge) => self.counters.heads_too_large += 1,
            Some(_) => self.counters.refused += 1,
        }
        if let Some((_, copies)) = &mut self.request_log {
            copies.append(id.slot, bytes);
        }
        let next = match wants {
            Next::Send if was != Next::Send => {
                self.deadlines.start(Deadline::Send, id.slot, self.now_ms);
                Next::Send
            }
            Next::Recv if awaits != awaited => {
                self.deadlines.start(deadline_of(awaits), id.slot, self.now_ms);
                Next::Recv
            }
            // Its stream is over, and nothing is due.
            Next::Shutdown => Next::Close,
            next => next,
        };
        if next == Next::Close {
            self.ended(id, heard.ended_early);
        } else {
            self.counters.ended_early += u64::from(heard.ended_early);
        }
        let _ = self.client(id).connection.converse(next);
        self.record(id, Step::Received(bytes.len()), Some(next));
        next
    }

    /// So much of what is due was sent.
    pub(super) fn told(&mut self, id: ConnectionId, count: usize) -> Next {
        let persistent = self.persistent.as_mut().expect("only where connections persist");
        let conversation = &mut persistent.talks[id.slot as usize].conversation;
        self.counters.answered += conversation.sent(count, &persistent.replies);
        let (next, awaits) = (conversation.wants(), conversation.awaits());
        let is_within = conversation.is_within_answer();
        match next {
            Next::Send => {
                self.counters.short_sends += u64::from(is_within);
                self.deadlines.start(Deadline::Send, id.slot, self.now_ms);
            }
            Next::Recv => {
                self.deadlines.start(deadline_of(awaits), id.slot, self.now_ms);
                if awaits == Awaits::NextRequest && self.is_stopping() {
                    self.hear_no_more_of(id);
                }
            }
            Next::Shutdown | Next::Close => {}
        }
        let _ = self.client(id).connection.converse(next);
        self.record(id, Step::Sent(count), Some(next));
        next
    }

    /// The worker stops: the next answer is the last, and who has asked for nothing is not waited
    /// for.
    pub(super) fn end_conversation_soon(&mut self, id: ConnectionId) {
        if !self.client(id).connection.is_conversing() {
            return;
        }
        let conversation = &mut self.talk(id.slot).conversation;
        conversation.end_soon();
        if conversation.wants() == Next::Recv && conversation.awaits() == Awaits::NextRequest {
            self.hear_no_more_of(id);
        }
    }

    fn hear_no_more_of(&mut self, id: ConnectionId) {
        if !self.client(id).is_heard_out {
            self.hear_no_more(id);
        }
    }

    /// Whether somebody has said nothing at all, or nothing more since its last answer.
    pub(super) fn is_silent(&self, id: ConnectionId) -> bool {
        let Some(persistent) = &self.persistent else { return true };
        let awaits = persistent.talks[id.slot as usize].conversation.awaits();
        matches!(awaits, Awaits::FirstRequest | Awaits::NextRequest)
    }

    /// The life of a connection is over, and with it all of its deadlines. One that persists has
    /// it once more, to come to its end in good order, unless it waits for nothing.
    pub(super) fn goes_on_after_its_life(&mut self, slot: u32) -> bool {
        let Some(id) = self.clients.id_at(slot) else { return false };
        if self.persistent.is_none() || !self.client(id).connection.is_conversing() {
            return false;
        }
        let talk = self.talk(slot);
        let is_idle = talk.conversation.wants() == Next::Recv
            && talk.conversation.awaits() == Awaits::NextRequest;
        if is_idle || std::mem::replace(&mut talk.has_outlived, true) {
            return false;
        }
        talk.conversation.end_soon();
        let phase = match talk.conversation.wants() {
            Next::Recv => deadline_of(talk.conversation.awaits()),
            _ => Deadline::Send,
        };
        self.deadlines.start(Deadline::Life, slot, self.now_ms);
        self.deadlines.start(phase, slot, self.now_ms);
        true
    }
}
