//! What a scrape finds: the figures of every plugin as they are at that moment, under their names.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Unit;

use super::{LaneTotals, Parts, SocketCounts, Times, Timings};
use crate::host::Roster;
use crate::supervisor::{Plugin, PluginState, PluginStatus};

/// Labels of one series.
pub(crate) type Labels<'l> = Vec<(&'static str, &'l str)>;
/// Series of one metric.
pub(crate) type Rows<'l, V> = Vec<(Labels<'l>, V)>;

/// Puts labels together.
pub(crate) fn labels<'l, const N: usize>(labels: [(&'static str, &'l str); N]) -> Labels<'l> {
    labels.to_vec()
}

/// Writes metrics of several series. One without a series is left out.
pub(crate) struct Scrape<'e>(pub(crate) DescriptorEncoder<'e>);

impl Scrape<'_> {
    /// A counter; `name` is without `_total` and without the unit.
    pub(crate) fn counter<V: EncodeCounterValue>(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<Unit>,
        rows: Rows<'_, V>,
    ) -> fmt::Result {
        self.each((name, help), unit, MetricType::Counter, rows, |mut metric, value| {
            metric.encode_counter(&value, None::<&Exemplar<NoLabelSet, f64>>)
        })
    }

    /// A gauge; `name` is without the unit.
    pub(crate) fn gauge<V: EncodeGaugeValue>(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<Unit>,
        rows: Rows<'_, V>,
    ) -> fmt::Result {
        self.each((name, help), unit, MetricType::Gauge, rows, |mut metric, value| {
            metric.encode_gauge(&value)
        })
    }

    /// A histogram of seconds; `name` is without them.
    pub(crate) fn histogram(
        &mut self,
        (name, help): (&str, &str),
        rows: Rows<'_, Times>,
    ) -> fmt::Result {
        let seconds = Some(Unit::Seconds);
        self.each((name, help), seconds, MetricType::Histogram, rows, |mut metric, times| {
            let (sum, count) = (times.sum().as_secs_f64(), times.count());
            metric.encode_histogram::<NoLabelSet>(sum, count, &times.buckets(), None)
        })
    }

    fn each<V>(
        &mut self,
        (name, help): (&str, &str),
        unit: Option<Unit>,
        kind: MetricType,
        rows: Rows<'_, V>,
        write: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        if rows.is_empty() {
            return Ok(());
        }
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for (labels, value) in rows {
            write(metric.encode_family(&labels)?, value)?;
        }
        Ok(())
    }
}

/// Collects the plugins of a host.
#[derive(Debug)]
pub(crate) struct HostCollector {
    pub(crate) plugins: Roster,
}

/// A plugin as a scrape finds it.
struct Found<'p> {
    name: &'p str,
    plugin: &'p Plugin,
    status: PluginStatus,
    timings: Timings,
    totals: super::plugin::Totals,
}

impl<'p> Found<'p> {
    fn new(plugin: &'p Plugin) -> Self {
        let status = plugin.board.snapshot(&plugin.lanes());
        let metrics = &plugin.board.metrics;
        let (timings, totals) = (metrics.calls.timings(), metrics.totals());
        Self { name: &plugin.name, plugin, status, timings, totals }
    }

    /// One series, of the plugin as a whole.
    fn one<V>(&self, value: V) -> (Labels<'p>, V) {
        (labels([("plugin", self.name)]), value)
    }

    /// Workers by state: those in service, and those that are not there in the state the plugin is in.
    fn workers(&self) -> Vec<(Labels<'p>, u64)> {
        let lanes = self.plugin.lanes();
        let mut peers: Vec<_> = lanes.iter().map(|lane| Arc::as_ptr(&lane.peer)).collect();
        peers.sort_unstable();
        peers.dedup();
        let ready = peers.len() as u64;
        let missing = u64::from(self.status.wanted).saturating_sub(ready);
        let state = match self.status.state {
            PluginState::Ready => PluginState::Starting,
            other => other,
        };
        let row = |of: PluginState| {
            let n = if of == PluginState::Ready { ready } else { missing * u64::from(of == state) };
            (labels([("plugin", self.name), ("state", of.name())]), n)
        };
        PluginState::ALL.into_iter().map(row).collect()
    }
}

impl Collector for HostCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let plugins = self.plugins.all();
        let found: Vec<_> = plugins.iter().map(|plugin| Found::new(plugin)).collect();
        let mut scrape = Scrape(encoder);
        calls(&mut scrape, &found)?;
        workers(&mut scrape, &found)?;
        lanes(&mut scrape, &found)?;
        sockets(&mut scrape, &found)
    }
}

