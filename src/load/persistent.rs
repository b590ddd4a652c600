//! The persistent connections of one thread: requests in flight, and connections on which another
//! request can start. No I/O; everything is allocated once.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use super::exchange::BodyTrigger;
use super::lifetime::{Lifetime, RequestCounts};
use super::message::MessageStream;
use super::response_stream::ResponseStream;

/// A request in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct StartedRequest {
    pub(super) due_ns: u64,
    pub(super) started_ns: u64,
    /// Its index in the list of requests.
    pub(super) entry: u32,
}

/// One persistent connection. It is reopened after its socket has been closed.
#[derive(Debug, Default)]
pub(super) struct PersistentConnection {
    pub(super) socket: Option<OwnedFd>,
    pub(super) response_stream: ResponseStream,
    pub(super) messages: MessageStream,
    /// Index of the oldest request in flight in this connection's ring of started requests.
    head: usize,
    /// Requests started that have no complete response.
    in_flight: usize,
    /// The most recent of these, not sent or only partly sent.
    unsent: usize,
    /// Bytes already sent of the first unsent request.
    pub(super) sent_bytes: usize,
    /// `Expect: 100-continue`: set when the body may be sent.
    pub(super) body_trigger: Option<BodyTrigger>,
    /// Set if the head of a request has been sent, and its body waits for 100 Continue.
    pub(super) awaits_continue: bool,
    pub(super) responses_received: u64,
    /// Requests that the connection can still carry; `None` is unlimited.
    requests_left: Option<u32>,
    /// The time at which the last response (`Connection: close`) arrived. The connection accepts
    /// no more requests.
    pub(super) closing_since_ns: Option<u64>,
    /// Set for a while after a failure.
    is_backing_off: bool,
    is_available: bool,
    needs_flush: bool,
}

impl PersistentConnection {
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn unsent_requests(&self) -> usize {
        self.unsent
    }

    /// Returns true if a request, or its head, has been sent whose response is incomplete.
    pub(super) fn awaits_response(&self) -> bool {
        self.in_flight > self.unsent || self.awaits_continue
    }

    /// Returns true if bytes of a response are not unexpected. A server may respond to the first
    /// bytes of a long request.
    pub(super) fn may_receive_response(&self) -> bool {
        self.awaits_response() || self.sent_bytes > 0
    }

    /// Returns true if the response to the oldest request in flight would be complete before the
    /// request, which does not wait for 100 Continue.
    pub(super) fn responds_early(&self) -> bool {
        self.in_flight == self.unsent && !self.awaits_continue
    }

    /// Allows the body of the request to be sent.
    pub(super) fn allow_body(&mut self, trigger: BodyTrigger) {
        (self.body_trigger, self.awaits_continue) = (Some(trigger), false);
    }

    /// Returns true if the request in flight is the last one of this connection's planned number.
    pub(super) fn is_last_request(&self) -> bool {
        self.requests_left == Some(0)
    }

    pub(super) fn requests_left(&self) -> Option<u32> {
        self.requests_left
    }

    /// Bytes of the current response that have been received and are correct.
    pub(super) fn matched(&self) -> usize {
        self.response_stream.received() + self.messages.matched()
    }

    /// Records that `requests` whole requests and `bytes` of the next one were sent.
    pub(super) fn on_sent(&mut self, requests: usize, bytes: usize) {
        self.unsent -= requests;
        self.sent_bytes = bytes;
    }

    /// Takes the socket of a connection that has ended. Requests in flight become unsent again:
    /// they are sent on the next connection.
    pub(super) fn take_socket(&mut self) -> Option<OwnedFd> {
        self.unsent = self.in_flight;
        (self.sent_bytes, self.responses_received) = (0, 0);
        self.response_stream.reset();
        self.messages = MessageStream::default();
        self.closing_since_ns = None;
        (self.body_trigger, self.awaits_continue) = (None, false);
        self.socket.take()
    }
}

/// All persistent connections of one thread.
#[derive(Debug)]
pub(super) struct PersistentConnections {
    connections: Vec<PersistentConnection>,
    depth: usize,
    request_counts: RequestCounts,
    /// A ring of `depth` requests for each connection.
    started: Vec<StartedRequest>,
    /// Connections on which a request can start, least recently used first.
    available: VecDeque<u32>,
    /// Connections with started requests that are not sent.
    flush_queue: Vec<u32>,
    in_flight: usize,
}

