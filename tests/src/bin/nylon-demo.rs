//! `cargo xtask demo`: the quickstart, run and compared row by row, and its plugin killed under load.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use http_body_util::BodyExt as _;
use nix::sys::signal::Signal;
use nylon_tests::load::{self, Kill, Plan, Report, Stamp};
use nylon_tests::{Answer, Client, Gateway, Temp, Upstream, ports, proc, program};
use serde_json::{Value, json};

/// The quickstart's `timeout`.
const DEADLINE: Duration = Duration::from_secs(2);

#[derive(Parser)]
struct Cli {
    /// The same as data
    #[arg(long)]
    json: bool,
    /// Leave upstream and gateway running
    #[arg(long)]
    serve: bool,
    /// Port of the gateway
    #[arg(long)]
    port: Option<u16>,
}

/// One thing that was tried: what the upstream had to do with it, what the client saw, and whether both are right.
struct Row {
    what: &'static str,
    phases: &'static str,
    upstream: String,
    client: String,
    ok: bool,
}

struct Demo {
    upstream: Upstream,
    gateway: Gateway,
    client: Client,
    rows: Vec<Row>,
    _dir: Temp,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut demo = match start(&cli).await {
        Ok(demo) => demo,
        Err(e) => {
            eprintln!("error: {e}");
            return ExitCode::FAILURE;
        }
    };
    if cli.serve {
        return serve(demo).await;
    }
    demo.requests().await;
    let pids = (demo.gateway.pid(), demo.worker());
    demo.processes(pids);
    let (report, recovery) = demo.kill(pids.1).await;
    let load = report.json();
    demo.stop().await;

