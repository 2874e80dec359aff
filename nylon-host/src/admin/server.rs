//! Serves the admin endpoint, for as long as it is awaited.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::access::Door;
use super::answer;
use super::endpoint::Endpoint;
use super::listen::Bound;
use super::peer;
use crate::gateway::{Control, Observer};

/// Answers operators.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(super) control: Control,
    pub(super) observer: Arc<Observer>,
    pub(super) router: matchit::Router<Vec<&'static Endpoint>>,
    /// RFC 3339, UTC.
    pub(super) started: String,
    pub(super) http: Vec<SocketAddr>,
}

/// Time a client has to send the head of a request, and the longest an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections at a time; more wait.
const CONNECTIONS_MAX: usize = 64;
/// Rest after a failed accept: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

impl Admin {
    pub(crate) fn new(control: Control, observer: Arc<Observer>, http: Vec<SocketAddr>) -> Self {
        let started = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        Self { control, observer, router: answer::router(), started, http }
    }

    /// Serves on what was `bound`.
    pub(crate) async fn serve(self, bound: Bound) {
        let admin = Arc::new(self);
        let Bound { unix, tcp } = bound;
        let unix = async {
            let Some(socket) = &unix else { return };
            tracing::info!(target: "nylon", socket = %socket.path.display(), "admin");
            let mut connections = Connections::new(admin.clone());
            loop {
                connections.room().await;
                match socket.listener.accept().await {
                    Ok((stream, _)) => {
                        let checked =
                            stream.peer_cred().map_err(|e| e.to_string()).and_then(peer::check);
                        let door = checked.map_or_else(Door::Closed, |()| Door::Socket);
                        connections.spawn(stream, door);
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                }
            }
        };
        let tcp = async {
            let Some((listener, token)) = &tcp else { return };
            if let Ok(addr) = listener.local_addr() {
                tracing::info!(target: "nylon", %addr, "admin");
            }
            let mut connections = Connections::new(admin.clone());
            loop {
                connections.room().await;
                match listener.accept().await {
                    Ok((stream, _)) => connections.spawn(stream, Door::Tcp(token.clone())),
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                }
            }
        };
        tokio::join!(unix, tcp);
    }
}

/// The connections of one listener; they end with it.
struct Connections {
    admin: Arc<Admin>,
    room: Arc<Semaphore>,
    tasks: JoinSet<()>,
}

impl Connections {
    fn new(admin: Arc<Admin>) -> Self {
        Self { admin, room: Arc::new(Semaphore::new(CONNECTIONS_MAX)), tasks: JoinSet::new() }
    }

    /// Waits until there may be one more.
    async fn room(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        drop(self.room.acquire().await);
    }

    fn spawn(&mut self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, door: Door) {
        let (admin, place) = (self.admin.clone(), self.room.clone().try_acquire_owned());
        self.tasks.spawn(async move {
            let _place = place;
            let service = hyper::service::service_fn(|request| {
                let (admin, door) = (&admin, &door);
                async move { Ok::<_, Infallible>(admin.answer(request, door).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(e) = served.await {
                tracing::debug!(error = %e, "admin connection");
            }
        });
    }
}