impl PersistentConnections {
    /// `stream` selects the random sequence of this thread and run.
    pub(super) fn new(count: usize, lifetime: Lifetime, stream: u64) -> Self {
        let depth = lifetime.depth();
        let new = || PersistentConnection { is_available: true, ..Default::default() };
        Self {
            connections: (0..count).map(|_| new()).collect(),
            depth,
            request_counts: RequestCounts::new(lifetime, stream),
            started: vec![StartedRequest::default(); count * depth],
            available: (0..count as u32).collect(),
            flush_queue: Vec::with_capacity(count),
            in_flight: 0,
        }
    }

    /// Adapts stored times to a clock that restarts at 0.
    pub(super) fn on_clock_restart(&mut self) {
        for connection in &mut self.connections {
            connection.closing_since_ns = connection.closing_since_ns.map(|_| 0);
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.connections.len() as u32
    }

    /// Returns the number of connections on which a request can start.
    pub(super) fn available_count(&self) -> usize {
        self.available.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Starts a request on the first available connection. Requests that start together share a
    /// connection up to its depth, so that one send carries them.
    pub(super) fn start_request(&mut self, start: StartedRequest) {
        let index = *self.available.front().expect("the schedule checks available_count");
        let connection = &mut self.connections[index as usize];
        if connection.socket.is_none() && connection.in_flight == 0 {
            connection.requests_left = self.request_counts.next();
        }
        let position = (connection.head + connection.in_flight) % self.depth;
        self.started[index as usize * self.depth + position] = start;
        connection.in_flight += 1;
        connection.unsent += 1;
        connection.requests_left = connection.requests_left.map(|left| left - 1);
        if !connection.needs_flush {
            connection.needs_flush = true;
            self.flush_queue.push(index);
        }
        self.in_flight += 1;
        if !self.can_start(index) {
            self.available.pop_front();
            self[index].is_available = false;
        }
    }

    /// Returns a connection with started requests that are not sent, each one once.
    pub(super) fn next_to_flush(&mut self) -> Option<u32> {
        let index = self.flush_queue.pop()?;
        self[index].needs_flush = false;
        // The next requests go to the next connection, even if this one has capacity left.
        if self.available.len() > 1 && self.available.front() == Some(&index) {
            self.available.rotate_left(1);
        }
        Some(index)
    }

    /// Sets the number of requests that the connection taken from the pool can still carry.
    pub(super) fn set_requests_left(&mut self, index: u32, left: Option<u32>) {
        let connection = &mut self[index];
        connection.requests_left =
            left.map(|left| left.saturating_sub(connection.in_flight as u32));
    }

    fn can_start(&self, index: u32) -> bool {
        let connection = &self[index];
        // A connection that has carried its planned number of requests has to be reopened first.
        let is_closed = connection.in_flight == 0 && connection.socket.is_none();
        !connection.is_backing_off
            && connection.closing_since_ns.is_none()
            && connection.in_flight < self.depth
            && (connection.requests_left != Some(0) || is_closed)
    }

    /// Makes the connection available if a request can start on it.
    pub(super) fn release(&mut self, index: u32) {
        if !self[index].is_available && self.can_start(index) {
            self[index].is_available = true;
            self.available.push_back(index);
        }
    }

    /// Sets or clears the back-off during which no request starts.
    pub(super) fn set_backing_off(&mut self, index: u32, is_backing_off: bool) {
        self[index].is_backing_off = is_backing_off;
        self.update_availability(index);
    }

    /// Adds the connection to the available ones, or removes it. The linear search is rare: it
    /// happens when a connection ends.
    pub(super) fn update_availability(&mut self, index: u32) {
        if self[index].is_available && !self.can_start(index) {
            self.available.retain(|&it| it != index);
            self[index].is_available = false;
        } else {
            self.release(index);
        }
    }

    /// Returns the oldest request in flight.
    pub(super) fn oldest(&self, index: u32) -> Option<StartedRequest> {
        let PersistentConnection { in_flight, head, .. } = self[index];
        (in_flight > 0).then(|| self.started[index as usize * self.depth + head])
    }

    /// Returns the index in the list of the oldest request in flight, or 0.
    pub(super) fn oldest_entry(&self, index: u32) -> u32 {
        self.oldest(index).map_or(0, |started| started.entry)
    }

    /// Returns the index in the list of the `nth` unsent request.
    pub(super) fn unsent_entry(&self, index: u32, nth: usize) -> u32 {
        let PersistentConnection { in_flight, unsent, head, .. } = self[index];
        let position = (head + in_flight - unsent + nth) % self.depth;
        self.started[index as usize * self.depth + position].entry
    }

    /// Ends the oldest request in flight.
    pub(super) fn finish_oldest(&mut self, index: u32) -> StartedRequest {
        let start = self.oldest(index).expect("a request that ends is in flight");
        let depth = self.depth;
        let connection = &mut self[index];
        connection.head = (connection.head + 1) % depth;
        connection.in_flight -= 1;
        connection.unsent = connection.unsent.min(connection.in_flight);
        connection.body_trigger = None;
        self.in_flight -= 1;
        start
    }
}

impl std::ops::Index<u32> for PersistentConnections {
    type Output = PersistentConnection;

    fn index(&self, index: u32) -> &PersistentConnection {
        &self.connections[index as usize]
    }
}

impl std::ops::IndexMut<u32> for PersistentConnections {
    fn index_mut(&mut self, index: u32) -> &mut PersistentConnection {
        &mut self.connections[index as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(due_ns: u64) -> StartedRequest {
        StartedRequest { due_ns, started_ns: due_ns + 1, entry: 0 }
    }

    /// Returns the connections to flush, each one once.
    fn to_flush(connections: &mut PersistentConnections) -> Vec<u32> {
        let mut indices: Vec<u32> = std::iter::from_fn(|| connections.next_to_flush()).collect();
        indices.sort_unstable();
        indices
    }

    #[test]
    fn requests_started_together_share_a_connection_and_end_in_order() {
        let mut connections = PersistentConnections::new(2, Lifetime::Persistent { depth: 3 }, 0);
        (0..5).for_each(|due_ns| connections.start_request(start(due_ns)));
        assert_eq!((connections.in_flight(), connections.available_count()), (5, 1));
        assert_eq!(to_flush(&mut connections), [0, 1]);
        assert_eq!((connections[0].unsent_requests(), connections[1].unsent_requests()), (3, 2));
        assert!((0..3).all(|due_ns| connections.finish_oldest(0) == start(due_ns)));
        assert_eq!(
            (connections.finish_oldest(1), connections.oldest(1)),
            (start(3), Some(start(4)))
        );
        assert_eq!((connections.oldest(0), connections.in_flight()), (None, 1));
    }

    #[test]
    fn requests_at_a_rate_use_all_connections_in_turn() {
        let mut connections = PersistentConnections::new(3, Lifetime::Persistent { depth: 2 }, 0);
        let mut used = Vec::new();
        for due_ns in 0..6 {
            connections.start_request(start(due_ns));
            used.extend(to_flush(&mut connections));
        }
        assert_eq!(used, [0, 1, 2, 0, 1, 2]);
        assert_eq!(connections.available_count(), 0);
    }

    #[test]
    fn no_request_starts_on_a_connection_that_backs_off_or_closes() {
        let mut connections = PersistentConnections::new(2, Lifetime::Persistent { depth: 1 }, 0);
        connections.set_backing_off(0, true);
        connections[1].closing_since_ns = Some(1);
        connections.update_availability(1);
        assert_eq!(connections.available_count(), 0);
        connections.set_backing_off(0, false);
        assert!(connections[1].take_socket().is_none());
        connections.update_availability(1);
        assert_eq!(connections.available_count(), 2);
    }

    #[test]
    fn connection_carries_exactly_its_planned_number_of_requests() {
        let mut connections = PersistentConnections::new(1, Lifetime::Mixed { seed: 3 }, 0);
        let file = || std::fs::File::open("/dev/null").unwrap().into();
        for _ in 0..20 {
            let mut carried = 0;
            while connections.available_count() > 0 {
                connections.start_request(start(0));
                connections[0].socket.get_or_insert_with(file);
                connections.finish_oldest(0);
                carried += 1;
                connections.release(0);
            }
            assert!(carried == 1 || carried == 16, "{carried}");
            assert!(connections[0].is_last_request());
            drop(connections[0].take_socket());
            connections.update_availability(0);
        }
    }
}
