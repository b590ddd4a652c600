//! One connection's steps: what its exchange asks for, done with system calls.

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::super::exchange::Next;
use super::super::failures::Failure;
use super::super::outcome::Times;
use super::super::pacing::Pace;
use super::super::slots::Awaits;
use super::super::sockets::{self, failed};
use super::{Engine, FITS_INTO_WINDOW_BYTES, Later, REST_NS};

impl Engine<'_> {
    /// Begins a request in a free place.
    pub(super) fn begin(&mut self, due_ns: u64, begun_ns: u64) {
        let index = self.slots.take(due_ns, begun_ns).expect("the schedule knows what is free");
        self.tally.begun += 1;
        self.tally.most_under_way = self.tally.most_under_way.max(self.slots.under_way());
        match self.connect(index) {
            Err(failure) => self.fail(index, failure),
            // All of a burst connect before the first one asks.
            Ok(()) if self.plan.burst.is_some() => self.wait_until(index, Awaits::Writable),
            Ok(()) => self.go_on(index),
        }
    }

    fn connect(&mut self, index: u32) -> Result<(), Failure> {
        let slot = &mut self.slots[index];
        if let Some(socket) = slot.socket.take_if(|socket| sockets::make_new(socket).is_err()) {
            drop(socket);
        }
        if let Some(socket) = &slot.socket {
            match sockets::connect(socket, self.plan.target) {
                // One that was bound to an address whose ports are used up may not be to another.
                Err(Failure::SystemCall { errno: Errno::ADDRNOTAVAIL, .. }) => slot.socket = None,
                result => return result,
            }
        }
        let socket = sockets::open_and_connect(self.plan.target, &mut self.sources)?;
        if self.plan.request.fragments() > 1 {
            sockets::send_at_once(&socket)?;
        }
        slot.socket = Some(socket);
        slot.registered = None;
        Ok(())
    }

    /// Sends what is to be sent now.
    pub(super) fn go_on(&mut self, index: u32) {
        let next = self.slots[index].exchange.ready(&self.plan.request);
        self.advance(index, next);
    }

    pub(super) fn on_event(&mut self, index: u32, flags: EventFlags) {
        match self.slots[index].awaits {
            // A socket that is kept says that it is not connected.
            Awaits::Nothing => {}
            Awaits::Writable
                if flags.intersects(EventFlags::OUT | EventFlags::ERR | EventFlags::HUP) =>
            {
                self.go_on(index);
            }
            Awaits::Writable => {}
            Awaits::Pause | Awaits::Answer => self.receive(index, flags),
        }
    }

    fn advance(&mut self, index: u32, mut next: Next) {
        loop {
            next = match next {
                Next::Send { from, to } => match self.send(index, from, to) {
                    Ok(next) => next,
                    Err(Errno::AGAIN) => return self.wait_until(index, Awaits::Writable),
                    Err(errno) => return self.fail(index, failed("send")(errno)),
                },
                Next::Pause => {
                    let at_ns = self.clock.now_ns() + self.plan.request.pause().as_nanos() as u64;
                    let life = self.slots[index].life;
                    self.pauses.push_back(Later { at_ns, index, life });
                    return self.wait_until(index, Awaits::Pause);
                }
                Next::Receive => return self.wait_until(index, Awaits::Answer),
                Next::Finish => return self.finish(index),
                Next::Fail(fault) => return self.fail(index, fault.into()),
            }
        }
    }

    fn send(&mut self, index: u32, from: usize, to: usize) -> Result<Next, Errno> {
        let slot = &mut self.slots[index];
        let socket = slot.socket.as_ref().expect("a request under way has a socket");
        let piece = &self.plan.request.bytes()[from..to];
        let count = rustix::net::send(socket, piece, SendFlags::NOSIGNAL)?;
        self.tally.bytes_sent += count as u64;
        Ok(slot.exchange.sent(&self.plan.request, count))
    }

    /// Receives until the stream ends or nothing more has come.
    fn receive(&mut self, index: u32, flags: EventFlags) {
        // What comes up to a FIN is there when the FIN is: a receive that does not fill the buffer
        // has brought the last of it. Behind an error it need not be so. Nor where our side has
        // ended too: that is the last event of the connection that this socket was before, which
        // an event earlier in the same batch has made a new one of.
        let is_whole = flags.contains(EventFlags::RDHUP)
            && !flags.intersects(EventFlags::ERR | EventFlags::HUP);
        loop {
            let slot = &mut self.slots[index];
            let socket = slot.socket.as_ref().expect("a request under way has a socket");
            let received = rustix::net::recv(socket, &mut self.buffer[..], RecvFlags::empty());
            let (next, is_last) = match received {
                Ok((_, 0)) => (Next::Receive, true),
                Ok((_, count)) => {
                    self.tally.bytes_received += count as u64;
                    let next = slot.exchange.received(self.reference, &self.buffer[..count]);
                    (next, is_whole && count < self.buffer.len())
                }
                Err(Errno::AGAIN) => return,
                Err(errno) => return self.fail(index, failed("recv")(errno)),
            };
            if next != Next::Receive {
                return self.advance(index, next);
            }
            if is_last {
                let next = self.slots[index].exchange.ended(&self.plan.request, self.reference);
                return self.advance(index, next);
            }
        }
    }

    /// Lets an event come when that happens.
    fn wait_until(&mut self, index: u32, awaits: Awaits) {
        let slot = &mut self.slots[index];
        slot.awaits = awaits;
        let writable = awaits == Awaits::Writable;
        if slot.registered == Some(writable) {
            return;
        }
        let mut flags = EventFlags::RDHUP | EventFlags::ET;
        flags.set(EventFlags::OUT, writable);
        flags.set(EventFlags::IN, self.reference.bytes().len() > FITS_INTO_WINDOW_BYTES);
        let socket = slot.socket.as_ref().expect("a request under way has a socket");
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
        let slot = &mut self.slots[index];
        let (due_ns, begun_ns) = (slot.due_ns, slot.begun_ns);
        self.tally.complete(Times { due_ns, begun_ns, ended_ns: self.woken_ns });
        let is_kept = self.keeps_sockets
            && slot.socket.as_ref().is_some_and(|socket| sockets::end(socket).is_ok());
        if !is_kept {
            slot.socket = None;
        }
        self.slots.end(index);
        self.slots.free(index);
    }

    /// Ends a request that did not go well, and its connection with a reset.
    fn fail(&mut self, index: u32, failure: Failure) {
        self.tally.failures.count(failure);
        self.slots.end(index);
        if let Some(socket) = self.slots[index].socket.take() {
            sockets::reset(socket);
        }
        if matches!(self.plan.pace, Pace::Rate(_)) {
            self.slots.free(index);
        } else {
            let at_ns = self.clock.now_ns() + REST_NS;
            self.resting.push_back(Later { at_ns, index, life: self.slots[index].life });
        }
    }

    /// Its time is over. A last look at what has come tells what is wrong, if it can be told.
    pub(super) fn expire(&mut self, index: u32) {
        if matches!(self.slots[index].awaits, Awaits::Answer | Awaits::Pause) {
            self.receive(index, EventFlags::empty());
        }
        if self.slots[index].is_under_way() {
            let matched = self.slots[index].exchange.matched();
            self.fail(index, Failure::Timeout { matched });
        }
    }

    /// Ends what is still under way, with resets.
    pub(super) fn abandon_all(&mut self) {
        self.tally.unfinished = self.slots.under_way() as u64;
        for index in 0..self.slots.count() {
            if self.slots[index].is_under_way() {
                self.slots.end(index);
                if let Some(socket) = self.slots[index].socket.take() {
                    sockets::reset(socket);
                }
            }
        }
    }
}
