//! What nodes tell each other, as JSON on one channel: the events of Nylon's original, so that its nodes can listen too.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::rooms::Kind;
use crate::rooms::name;

/// What one node says to all.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Event<'a> {
    /// A connection is in a room.
    JoinRoom {
        #[serde(borrow)]
        connection_id: Cow<'a, str>,
        #[serde(borrow)]
        room: Cow<'a, str>,
        #[serde(borrow)]
        node_id: Cow<'a, str>,
    },
    /// It is in it no longer.
    LeaveRoom {
        #[serde(borrow)]
        connection_id: Cow<'a, str>,
        #[serde(borrow)]
        room: Cow<'a, str>,
        #[serde(borrow)]
        node_id: Cow<'a, str>,
    },
    /// It is gone.
    Disconnect {
        #[serde(borrow)]
        connection_id: Cow<'a, str>,
        #[serde(borrow)]
        node_id: Cow<'a, str>,
    },
    /// A message for all members of a room.
    BroadcastToRoom {
        #[serde(borrow)]
        room: Cow<'a, str>,
        #[serde(borrow)]
        message: Message<'a>,
        exclude_connection: Option<Cow<'a, str>>,
        #[serde(borrow)]
        sender_node_id: Cow<'a, str>,
    },
    /// A message for one connection.
    SendToConnection {
        #[serde(borrow)]
        connection_id: Cow<'a, str>,
        #[serde(borrow)]
        message: Message<'a>,
        #[serde(borrow)]
        sender_node_id: Cow<'a, str>,
    },
}

/// A message in an event. Those that are neither text nor binary are between a client and its own node: they go nowhere.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Message<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Binary(Cow<'a, [u8]>),
    Close { code: u16, reason: Cow<'a, str> },
    Ping(Cow<'a, [u8]>),
    Pong(Cow<'a, [u8]>),
}

/// What is to be done for an event of another node.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A message for the members of a room in this node, by its key.
    Room(String, Kind, Bytes),
    /// A message for a connection, if it is of this node.
    Connection(String, Kind, Bytes),
    /// Nothing: rooms are looked up where they are kept.
    Nothing,
    /// It is no event.
    Junk,
}

impl Event<'_> {
    /// As it is published.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are JSON")
    }
}

impl<'a> Message<'a> {
    pub(super) fn new(kind: Kind, payload: &'a [u8]) -> Self {
        match kind {
            Kind::Text => Self::Text(String::from_utf8_lossy(payload)),
            Kind::Binary => Self::Binary(payload.into()),
        }
    }

    /// As this node delivers it; none: it is for nobody here.
    fn deliverable(self) -> Option<(Kind, Bytes)> {
        match self {
            Self::Text(text) => Some((Kind::Text, text.into_owned().into())),
            Self::Binary(bytes) => Some((Kind::Binary, bytes.into_owned().into())),
            Self::Close { .. } | Self::Ping(_) | Self::Pong(_) => None,
        }
    }
}

/// The longest event looked at, for messages of at most `max_message` bytes: in JSON a byte takes up to four.
pub(super) fn longest(max_message: usize) -> usize {
    max_message.saturating_mul(4).saturating_add(4096)
}

/// Reads an event of somebody's; those of `node` itself are heard no second time.
pub(super) fn hear(json: &[u8], node: &str, max_message: usize) -> Heard {
    if json.len() > longest(max_message) {
        return Heard::Junk;
    }
    let Ok(event) = serde_json::from_slice(json) else { return Heard::Junk };
    let bounded = |(_, payload): &(Kind, Bytes)| payload.len() <= max_message;
    match event {
        Event::BroadcastToRoom { sender_node_id, .. }
        | Event::SendToConnection { sender_node_id, .. }
            if sender_node_id == node =>
        {
            Heard::Nothing
        }
        Event::BroadcastToRoom { room, message, .. } => match message.deliverable() {
            None => Heard::Nothing,
            Some(message) if !name::is_key(&room) || !bounded(&message) => Heard::Junk,
            Some((kind, payload)) => Heard::Room(room.into_owned(), kind, payload),
        },
        Event::SendToConnection { connection_id, message, .. } => match message.deliverable() {
            None => Heard::Nothing,
            Some(message) if !bounded(&message) => Heard::Junk,
            Some((kind, payload)) => Heard::Connection(connection_id.into_owned(), kind, payload),
        },
        Event::JoinRoom { .. } | Event::LeaveRoom { .. } | Event::Disconnect { .. } => {
            Heard::Nothing
        }
    }
}

