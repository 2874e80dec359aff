//! What the gateway counts of its own: connections, requests, the process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use crate::metrics::{Histogram, Scrape, labels, process};

/// Connections of clients and the requests on them.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    accepted: AtomicU64,
    open: AtomicU64,
    /// By the hundred of the status, 1xx to 5xx: from a request's head to that of its response.
    answered: [Histogram; CLASSES.len()],
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A connection, as long as it lives.
#[derive(Debug)]
pub(super) struct Connected(Arc<Traffic>);

impl Traffic {
    /// A client has connected.
    pub(super) fn connected(self: &Arc<Self>) -> Connected {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Connected(self.clone())
    }

    /// A response's head is final, so long after the request's was there.
    pub(super) fn answered(&self, status: StatusCode, time: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len());
        self.answered[class - 1].record(time);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Collects the traffic of a gateway, and what its process uses.
#[derive(Debug)]
pub(super) struct TrafficCollector(pub(super) Arc<Traffic>);

impl Collector for TrafficCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut scrape = Scrape(encoder);
        let Traffic { accepted, open, answered } = &*self.0;
        let one = |counter: &AtomicU64| vec![(labels([]), counter.load(Ordering::Relaxed))];
        let help = "Connections of clients accepted.";
        scrape.counter(("nylon_http_connections", help), None, one(accepted))?;
        let help = "Connections of clients open.";
        scrape.gauge(("nylon_http_open_connections", help), None, one(open))?;
        let times = CLASSES.into_iter().zip(answered).map(|(class, all)| (class, all.times()));
        let times: Vec<_> = times.map(|(class, all)| (labels([("class", class)]), all)).collect();
        let counts = times.iter().map(|(class, all)| (class.clone(), all.count())).collect();
        scrape.counter(("nylon_http_requests", "Requests answered."), None, counts)?;
        let help = "Time from the head of a request to the head of its response.";
        scrape.histogram(("nylon_http_request_duration", help), times)?;

        let help = "Lines of the log that found no room, as it was read too slowly.";
        let dropped = vec![(labels([]), crate::log::dropped())];
        scrape.counter(("nylon_log_lines_dropped", help), None, dropped)?;
        let version = vec![(labels([("version", env!("CARGO_PKG_VERSION"))]), 1_u64)];
        scrape.gauge(("nylon_build_info", "The gateway's version; always 1."), None, version)?;
        let started = process::started().map(|at| (labels([]), at.as_secs_f64()));
        let help = "When the gateway was started, Unix time.";
        scrape.gauge(
            ("process_start_time", help),
            Some(Unit::Seconds),
            started.into_iter().collect(),
        )?;
        if let Some(usage) = process::usage("self") {
            let cpu = vec![(labels([]), usage.cpu.as_secs_f64())];
            let help = "CPU time of the gateway.";
            scrape.counter(("process_cpu", help), Some(Unit::Seconds), cpu)?;
            let memory = vec![(labels([]), usage.resident)];
            let help = "Memory of the gateway in RAM.";
            scrape.gauge(("process_resident_memory", help), Some(Unit::Bytes), memory)?;
        }
        let files = process::open_files().map(|n| (labels([]), n as u64)).into_iter().collect();
        scrape.gauge(("process_open_fds", "Open files of the gateway."), None, files)
    }
}
