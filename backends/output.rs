//! The output of a connection: a queue of segments that an engine can hold in flight without a
//! copy.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::ops::Range;
use std::sync::Arc;

/// Capacity in bytes up to which the memory of a sent copy is kept for the next one.
const MAX_SPARE_BYTES: usize = 64 * 1024;

/// The pending output of one connection. A [`crate::Protocol`] appends to it, and the worker sends
/// it in order.
///
/// Bytes are either copied or shared. From submission to completion the kernel reads them where
/// they are, so none of them moves or changes before it is sent.
#[derive(Debug, Default)]
pub struct Output {
    /// Not in the queue, which would allocate: most connections have one segment at a time.
    first: Option<Segment>,
    rest: VecDeque<Segment>,
    pending_bytes: usize,
    /// Bytes of the first segment that the engine has passed to the kernel.
    submitted_bytes: usize,
    /// The memory of a copy that was sent, for the next one.
    spare: Vec<u8>,
    tally: Tally,
}

/// Counts of a protocol since the worker last took them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: u32,
    pub(crate) refused: u32,
    pub(crate) heads_too_large: u32,
}

/// The effect of one send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Messages whose last byte the kernel has accepted.
    pub(crate) messages: u32,
    /// The kernel accepted fewer bytes than were submitted.
    pub(crate) is_short: bool,
}

#[derive(Debug)]
enum Bytes {
    Static(&'static [u8]),
    Shared(Arc<[u8]>),
    Copied(Vec<u8>),
}

#[derive(Debug)]
struct Segment {
    bytes: Bytes,
    /// The range that is not sent yet.
    start: usize,
    end: usize,
    /// Messages that end in the range.
    messages: u32,
    /// Length of each message if the range is equal messages in a row; otherwise 0, and they count
    /// as sent at the end of the range.
    message_bytes: usize,
}

impl Segment {
    fn new(bytes: Bytes, range: Range<usize>) -> Self {
        Self { bytes, start: range.start, end: range.end, messages: 0, message_bytes: 0 }
    }

    fn pending(&self) -> &[u8] {
        let bytes = match &self.bytes {
            Bytes::Static(bytes) => bytes,
            Bytes::Shared(bytes) => &**bytes,
            Bytes::Copied(bytes) => bytes.as_slice(),
        };
        &bytes[self.start..self.end]
    }

    /// Removes `count` sent bytes. Returns the number of messages that this completes.
    fn advance(&mut self, count: usize) -> u32 {
        self.start += count;
        assert!(self.start <= self.end, "more bytes sent than pending");
        let incomplete = if self.start == self.end {
            0
        } else if self.message_bytes > 0 {
            (self.end - self.start).div_ceil(self.message_bytes) as u32
        } else {
            self.messages
        };
        mem::replace(&mut self.messages, incomplete) - incomplete
    }
}

impl Output {
    // ── For protocols ────────────────────────────────────────────────────────────────────────

    /// Appends a copy of `bytes`.
    pub fn push_copy(&mut self, bytes: &[u8]) {
        let is_submitted = self.rest.is_empty() && self.submitted_bytes > 0;
        match self.last() {
            // Its memory may move, which the kernel must not see.
            Some(last) if !is_submitted => {
                if let Bytes::Copied(copy) = &mut last.bytes {
                    // A message may have been taken back.
                    copy.truncate(last.end);
                    copy.extend_from_slice(bytes);
                    last.end += bytes.len();
                    self.pending_bytes += bytes.len();
                    return;
                }
            }
            _ => {}
        }
        let mut copy = mem::take(&mut self.spare);
        copy.extend_from_slice(bytes);
        self.push(Segment::new(Bytes::Copied(copy), 0..bytes.len()));
    }

    /// Appends a range of `bytes` without a copy.
    ///
    /// # Panics
    /// If the range is not within `bytes`.
    pub fn push_shared(&mut self, bytes: &Arc<[u8]>, range: Range<usize>) {
        assert!(range.start <= range.end && range.end <= bytes.len(), "{range:?} out of bounds");
        self.push(Segment::new(Bytes::Shared(Arc::clone(bytes)), range));
    }

