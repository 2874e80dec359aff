//! `cgo`: a Go plugin in this process, by six exports of a C shared library (go/cgo), as Nylon worked before.
//!
//! Each session has an entry in a table and an unbounded channel. What the plugin says arrives in a callback on a thread
//! of Go, is copied, and goes through the channel to the session's task; the answer is another event down.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use libloading::Library;
use nylon_protocol::{FfiBuffer, wire};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::cell::{Kind, Round};
use crate::client::Client;
use crate::cpus::Cpus;
use crate::process::beside;
use crate::taker::Taker;
use crate::{Result, payload, tasks};

type Callback = extern "C" fn(*const FfiBuffer);

/// What one event says: its method and its bytes.
type Event = (u32, Vec<u8>);

/// The exports.
struct Plugin {
    register_session_stream: unsafe extern "C" fn(u32, *const c_char, c_int, Callback) -> bool,
    event_stream: unsafe extern "C" fn(*const FfiBuffer),
    close_session_stream: unsafe extern "C" fn(u32),
    plugin_free: unsafe extern "C" fn(*mut c_void),
    /// Never unloaded: a Go runtime cannot be.
    _library: Library,
}

static PLUGIN: OnceLock<Plugin> = OnceLock::new();

/// Session table: where the events of each open session go.
static SESSIONS: RwLock<Option<HashMap<u32, UnboundedSender<Event>>>> = RwLock::new(None);

impl Plugin {
    /// Loads the library into this process, Go's threads with it.
    fn load() -> Result<Self> {
        let path = beside("libpeer-cgo.so")?;
        let text = |e: libloading::Error| e.to_string();
        // SAFETY: the library is our own, built from go/cgo, and its exports have the types given here.
        unsafe {
            let library = Library::new(path).map_err(text)?;
            let initialize = *library
                .get::<unsafe extern "C" fn(*const c_char, c_int)>(b"initialize\0")
                .map_err(text)?;
            let plugin = Self {
                register_session_stream: *library
                    .get(b"register_session_stream\0")
                    .map_err(text)?,
                event_stream: *library.get(b"event_stream\0").map_err(text)?,
                close_session_stream: *library.get(b"close_session_stream\0").map_err(text)?,
                plugin_free: *library.get(b"plugin_free\0").map_err(text)?,
                _library: library,
            };
            initialize(c"{}".as_ptr(), 2);
            Ok(plugin)
        }
    }

    fn event(&self, sid: u32, phase: u8, method: u32, bytes: &[u8]) {
        let ptr = if bytes.is_empty() { std::ptr::null() } else { bytes.as_ptr() };
        let buffer = FfiBuffer { sid, phase, method, ptr, len: bytes.len() as u64 };
        // SAFETY: the plugin copies what `ptr` points at before it returns.
        unsafe { (self.event_stream)(&raw const buffer) };
    }
}

/// Called on a thread of Go.
extern "C" fn heard(buffer: *const FfiBuffer) {
    // SAFETY: the plugin passes a buffer that lives as long as this call.
    let buffer = unsafe { *buffer };
    let mut bytes = Vec::new();
    if !buffer.ptr.is_null() {
        let len = usize::try_from(buffer.len).unwrap_or_default();
        // SAFETY: `ptr` is `len` bytes the plugin allocated and gave away; they are freed once, after the copy.
        unsafe { bytes.extend_from_slice(std::slice::from_raw_parts(buffer.ptr, len)) };
        if let Some(plugin) = PLUGIN.get() {
            // SAFETY: as above.
            unsafe { (plugin.plugin_free)(buffer.ptr.cast_mut().cast()) };
        }
    }
    let sessions = SESSIONS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(session) = sessions.as_ref().and_then(|all| all.get(&buffer.sid)) {
        // A session that is over hears nothing more.
        let _ = session.send((buffer.method, bytes));
    }
}

/// What the session learned: the header the plugin set, and the bytes it finished with.
#[derive(Default)]
struct Outcome {
    header: Vec<u8>,
    last: Vec<u8>,
}

