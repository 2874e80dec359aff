//! What a route's WebSockets may do, and what becomes of them.

use super::diagnostic::Report;
use super::fields::{Fields, Located};
use crate::websocket::Origins;
use std::time::Duration;

/// The WebSockets of one path: what `websocket` of the path says, else that of the route, else the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebSockets {
    /// Pages that may open one; none named: all. Clients that send no `Origin` are no browsers and always may.
    pub origins: Origins,
    /// Bytes of the largest message a client may send; a larger one closes its socket (1009).
    pub max_message: usize,
    /// Bytes of the largest frame of it.
    pub max_frame: usize,
    /// A client is pinged when nothing came from it for so long.
    pub ping_interval: Duration,
    /// Time it has to answer before it is taken for gone.
    pub ping_timeout: Duration,
    /// What happens when a client takes less than it is sent.
    pub slow_client: SlowClient,
    /// Bytes that may wait for a client.
    pub send_queue: usize,
    /// What becomes of a socket whose worker dies or is replaced.
    pub on_worker_loss: OnWorkerLoss,
    /// Time for a close to be answered, by the client or by the plugin's `OnClose`.
    pub close_timeout: Duration,
}

/// What happens when a client takes less than it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowClient {
    /// The plugin's sends to it wait. What a room has for it cannot: of that the oldest is dropped.
    Block,
    /// The oldest messages that wait are dropped.
    DropOldest,
    /// Its socket is closed (1008).
    Close,
}

/// What becomes of a socket whose worker dies or is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnWorkerLoss {
    /// It is closed (1012): the client may come again at once.
    Close,
    /// It stays open and another worker of the plugin takes it over: `Resumed()` is true in its `OnOpen`.
    Resume,
}

impl Default for WebSockets {
    fn default() -> Self {
        Self {
            origins: Origins::default(),
            max_message: 1 << 20,
            max_frame: 1 << 20,
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            slow_client: SlowClient::Block,
            send_queue: 1 << 20,
            on_worker_loss: OnWorkerLoss::Close,
            close_timeout: Duration::from_secs(5),
        }
    }
}

/// Bytes a message may be allowed to have: a worker of the largest arena still takes it in pieces.
const MESSAGE: std::ops::RangeInclusive<u64> = 125..=64 << 20;
/// Bytes that may be allowed to wait for one client.
const QUEUE: std::ops::RangeInclusive<u64> = 64 << 10..=64 << 20;

/// The keys of one `websocket` section, where they are given.
#[derive(Debug, Clone, Default)]
pub(super) struct WebSocketsChange {
    origins: Option<Origins>,
    max_message: Option<usize>,
    max_frame: Option<usize>,
    ping_interval: Option<Duration>,
    ping_timeout: Option<Duration>,
    slow_client: Option<SlowClient>,
    send_queue: Option<usize>,
    on_worker_loss: Option<OnWorkerLoss>,
    close_timeout: Option<Duration>,
}

impl WebSocketsChange {
    /// Reads the section `websocket` of a route or a path.
    pub(super) fn read(fields: &mut Fields<'_>, report: &mut Report) -> Self {
        let Some(mut fields) = fields.map("websocket", "websocket policy", report) else {
            return Self::default();
        };
        let slow = [
            ("block", SlowClient::Block),
            ("drop-oldest", SlowClient::DropOldest),
            ("close", SlowClient::Close),
        ];
        let loss = [("close", OnWorkerLoss::Close), ("resume", OnWorkerLoss::Resume)];
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let change = Self {
            origins: origins(&mut fields, report),
            max_message: fields.bytes("max_message", MESSAGE, report).map(size),
            max_frame: fields.bytes("max_frame", MESSAGE, report).map(size),
            ping_interval: fields.duration("ping_interval", report),
            ping_timeout: fields.duration("ping_timeout", report),
            slow_client: fields.choice("slow_client", &slow, report).map(|found| found.value),
            send_queue: fields.bytes("send_queue", QUEUE, report).map(size),
            on_worker_loss: fields.choice("on_worker_loss", &loss, report).map(|found| found.value),
            close_timeout: fields.duration("close_timeout", report),
        };
        fields.finish(report);
        change
    }

    /// This where it says something, else `under`.
    pub(super) fn over(&self, under: &WebSockets) -> WebSockets {
        let max_message = self.max_message.unwrap_or(under.max_message);
        let changed = self.max_message.is_some();
        WebSockets {
            origins: self.origins.clone().unwrap_or_else(|| under.origins.clone()),
            max_message,
            // A limit of messages alone is one of frames as well: a message may be one frame.
            max_frame: match self.max_frame {
                Some(frame) => frame,
                None if changed => max_message,
                None => under.max_frame,
            },
            ping_interval: self.ping_interval.unwrap_or(under.ping_interval),
            ping_timeout: self.ping_timeout.unwrap_or(under.ping_timeout),
            slow_client: self.slow_client.unwrap_or(under.slow_client),
            send_queue: self.send_queue.unwrap_or(under.send_queue),
            on_worker_loss: self.on_worker_loss.unwrap_or(under.on_worker_loss),
            close_timeout: self.close_timeout.unwrap_or(under.close_timeout),
        }
    }
}

/// The pages that may open a WebSocket.
fn origins(fields: &mut Fields<'_>, report: &mut Report) -> Option<Origins> {
    fields.refuse_empty("origins", "name an origin, or take the key out to allow all", report);
    fields.get("origins")?;
    let mut origins = Origins::default();
    for Located { value, at } in fields.texts("origins", report) {
        if let Err(why) = origins.add(&value) {
            report.error(&at, format!("`{value}` is not an origin: {why}")).help = Some(
                "write a scheme and a host, as in `https://example.com` or `https://*.example.com`"
                    .to_owned(),
            );
        }
    }
    Some(origins)
}