/// What became of calls, and how long they took. A phase without a call has no series.
fn calls(scrape: &mut Scrape<'_>, found: &[Found<'_>]) -> fmt::Result {
    let phases = || {
        let phases = |f: &'_ Found<'_>| {
            f.timings.phases().map(|(phase, parts)| (phase, parts.clone())).collect::<Vec<_>>()
        };
        found
            .iter()
            .flat_map(move |f| phases(f).into_iter().map(|(phase, parts)| (f.name, phase, parts)))
            .filter(|(_, _, parts)| parts.handler.count() > 0)
    };
    let part = |of: fn(Parts) -> Times| {
        phases()
            .map(|(name, phase, parts)| (labels([("plugin", name), ("phase", phase)]), of(parts)))
            .collect()
    };
    let counts = phases().map(|(name, phase, parts)| {
        (labels([("plugin", name), ("phase", phase)]), parts.handler.count())
    });
    scrape.counter(
        ("nylon_plugin_calls", "Runs of handlers that are over."),
        None,
        counts.collect(),
    )?;
    scrape.histogram(
        ("nylon_plugin_queue", "Time calls waited before their worker was told."),
        part(|parts| parts.queue),
    )?;
    scrape.histogram(
        ("nylon_plugin_handler", "Time the handlers of the plugin ran."),
        part(|parts| parts.handler),
    )?;
    scrape.histogram(
        ("nylon_plugin_transport", "Time of calls on the way to a worker's handler and back."),
        part(|parts| parts.transport),
    )?;
    let failures = found.iter().flat_map(|f| {
        f.plugin.board.metrics.failures().map(|(phase, reason, n)| {
            (labels([("plugin", f.name), ("phase", phase.name()), ("reason", reason)]), n)
        })
    });
    scrape.counter(
        ("nylon_plugin_failures", "Calls that gave no result, by reason."),
        None,
        failures.collect(),
    )?;
    let passes = found.iter().flat_map(|f| {
        let passes = f.plugin.board.metrics.passes();
        passes.map(|(phase, n)| (labels([("plugin", f.name), ("phase", phase.name())]), n))
    });
    scrape.counter(
        ("nylon_plugin_passed_open", "Failures that on_failure let pass."),
        None,
        passes.collect(),
    )?;
    let retries = found.iter().flat_map(|f| {
        let retries = f.plugin.board.metrics.retries();
        retries.map(|(phase, n)| (labels([("plugin", f.name), ("phase", phase.name())]), n))
    });
    scrape.counter(
        ("nylon_plugin_retries", "Calls sent once more, to another worker."),
        None,
        retries.collect(),
    )?;
    let late = found.iter().map(|f| f.one(f.totals.lanes.late)).collect();
    scrape.counter(
        ("nylon_plugin_late_replies", "Answers that came too late or twice."),
        None,
        late,
    )
}

/// The processes.
fn workers(scrape: &mut Scrape<'_>, found: &[Found<'_>]) -> fmt::Result {
    let workers = found.iter().flat_map(Found::workers).collect();
    scrape.gauge(("nylon_plugin_workers", "Workers by state."), None, workers)?;
    let starts = found.iter().map(|f| f.one(u64::from(f.status.generation))).collect();
    scrape.counter(("nylon_plugin_worker_starts", "Workers started."), None, starts)?;
    let restarts = found.iter().map(|f| f.one(f.status.restarts)).collect();
    let help = "Workers started in place of one that ended or hung unasked, or did not start.";
    scrape.counter(("nylon_plugin_worker_restarts", help), None, restarts)?;
    let ends = found.iter().flat_map(|f| {
        let ends = f.plugin.board.metrics.ends();
        ends.map(|(end, n)| (labels([("plugin", f.name), ("cause", end.name())]), n))
    });
    scrape.counter(
        ("nylon_plugin_worker_failures", "Workers that ended unasked or did not start, by cause."),
        None,
        ends.collect(),
    )?;
    let cpu = found.iter().map(|f| f.one(f.totals.cpu.as_secs_f64())).collect();
    let help = "CPU time of the workers, as far as a scrape saw it.";
    scrape.counter(("nylon_plugin_cpu", help), Some(Unit::Seconds), cpu)?;
    let memory = found.iter().map(|f| f.one(f.totals.resident)).collect();
    let help = "Memory of the workers in RAM.";
    scrape.gauge(("nylon_plugin_resident_memory", help), Some(Unit::Bytes), memory)?;
    let dropped = found.iter().map(|f| {
        let dropped = &f.plugin.board.metrics.log_lines_dropped;
        f.one(dropped.load(std::sync::atomic::Ordering::Relaxed))
    });
    let help = "Lines the plugin printed that were not logged.";
    scrape.counter(("nylon_plugin_log_lines_dropped", help), None, dropped.collect())
}