/// One request: the session is opened, its request filter runs, and it is closed.
async fn session(
    plugin: &Plugin,
    entry: &'static str,
    body: &[u8],
    nonce: &[u8],
) -> Result<Outcome> {
    static SIDS: AtomicU32 = AtomicU32::new(0);
    let sid = SIDS.fetch_add(1, Ordering::Relaxed);
    let (events, mut heard_of) = unbounded_channel();
    let table = || SESSIONS.write().unwrap_or_else(PoisonError::into_inner);
    table().get_or_insert_default().insert(sid, events);
    let len = c_int::try_from(entry.len()).map_err(|e| e.to_string())?;
    // SAFETY: the plugin copies the name before it returns.
    let opened =
        unsafe { (plugin.register_session_stream)(sid, entry.as_ptr().cast(), len, heard) };
    if !opened {
        return Err(format!("no entry {entry}"));
    }
    plugin.event(sid, wire::PHASE_REQUEST_FILTER, 0, body);
    let mut outcome = Outcome::default();
    loop {
        let (method, bytes) = heard_of.recv().await.ok_or("the plugin fell silent")?;
        let answer = match method {
            wire::METHOD_NEXT => {
                outcome.last = bytes;
                break;
            }
            wire::METHOD_SET_RESPONSE_HEADER => {
                outcome.header = bytes;
                continue;
            }
            wire::METHOD_READ_REQUEST_METHOD => b"GET",
            wire::METHOD_READ_REQUEST_PATH => b"/bench".as_slice(),
            wire::METHOD_READ_REQUEST_HEADER if bytes == b"x-nonce" => nonce,
            _ => return Err(format!("entry {entry} said {method} {bytes:?}")),
        };
        plugin.event(sid, wire::PHASE_NONE, method, answer);
    }
    // SAFETY: a plain call.
    unsafe { (plugin.close_session_stream)(sid) };
    table().get_or_insert_default().remove(&sid);
    Ok(outcome)
}

pub(crate) struct Cgo {
    runtime: Runtime,
    plugin: &'static Plugin,
}

impl Cgo {
    /// The host's runtime is the gateway's own: threads = CPUs − 1, here the CPU of clients. Go's threads have both.
    pub(crate) fn start(cpus: &Cpus) -> Result<Self> {
        Cpus::pin(&[cpus.client, cpus.server])?;
        let plugin = Plugin::load()?;
        let plugin = PLUGIN.get_or_init(|| plugin);
        Cpus::pin(&[cpus.client])?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|e| e.to_string())?;
        Ok(Self { runtime, plugin })
    }
}

impl Client for Cgo {
    fn server(&self) -> Option<u32> {
        None
    }

    fn round(&mut self, round: &Round, taker: &mut Taker) -> Result<()> {
        let (kind, size, plugin) = (round.cell.kind, round.cell.size, self.plugin);
        let template = Arc::new(payload::fresh(size));
        tasks::run(&self.runtime, round, taker, move |number| {
            let template = template.clone();
            async move { call(plugin, kind, &template, number).await }
        })
    }
}

async fn call(plugin: &Plugin, kind: Kind, template: &[u8], number: u64) -> Result<()> {
    let wrong = |found: &[u8]| Err(format!("call {number} came back as {found:?}"));
    match kind {
        Kind::Next => session(plugin, "next", &[], &[]).await.map(drop),
        Kind::Getters => {
            let nonce = number.to_string();
            let outcome = session(plugin, "getters", &[], nonce.as_bytes()).await?;
            let header = outcome.header.strip_prefix(b"x-bench\0");
            if header == Some(nonce.as_bytes()) { Ok(()) } else { wrong(&outcome.header) }
        }
        Kind::Echo => {
            let mut body = template.to_vec();
            payload::stamp(&mut body, number);
            let outcome = session(plugin, "echo", &body, &[]).await?;
            let found = payload::check(&outcome.last, body.len());
            if found == Some(number) { Ok(()) } else { wrong(&outcome.last[..8]) }
        }
    }
}
