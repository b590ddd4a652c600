//! The seam between an application protocol and the engines: bytes in, bytes out, no I/O.

use crate::output::Output;

/// The step that a connection needs next.
#[must_use = "a connection whose next step is not started hangs"]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Receive from the peer.
    Recv,
    /// Send the pending output; without any, receive.
    Send,
    /// Shut down the send side, so that the peer sees the end of the stream.
    Shutdown,
    /// Close the descriptor and free the slot.
    Close,
}

/// The input that a connection awaits while it has nothing to send. It selects the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Awaits {
    /// More of a stream without messages: [`crate::DeadlineLengths::idle`], which each receive
    /// restarts. The peer may end its stream at any time.
    Bytes,
    /// The first byte of the first message: [`crate::DeadlineLengths::idle`].
    FirstMessage,
    /// The first byte of a further message: [`crate::DeadlineLengths::keep_alive`]. The peer may
    /// end its stream.
    NextMessage,
    /// The end of a message's head: [`crate::DeadlineLengths::request_head`].
    Head,
    /// The end of a message: [`crate::DeadlineLengths::request_body`].
    Body,
}

/// An application protocol, the same for every engine: it gets received bytes, appends output, and
/// returns the step that follows. It has no descriptor, no clock and no engine.
///
/// One value serves all connections of a worker on one thread, so state that they share needs no
/// lock. Pending output is always sent first: after [`Next::Recv`] or [`Next::Send`] the connection
/// sends and then receives, after [`Next::Shutdown`] it sends and ends its stream, and only
/// [`Next::Close`] discards output, except at a stop ([`Protocol::on_stop`]). While output is
/// pending no engine starts a receive, so a peer that does not read is not read from; bytes that
/// were received before are still passed on.
///
/// ```
/// use ringpoll_backends::{Next, Output, Protocol};
///
/// /// Sends every byte back.
/// struct Echo;
///
/// impl Protocol for Echo {
///     type Connection = ();
///
///     fn on_open(&mut self, _output: &mut Output) {}
///
///     fn on_recv(&mut self, _: &mut (), bytes: &[u8], output: &mut Output) -> Next {
///         output.push_copy(bytes);
///         Next::Recv
///     }
/// }
///
/// let mut output = Output::default();
/// assert_eq!(Echo.on_recv(&mut (), b"hello", &mut output), Next::Recv);
/// assert_eq!(output.to_vec(), b"hello");
/// ```
pub trait Protocol {
    /// The protocol's state of one connection.
    type Connection;

    /// True if a connection is one request and one response. The tuned engines then submit single
    /// receives, and a connection is closed, not ended gracefully, when its lifetime has passed.
    const IS_ONE_EXCHANGE: bool = false;

    /// Handles a new connection. Output appended here is sent before the first receive.
    fn on_open(&mut self, output: &mut Output) -> Self::Connection;

    /// Handles received bytes, of which there is at least one; a stream may be split anywhere.
    /// Never called after it has returned [`Next::Shutdown`] or [`Next::Close`].
    fn on_recv(
        &mut self,
        connection: &mut Self::Connection,
        bytes: &[u8],
        output: &mut Output,
    ) -> Next;

    /// Handles that all pending output was sent. It may append more, to generate a stream or to
    /// handle input that it kept until then. Never called after [`Next::Shutdown`].
    fn on_sent(&mut self, connection: &mut Self::Connection, output: &mut Output) -> Next {
        let _ = (connection, output);
        Next::Recv
    }

    /// Handles the end of the peer's stream: nothing more is received, but the peer may still read.
    /// Called once; the connection ends after the pending output, whatever is returned.
    /// [`Protocol::on_sent`] may append more before that.
    fn on_end_of_stream(&mut self, connection: &mut Self::Connection, output: &mut Output) -> Next {
        let _ = (connection, output);
        Next::Shutdown
    }

    /// Handles that the connection must end soon: the worker is stopping, or the lifetime of the
    /// connection has passed in the middle of a message. Not called after [`Next::Shutdown`].
    ///
    /// [`Next::Shutdown`] ends the connection after the output that is pending or appended here, in
    /// any state, and so does [`Next::Close`], which discards it only if the connection is accepted
    /// during the stop. (When a lifetime has passed, an end without output waits until it has
    /// passed once more.) With [`Next::Recv`] the worker ends a connection that awaits no message
    /// begun ([`Awaits::Bytes`], [`Awaits::FirstMessage`], [`Awaits::NextMessage`]) after that
    /// output; in the middle of a message it is sent after the next receive, so that the message
    /// can end.
    fn on_stop(&mut self, connection: &mut Self::Connection, output: &mut Output) -> Next {
        let _ = (connection, output);
        Next::Recv
    }

    /// Handles that the connection is closed.
    fn on_close(&mut self, connection: Self::Connection) {
        let _ = connection;
    }

    /// Returns the input that the connection awaits. It is asked after each receive and send; a
    /// deadline that it selects starts when that changes, when output is sent, and when a request
    /// is counted ([`Output::count_request`]).
    fn awaits(&self, connection: &Self::Connection) -> Awaits {
        let _ = connection;
        Awaits::Bytes
    }
}
