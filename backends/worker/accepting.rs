//! Accept control: when connections are accepted (backpressure), and errors of accept.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use crate::counters::Counters;
use crate::error::BackendError;
use crate::socket::Listener;

/// Consecutive ECONNABORTED after which accepting pauses, so that they cannot occupy the loop.
const MAX_ABORTED_ACCEPTS: u32 = 64;

pub(super) struct Accepting {
    /// `None` once the stop has emptied the accept queue.
    listener: Option<Listener>,
    is_paused: bool,
    errors_in_a_row: u32,
}

impl Accepting {
    pub(super) fn new(listener: Listener) -> Self {
        Self { listener: Some(listener), is_paused: false, errors_in_a_row: 0 }
    }

    pub(super) fn listener(&self) -> Option<&Listener> {
        self.listener.as_ref()
    }

    /// Returns the listener's descriptor; -1, which every system call refuses, once it is closed.
    pub(super) fn fd(&self) -> RawFd {
        self.listener.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    pub(super) fn is_open(&self) -> bool {
        self.listener.is_some()
    }

    pub(super) fn can_accept(&self) -> bool {
        self.listener.is_some() && !self.is_paused
    }

    pub(super) fn set_nonblocking(&self, nonblocking: bool) -> Result<(), BackendError> {
        let Some(listener) = &self.listener else { return Ok(()) };
        listener
            .set_nonblocking(nonblocking)
            .map_err(|error| BackendError::unexpected("ioctl FIONBIO", error))
    }

    pub(super) fn on_accepted(&mut self) {
        self.errors_in_a_row = 0;
    }

    /// Handles an error of accept. ECONNABORTED concerns one connection, so accepting goes on.
    /// Others, such as EMFILE, concern the process or the machine, and an immediate retry would
    /// spin: accepting pauses until a connection closes, or the tick.
    pub(super) fn on_error(
        &mut self,
        error: &io::Error,
        is_stopping: bool,
        counters: &mut Counters,
    ) {
        match error.raw_os_error().unwrap_or(0) {
            libc::EAGAIN if is_stopping => self.listener = None,
            libc::EAGAIN | libc::EINTR => {}
            libc::ECANCELED if is_stopping => {}
            libc::ECONNABORTED | libc::EPROTO if self.errors_in_a_row < MAX_ABORTED_ACCEPTS => {
                counters.accept_errors += 1;
                self.errors_in_a_row += 1;
            }
            _ => {
                counters.accept_errors += 1;
                self.pause(counters);
            }
        }
    }

    pub(super) fn pause(&mut self, counters: &mut Counters) {
        counters.accept_pauses += u64::from(!self.is_paused);
        self.is_paused = true;
    }

    pub(super) fn resume(&mut self) {
        self.is_paused = false;
    }
}
