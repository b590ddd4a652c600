//! A peer that sends without end does not starve other connections, in any state of its connection.
//!
//! The event loop is paused during a flood until the kernel has received the requests of the other
//! clients. From then on, the bytes that the loop reads from the flood before it sends the last
//! response are bounded: loop iterations per response × read budget per iteration.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ringpoll_backends::{Closing, ConnectionId, LifecycleEvent, Next, Recorder, Variant};

use crate::client::{
    check_served, connect, connect_and_send, read_to_end, unacknowledged_bytes,
    wait_until_acknowledged,
};
use crate::servers::{for_each_variant, serve, stop_and_count};
use common::{EVENT_TIMEOUT, REQUEST, RESPONSE, TestWorker, wait_until};

tests![
    endless_head_does_not_starve_others,
    endless_trailing_bytes_do_not_starve_others,
    bytes_after_oversized_head_do_not_starve_others,
    sender_that_never_reads_does_not_starve_others_or_spin,
];

const FLOODS: usize = 2;
const OTHERS: usize = 8;
const READ_BUDGET_BYTES: usize = 1024;
/// One accept per iteration, one iteration each to receive and to send, and two for operations in
/// flight.
const MAX_ITERATIONS: usize = OTHERS + 4;

fn endless_head_does_not_starve_others() {
    for_each_variant(|variant| {
        check_others_are_served(variant, b"", |worker| {
            worker.set_request_head_bytes(1 << 40);
        });
    });
}

fn endless_trailing_bytes_do_not_starve_others() {
    for_each_variant(|variant| check_others_are_served(variant, REQUEST, |_| {}));
}

fn bytes_after_oversized_head_do_not_starve_others() {
    for_each_variant(|variant| {
        check_others_are_served(variant, b"", |worker| worker.set_request_head_bytes(64));
    });
}

/// The server does not receive while the response is pending, and must not wait for readability
/// either: the connection is always readable, so the loop would spin.
fn sender_that_never_reads_does_not_starve_others_or_spin() {
    for_each_variant(|variant| {
        let server = serve(variant, |worker| {
            worker.set_response(vec![b'x'; 64 << 20]);
        });
        let floods: Vec<_> = (0..FLOODS).map(|_| Flood::start(server.address, REQUEST)).collect();
        for flood in &floods {
            flood.wait_until_blocked();
        }
        let readers: Vec<_> =
            (0..OTHERS).map(|_| connect_and_send(server.address, REQUEST)).collect();
        for reader in &readers {
            let first = reader.peek(&mut [0]).expect("the start of a response");
            assert_eq!(first, 1);
        }
        drop(readers);
        thread::sleep(Duration::from_secs(3));
        for flood in floods {
            flood.stop();
        }
        let counters = stop_and_count(server);
        assert_eq!(counters.closed, (FLOODS + OTHERS) as u64);
        // A spin would make millions of waits.
        assert!(counters.waits < 1000, "{variant}: {} waits", counters.waits);
    });
}

fn check_others_are_served(
    variant: Variant,
    start: &'static [u8],
    configure: impl FnOnce(&mut TestWorker),
) {
    let watch = Arc::new(FloodWatch::default());
    let server = serve(variant, |worker| {
        worker.limits.read_budget_bytes = READ_BUDGET_BYTES;
        worker.limits.receive_buffer_bytes = READ_BUDGET_BYTES;
        worker.closing = Closing::Lingering { bytes: usize::MAX };
        worker.recorder = Some(Box::new(FloodRecorder(Arc::clone(&watch))));
        configure(worker);
    });
    let floods: Vec<_> = (0..FLOODS).map(|_| Flood::start(server.address, start)).collect();
    wait_until("each flood is received", || watch.lock().floods() == FLOODS);
    watch.pause_loop();
    for flood in &floods {
        flood.wait_until_blocked();
    }
    let others: Vec<_> = (0..OTHERS).map(|_| connect_and_send(server.address, REQUEST)).collect();
    others.iter().for_each(wait_until_acknowledged);
    watch.resume_loop();
    for other in others {
        assert_eq!(read_to_end(&other).expect("a response"), RESPONSE);
    }
    let flood_bytes = watch.lock().flood_bytes_until_last_response.expect("all responses are sent");
    // An iteration can exceed its budget by less than one more receive.
    let max = MAX_ITERATIONS * FLOODS * 2 * READ_BUDGET_BYTES;
    assert!(flood_bytes <= max, "{variant}: {flood_bytes} bytes of the floods read, at most {max}");
    for flood in floods {
        flood.stop();
    }
    check_served(server.address);
    let counters = stop_and_count(server);
    assert_eq!(counters.closed, counters.accepted);
}