    /// Appends constant bytes without a copy.
    pub fn push_static(&mut self, bytes: &'static [u8]) {
        self.push(Segment::new(Bytes::Static(bytes), 0..bytes.len()));
    }

    /// Appends a message of `message_bytes`, of which `repeated` has several in a row within
    /// `range`. Equal messages that are pending in a row are sent together.
    ///
    /// # Panics
    /// If the range is not within `repeated`, or is shorter than a message.
    pub fn push_repeated(
        &mut self,
        repeated: &Arc<[u8]>,
        range: Range<usize>,
        message_bytes: usize,
    ) {
        if let Some(last) = self.last() {
            let is_same = last.message_bytes == message_bytes
                && range.start <= last.start
                && last.end + message_bytes <= range.end
                && matches!(&last.bytes, Bytes::Shared(bytes) if Arc::ptr_eq(bytes, repeated));
            if is_same {
                last.end += message_bytes;
                last.messages += 1;
                self.pending_bytes += message_bytes;
                return;
            }
        }
        let message = range.start..range.start + message_bytes;
        assert!(message.end <= range.end && range.end <= repeated.len(), "out of bounds");
        let bytes = Bytes::Shared(Arc::clone(repeated));
        let segment = Segment { messages: 1, message_bytes, ..Segment::new(bytes, message) };
        self.push(segment);
    }

    /// Ends a message: once everything pending is sent, it counts as a response.
    pub fn end_message(&mut self) {
        if let Some(last) = self.last() {
            last.messages += 1;
            last.message_bytes = 0;
        }
    }

    /// Counts a complete request.
    pub fn count_request(&mut self) {
        self.tally.requests += 1;
    }

    /// Counts a request that is refused with an error response.
    pub fn count_refused(&mut self) {
        self.tally.refused += 1;
    }

    /// Counts a request that is refused since its head is too long.
    pub fn count_head_too_large(&mut self) {
        self.tally.heads_too_large += 1;
    }

    /// Removes the last message, of `bytes`, to append another instead. Returns false if the kernel
    /// may have some of it already.
    pub fn take_back(&mut self, mut bytes: usize) -> bool {
        let in_first = self.first.as_ref().map_or(0, |first| first.end - first.start);
        let can_change =
            self.pending_bytes - in_first + in_first.saturating_sub(self.submitted_bytes);
        if bytes > can_change || self.last().is_none_or(|last| last.messages == 0) {
            return false;
        }
        self.pending_bytes -= bytes;
        if let Some(last) = self.last() {
            last.messages -= 1;
        }
        while bytes > 0 {
            let Some(last) = self.last() else { unreachable!("the bytes are pending") };
            let removed = bytes.min(last.end - last.start);
            last.end -= removed;
            bytes -= removed;
            if last.start == last.end && self.rest.pop_back().is_none() {
                self.first = None;
            }
        }
        true
    }

    /// Returns the number of pending bytes.
    pub fn len(&self) -> usize {
        self.pending_bytes
    }

    /// Returns true if nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Returns a copy of the pending bytes, for tests of a protocol.
    pub fn to_vec(&self) -> Vec<u8> {
        let segments = self.first.iter().chain(&self.rest);
        segments.flat_map(Segment::pending).copied().collect()
    }

    // ── For the worker ───────────────────────────────────────────────────────────────────────

    /// Returns the bytes to send next, as far as they are contiguous, and whether they are all. The
    /// worker passes them to the kernel. There are none if a message was taken back after its send
    /// was wanted.
    pub(crate) fn submit(&mut self) -> (&[u8], bool) {
        let bytes = self.first.as_ref().map_or(&[][..], Segment::pending);
        // The result of a send is an `i32`.
        let bytes = &bytes[..bytes.len().min(i32::MAX as usize)];
        self.submitted_bytes = bytes.len();
        (bytes, bytes.len() == self.pending_bytes)
    }

