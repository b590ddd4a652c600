//! Connections that carry one request: performs the actions of an [`Exchange`] as system calls.

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::super::exchange::Next;
use super::super::failures::RequestFailure;
use super::super::message::start_of;
use super::super::outcome::RequestTimes;
use super::super::pacing::Pace;
use super::super::payload::Payload;
use super::super::slots::Awaits;
use super::super::sockets::{self, failed};
use super::{BACKOFF_NS, Deferred, EventLoop, RECEIVE_CHECK_BYTES};

impl<'run> EventLoop<'run> {
    pub(super) fn start_request(&mut self, due_ns: u64, started_ns: u64) {
        let index = self.slots.start(due_ns, started_ns).expect("the schedule checks free_count");
        let start = start_of(self.next_connection_number());
        self.slots[index].exchange.restart(start);
        if self.payloads.list.is_some() {
            self.slots[index].entry = self.draw();
        }
        self.tally.started += 1;
        self.tally.max_in_flight = self.tally.max_in_flight.max(self.slots.in_flight());
        self.tally.connections_opened += 1;
        match self.connect(index) {
            Err(failure) => self.fail(index, failure),
            // All connections of a burst are initiated before the first request is sent.
            Ok(()) if self.plan.burst.is_some() => self.wait_for(index, Awaits::Writable),
            Ok(()) => self.send_next(index),
        }
    }

    fn connect(&mut self, index: u32) -> Result<(), RequestFailure> {
        let slot = &mut self.slots[index];
        if let Some(socket) = slot.socket.take_if(|socket| sockets::disconnect(socket).is_err()) {
            drop(socket);
        }
        if let Some(socket) = &slot.socket {
            match sockets::connect(socket, self.plan.target) {
                // The socket is bound to a source address without free ports. Open another one.
                Err(RequestFailure::SystemCall { errno: Errno::ADDRNOTAVAIL, .. }) => {
                    slot.socket = None;
                }
                result => return result,
            }
        }
        let socket = sockets::open_and_connect(self.plan.target, &mut self.sources)?;
        if self.properties.is_sent_in_parts {
            sockets::set_nodelay(&socket)?;
        }
        slot.socket = Some(socket);
        slot.registered = None;
        Ok(())
    }

