//! Log files of HdrHistogram (format version 1.3, histograms V2 with DEFLATE), for `--hdr-log`. The
//! HdrHistogram tools of other languages read them.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use super::intervals::Intervals;
use super::outcome::{Latencies, Outcome};

/// The column names, as the Java implementation writes them.
const LEGEND: &str = "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\
                      \"Interval_Compressed_Histogram\"\n";

const IN_MEMORY: &str = "writing to memory does not fail";

/// A log of latencies in nanoseconds. It is kept in memory, in its compressed form, until the
/// measurement has ended.
#[derive(Clone, Debug)]
pub struct HdrLog {
    text: Vec<u8>,
}

impl HdrLog {
    /// Starts a log of a measurement that began at this time.
    pub fn new(start: SystemTime) -> Self {
        let mut text = Vec::new();
        IntervalLogWriterBuilder::new()
            .add_comment("[Histogram log format version 1.3]")
            .add_comment("Latencies in nanoseconds, corrected for coordinated omission.")
            .with_start_time(start)
            .with_base_time(start)
            .begin_log_with(&mut text, &mut V2DeflateSerializer::new())
            .expect(IN_MEMORY);
        text.extend(LEGEND.bytes());
        Self { text }
    }

    /// Adds the latencies of an interval, which starts at this time after the start of the
    /// measurement. A comma, white space and `%` of the tag are written in
    /// percent-encoding (RFC 3986), because a tag ends with a comma and contains no space.
    pub fn add(&mut self, tag: Option<&str>, start: Duration, length: Duration, of: &Latencies) {
        let tag = tag.map(encoded);
        IntervalLogWriterBuilder::new()
            .begin_log_with(&mut self.text, &mut V2DeflateSerializer::new())
            .expect(IN_MEMORY)
            .write_histogram(of, start, length, tag.as_deref().and_then(Tag::new))
            .expect(IN_MEMORY);
    }

    /// Returns the log of a run, with an entry for each of its intervals of this length.
    pub fn of_outcome(outcome: &Outcome, interval: Duration) -> Self {
        let mut log = Self::new(SystemTime::now() - outcome.began.elapsed());
        for (start, latencies) in outcome.intervals.iter().flat_map(Intervals::histograms) {
            let length = outcome.duration.saturating_sub(start).min(interval);
            log.add(None, start, length, &latencies);
        }
        log
    }

    /// Returns the content of the file.
    pub fn into_text(self) -> String {
        String::from_utf8(self.text).expect("the log is text")
    }
}

fn encoded(tag: &str) -> Cow<'_, str> {
    let is_special = |it: char| it == ',' || it == '%' || it.is_ascii_whitespace();
    if !tag.contains(is_special) {
        return tag.into();
    }
    let mut text = String::new();
    for it in tag.chars() {
        match is_special(it) {
            true => text += &format!("%{:02X}", u32::from(it)),
            false => text.push(it),
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::load::outcome::new_latencies;

    #[test]
    fn log_is_read_back() {
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let mut log = HdrLog::new(began);
        let mut latencies = new_latencies();
        for latency in [1_000, 2_000, 5_000_000] {
            latencies.record(latency).unwrap();
        }
        let length = Duration::from_millis(25);
        log.add(Some("epoll:edge, 100%@fixed_rate"), 3 * length, length, &latencies);
        log.add(None, 4 * length, length, &latencies);
        let text = log.into_text();
        let entries: Vec<_> =
            IntervalLogIterator::new(text.as_bytes()).collect::<Result<_, _>>().unwrap();
        let [LogEntry::StartTime(start), LogEntry::BaseTime(base), entries @ ..] = &entries[..]
        else {
            panic!("{entries:?}")
        };
        assert_eq!(start, base);
        let tags = [Some("epoll:edge%2C%20100%25@fixed_rate"), None];
        assert_eq!(entries.len(), tags.len());
        for ((entry, tag), start) in entries.iter().zip(tags).zip([75, 100]) {
            let LogEntry::Interval(interval) = entry else { panic!("{entry:?}") };
            assert_eq!(interval.tag().map(|it| it.as_str()), tag);
            assert_eq!(interval.start_timestamp(), Duration::from_millis(start));
            assert_eq!(interval.duration(), length);
            let decoder = base64::engine::general_purpose::STANDARD;
            let bytes = base64::Engine::decode(&decoder, interval.encoded_histogram()).unwrap();
            let read: Latencies = Deserializer::new().deserialize(&mut &bytes[..]).unwrap();
            assert_eq!(read, latencies);
        }
    }
}
