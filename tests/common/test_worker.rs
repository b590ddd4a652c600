//! The worker of a test: its options, and a protocol that is chosen at run time.

use std::ops::{Deref, DerefMut};

use ringpoll_backends::protocols::{Chargen, Discard, Echo, Http10, Http11, Responses};
use ringpoll_backends::{
    Awaits, Backend, BackendError, Next, Output, Protocol, Report, WorkerOptions,
};

use super::RESPONSE;

/// A protocol that ships, or one of a test.
#[derive(Clone, Debug)]
pub enum TestProtocol {
    Http10(Http10),
    Http11(Http11),
    Echo(Echo),
    Discard(Discard),
    Chargen(Chargen),
    Functions(Functions),
}

/// A protocol made of functions, to use the seam in ways in which none that ships does.
#[derive(Clone, Copy, Debug)]
pub struct Functions {
    pub on_recv: fn(&[u8], &mut Output) -> Next,
    pub on_end_of_stream: fn(&mut Output) -> Next,
    pub on_stop: fn(&mut Output) -> Next,
    pub awaits: Awaits,
}

impl Default for Functions {
    /// Discards everything.
    fn default() -> Self {
        Self {
            on_recv: |_, _| Next::Recv,
            on_end_of_stream: |_| Next::Shutdown,
            on_stop: |_| Next::Recv,
            awaits: Awaits::Bytes,
        }
    }
}

impl Protocol for Functions {
    type Connection = ();

    fn on_open(&mut self, _output: &mut Output) {}

    fn on_recv(&mut self, (): &mut (), bytes: &[u8], output: &mut Output) -> Next {
        (self.on_recv)(bytes, output)
    }

    fn on_end_of_stream(&mut self, (): &mut (), output: &mut Output) -> Next {
        (self.on_end_of_stream)(output)
    }

    fn on_stop(&mut self, (): &mut (), output: &mut Output) -> Next {
        (self.on_stop)(output)
    }

    fn awaits(&self, (): &()) -> Awaits {
        self.awaits
    }
}

/// Options of a worker, with the protocol that it serves; HTTP/1.0 with [`RESPONSE`] by default.
pub struct TestWorker {
    pub options: WorkerOptions,
    pub protocol: TestProtocol,
}

impl Deref for TestWorker {
    type Target = WorkerOptions;

    fn deref(&self) -> &WorkerOptions {
        &self.options
    }
}

impl DerefMut for TestWorker {
    fn deref_mut(&mut self) -> &mut WorkerOptions {
        &mut self.options
    }
}

impl TestWorker {
    pub fn new(options: WorkerOptions) -> Self {
        Self { options, protocol: TestProtocol::Http10(Http10::new(RESPONSE)) }
    }

    /// Serves HTTP/1.0 with this response.
    pub fn set_response(&mut self, response: Vec<u8>) {
        self.protocol = TestProtocol::Http10(Http10::new(response));
    }

    /// Serves HTTP/1.1 with this response, and returns the protocol for changes.
    pub fn set_keep_alive(&mut self, response: Vec<u8>) -> &mut Http11 {
        let responses = Responses::new(response.into()).expect("a response");
        self.protocol = TestProtocol::Http11(Http11::new(responses));
        let TestProtocol::Http11(http) = &mut self.protocol else { unreachable!("it was set") };
        http
    }

    /// Limits the request head of HTTP.
    pub fn set_request_head_bytes(&mut self, bytes: usize) {
        match &mut self.protocol {
            TestProtocol::Http10(http) => http.request_head_bytes = bytes,
            TestProtocol::Http11(http) => http.request_head_bytes = bytes,
            other => panic!("{other:?} has no request head"),
        }
    }

    pub(super) fn run(self, backend: &mut impl Backend) -> Result<Report, BackendError> {
        let Self { options, protocol } = self;
        match protocol {
            TestProtocol::Http10(http) => backend.run(options, http),
            TestProtocol::Http11(http) => backend.run(options, http),
            TestProtocol::Echo(echo) => backend.run(options, echo),
            TestProtocol::Discard(discard) => backend.run(options, discard),
            TestProtocol::Chargen(chargen) => backend.run(options, chargen),
            TestProtocol::Functions(functions) => backend.run(options, functions),
        }
    }
}
