//! A peer that never stops sending leaves the others their turn, whatever its connection is at.
//!
//! The loop is held in the middle of a flood until the others' requests lie whole in the kernel.
//! From there on everything is counted: how much the flood may still bring before the last of the
//! others has its answer is bounded by the turns that an answer takes and the bytes of a turn.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringpoll_backends::connection::Next;
use ringpoll_backends::slots::ConnectionId;
use ringpoll_backends::{Closing, Recorder, Step, Variant, Worker};

use crate::client::{
    connect, connect_and_send, is_served, read_to_end, unacknowledged, wait_until_received,
};
use crate::common::{PATIENCE, REQUEST, RESPONSE, wait_until};
use crate::serving::{on_every_variant, serve, stopped};

const FLOODS: usize = 2;
const OTHERS: usize = 8;
const TURN_BYTES: usize = 1024;
/// One accept a turn, then a turn each to receive and to send, and two for what was under way.
const TURNS: usize = OTHERS + 4;

#[test]
fn a_head_without_end_leaves_others_their_turn() {
    on_every_variant(|variant| {
        others_have_their_turn(variant, b"", |worker| {
            worker.limits.request_head_bytes = 1 << 40;
        });
    });
}

#[test]
fn bytes_behind_a_whole_request_leave_others_their_turn() {
    on_every_variant(|variant| others_have_their_turn(variant, REQUEST, |_| {}));
}

#[test]
fn bytes_behind_a_head_too_large_leave_others_their_turn() {
    on_every_variant(|variant| {
        others_have_their_turn(variant, b"", |worker| worker.limits.request_head_bytes = 64);
    });
}

/// Nobody reads what such a peer sends while it does not take its answer. It must not be waited
/// for either: whoever polls it would find it readable for ever.
#[test]
fn a_peer_that_sends_and_takes_nothing_leaves_others_their_turn_and_the_loop_its_sleep() {
    on_every_variant(|variant| {
        let server = serve(variant, |worker| {
            worker.response = vec![b'x'; 64 << 20].into();
        });
        let floods: Vec<_> = (0..FLOODS).map(|_| Flood::start(server.address, REQUEST)).collect();
        for flood in &floods {
            flood.wait_until_stuck();
        }
        let readers: Vec<_> =
            (0..OTHERS).map(|_| connect_and_send(server.address, REQUEST)).collect();
        for reader in &readers {
            let first = reader.peek(&mut [0]).expect("the beginning of an answer");
            assert_eq!(first, 1);
        }
        drop(readers);
        thread::sleep(Duration::from_secs(3));
        for flood in floods {
            flood.end();
        }
        let counters = stopped(server);
        assert_eq!(counters.closed, (FLOODS + OTHERS) as u64);
        // A send for each refilling of the kernel's buffer would be thousands; a spin millions.
        assert!(counters.waits < 1000, "{variant}: {} waits", counters.waits);
    });
}

fn others_have_their_turn(
    variant: Variant,
    beginning: &'static [u8],
    configure: impl FnOnce(&mut Worker),
) {
    let watch = Arc::new(Watch::default());
    let server = serve(variant, |worker| {
        worker.limits.turn_bytes = TURN_BYTES;
        worker.limits.receive_buffer_bytes = TURN_BYTES;
        worker.closing = Closing::Lingering { bytes: usize::MAX };
        worker.recorder = Some(Box::new(WatchRecorder(Arc::clone(&watch))));
        configure(worker);
    });
    let floods: Vec<_> = (0..FLOODS).map(|_| Flood::start(server.address, beginning)).collect();
    wait_until("each flood is on its way", || watch.lock().floods() == FLOODS);
    watch.hold_the_loop();
    for flood in &floods {
        flood.wait_until_stuck();
    }
    let others: Vec<_> = (0..OTHERS).map(|_| connect_and_send(server.address, REQUEST)).collect();
    others.iter().for_each(wait_until_received);
    watch.let_the_loop_go();
    for other in others {
        assert_eq!(read_to_end(&other).expect("an answer"), RESPONSE);
    }
    let brought = watch.lock().brought_until_all_answered.expect("all are answered");
    // A turn may go beyond its bytes by less than one more receive.
    let most = TURNS * FLOODS * 2 * TURN_BYTES;
    assert!(brought <= most, "{variant}: the floods brought {brought} bytes, more than {most}");
    for flood in floods {
        flood.end();
    }
    is_served(server.address);
    let counters = stopped(server);
    assert_eq!(counters.closed, counters.accepted);
}