/// How each event of `node` ends. Inside a string of JSON its quotes could not stand: nobody else's ends so.
pub(super) fn own_end(node: &str) -> Vec<u8> {
    format!("node_id\":\"{node}\"}}}}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broadcast<'a>(room: &'a str, message: Message<'a>) -> Event<'a> {
        Event::BroadcastToRoom {
            room: room.into(),
            message,
            exclude_connection: None,
            sender_node_id: "n1".into(),
        }
    }

    #[test]
    fn events_are_the_originals() {
        let event = broadcast("lobby", Message::new(Kind::Text, b"hi \"you\""));
        let json = r#"{"BroadcastToRoom":{"room":"lobby","message":{"Text":"hi \"you\""},"exclude_connection":null,"sender_node_id":"n1"}}"#;
        assert_eq!(event.to_json(), json.as_bytes());
        let event = Event::SendToConnection {
            connection_id: "n2:7".into(),
            message: Message::new(Kind::Binary, &[0, 255]),
            sender_node_id: "n1".into(),
        };
        let json = r#"{"SendToConnection":{"connection_id":"n2:7","message":{"Binary":[0,255]},"sender_node_id":"n1"}}"#;
        assert_eq!(event.to_json(), json.as_bytes());
        let event = Event::Disconnect { connection_id: "n1:1".into(), node_id: "n1".into() };
        assert_eq!(event.to_json(), br#"{"Disconnect":{"connection_id":"n1:1","node_id":"n1"}}"#);
    }

    #[test]
    fn what_is_told_is_heard() {
        let heard = hear(
            &broadcast("lobby", Message::new(Kind::Text, "ü\n".as_bytes())).to_json(),
            "n2",
            3,
        );
        assert_eq!(heard, Heard::Room("lobby".to_owned(), Kind::Text, "ü\n".into()));
        let bytes: Vec<u8> = (0..=255).collect();
        let heard = hear(&broadcast("r", Message::new(Kind::Binary, &bytes)).to_json(), "n2", 256);
        assert_eq!(heard, Heard::Room("r".to_owned(), Kind::Binary, bytes.into()));
        for event in [
            r#"{"JoinRoom":{"connection_id":"a","room":"b","node_id":"c"}}"#,
            r#"{"LeaveRoom":{"connection_id":"a","room":"b","node_id":"c"}}"#,
            r#"{"Disconnect":{"connection_id":"a","node_id":"c"}}"#,
            r#"{"BroadcastToRoom":{"room":"r","message":{"Ping":[1]},"exclude_connection":null,"sender_node_id":"x"}}"#,
            r#"{"SendToConnection":{"connection_id":"a","message":{"Close":{"code":1000,"reason":""}},"sender_node_id":"x"}}"#,
        ] {
            assert_eq!(hear(event.as_bytes(), "n2", 10), Heard::Nothing, "{event}");
        }
    }

    #[test]
    fn junk_is_junk() {
        let deep = "[".repeat(5_000);
        let too_long =
            String::from_utf8(broadcast("r", Message::new(Kind::Text, b"12345")).to_json())
                .unwrap();
        let no_room =
            String::from_utf8(broadcast("a\nb", Message::new(Kind::Text, b"1")).to_json()).unwrap();
        for junk in [
            "",
            "{}",
            "null",
            "7",
            "\"JoinRoom\"",
            &deep,
            &too_long,
            &no_room,
            r#"{"BroadcastToRoom":{"room":"r","message":{"Binary":[256]},"sender_node_id":"x"}}"#,
            r#"{"BroadcastToRoom":{"room":"r","message":{"Text":7},"sender_node_id":"x"}}"#,
            r#"{"SendToConnection":{"connection_id":[],"message":{"Text":""},"sender_node_id":"x"}}"#,
            r#"{"Else":{}}"#,
        ] {
            assert_eq!(hear(junk.as_bytes(), "n2", 4), Heard::Junk, "{junk}");
        }
        assert_eq!(hear(&[0xff, 0xfe], "n2", 4), Heard::Junk);
        assert_eq!(hear(&vec![b' '; longest(4) + 1], "n2", 4), Heard::Junk);
    }

    #[test]
    fn nobody_elses_ends_like_ones_own() {
        let end = own_end("n1");
        assert!(broadcast("r", Message::new(Kind::Text, b"x")).to_json().ends_with(&end));
        let forged = Event::SendToConnection {
            connection_id: "c".into(),
            message: Message::new(Kind::Text, &end),
            sender_node_id: String::from_utf8(end.clone()).unwrap().into(),
        };
        assert!(!forged.to_json().ends_with(&end));
        let spaced =
            r#"{"BroadcastToRoom":{"sender_node_id":"n1","room":"r","message":{"Text":""}}}"#;
        assert_eq!(hear(spaced.as_bytes(), "n1", 4), Heard::Nothing);
        assert!(matches!(hear(spaced.as_bytes(), "n2", 4), Heard::Room(..)));
    }
}
