//! Observers of a worker: the recorder of lifecycle events, and the log of requests.

use super::options::{LifecycleEvent, Recorder, RequestLog};
use crate::protocol::Next;
use crate::request_copies::RequestCopies;
use crate::slab::ConnectionId;

pub(super) struct Observers {
    recorder: Option<Box<dyn Recorder>>,
    request_log: Option<(Box<dyn RequestLog>, RequestCopies)>,
}

impl Observers {
    /// `max_request_bytes` of each connection are kept for the log.
    pub(super) fn new(
        recorder: Option<Box<dyn Recorder>>,
        request_log: Option<Box<dyn RequestLog>>,
        max_connections: usize,
        max_request_bytes: usize,
    ) -> Self {
        let copies = |log| (log, RequestCopies::new(max_connections, max_request_bytes));
        Self { recorder, request_log: request_log.map(copies) }
    }

    pub(super) fn record(&mut self, id: ConnectionId, event: LifecycleEvent, next: Option<Next>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.record(id, event, next);
        }
    }

    pub(super) fn has_log(&self) -> bool {
        self.request_log.is_some()
    }

    pub(super) fn on_received(&mut self, id: ConnectionId, bytes: &[u8]) {
        if let Some((_, copies)) = &mut self.request_log {
            copies.append(id.slot, bytes);
        }
    }

    /// Logs what was received since the last call. Returns false if the log dropped it.
    pub(super) fn log(&mut self, id: ConnectionId, is_complete: bool) -> bool {
        let Some((log, copies)) = &mut self.request_log else { return true };
        let is_logged = !is_complete || log.request(copies.get(id.slot));
        copies.clear(id.slot);
        is_logged
    }

    pub(super) fn on_closed(&mut self, id: ConnectionId) {
        if let Some((_, copies)) = &mut self.request_log {
            copies.clear(id.slot);
        }
    }
}