/// A peer that sends for as long as it is let.
struct Flood {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl Flood {
    fn start(address: SocketAddr, beginning: &'static [u8]) -> Self {
        let stream = connect(address);
        let mut sending = stream.try_clone().expect("a descriptor");
        sending.set_write_timeout(None).expect("no length of time");
        let thread = thread::spawn(move || {
            let bytes = [b'x'; 64 * 1024];
            let _ = sending.write_all(beginning);
            while sending.write_all(&bytes).is_ok() {}
        });
        Self { stream, thread }
    }

    /// Waits until the buffers of both sides are full.
    fn wait_until_stuck(&self) {
        let mut before = None;
        wait_until("the flood is stuck", || {
            thread::sleep(Duration::from_millis(50));
            let now = Some(unacknowledged(&self.stream));
            std::mem::replace(&mut before, now) == now && now != Some(0)
        });
    }

    fn end(self) {
        // It may have been reset meanwhile, and then has ended as well.
        let _ = self.stream.shutdown(Shutdown::Both);
        self.thread.join().expect("no panic");
    }
}

/// What the recorder and the test share.
#[derive(Default)]
struct Watch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The loop is to be held at the next bytes of a flood.
    hold: bool,
    is_held: bool,
    received: HashMap<ConnectionId, usize>,
    brought_since_the_hold: usize,
    answered_since_the_hold: usize,
    brought_until_all_answered: Option<usize>,
}

impl State {
    /// How many have sent far more than a request.
    fn floods(&self) -> usize {
        self.received.values().filter(|&&bytes| bytes > 256 * 1024).count()
    }
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    fn hold_the_loop(&self) {
        self.lock().hold = true;
        let is_held = self.changed.wait_timeout_while(self.lock(), PATIENCE, |it| !it.is_held);
        assert!(!is_held.expect("no panic").1.timed_out(), "no flood came any more");
    }

    fn let_the_loop_go(&self) {
        let mut state = self.lock();
        (state.hold, state.brought_since_the_hold, state.answered_since_the_hold) = (false, 0, 0);
        self.changed.notify_all();
    }
}

struct WatchRecorder(Arc<Watch>);

impl Recorder for WatchRecorder {
    fn record(&mut self, id: ConnectionId, step: Step, _next: Option<Next>) {
        let mut state = self.0.lock();
        let bytes = state.received.entry(id).or_default();
        match step {
            Step::Received(count) => {
                *bytes += count;
                if *bytes > REQUEST.len() {
                    state.brought_since_the_hold += count;
                    self.hold_here(state);
                }
            }
            Step::Sent(_) if *bytes == REQUEST.len() => {
                state.answered_since_the_hold += 1;
                if state.answered_since_the_hold == OTHERS {
                    state.brought_until_all_answered = Some(state.brought_since_the_hold);
                }
            }
            Step::Closed => drop(state.received.remove(&id)),
            _ => {}
        }
    }
}

impl WatchRecorder {
    fn hold_here(&self, mut state: MutexGuard<'_, State>) {
        state.is_held = state.hold;
        self.0.changed.notify_all();
        let released = self.0.changed.wait_timeout_while(state, PATIENCE, |it| it.hold);
        assert!(!released.expect("no panic").1.timed_out(), "nobody let the loop go");
    }
}
