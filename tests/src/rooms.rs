//! A client of the test plugin's entry `ws-rooms`, which does as it is told.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::websocket::WebSocket;

/// What becomes of a room does so within it.
const SOON: Duration = Duration::from_secs(10);

impl WebSocket {
    /// Opens one whose `OnOpen` joins `room`; it is in it when this is done.
    pub async fn member(addr: SocketAddr, path: &str, room: &str) -> WebSocket {
        let mut socket = WebSocket::open(addr, &format!("{path}?join={room}")).await;
        assert_eq!(socket.text().await, r#"{"op":"join"}"#);
        socket
    }

    /// Orders something that must work: its value.
    pub async fn ok(&mut self, order: Value) -> String {
        let answer = self.order(order.clone()).await;
        assert_eq!(answer["error"], Value::Null, "{order}");
        answer["value"].as_str().unwrap_or_default().to_owned()
    }

    /// Its id, as the plugin knows it.
    pub async fn id(&mut self) -> String {
        self.ok(json!({"op": "id"})).await
    }

    /// The process that has it now.
    pub async fn pid(&mut self) -> u32 {
        self.ok(json!({"op": "pid"})).await.parse().expect("a pid")
    }

    /// Sends a text to all members of a room.
    pub async fn broadcast(&mut self, room: &str, text: &str) {
        self.ok(json!({"op": "broadcast", "room": room, "text": text})).await;
    }

    /// How many members a room has.
    pub async fn size(&mut self, room: &str) -> usize {
        self.ok(json!({"op": "size", "room": room})).await.parse().expect("a number")
    }

    /// Asks until a room has so many members; panics if it never has.
    pub async fn size_becomes(&mut self, room: &str, wanted: usize) {
        let end = tokio::time::Instant::now() + SOON;
        loop {
            let now = self.size(room).await;
            if now == wanted {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "{room} has {now} members, not {wanted}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the connection by RST.
    pub fn reset(mut self) {
        let linger = rustix::net::sockopt::set_socket_linger(self.stream(), Some(Duration::ZERO));
        linger.expect("an option");
    }
}
