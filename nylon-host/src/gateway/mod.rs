//! Gateway: speaks HTTP and WebSocket, and knows no plugin.
//!
//! In: a checked configuration and TCP connections.  Out: requests to dispatch, its answers to clients.
//! Never: a frame, a worker, or a decision of a plugin.

mod files;
mod http;
pub mod modifier;
mod observe;
mod reload;
mod setup;
mod traffic;
mod upstream;

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use crate::admin::{self, Admin};
use crate::config::Config;
use crate::host::Host;
use crate::supervisor::{EventKind, Of};
pub(crate) use observe::Observer;
pub use reload::ReloadError;
pub use setup::{SetupError, plugin_spec, unknown_entries};

use http::Site;
use traffic::Traffic;
use upstream::Pool;

/// A gateway that listens and whose plugins are ready.
#[derive(Debug)]
pub struct Gateway {
    listeners: Vec<TcpListener>,
    /// Where those who watch it ask.
    watched: Vec<TcpListener>,
    observer: Arc<Observer>,
    /// Where operators ask.
    admin: admin::Bound,
    shared: Arc<Shared>,
    grace: Duration,
}

/// What a running gateway can be told.
#[derive(Clone, Debug)]
pub struct Control(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What requests are answered with from now on; those in flight keep what they began with.
    site: ArcSwap<Site>,
    host: Host,
    pool: Pool,
    traffic: Arc<Traffic>,
    /// The runtime file.
    file: PathBuf,
    lenient: bool,
    /// Directories that an upgrade may take programs from.
    programs: ArcSwap<Vec<PathBuf>>,
    /// One reload at a time.
    reloading: Mutex<()>,
    /// Those that were carried out.
    reloads: AtomicU64,
}

/// Time a client has to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes a request's head may have; a record holds no more either (431).
const HEAD_MAX: usize = 48 * 1024;

impl Gateway {
    /// Binds the addresses, starts the plugins, checks the entries the routes name and builds the routes.
    ///
    /// In `lenient` mode what is missing only breaks its routes, and is returned as warnings.
    ///
    /// # Errors
    /// [`SetupError`]; what was started is stopped again.
    pub async fn start(
        config: Config,
        lenient: bool,
    ) -> Result<(Self, Vec<crate::config::Diagnostic>), SetupError> {
        setup::start(config, lenient).await
    }

    /// To tell it something while it serves.
    pub fn control(&self) -> Control {
        Control(self.shared.clone())
    }

    /// The addresses it listens on.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().filter_map(|l| l.local_addr().ok())
    }

    /// The host of its plugins.
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// Serves until `stop` resolves, then stops accepting, finishes what is in flight within the grace period, runs
    /// the plugins' shutdown hooks and returns.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { listeners, watched, observer, admin, shared, grace } = self;
        let addresses = listeners.iter().filter_map(|l| l.local_addr().ok()).collect();
        // Until the end: a gateway that drains says so.
        let mut observers = JoinSet::new();
        for listener in watched {
            if let Ok(addr) = listener.local_addr() {
                tracing::info!(%addr, "metrics, livez and readyz");
            }
            observers.spawn(observe::serve(listener, observer.clone()));
        }
        let answers = Admin::new(Control(shared.clone()), observer.clone(), addresses);
        observers.spawn(answers.serve(admin));
        // Each connection holds a receiver: they are counted, told and awaited by it.
        let open = watch::Sender::new(());
        let mut accepting = JoinSet::new();
        let (connections, mut incoming) = tokio::sync::mpsc::channel::<(TcpStream, SocketAddr)>(64);
        for listener in listeners {
            accepting.spawn(accept(listener, connections.clone()));
        }
        drop(connections);
        tokio::pin!(stop);
        loop {
            tokio::select! {
                Some((stream, peer)) = incoming.recv() => {
                    tokio::spawn(connection(stream, peer, shared.clone(), open.subscribe()));
                }
                () = &mut stop => break,
            }
        }
        observer.drain();
        // Dropping the accept tasks closes the listeners: nobody new gets in.
        drop(accepting);
        drop(incoming);
        tracing::info!(connections = open.receiver_count(), "draining");
        let end = Instant::now() + grace;
        open.send_replace(());
        shared.host.leave();
        if tokio::time::timeout(grace, open.closed()).await.is_err() {
            tracing::warn!("requests were still in flight after the grace period");
        }
        shared.host.stop(end.saturating_duration_since(Instant::now())).await;
        shared.host.sockets().hub.close().await;
    }
}

impl Control {
    /// The host of the gateway's plugins.
    pub fn host(&self) -> &Host {
        &self.0.host
    }

    /// Serves what `config` says from now on: plugins that changed, and new ones, are brought up beside what serves; once
    /// all are ready, requests go to them in one step, and what is no longer needed is drained. Unchanged plugins are not
    /// touched. Addresses and threads stay as they are until the next start. Returns what has no effect.
    ///
    /// # Errors
    /// [`SetupError`]; what served goes on.
    pub async fn reload(
        &self,
        config: Config,
    ) -> Result<Vec<crate::config::Diagnostic>, SetupError> {
        let Shared { site, host, pool, traffic, lenient, reloading, programs, reloads, .. } =
            &*self.0;
        let _one = reloading.lock().await;
        let allowed = config.runtime.admin.programs.clone();
        let (new, warnings) = setup::site(config, *lenient, host, pool, traffic)
            .await
            .inspect_err(|e| self.not_reloaded(e))?;
        site.store(Arc::new(new));
        programs.store(Arc::new(allowed));
        reloads.fetch_add(1, Ordering::Relaxed);
        host.events().note("", EventKind::Reloaded, Of::default(), "");
        Ok(warnings)
    }

    /// Notes that a configuration was refused.
    fn not_reloaded(&self, why: &dyn Display) {
        let why = why.to_string();
        self.host().events().note("", EventKind::ReloadRefused, Of::default(), &why);
    }

    /// The runtime file.
    pub fn file(&self) -> &Path {
        &self.0.file
    }

    /// Configurations that took the place of another.
    pub fn reloads(&self) -> u64 {
        self.0.reloads.load(Ordering::Relaxed)
    }

    /// Directories that an upgrade may take programs from; none: that of the configured program.
    pub(crate) fn programs(&self) -> Arc<Vec<PathBuf>> {
        self.0.programs.load_full()
    }
}

async fn accept(listener: TcpListener, to: tokio::sync::mpsc::Sender<(TcpStream, SocketAddr)>) {
    loop {
        match listener.accept().await {
            Ok(connection) => {
                if to.send(connection).await.is_err() {
                    return;
                }
            }
            Err(e) if is_passing(&e) => {}
            Err(e) => {
                // Out of descriptors, most likely: no busy loop.
                tracing::warn!(error = %e, "accept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Errors of one connection that never came to be.
fn is_passing(e: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(e.kind(), K::ConnectionAborted | K::ConnectionReset | K::Interrupted)
}

/// Serves a client until its connection ends, or becomes something else. Told by `drain`, it ends with the request under
/// way.
async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    shared: Arc<Shared>,
    mut drain: watch::Receiver<()>,
) {
    let _ = stream.set_nodelay(true);
    let connected = shared.traffic.connected();
    let service = hyper::service::service_fn(move |request| {
        let _ = &connected;
        let site = shared.site.load_full();
        async move {
            let start = Instant::now();
            let response = site.answer(request, peer).await;
            site.traffic.answered(response.status(), start.elapsed());
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_MAX.max(8192))
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
    );
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        _ = drain.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!(%peer, error = %e, "connection");
    }
}