    let ok = demo.rows.iter().all(|row| row.ok);
    if cli.json {
        let rows: Vec<Value> = demo.rows.iter().map(Row::json).collect();
        let recovery = recovery.map(|r| r.as_micros() as f64 / 1000.0);
        let all = json!({
            "ok": ok, "rows": rows, "gateway_pid": pids.0, "worker_pid": pids.1, "load": load,
            "recovery_ms": recovery,
        });
        println!("{all:#}");
    } else {
        demo.rows.iter().for_each(Row::print);
        let wrong = demo.rows.iter().filter(|row| !row.ok).count();
        println!("{} rows, {wrong} not as expected", demo.rows.len());
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The quickstart's own configuration, with this run's ports and program in it.
async fn start(cli: &Cli) -> Result<Demo, String> {
    let upstream = Upstream::start().await;
    let addr = match cli.port {
        Some(port) => SocketAddr::from(([127, 0, 0, 1], port)),
        None => ports::free(),
    };
    let file = program::root().join("examples/quickstart/nylon.yaml");
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let text = put(text, "http: 127.0.0.1:8080", &format!("http: {addr}"))?;
    let text = put(text, "port: 9000", &format!("port: {}", upstream.addr.port()))?;
    let plugin = program::plugin("quickstart");
    let text = put(text, "file: plugin/quickstart ", &format!("file: {} ", plugin.display()))?;
    let dir = Temp::new();
    let config = dir.write("nylon.yaml", &text);
    let mut gateway = Gateway::spawn(&config, dir.path(), addr);
    gateway.ready(&["/".to_owned()]).await;
    Ok(Demo { upstream, client: Client::new(addr), gateway, rows: Vec::new(), _dir: dir })
}

fn put(text: String, old: &str, new: &str) -> Result<String, String> {
    match text.matches(old).count() {
        1 => Ok(text.replace(old, new)),
        n => Err(format!("examples/quickstart/nylon.yaml has `{old}` {n} times, not once")),
    }
}

impl Demo {
    /// Every entry of the quickstart, once.
    async fn requests(&mut self) {
        self.hello().await;
        self.authz().await;
        self.headers().await;
        self.redact().await;
        self.upper().await;
        self.stream().await;
        self.answers().await;
        self.access_log().await;
    }

    async fn hello(&mut self) {
        let answer = self.client.get("/?name=you").await;
        let ok = answer.status == 200 && answer.text() == "Hello you\n";
        self.row(
            "plugin service, payload template",
            "RequestFilter, END",
            "not asked",
            &answer,
            ok,
        );
    }

    async fn authz(&mut self) {
        let before = self.upstream.seen().len();
        let answer = self.client.get("/private").await;
        let ok = answer.status == 401 && self.upstream.seen().len() == before;
        self.row("authorisation, no token", "RequestFilter, END", "not asked", &answer, ok);

        let answer = self.client.get_with("/private", &[("x-api-token", "let-me-in")]).await;
        let saw = self.saw("");
        let ok = answer.status == 200 && self.upstream.last().path == "/private";
        self.row("authorisation, with the token", "RequestFilter, NEXT", &saw, &answer, ok);
    }

    async fn headers(&mut self) {
        let answer = self.client.get_with("/headers/a", &[("x-internal", "secret")]).await;
        let seen = self.upstream.last();
        let id = seen.header("x-request-id").to_owned();
        let hidden = seen.header("x-internal").is_empty() && answer.header("x-upstream").is_empty();
        let ok =
            answer.status == 200 && id.len() == 36 && answer.header("x-request-id") == id && hidden;
        let saw = self.saw(&format!("x-request-id: {id}, no x-internal"));
        let mut shown = answer.clone();
        shown.body =
            format!("x-request-id: {}, no x-upstream", answer.header("x-request-id")).into();
        self.row("header edits both ways", "RequestFilter, ResponseFilter", &saw, &shown, ok);
    }

    async fn redact(&mut self) {
        let answer = self.client.post("/redact/a", "card 4111-1111").await;
        let body = String::from_utf8_lossy(&self.upstream.last().body).into_owned();
        let ok = answer.status == 200 && body == "card ****-****";
        let saw = self.saw(&format!("body {body:?}"));
        self.row("request body rewritten", "RequestBodyFilter", &saw, &answer, ok);
    }

    async fn upper(&mut self) {
        let answer = self.client.get("/upper/text").await;
        let ok = answer.status == 200 && answer.text() == "HELLO FROM UPSTREAM";
        let sent = "200 hello from upstream";
        self.row("response body rewritten", "ResponseBodyFilter", sent, &answer, ok);
    }

    async fn stream(&mut self) {
        let start = Instant::now();
        let mut response = self.client.stream("/stream").await;
        let (mut text, mut first) = (String::new(), None);
        while let Some(Ok(frame)) = response.frame().await {
            if let Ok(data) = frame.into_data() {
                first.get_or_insert(start.elapsed());
                text.push_str(&String::from_utf8_lossy(&data));
            }
        }
        let (first, all) = (first.unwrap_or_default(), start.elapsed());
        let events = text.matches("data: event ").count();
        let ok =
            response.status() == 200 && events == 5 && all - first > Duration::from_millis(300);
        let shown =
            format!("{events} events, the first after {first:.1?}, the last after {all:.1?}");
        self.push(
            "streamed answer",
            "RequestFilter, STREAM",
            "not asked",
            format!("200 {shown}"),
            ok,
        );
    }

    async fn answers(&mut self) {
        let mut answer = self.client.get("/json").await;
        let got = answer.json();
        let pid = got["pid"].as_u64();
        let ok =
            answer.status == 200 && got["path"] == "/json" && pid == Some(self.worker().into());
        answer.body = format!("{{\"method\":{},\"pid\":{},…}}", got["method"], got["pid"]).into();
        self.row("JSON answer", "RequestFilter, END", "not asked", &answer, ok);

        let answer = self.client.get("/redirect").await;
        let ok = answer.status == 302 && answer.header("location") == "/json";
        let shown = format!("{} location: {}", answer.status, answer.header("location"));
        self.push("redirect", "RequestFilter, END", "not asked", shown, ok);
    }

    async fn access_log(&mut self) {
        let end = Instant::now() + Duration::from_secs(3);
        let line = loop {
            let found =
                self.gateway.log_lines(|l| l.contains("access GET /upper/text 200 19 bytes"));
            if found.len() == 1 || Instant::now() > end {
                break found.into_iter().next();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let ok = line.is_some();
        let text = line.unwrap_or_else(|| "no line in the gateway's log".into());
        self.push("access log", "Logging", "-", format!("in the log: {text}"), ok);
    }

    fn processes(&mut self, (gateway, worker): (u32, u32)) {
        let command = self.gateway.workers().into_iter().find(|w| w.pid == worker);
        let command = command.map(|w| w.command.join(" ")).unwrap_or_default();
        let ok = gateway != worker && command.contains("quickstart");
        let shown = format!("gateway pid {gateway}, plugin pid {worker}: {command}");
        self.push("the plugin is another process", "-", "-", shown, ok);
    }

    /// SIGKILL in the middle of 200 requests per second.
    async fn kill(&mut self, pid: u32) -> (Report, Option<Duration>) {
        let plan = Plan {
            addr: self.gateway.addr,
            path: "/json".into(),
            rate: 200,
            duration: Duration::from_secs(4),
            deadline: DEADLINE,
            stamp: in_json,
        };
        let start = Instant::now();
        let load = tokio::spawn(async move { load::run(&plan).await });
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let kill = Kill { at: start.elapsed(), pid };
        proc::kill(pid, Signal::SIGKILL);
        let report = load.await.expect("the load ran");
        let back = report.recovered(kill.at, pid).map(|at| at - kill.at);

        let right = report.right();
        let unexplained = report.unexplained();
        let outside = report.refused_outside(&[kill]).len();
        let running = self.gateway.running();
        let fine = unexplained.is_empty() && outside == 0 && report.overdue().is_empty();
        let ok = fine && running && back.is_some() && right >= 600;
        let recovered = back.map_or("never".into(), |b| format!("after {b:.1?}"));
        let shown = format!(
            "{} sent, {right} right, {} refused (all while the plugin was down: {}), {} wrong; \
             gateway {}, plugin back {recovered}",
            report.outcomes.len(),
            report.refused(),
            outside == 0,
            unexplained.len(),
            if running { "kept serving" } else { "died" },
        );
        self.push("SIGKILL of the plugin under load", "-", "-", shown, ok);
        (report, back)
    }

    async fn stop(&mut self) {
        let worker = self.worker();
        self.gateway.signal(Signal::SIGTERM);
        let status = self.gateway.exit(Duration::from_secs(15)).await;
        let gone = !proc::alive(worker);
        let ok = status.code() == Some(0) && gone;
        let shown =
            format!("{status}, plugin process {}", if gone { "gone" } else { "left behind" });
        self.push("SIGTERM", "-", "-", shown, ok);
    }

    fn worker(&self) -> u32 {
        self.gateway.workers().first().map_or(0, |w| w.pid)
    }

    /// What reached the upstream last.
    fn saw(&self, more: &str) -> String {
        let seen = self.upstream.last();
        format!("200, saw {} {} {more}", seen.method, seen.path).trim_end().to_owned()
    }

    fn row(
        &mut self,
        what: &'static str,
        phases: &'static str,
        up: &str,
        answer: &Answer,
        ok: bool,
    ) {
        let text: String = answer.text().trim_end().chars().take(90).collect();
        self.push(what, phases, up, format!("{} {text}", answer.status), ok);
    }

    fn push(
        &mut self,
        what: &'static str,
        phases: &'static str,
        up: &str,
        client: String,
        ok: bool,
    ) {
        self.rows.push(Row { what, phases, upstream: up.to_owned(), client, ok });
    }
}

impl Row {
    fn print(&self) {
        println!("{}  {}", if self.ok { "ok    " } else { "WRONG " }, self.what);
        for (name, text) in
            [("phases", self.phases), ("upstream", &self.upstream), ("client", &self.client)]
        {
            if text != "-" {
                println!("          {name:<9} {text}");
            }
        }
    }

    fn json(&self) -> Value {
        json!({
            "what": self.what, "phases": self.phases, "upstream": self.upstream,
            "client": self.client, "ok": self.ok,
        })
    }
}

/// The quickstart's `/json` shows the request's headers and its pid.
fn in_json(answer: &Answer) -> Stamp {
    let got = answer.json();
    let nonce = got["headers"]["x-nonce"].as_str().unwrap_or_default().to_owned();
    Stamp { nonce, pid: got["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()) }
}

async fn serve(demo: Demo) -> ExitCode {
    let answer = demo.client.get("/").await;
    assert_eq!((answer.status, &answer.body), (200, &Bytes::from("Hello world\n")));
    let addr = demo.gateway.addr;
    println!("gateway http://{addr} (pid {}), plugin pid {}", demo.gateway.pid(), demo.worker());
    println!("upstream http://{}\n", demo.upstream.addr);
    for line in [
        "curl -i ADDR/",
        "curl -i 'ADDR/?name=you'",
        "curl -i ADDR/private",
        "curl -i -H 'x-api-token: let-me-in' ADDR/private",
        "curl -i -H 'x-internal: 1' ADDR/headers/a",
        "curl -i -d 'card 4111-1111' ADDR/redact/a",
        "curl -i ADDR/upper/text",
        "curl -N ADDR/stream",
        "curl -i ADDR/json",
        "curl -i ADDR/redirect",
    ] {
        println!("{}", line.replace("ADDR", &addr.to_string()));
    }
    println!("kill -9 {}    # and ask again", demo.worker());
    println!("\nCtrl-C ends it.");
    let terminate = tokio::signal::unix::SignalKind::terminate();
    let mut terminate = tokio::signal::unix::signal(terminate).expect("a signal handler");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    let mut gateway = demo.gateway;
    gateway.signal(Signal::SIGTERM);
    gateway.exit(Duration::from_secs(15)).await;
    ExitCode::SUCCESS
}