/// A peer that sends until its connection is closed.
struct Flood {
    stream: TcpStream,
    thread: JoinHandle<()>,
}

impl Flood {
    fn start(address: SocketAddr, start: &'static [u8]) -> Self {
        let stream = connect(address);
        let mut sending = stream.try_clone().expect("a descriptor");
        sending.set_write_timeout(None).expect("no timeout");
        let thread = thread::spawn(move || {
            let bytes = [b'x'; 64 * 1024];
            let _ = sending.write_all(start);
            while sending.write_all(&bytes).is_ok() {}
        });
        Self { stream, thread }
    }

    /// Waits until the buffers of both sides are full and the flood blocks.
    fn wait_until_blocked(&self) {
        let mut before = None;
        wait_until("the flood blocks", || {
            thread::sleep(Duration::from_millis(50));
            let now = Some(unacknowledged_bytes(&self.stream));
            std::mem::replace(&mut before, now) == now && now != Some(0)
        });
    }

    fn stop(self) {
        // A reset has ended the flood already.
        let _ = self.stream.shutdown(Shutdown::Both);
        self.thread.join().expect("no panic");
    }
}

/// State shared by the recorder and the test.
#[derive(Default)]
struct FloodWatch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Pause the loop at the next bytes of a flood.
    should_pause: bool,
    is_paused: bool,
    received: HashMap<ConnectionId, usize>,
    flood_bytes_since_pause: usize,
    responses_since_pause: usize,
    flood_bytes_until_last_response: Option<usize>,
}

impl State {
    /// Counts the connections that have sent far more than a request.
    fn floods(&self) -> usize {
        self.received.values().filter(|&&bytes| bytes > 256 * 1024).count()
    }
}

impl FloodWatch {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic")
    }

    fn pause_loop(&self) {
        self.lock().should_pause = true;
        let waited =
            self.changed.wait_timeout_while(self.lock(), EVENT_TIMEOUT, |it| !it.is_paused);
        assert!(!waited.expect("no panic").1.timed_out(), "the floods sent no more bytes");
    }

    fn resume_loop(&self) {
        let mut state = self.lock();
        (state.should_pause, state.flood_bytes_since_pause, state.responses_since_pause) =
            (false, 0, 0);
        self.changed.notify_all();
    }
}

struct FloodRecorder(Arc<FloodWatch>);

impl Recorder for FloodRecorder {
    fn record(&mut self, id: ConnectionId, event: LifecycleEvent, _next: Option<Next>) {
        let mut state = self.0.lock();
        let bytes = state.received.entry(id).or_default();
        match event {
            LifecycleEvent::Received(count) => {
                *bytes += count;
                if *bytes > REQUEST.len() {
                    state.flood_bytes_since_pause += count;
                    self.pause_here(state);
                }
            }
            LifecycleEvent::Sent(_) if *bytes == REQUEST.len() => {
                state.responses_since_pause += 1;
                if state.responses_since_pause == OTHERS {
                    state.flood_bytes_until_last_response = Some(state.flood_bytes_since_pause);
                }
            }
            LifecycleEvent::Closed => drop(state.received.remove(&id)),
            _ => {}
        }
    }
}

impl FloodRecorder {
    fn pause_here(&self, mut state: MutexGuard<'_, State>) {
        state.is_paused = state.should_pause;
        self.0.changed.notify_all();
        let released =
            self.0.changed.wait_timeout_while(state, EVENT_TIMEOUT, |it| it.should_pause);
        assert!(!released.expect("no panic").1.timed_out(), "the loop was not resumed");
    }
}
