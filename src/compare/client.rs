//! The measurements of the load generator, summed over slices.

use std::time::Duration;

use crate::load::Latencies;
use crate::result::{ClientUsage, Failures};

/// The load model of a measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LoadModel {
    /// Closed loop: each connection sends its next request when the response has arrived.
    ClosedLoop,
    /// Open loop: requests are scheduled at this rate per second, whether or not earlier ones have
    /// completed.
    OpenLoop(f64),
}

/// The client's measurement of one or more slices.
#[derive(Clone, Debug, Default)]
pub struct ClientMeasurement {
    /// The time from the first request to the last response.
    pub duration: Duration,
    /// Requests with a correct response.
    pub requests: u64,
    /// Bytes sent and received.
    pub bytes: u64,
    /// Requests that failed.
    pub failures: Failures,
    /// Latencies corrected for coordinated omission, and uncorrected ones; `None` before the first
    /// slice.
    pub latencies: Option<(Latencies, Latencies)>,
    /// Resources that the client used.
    pub used: ClientUsage,
}

impl ClientMeasurement {
    /// Adds another slice of the same load.
    pub fn add(&mut self, other: Self) {
        let (own, its) = (self.duration.as_secs_f64(), other.duration.as_secs_f64());
        let busy = self.used.cpu_utilization * own + other.used.cpu_utilization * its;
        let seconds = own + its;
        let (own, its) = (&mut self.used, other.used);
        own.cpu_ns += its.cpu_ns;
        own.cpu_utilization = busy / seconds.max(f64::MIN_POSITIVE);
        own.max_open_connections = own.max_open_connections.max(its.max_open_connections);
        own.connections_closed_by_server += its.connections_closed_by_server;
        own.max_scheduling_delay_ns = own.max_scheduling_delay_ns.max(its.max_scheduling_delay_ns);
        self.duration += other.duration;
        self.requests += other.requests;
        self.bytes += other.bytes;
        self.failures.add(other.failures);
        match (&mut self.latencies, other.latencies) {
            (Some(own), Some(its)) => {
                const SAME: &str = "all have the same bounds";
                own.0.add(its.0).expect(SAME);
                own.1.add(its.1).expect(SAME);
            }
            (own, its) => *own = own.take().or(its),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_of_slices_add_up() {
        let slice = |milliseconds, requests, busy| {
            let mut latencies = Latencies::new(3).unwrap();
            latencies.record(requests).unwrap();
            let used = ClientUsage {
                cpu_ns: 10,
                cpu_utilization: busy,
                max_open_connections: requests,
                connections_closed_by_server: 1,
                max_scheduling_delay_ns: 7,
            };
            let latencies = Some((latencies.clone(), latencies));
            let duration = Duration::from_millis(milliseconds);
            let failures = Failures { refused: 1, ..Failures::default() };
            ClientMeasurement { duration, requests, bytes: 5, failures, latencies, used }
        };
        let mut sum = ClientMeasurement::default();
        sum.add(slice(50, 100, 1.0));
        sum.add(slice(150, 40, 0.2));
        assert_eq!((sum.duration.as_millis(), sum.requests), (200, 140));
        assert_eq!((sum.bytes, sum.failures.refused), (10, 2));
        assert_eq!((sum.used.cpu_ns, sum.used.max_open_connections), (20, 100));
        assert!((sum.used.cpu_utilization - 0.4).abs() < 1e-9, "{sum:?}");
        assert_eq!(sum.latencies.unwrap().0.len(), 2);
    }
}
