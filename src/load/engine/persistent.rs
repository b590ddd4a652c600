//! The steps of connections that persist.
//!
//! Each is registered once, for everything and with edges. What has been begun on it leaves in one
//! send, what has come is taken in one receive, however many requests and answers that is.

use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::super::answer::Mismatch;
use super::super::answers::Taken;
use super::super::failures::Failure;
use super::super::kept::Kept;
use super::super::lanes::{Begun, Lanes};
use super::super::outcome::Times;
use super::super::pacing::Pace;
use super::super::sockets::{self, failed};
use super::{Engine, Later, REST_NS};

impl Engine<'_> {
    fn lanes(&mut self) -> &mut Lanes {
        self.lanes.as_mut().expect("connections persist")
    }

    /// Begins a request. It is sent with all others that begin now.
    pub(super) fn begin_on_lane(&mut self, due_ns: u64, begun_ns: u64) {
        self.lanes().begin(Begun { due_ns, begun_ns });
        self.tally.begun += 1;
        self.tally.most_under_way = self.tally.most_under_way.max(self.under_way());
    }

    /// Sends what has been begun.
    pub(super) fn send_begun(&mut self) {
        while let Some(index) = self.lanes.as_mut().and_then(Lanes::next_touched) {
            self.flush(index);
        }
    }

    pub(super) fn on_lane_event(&mut self, index: u32, flags: EventFlags) {
        if self.lanes()[index].socket.is_none() {
            // It has ended in this very batch.
            return;
        }
        if flags.intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR)
        {
            self.receive_answers(index, flags);
        }
        if flags.contains(EventFlags::OUT) && self.lanes()[index].socket.is_some() {
            self.flush(index);
        }
    }

    fn flush(&mut self, index: u32) {
        if self.lanes()[index].unsent() == 0 {
            return;
        }
        if self.lanes()[index].socket.is_none()
            && let Err(failure) = self.open(index)
        {
            return self.fail_lane(index, failure);
        }
        let Self { lanes: Some(lanes), tally, batch, plan, .. } = self else { return };
        let lane = &mut lanes[index];
        while lane.unsent() > 0 {
            let one = if lane.is_last_request() {
                plan.request.closing().expect("a plan is checked")
            } else {
                plan.request.bytes()
            };
            let all =
                if lane.is_last_request() { one } else { &batch[..lane.unsent() * one.len()] };
            let socket = lane.socket.as_ref().expect("it is open");
            match rustix::net::send(socket, &all[lane.sent_bytes..], SendFlags::NOSIGNAL) {
                Ok(count) => {
                    tally.bytes_sent += count as u64;
                    let sent = lane.sent_bytes + count;
                    lane.sent(sent / one.len(), sent % one.len());
                }
                Err(Errno::AGAIN) => return,
                Err(errno) => return self.lane_broke(index, "send", errno),
            }
        }
    }

    /// Takes a connection that is left from before, or opens another.
    fn open(&mut self, index: u32) -> Result<(), Failure> {
        let kept = self.kept.take();
        let is_kept = kept.is_some();
        let socket = match kept {
            Some(Kept { socket, left }) => {
                self.lanes().goes_on(index, left);
                socket
            }
            None => {
                let socket = sockets::open_and_connect(self.plan.target, &mut self.sources)?;
                sockets::send_at_once(&socket)?;
                self.tally.connections_opened += 1;
                socket
            }
        };
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, &socket, EventData::new_u64(index.into()), flags)
            .map_err(failed("epoll_ctl"))?;
        let lane = &mut self.lanes()[index];
        lane.socket = Some(socket);
        // One that is kept has been answered on.
        lane.answered = u64::from(is_kept);
        Ok(())
    }

    /// Receives until the stream ends or nothing more has come.
    fn receive_answers(&mut self, index: u32, flags: EventFlags) {
        // The event may be that of a connection which this lane had earlier in the same batch, so
        // the end is believed when a receive says it.
        let may_have_more = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        loop {
            let Self { lanes: Some(lanes), buffer, .. } = self else { return };
            let Some(socket) = &lanes[index].socket else { return };
            let received = rustix::net::recv(socket, &mut buffer[..], RecvFlags::empty());
            match received {
                Ok((_, 0)) => return self.stream_ended(index),
                Ok((_, count)) => {
                    self.tally.bytes_received += count as u64;
                    if let Err(mismatch) = self.take_answers(index, count) {
                        return self.fail_lane(index, Failure::WrongBytes(mismatch));
                    }
                    if count < self.buffer.len() && !may_have_more {
                        return;
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(errno) => return self.lane_broke(index, "recv", errno),
            }
        }
    }

    /// Holds what is in the buffer against what must come.
    fn take_answers(&mut self, index: u32, count: usize) -> Result<(), Mismatch> {
        let Self { lanes: Some(lanes), tally, buffer, reference, woken_ns, .. } = self else {
            return Ok(());
        };
        let mut bytes = &buffer[..count];
        while let Some(&found) = bytes.first() {
            let lane = &mut lanes[index];
            if !lane.is_asked() || lane.ending_since_ns.is_some() {
                return Err(Mismatch { at: 0, expected: None, found });
            }
            match lane.answers.take(reference, bytes)? {
                Taken::Part => return Ok(()),
                Taken::Whole { count, is_last } => {
                    bytes = &bytes[count..];
                    lane.answered += 1;
                    let is_last = is_last || (lane.is_last_request() && lane.under_way() == 1);
                    lane.ending_since_ns = is_last.then_some(*woken_ns);
                    let Begun { due_ns, begun_ns } = lanes.end(index);
                    tally.complete(Times { due_ns, begun_ns, ended_ns: *woken_ns });
                    if is_last {
                        lanes.look_again(index);
                    } else {
                        lanes.free(index);
                    }
                }
            }
        }
        Ok(())
    }

    /// The peer ended its stream. Between two answers it may: what it has not answered is asked
    /// again.
    fn stream_ended(&mut self, index: u32) {
        let lane = &self.lanes()[index];
        let matched = lane.answers.matched();
        if matched > 0 || (lane.under_way() > 0 && lane.answered == 0) {
            let length = self.reference.bytes().len();
            return self.fail_lane(index, Failure::EarlyEnd { matched, length });
        }
        // One that we have asked to end is no surprise.
        self.tally.connections_ended += u64::from(!lane.is_last_request());
        self.close_lane(index, drop);
        self.go_on_with(index);
    }

    /// The connection cannot be used any more, because of a reset or of something else.
    fn lane_broke(&mut self, index: u32, operation: &'static str, errno: Errno) {
        let lane = &self.lanes()[index];
        // EPIPE: the peer had ended its stream before. And behind an end that it has announced, a
        // reset destroys nothing.
        if errno == Errno::PIPE || (errno == Errno::CONNRESET && lane.ending_since_ns.is_some()) {
            return self.stream_ended(index);
        }
        self.fail_lane(index, failed(operation)(errno));
    }

    fn close_lane(&mut self, index: u32, close: impl FnOnce(OwnedFd)) {
        if let Some(socket) = self.lanes()[index].ended() {
            close(socket);
        }
    }

    /// Asks again what is still to be answered, or lets other requests begin.
    fn go_on_with(&mut self, index: u32) {
        self.lanes().look_again(index);
        self.flush(index);
    }

    /// Ends the request whose answer is at hand, and its connection with a reset. What has been
    /// asked behind it will be asked again.
    fn fail_lane(&mut self, index: u32, failure: Failure) {
        self.tally.failures.count(failure);
        if self.lanes()[index].under_way() > 0 {
            self.lanes().end(index);
        }
        self.close_lane(index, sockets::reset);
        self.lanes().rest(index, true);
        let rest_ns = if matches!(self.plan.pace, Pace::Rate(_)) { 0 } else { REST_NS };
        let at_ns = self.clock.now_ns() + rest_ns;
        self.resting.push_back(Later { at_ns, index, life: 0 });
    }

    pub(super) fn end_rest_of_lane(&mut self, index: u32) {
        self.lanes().rest(index, false);
        self.flush(index);
    }

    /// Looks for those that take too long: to answer, or to end what they said would end.
    pub(super) fn sweep_lanes(&mut self, timeout_ns: u64) {
        let now_ns = self.woken_ns;
        let is_late = |since_ns: u64| now_ns.saturating_sub(since_ns) > timeout_ns;
        for index in 0..self.lanes().count() {
            let oldest = self.lanes().oldest(index).map(|begun| begun.begun_ns);
            let ending = self.lanes()[index].ending_since_ns;
            if oldest.is_some_and(is_late) {
                self.expire_lane(index);
            } else if oldest.is_none() && ending.is_some_and(is_late) {
                self.close_lane(index, sockets::reset);
                self.go_on_with(index);
            }
        }
    }

    /// All that is under way there has waited for too long.
    fn expire_lane(&mut self, index: u32) {
        let matched = self.lanes()[index].answers.matched();
        while self.lanes()[index].under_way() > 1 {
            self.lanes().end(index);
            self.tally.failures.count(Failure::Timeout { matched: 0 });
        }
        self.fail_lane(index, Failure::Timeout { matched });
    }

    /// Ends what is still under way with resets, and keeps the other connections for the next run,
    /// unless they have carried all that they were to carry.
    pub(super) fn give_lanes_up(&mut self) {
        self.tally.unfinished = self.lanes().under_way() as u64;
        for index in 0..self.lanes().count() {
            let lane = &self.lanes()[index];
            let is_over = lane.ending_since_ns.is_some() || lane.is_last_request();
            match (lane.under_way(), is_over) {
                (0, false) => {
                    let left = lane.left();
                    if let Some(socket) = self.lanes()[index].ended() {
                        self.kept.put(Kept { socket, left });
                    }
                }
                (0, true) => self.close_lane(index, drop),
                _ => self.close_lane(index, sockets::reset),
            }
        }
    }
}