    /// Removes `count` bytes that the kernel has accepted.
    pub(crate) fn on_sent(&mut self, count: usize) -> Sent {
        let Some(first) = &mut self.first else {
            assert_eq!(count, 0, "more bytes sent than pending");
            return Sent { messages: 0, is_short: false };
        };
        let messages = first.advance(count);
        self.pending_bytes -= count;
        if first.start == first.end {
            let sent = mem::replace(&mut self.first, self.rest.pop_front());
            self.keep_spare(sent);
        }
        Sent { messages, is_short: count < mem::take(&mut self.submitted_bytes) }
    }

    fn keep_spare(&mut self, sent: Option<Segment>) {
        if let Some(Segment { bytes: Bytes::Copied(mut copy), .. }) = sent {
            if copy.capacity() <= MAX_SPARE_BYTES {
                copy.clear();
                self.spare = copy;
            }
        }
    }

    pub(crate) fn take_tally(&mut self) -> Tally {
        mem::take(&mut self.tally)
    }

    /// Returns the memory of the bytes to send next and their number, if they are shared: to keep
    /// it alive longer than the queue does.
    pub(crate) fn first_shared(&self) -> Option<(Arc<[u8]>, usize)> {
        let first = self.first.as_ref()?;
        match &first.bytes {
            Bytes::Shared(bytes) => Some((Arc::clone(bytes), first.end - first.start)),
            _ => None,
        }
    }

    fn push(&mut self, segment: Segment) {
        let length = segment.end - segment.start;
        if length == 0 {
            return;
        }
        self.pending_bytes += length;
        if self.first.is_none() {
            self.first = Some(segment);
        } else {
            self.rest.push_back(segment);
        }
    }

    fn last(&mut self) -> Option<&mut Segment> {
        self.rest.back_mut().or(self.first.as_mut())
    }
}

impl fmt::Write for Output {
    /// Appends a copy, for `write!`.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_copy(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_is_replaced_in_the_same_copy() {
        let mut output = Output::default();
        for message in [&b"one"[..], b"two"] {
            output.push_copy(message);
            output.end_message();
        }
        assert!(output.take_back(3));
        output.push_copy(b"TWO");
        assert_eq!((output.to_vec(), output.len()), (b"oneTWO".to_vec(), 6));
    }

    /// Sends everything by sends of at most `most` bytes; returns it and the messages counted.
    fn send_all(output: &mut Output, most: usize) -> (Vec<u8>, u32) {
        let (mut all, mut messages) = (Vec::new(), 0);
        while !output.is_empty() {
            let (bytes, _) = output.submit();
            let taken = bytes[..bytes.len().min(most)].to_vec();
            messages += output.on_sent(taken.len()).messages;
            all.extend(taken);
        }
        assert_eq!(output.len(), 0);
        (all, messages)
    }

    #[test]
    fn bytes_are_sent_in_order_however_they_are_appended() {
        let shared: Arc<[u8]> = (*b"abcdef").into();
        for most in [1, 2, 3, 100] {
            let mut output = Output::default();
            output.push_copy(b"12");
            output.push_copy(b"");
            output.push_shared(&shared, 1..4);
            output.end_message();
            output.push_static(b"XY");
            output.push_copy(b"3");
            output.push_copy(b"4");
            output.end_message();
            assert_eq!(output.to_vec(), b"12bcdXY34");
            assert_eq!(send_all(&mut output, most), (b"12bcdXY34".to_vec(), 2), "{most}");
        }
    }

    /// The kernel may read submitted bytes, so a copy appended meanwhile must not move them.
    #[test]
    fn submitted_bytes_do_not_move() {
        let mut output = Output::default();
        output.push_copy(b"1");
        let before = output.submit().0.as_ptr();
        for _ in 0..1000 {
            output.push_copy(&[b'2'; 100]);
        }
        assert_eq!(output.first.as_ref().unwrap().pending().as_ptr(), before);
        assert_eq!(output.on_sent(1), Sent { messages: 0, is_short: false });
        assert_eq!(send_all(&mut output, usize::MAX).0.len(), 100_000);
    }

    #[test]
    fn memory_of_a_sent_copy_is_used_again() {
        let mut output = Output::default();
        output.push_copy(&[0; 1000]);
        let memory = output.submit().0.as_ptr();
        output.on_sent(1000);
        output.push_copy(&[1; 500]);
        assert_eq!(output.submit().0.as_ptr(), memory);
    }
}
