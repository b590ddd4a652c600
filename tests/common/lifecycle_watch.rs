//! A recorder that lets a test read lifecycle events, wait for them, and pause the event loop.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use ringpoll_backends::{ConnectionId, LifecycleEvent, Next, Recorder};

use super::EVENT_TIMEOUT;

/// An event of one connection, and the next operation that the connection requested.
pub type RecordedEvent = (ConnectionId, LifecycleEvent, Option<Next>);

/// Lifecycle events of one server in this process. Clones share the same events.
#[derive(Clone, Default)]
pub struct LifecycleWatch {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    history: Vec<RecordedEvent>,
    received_bytes: usize,
    pause_at: Option<fn(LifecycleEvent) -> bool>,
    is_paused: bool,
}

impl LifecycleWatch {
    /// Returns the recorder to install in the worker.
    pub fn recorder(&self) -> Box<dyn Recorder> {
        Box::new(self.clone())
    }

    /// Returns the events of all connections so far, in order.
    pub fn history(&self) -> Vec<RecordedEvent> {
        self.lock().history.clone()
    }

    /// Returns the bytes received so far on all connections together.
    pub fn received_bytes(&self) -> usize {
        self.lock().received_bytes
    }

    /// Waits until the server has received `bytes` in total.
    pub fn wait_until_received(&self, bytes: usize) {
        self.wait_until("the server receives the bytes", |it| it.received_bytes >= bytes);
    }

    /// Waits for an event that `matches`.
    pub fn wait_until_recorded(&self, matches: impl Fn(&RecordedEvent) -> bool) {
        self.wait_until("the event is recorded", |state| state.history.iter().any(&matches));
    }

    /// Pauses the event loop inside the next event for which `at` returns true, until the guard is
    /// dropped.
    pub fn pause_at(&self, at: fn(LifecycleEvent) -> bool) -> PausedLoop {
        self.lock().pause_at = Some(at);
        PausedLoop { watch: self.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("no panic while the lock is held")
    }

    fn wait_until(&self, event: &str, mut happened: impl FnMut(&State) -> bool) {
        let waited =
            self.shared.changed.wait_timeout_while(self.lock(), EVENT_TIMEOUT, |it| !happened(it));
        let timed_out = waited.expect("no panic while the lock is held").1.timed_out();
        assert!(!timed_out, "timed out after {EVENT_TIMEOUT:?}: {event}");
    }
}

impl Recorder for LifecycleWatch {
    fn record(&mut self, id: ConnectionId, event: LifecycleEvent, next: Option<Next>) {
        let mut state = self.lock();
        state.history.push((id, event, next));
        if let LifecycleEvent::Received(count) = event {
            state.received_bytes += count;
        }
        state.is_paused = state.pause_at.is_some_and(|at| at(event));
        self.shared.changed.notify_all();
        // The timeout lets a test that fails meanwhile stop its server.
        let _ = self.shared.changed.wait_timeout_while(state, EVENT_TIMEOUT, |it| it.is_paused);
    }
}

/// Guard of a pause: dropping it resumes the event loop.
pub struct PausedLoop {
    watch: LifecycleWatch,
}

impl PausedLoop {
    /// Waits until the event loop is paused.
    pub fn wait_until_paused(&self) {
        self.watch.wait_until("the event loop is paused", |state| state.is_paused);
    }
}

impl Drop for PausedLoop {
    fn drop(&mut self) {
        let mut state = self.watch.lock();
        (state.pause_at, state.is_paused) = (None, false);
        self.watch.shared.changed.notify_all();
    }
}
