//! What most rows stand on: a gateway with the plugins `a` and `b` of two workers each, and a load on both.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Found, Mode};
use crate::load::{self, Plan, Report, Stamp};
use crate::websocket::WebSocket;
use crate::{Answer, Gateway, Site, Upstream, proc, step};

/// What a handler may take.
pub(super) const DEADLINE: Duration = Duration::from_secs(2);
/// Past it an answer may still travel so long.
pub(super) const GRACE: Duration = Duration::from_millis(100);

/// `a` and `b` behind `/load/a` and `/load/b`, in front of an upstream.
pub(super) fn two(up: &Upstream) -> Site {
    ["a", "b"].iter().fold(Site::new().upstream("up", up.addr), |site, name| {
        let site = site.plugin_with(name, "probe", plugin(2));
        site.path(&format!("/load/{name}"), "up", &[step(name, "nonce")])
    })
}

/// With WebSockets of `b` at `/rooms`, which nobody has to read.
pub(super) fn sockets(site: Site) -> Site {
    let patient = json!({"websocket": {"ping_timeout": "1h"}});
    let site = site.service("rooms", "b", "ws-rooms", Value::Null);
    site.path_with("/rooms", "rooms", &[], patient)
}

/// Opens some of those.
pub(super) async fn open(gateway: &Gateway) -> Vec<WebSocket> {
    let mut all = Vec::new();
    for _ in 0..20 {
        all.push(WebSocket::member(gateway.addr, "/rooms", "lobby").await);
    }
    all
}

/// The keys of a plugin that is to be hurt: how often it may die is not what the rows ask, but R3.
pub(super) fn plugin(workers: u32) -> Value {
    json!({"workers": workers, "timeout": "2s", "breaker": {"intensity": 0}})
}

/// A load that runs beside the fault.
#[derive(Debug)]
pub(super) struct Load(JoinHandle<Report>);

impl Load {
    /// Half of the row's rate on `path`, counted from `start`.
    pub(super) fn from(
        mode: Mode,
        gateway: &Gateway,
        path: &str,
        start: Instant,
        duration: Duration,
    ) -> Load {
        Load::stamped(mode, gateway, path, start, duration, load::in_headers)
    }

    /// As [`Load::from`], for a plugin with a stamp of its own.
    pub(super) fn stamped(
        mode: Mode,
        gateway: &Gateway,
        path: &str,
        start: Instant,
        duration: Duration,
        stamp: fn(&Answer) -> Stamp,
    ) -> Load {
        let (addr, rate) = (gateway.addr, mode.rate() / 2);
        let plan = Plan { addr, path: path.into(), rate, duration, deadline: DEADLINE, stamp };
        Load(tokio::spawn(async move { load::run_from(&plan, start).await }))
    }

    /// What became of it.
    pub(super) async fn end(self) -> Report {
        let report = self.0.await.expect("the load ran");
        println!("{}", report.json());
        report
    }
}

/// Both loads, from now on.
pub(super) fn loads(mode: Mode, gateway: &Gateway, duration: Duration) -> (Instant, [Load; 2]) {
    let start = Instant::now();
    (start, ["/load/a", "/load/b"].map(|path| Load::from(mode, gateway, path, start, duration)))
}

/// Every answer was right: nothing else happened to it.
pub(super) fn untouched(found: &mut Found, who: &str, report: &Report) {
    let (sent, right) = (report.outcomes.len(), report.right());
    let first = report.outcomes.iter().find(|o| o.class != load::Class::Right);
    let what = first.map(|o| format!(", first {:?} at {:.1?}", o.class, o.intended));
    found.count(
        format!("{who}: {right} of {sent} right{}", what.unwrap_or_default()),
        right == sent && sent > 0,
    );
}

/// The 99th percentile is not more than `times` what it was in the baseline.
pub(super) fn p99(found: &mut Found, who: &str, times: f64, before: &Report, after: &Report) {
    let (was, is) = (before.percentile(0.99), after.percentile(0.99));
    // Of no right answers there is no percentile.
    let none = before.right() == 0 || after.right() == 0;
    let ratio = if none { f64::NAN } else { is.as_secs_f64() / was.as_secs_f64() };
    let behind = before.behind(0.99).max(after.behind(0.99));
    found.time(
        format!(
            "{who}: p99 {is:.1?}, {ratio:.2} x its {was:.1?}, {times} x at most (generator behind by p99 {behind:.1?})"
        ),
        ratio <= times,
    );
}

/// Nothing mixed up, lost or cut off, and nobody waited longer than the deadline and 100 ms.
pub(super) fn none_wrong(found: &mut Found, reports: &[&Report]) {
    let sent: usize = reports.iter().map(|r| r.outcomes.len()).sum();
    let wrong: Vec<String> = reports.iter().flat_map(|r| r.unexplained()).collect();
    let first = wrong.first().map(|w| format!(", first {w}")).unwrap_or_default();
    found.count(format!("{} of {sent} wrong{first}", wrong.len()), wrong.is_empty() && sent > 0);
    let overdue: usize = reports.iter().map(|r| r.overdue().len()).sum();
    found.time(format!("{overdue} after the deadline + 100 ms"), overdue == 0);
}

/// The host is the one that was started.
pub(super) fn still_runs(found: &mut Found, gateway: &mut Gateway) {
    found.count("the gateway runs", gateway.running());
}

/// Lines of the log about workers that ended so; waits for `wanted` of them.
pub(super) async fn ended(gateway: &Gateway, how: &str, wanted: usize) -> usize {
    let count = || gateway.log_lines(|l| l.contains("worker ended") && l.contains(how)).len();
    let end = Instant::now() + Duration::from_secs(5);
    while count() < wanted && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    count()
}

/// Workers of the plugin whose answers on `path` carry their process: its pids now, at most `workers` of them.
pub(super) async fn pids(client: &crate::Client, path: &str, workers: usize) -> Vec<u32> {
    let mut found = Vec::new();
    let end = Instant::now() + Duration::from_secs(15);
    while found.len() < workers && Instant::now() < end {
        let pid = client.try_get(path).await.ok().filter(|a| a.status == 200);
        match pid.and_then(|a| a.header("x-plugin-pid").parse().ok()) {
            Some(pid) if !found.contains(&pid) => found.push(pid),
            Some(_) => {}
            None => tokio::time::sleep(Duration::from_millis(10)).await,
        }
        found.retain(|pid| proc::alive(*pid));
    }
    found
}