/// What goes through the lanes, and what is on its way.
fn lanes(scrape: &mut Scrape<'_>, found: &[Found<'_>]) -> fmt::Result {
    let both = |of: fn(&LaneTotals) -> [u64; 2]| {
        let rows = found.iter().flat_map(move |f| {
            let pairs = ["down", "up"].into_iter().zip(of(&f.totals.lanes));
            pairs.map(|(way, n)| (labels([("plugin", f.name), ("direction", way)]), n))
        });
        rows.collect()
    };
    let frames = both(|t| [t.frames_down, t.frames_up]);
    scrape.counter(("nylon_plugin_frames", "Frames to and from the workers."), None, frames)?;
    let bytes = both(|t| [t.bytes_down, t.bytes_up]);
    let help = "Bytes of payload of those frames.";
    scrape.counter(("nylon_plugin_payload", help), Some(Unit::Bytes), bytes)?;

    let of = |of: fn(&LaneTotals) -> u64| {
        found.iter().map(|f| f.one(of(&f.totals.lanes))).collect::<Vec<_>>()
    };
    type Row = (&'static str, &'static str, fn(&LaneTotals) -> u64);
    let counters: [Row; 3] = [
        ("nylon_plugin_wakes", "Times a worker woke up for a lane.", |t| t.wakes),
        ("nylon_plugin_handovers", "Times a worker handed a lane to another thread.", |t| {
            t.handovers
        }),
        ("nylon_plugin_rescues", "Times a worker was asked to take a lane over.", |t| t.rescues),
    ];
    for (name, help, get) in counters {
        scrape.counter((name, help), None, of(get))?;
    }
    let gauges: [Row; 6] = [
        ("nylon_plugin_lanes", "Lanes in service.", |t| t.lanes as u64),
        ("nylon_plugin_polling_lanes", "Lanes on which host and worker poll.", |t| {
            t.polling as u64
        }),
        ("nylon_plugin_sessions", "Sessions open.", |t| t.sessions as u64),
        ("nylon_plugin_in_flight_calls", "Handlers running.", |t| t.in_flight as u64),
        ("nylon_plugin_ring_depth_frames", "Frames a worker has not taken yet.", |t| t.ring_depth),
        ("nylon_plugin_ring_arena", "Ring memory not given back.", |t| t.arena),
    ];
    for (name, help, get) in gauges {
        let unit = name.ends_with("arena").then_some(Unit::Bytes);
        scrape.gauge((name, help), unit, of(get))?;
    }
    let waiting = found.iter().map(|f| f.one(f.plugin.waiting())).collect();
    let help = "Calls that wait for a place in the plugin, or for a handler to end.";
    scrape.gauge(("nylon_plugin_waiting_calls", help), None, waiting)?;
    let staged = of(|t| t.staged);
    let help = "Bodies that handlers have set and not committed yet.";
    scrape.gauge(("nylon_plugin_staged", help), Some(Unit::Bytes), staged)
}

/// The WebSockets. A plugin that never had one has no series.
fn sockets(scrape: &mut Scrape<'_>, found: &[Found<'_>]) -> fmt::Result {
    let with = || {
        let all = found.iter().map(|f| (f, &f.plugin.board.metrics.sockets));
        all.filter(|(_, s)| s.opened_total() + s.refused_total() > 0)
    };
    let of = |of: fn(&SocketCounts) -> u64| with().map(|(f, s)| f.one(of(s))).collect::<Vec<_>>();
    let open = of(SocketCounts::open);
    scrape.gauge(("nylon_websocket_connections", "WebSockets open."), None, open)?;
    type Row = (&'static str, &'static str, fn(&SocketCounts) -> u64);
    let counters: [Row; 4] = [
        ("nylon_websocket_opened", "Clients that became WebSockets.", SocketCounts::opened_total),
        ("nylon_websocket_resumed", "WebSockets that another worker took over.", |s| {
            s.resumed_total()
        }),
        (
            "nylon_websocket_refused",
            "Upgrades refused: a bad handshake, an origin, a limit.",
            |s| s.refused_total(),
        ),
        ("nylon_websocket_dropped_messages", "Messages to slow clients that were dropped.", |s| {
            s.dropped_total()
        }),
    ];
    for (name, help, get) in counters {
        scrape.counter((name, help), None, of(get))?;
    }
    let ends = with().flat_map(|(f, s)| {
        s.ends().map(|(end, n)| (labels([("plugin", f.name), ("reason", end.name())]), n))
    });
    let help = "WebSockets that came to their end, by reason.";
    scrape.counter(("nylon_websocket_closed", help), None, ends.collect())?;
    let both = |of: fn((u64, u64)) -> u64| {
        let rows = with().flat_map(move |(f, s)| {
            let pairs = ["in", "out"].into_iter().zip(s.traffic());
            pairs.map(move |(way, n)| (labels([("plugin", f.name), ("direction", way)]), of(n)))
        });
        rows.collect()
    };
    let help = "Messages from and to clients.";
    scrape.counter(("nylon_websocket_messages", help), None, both(|(messages, _)| messages))?;
    let help = "Bytes of payload of those messages.";
    let bytes = both(|(_, bytes)| bytes);
    scrape.counter(("nylon_websocket_payload", help), Some(Unit::Bytes), bytes)
}
