//! What is counted of the WebSockets of one plugin.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a WebSocket came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SocketEnd {
    /// The client closed it, or left.
    Client,
    /// The plugin closed it.
    Plugin,
    /// The client broke RFC 6455, or a limit of its route.
    Protocol,
    /// The client answered no ping.
    Timeout,
    /// The client took too little of what it was sent.
    Slow,
    /// The gateway stops.
    Shutdown,
    /// Its worker was gone or replaced, and no other took it over.
    Worker,
    /// A callback could not be run.
    Error,
}

impl SocketEnd {
    /// All of them, in the order they are declared.
    pub(crate) const ALL: [Self; 8] = [
        Self::Client,
        Self::Plugin,
        Self::Protocol,
        Self::Timeout,
        Self::Slow,
        Self::Shutdown,
        Self::Worker,
        Self::Error,
    ];

    /// Its name as a label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Plugin => "plugin",
            Self::Protocol => "protocol",
            Self::Timeout => "timeout",
            Self::Slow => "slow",
            Self::Shutdown => "shutdown",
            Self::Worker => "worker",
            Self::Error => "error",
        }
    }
}

/// Counts of one plugin's WebSockets.
#[derive(Debug, Default)]
pub(crate) struct SocketCounts {
    opened: AtomicU64,
    resumed: AtomicU64,
    refused: AtomicU64,
    /// From clients, to clients.
    messages: [AtomicU64; 2],
    bytes: [AtomicU64; 2],
    dropped: AtomicU64,
    ends: [AtomicU64; SocketEnd::ALL.len()],
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From a client to the plugin.
    In,
    /// To a client.
    Out,
}

impl SocketCounts {
    /// A client became a WebSocket.
    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// Another worker took one over.
    pub(crate) fn resumed(&self) {
        self.resumed.fetch_add(1, Ordering::Relaxed);
    }

    /// An upgrade was refused: a bad handshake, an origin, a limit.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// A message of `bytes` payload went through.
    pub(crate) fn message(&self, way: Way, bytes: usize) {
        self.messages[way as usize].fetch_add(1, Ordering::Relaxed);
        self.bytes[way as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// `n` messages to a client that takes too little were dropped.
    pub(crate) fn dropped(&self, n: u64) {
        self.dropped.fetch_add(n, Ordering::Relaxed);
    }

    /// One came to its end.
    pub(crate) fn ended(&self, end: SocketEnd) {
        self.ends[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Those opened so far.
    pub(crate) fn opened_total(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Those taken over so far.
    pub(crate) fn resumed_total(&self) -> u64 {
        self.resumed.load(Ordering::Relaxed)
    }

    /// Upgrades refused so far.
    pub(crate) fn refused_total(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Messages to slow clients dropped so far.
    pub(crate) fn dropped_total(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Those open now.
    pub(crate) fn open(&self) -> u64 {
        // The ends first: one that comes and goes meanwhile is not counted as gone alone.
        let ended: u64 = self.ends().map(|(_, n)| n).sum();
        self.opened_total().saturating_sub(ended)
    }

    /// Messages and bytes of payload: in, out.
    pub(crate) fn traffic(&self) -> [(u64, u64); 2] {
        let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
        [0, 1].map(|way| (get(&self.messages[way]), get(&self.bytes[way])))
    }

    /// Ends so far.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (SocketEnd, u64)> {
        let counts = self.ends.iter().map(|n| n.load(Ordering::Relaxed));
        SocketEnd::ALL.into_iter().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_was_opened_and_has_not_ended() {
        let counts = SocketCounts::default();
        for end in SocketEnd::ALL {
            counts.opened();
            counts.opened();
            counts.ended(end);
        }
        assert_eq!(counts.open(), 8);
        assert!(counts.ends().all(|(_, n)| n == 1));
        for (n, end) in SocketEnd::ALL.into_iter().enumerate() {
            assert_eq!(end as usize, n);
        }
    }
}