    /// The payload of the request in this slot.
    fn payload_of(&self, index: u32) -> Payload<'run> {
        if self.payloads.list.is_none() {
            return self.payload;
        }
        self.payloads.of(self.slots[index].entry)
    }

    /// Sends the next fragment.
    pub(super) fn send_next(&mut self, index: u32) {
        let next = self.slots[index].exchange.next_send(self.payload_of(index));
        self.perform(index, next);
    }

    pub(super) fn on_event(&mut self, index: u32, flags: EventFlags) {
        match self.slots[index].awaits {
            // A disconnected socket that waits for reuse reports EPOLLHUP.
            Awaits::Nothing => {}
            Awaits::Writable => {
                if flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP) {
                    self.send_next(index);
                }
                // A server echoes the first bytes of a long message before it receives the last,
                // and may respond to a long request before its end.
                if self.properties.receives_while_sending
                    && flags.contains(EventFlags::IN)
                    && self.slots[index].is_in_flight()
                {
                    self.receive(index, flags);
                }
            }
            Awaits::Pause | Awaits::Continue | Awaits::Response => self.receive(index, flags),
        }
    }

    fn perform(&mut self, index: u32, mut next: Next) {
        loop {
            next = match next {
                Next::Send { from, to } => match self.send(index, from, to) {
                    Ok(next) => next,
                    Err(Errno::AGAIN) => return self.wait_for(index, Awaits::Writable),
                    Err(errno) => return self.fail(index, failed("send")(errno)),
                },
                Next::Pause => {
                    let at_ns = self.clock.now_ns() + self.plan.request.pause().as_nanos() as u64;
                    let generation = self.slots[index].generation;
                    self.pauses.push_back(Deferred { at_ns, index, generation });
                    return self.wait_for(index, Awaits::Pause);
                }
                Next::AwaitContinue => return self.wait_for(index, Awaits::Continue),
                Next::Receive => return self.wait_for(index, Awaits::Response),
                Next::CloseSend => match self.close_send(index) {
                    Ok(()) => Next::Receive,
                    Err(errno) => return self.fail(index, failed("shutdown")(errno)),
                },
                Next::Finish => return self.finish(index),
                Next::Fail(fault) => return self.fail(index, fault.into()),
            }
        }
    }

    fn send(&mut self, index: u32, from: usize, to: usize) -> Result<Next, Errno> {
        let payload = self.payload_of(index);
        let slot = &mut self.slots[index];
        let socket = slot.socket.as_ref().expect("a request in flight has a socket");
        let piece = payload.piece(slot.exchange.start(), from, to);
        let count = rustix::net::send(socket, piece, SendFlags::NOSIGNAL)?;
        self.tally.bytes_sent += count as u64;
        Ok(slot.exchange.on_sent(payload, count))
    }

    fn close_send(&self, index: u32) -> Result<(), Errno> {
        let socket = self.slots[index].socket.as_ref();
        sockets::shutdown_send(socket.expect("a request in flight has a socket"))
    }

    /// Receives until the end of the stream or EAGAIN.
    fn receive(&mut self, index: u32, flags: EventFlags) {
        // After EPOLLRDHUP alone, all data up to the FIN has arrived, so a receive that does not
        // fill the buffer has read the rest. Not after EPOLLERR; nor after EPOLLHUP, which may be
        // the last event of this socket's previous connection, if an event earlier in the batch
        // started a new one.
        let may_have_more = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let is_whole = flags.contains(EventFlags::RDHUP)
            && !flags.intersects(EventFlags::ERR | EventFlags::HUP);
        let payload = self.payload_of(index);
        let mut unchecked = 0;
        loop {
            if unchecked >= RECEIVE_CHECK_BYTES {
                unchecked = 0;
                let started_ns = self.slots[index].started_ns;
                if self.control.is_stopped() {
                    return;
                } else if self.is_overdue(started_ns) {
                    let matched = self.slots[index].exchange.received();
                    return self.fail(index, RequestFailure::Timeout { matched });
                }
            }
            let slot = &mut self.slots[index];
            let socket = slot.socket.as_ref().expect("a request in flight has a socket");
            let received = rustix::net::recv(socket, &mut self.buffer[..], RecvFlags::empty());
            let (next, is_last) = match received {
                Ok((_, 0)) => (Next::Receive, true),
                Ok((_, count)) => {
                    self.tally.bytes_received += count as u64;
                    unchecked += count;
                    let next = slot.exchange.on_bytes(payload, &self.buffer[..count]);
                    (next, is_whole && count < self.buffer.len())
                }
                Err(Errno::AGAIN) => return,
                Err(errno) => return self.fail(index, failed("recv")(errno)),
            };
            if next != Next::Receive {
                self.perform(index, next);
            }
            let is_over = !matches!(next, Next::Receive | Next::CloseSend | Next::Send { .. });
            if is_over || !self.slots[index].is_in_flight() {
                return;
            }
            // The socket is drained, so later bytes, and the end of the stream, are an event.
            if next == Next::CloseSend && !is_last && !may_have_more {
                return;
            }
            if is_last {
                let next = self.slots[index].exchange.on_end_of_stream(payload);
                return self.perform(index, next);
            }
        }
    }

    /// Registers for the events that `awaits` needs.
    fn wait_for(&mut self, index: u32, awaits: Awaits) {
        let slot = &mut self.slots[index];
        slot.awaits = awaits;
        let writable = awaits == Awaits::Writable;
        if slot.registered == Some(writable) {
            return;
        }
        let mut flags = EventFlags::RDHUP | EventFlags::ET;
        flags.set(EventFlags::OUT, writable);
        flags.set(EventFlags::IN, self.properties.reads_early);
        let socket = slot.socket.as_ref().expect("a request in flight has a socket");
        let data = EventData::new_u64(index.into());
        let result = if slot.registered.is_some() {
            epoll::modify(&self.epoll, socket, data, flags)
        } else {
            epoll::add(&self.epoll, socket, data, flags)
        };
        match result {
            Ok(()) => slot.registered = Some(writable),
            Err(errno) => self.fail(index, failed("epoll_ctl")(errno)),
        }
    }

    fn finish(&mut self, index: u32) {
        let payload = self.payload_of(index);
        let slot = &mut self.slots[index];
        let (due_ns, started_ns) = (slot.due_ns, slot.started_ns);
        self.tally.interim_responses += slot.exchange.interim();
        if payload.expects_continue() {
            self.tally.continues.count(slot.exchange.body_trigger());
        }
        let is_sent = slot.exchange.is_sent(payload);
        self.tally.complete(RequestTimes { due_ns, started_ns, ended_ns: self.woken_ns });
        let is_reusable = self.reuses_sockets
            && is_sent
            && !payload.client_closes()
            && (self.payload.is_messages() || self.close_send(index).is_ok());
        if !is_reusable {
            self.slots[index].socket = None;
        }
        self.slots.finish(index);
        self.slots.release(index);
    }

    /// Counts a failed request and resets its connection.
    fn fail(&mut self, index: u32, failure: RequestFailure) {
        self.tally.failures.count(failure, Some(self.slots[index].entry));
        self.slots.finish(index);
        if let Some(socket) = self.slots[index].socket.take() {
            sockets::close_with_reset(socket);
        }
        if matches!(self.plan.pace, Pace::OpenLoop(_)) {
            self.slots.release(index);
        } else {
            let at_ns = self.clock.now_ns() + BACKOFF_NS;
            self.backing_off.push_back(Deferred {
                at_ns,
                index,
                generation: self.slots[index].generation,
            });
        }
    }

    /// Ends a request that has timed out. Bytes received by now may show another failure.
    pub(super) fn on_timeout(&mut self, index: u32) {
        if matches!(self.slots[index].awaits, Awaits::Response | Awaits::Continue | Awaits::Pause) {
            self.receive(index, EventFlags::empty());
        }
        if self.slots[index].is_in_flight() {
            let exchange = &self.slots[index].exchange;
            let failure = match exchange.undecided_difference() {
                Some(mismatch) => RequestFailure::Response(mismatch.into()),
                None if exchange.is_complete() => RequestFailure::NotClosed,
                None => RequestFailure::Timeout { matched: exchange.received() },
            };
            self.fail(index, failure);
        }
    }

    /// Resets the connections of all requests in flight.
    pub(super) fn abort_in_flight(&mut self) {
        self.tally.unfinished = self.slots.in_flight() as u64;
        for index in 0..self.slots.count() {
            if self.slots[index].is_in_flight() {
                self.slots.finish(index);
                if let Some(socket) = self.slots[index].socket.take() {
                    sockets::close_with_reset(socket);
                }
            }
        }
    }
}
