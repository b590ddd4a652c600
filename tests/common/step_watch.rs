//! A recorder that a test can look at, wait for, and hold the server's loop with.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use ringpoll_backends::connection::Next;
use ringpoll_backends::slots::ConnectionId;
use ringpoll_backends::{Recorder, Step};

use super::PATIENCE;

/// A step of one connection, and what the connection wanted after it.
pub(crate) type Recorded = (ConnectionId, Step, Option<Next>);

/// Everything that happened on a server in this process. Clones of it look at the same server.
#[derive(Clone, Default)]
pub(crate) struct StepWatch {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    history: Vec<Recorded>,
    received_bytes: usize,
    hold_at: Option<fn(Step) -> bool>,
    is_held: bool,
}

impl StepWatch {
    /// What is given to the worker.
    pub(crate) fn recorder(&self) -> Box<dyn Recorder> {
        Box::new(self.clone())
    }

    /// All steps of all connections so far, in their order.
    pub(crate) fn history(&self) -> Vec<Recorded> {
        self.lock().history.clone()
    }

    /// How many bytes the server has received so far, on all connections together.
    pub(crate) fn received_bytes(&self) -> usize {
        self.lock().received_bytes
    }

    /// Waits until the server has received so many bytes in all.
    pub(crate) fn wait_until_received(&self, bytes: usize) {
        self.wait_until("the server receives what was sent", |it| it.received_bytes >= bytes);
    }

    /// Waits for a step.
    pub(crate) fn wait_until_recorded(&self, step: impl Fn(&Recorded) -> bool) {
        self.wait_until("the step is recorded", |state| state.history.iter().any(&step));
    }

    /// The loop will stand still in the middle of the next step for which `at` holds, and go on
    /// when the guard is dropped.
    pub(crate) fn hold_at(&self, at: fn(Step) -> bool) -> HeldLoop {
        self.lock().hold_at = Some(at);
        HeldLoop { watch: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("nobody panics while looking")
    }

    fn wait_until(&self, what: &str, mut happened: impl FnMut(&State) -> bool) {
        let waited =
            self.shared.changed.wait_timeout_while(self.lock(), PATIENCE, |it| !happened(it));
        let timed_out = waited.expect("nobody panics while looking").1.timed_out();
        assert!(!timed_out, "within {PATIENCE:?} it never happened that {what}");
    }
}

impl Recorder for StepWatch {
    fn record(&mut self, id: ConnectionId, step: Step, next: Option<Next>) {
        let mut state = self.lock();
        state.history.push((id, step, next));
        if let Step::Received(count) = step {
            state.received_bytes += count;
        }
        state.is_held = state.hold_at.is_some_and(|at| at(step));
        self.shared.changed.notify_all();
        // Not for ever: a test that fails meanwhile must be able to stop its server.
        let _ = self.shared.changed.wait_timeout_while(state, PATIENCE, |it| it.is_held);
    }
}

/// A loop that stands still, or will, until this is dropped.
pub(crate) struct HeldLoop {
    watch: StepWatch,
}

impl HeldLoop {
    /// Waits until it does.
    pub(crate) fn wait_until_held(&self) {
        self.watch.wait_until("the loop is held", |state| state.is_held);
    }
}

impl Drop for HeldLoop {
    fn drop(&mut self) {
        let mut state = self.watch.lock();
        (state.hold_at, state.is_held) = (None, false);
        self.watch.shared.changed.notify_all();
    }
}
