//! Generated from wire.toml by `cargo xtask gen`. Do not edit.

/// First eight bytes of a segment.
pub const MAGIC: u64 = 0x314d48534e4c594e;
/// ABI major.
pub const ABI_MAJOR: u16 = 1;
/// Highest ABI minor spoken.
pub const ABI_MINOR: u16 = 2;
/// Lowest ABI minor spoken.
pub const ABI_MINOR_MIN: u16 = 0;
/// FNV-1a64 of the frozen groups (SPEC.md 1.4).
pub const LAYOUT_HASH: u64 = 0x8e4dc0cd9022414d;

// Offsets in the 4096-byte header page of a segment (SPEC.md 2.3).
/// u64, the magic
pub const HEADER_MAGIC: usize = 0;
/// u16
pub const HEADER_ABI_MAJOR: usize = 8;
/// u16, highest minor of the segment's owner
pub const HEADER_ABI_MINOR: usize = 10;
/// u32, always 4096
pub const HEADER_HEADER_LEN: usize = 12;
/// u64
pub const HEADER_LAYOUT_HASH: usize = 16;
/// u64, random and not zero, one per process incarnation
pub const HEADER_EPOCH: usize = 24;
/// u64, length of the segment in bytes
pub const HEADER_SEG_LEN: usize = 32;
/// u32, 1..=64
pub const HEADER_LANES: usize = 40;
/// u32 N, a power of two, 64..=4096
pub const HEADER_SLOTS: usize = 44;
/// u32, always 128
pub const HEADER_SLOT_SIZE: usize = 48;
/// u32, always 0x01020304
pub const HEADER_ENDIAN: usize = 52;
/// u64 A, a power of two, 256 KiB..=64 MiB
pub const HEADER_ARENA_LEN: usize = 56;
/// u64, a multiple of 4096
pub const HEADER_LANE_STRIDE: usize = 64;
/// u64, always 0x1000
pub const HEADER_LANE0_OFF: usize = 72;
/// u64, feature bits of the segment's owner
pub const HEADER_FEATURES: usize = 80;
/// u32, one of STATE_*; in a 128-byte block of its own
pub const HEADER_STATE: usize = 128;
/// u32, H only: how long the worker may spin, in ns; 0 = not at all
pub const HEADER_SPIN_NS_PEER: usize = 256;
/// u32, H only: bumped after spin_ns_peer changed
pub const HEADER_POLICY_SEQ: usize = 260;

// Offsets in a lane, from the lane's start (SPEC.md 2.4).
/// u32, W=owner: doorbell of the ring stored in this segment
pub const LANE_BELL: usize = 0;
/// u32, H only: bumped when frames stay untaken though the worker is awake
pub const LANE_RESCUE: usize = 4;
/// u32, W=owner as consumer: slots of the other segment's ring released, free-running
pub const LANE_HEAD: usize = 128;
/// u64, W=owner as consumer: bytes of the other segment's arena released
pub const LANE_ARENA_HEAD: usize = 136;
/// u32, W=owner as consumer: even = awake, odd = sleeping epoch
pub const LANE_WAIT: usize = 256;
/// u32, W=owner as producer out of space: even/odd epoch
pub const LANE_SPACE_WAIT: usize = 384;
/// u32, W=owner as consumer: rung after a release while the peer's space_wait is odd
pub const LANE_SPACE_BELL: usize = 388;
/// u64\[16\], W=owner, never trusted
pub const LANE_STATS: usize = 512;
/// slot\[N\], then arena\[A\], 128-aligned
pub const LANE_RING: usize = 1024;

// Offsets in a 128-byte slot (SPEC.md 3.1).
/// u32 publish word = low32(pos)+1
pub const SLOT_SEQ: usize = 0;
/// u8
pub const SLOT_KIND: usize = 4;
/// u8
pub const SLOT_PHASE: usize = 5;
/// u16
pub const SLOT_FLAGS: usize = 6;
/// u32
pub const SLOT_SID: usize = 8;
/// u32
pub const SLOT_METHOD: usize = 12;
/// u32
pub const SLOT_CALL_IDX: usize = 16;
/// u32
pub const SLOT_CALL_GEN: usize = 20;
/// u64
pub const SLOT_ARENA_POS: usize = 24;
/// u32
pub const SLOT_LEN: usize = 32;
/// u32
pub const SLOT_STATUS: usize = 36;
/// u8\[24\], going on in the tail line
pub const SLOT_INLINE: usize = 40;
/// u8\[64\]
pub const SLOT_TAIL: usize = 64;

// Sizes the layout is made of, in bytes unless said otherwise.
/// header page
pub const SIZE_HEADER: usize = 4096;
/// one slot: a frame line and a tail line
pub const SIZE_SLOT: usize = 128;
/// arena granule
pub const SIZE_LINE: usize = 64;
/// largest payload that travels inside the slot
pub const SIZE_INLINE: usize = 88;
/// part of an inline payload that sits in the frame line
pub const SIZE_INLINE_HEAD: usize = 24;
/// lane strides are multiples of this
pub const SIZE_PAGE: usize = 4096;

// Fixed words.
/// what `endian` reads on a little-endian host
pub const CONST_ENDIAN: u32 = 16909060;

// Values of the header's `state` (H: written by the host).
/// not attached yet
pub const STATE_INIT: u32 = 0;
/// handshake done, frames may flow
pub const STATE_READY: u32 = 1;
/// no new invocation will come
pub const STATE_DRAINING: u32 = 2;
/// the host has let go of the segment
pub const STATE_CLOSED: u32 = 3;

// Frame kinds (SPEC.md 3.2). 0 is never valid, so that a hole reads as a violation.
/// host: start an invocation; worker: ask the host something
pub const KIND_CALL: u8 = 1;
/// worker: the final answer of an invocation; host: the answer to a worker's CALL
pub const KIND_REPLY: u8 = 2;
/// worker: the invocation failed; host: a worker's CALL failed
pub const KIND_ERROR: u8 = 3;
/// host: this invocation is void; `status` is a CANCEL_* reason
pub const KIND_CANCEL: u8 = 4;
/// host: are you there; `status` is echoed
pub const KIND_PING: u8 = 5;
/// worker: echo of PING
pub const KIND_PONG: u8 = 6;
/// worker: please drain me; host: no new invocation will come
pub const KIND_GOAWAY: u8 = 7;
/// a piece of a body or stream of an open invocation
pub const KIND_DATA: u8 = 8;
/// bytes of DATA taken so far, u64, of an open invocation
pub const KIND_WINDOW: u8 = 9;
/// host: the session is over on both sides; no answer
pub const KIND_CLOSE: u8 = 10;
/// The key of a `KIND_*`, for people; `None` when there is none.
pub fn kind_name(value: u8) -> Option<&'static str> {
    Some(match value {
        KIND_CALL => "call",
        KIND_REPLY => "reply",
        KIND_ERROR => "error",
        KIND_CANCEL => "cancel",
        KIND_PING => "ping",
        KIND_PONG => "pong",
        KIND_GOAWAY => "goaway",
        KIND_DATA => "data",
        KIND_WINDOW => "window",
        KIND_CLOSE => "close",
        _ => return None,
    })
}

// Frame flags (SPEC.md 3.3).
/// the payload sits in the slot; arena_pos is 0
pub const FLAG_INLINE: u16 = 1;
/// DATA: more pieces follow
pub const FLAG_MORE: u16 = 2;
/// kept for later minors: nobody sets it, a receiver ignores it
pub const FLAG_ONEWAY: u16 = 4;
/// host CALL: opens the session named by sid
pub const FLAG_OPEN: u16 = 8;
/// host CALL: more of this phase may come in this session, so its answer does not end it
pub const FLAG_KEEP: u16 = 16;
/// all bits a minor of this major may set
pub const FLAG_KNOWN: u16 = 31;
/// The key of a `FLAG_*`, for people; `None` when there is none.
pub fn flag_name(value: u16) -> Option<&'static str> {
    Some(match value {
        FLAG_INLINE => "inline",
        FLAG_MORE => "more",
        FLAG_ONEWAY => "oneway",
        FLAG_OPEN => "open",
        FLAG_KEEP => "keep",
        FLAG_KNOWN => "known",
        _ => return None,
    })
}

// Phases of a request (SPEC.md 5.1).
/// method traffic
pub const PHASE_NONE: u8 = 0;
/// before the upstream is chosen
pub const PHASE_REQUEST_FILTER: u8 = 1;
/// when response headers exist
pub const PHASE_RESPONSE_FILTER: u8 = 2;
/// once per response body piece
pub const PHASE_RESPONSE_BODY_FILTER: u8 = 3;
/// after the response is complete or failed
pub const PHASE_LOGGING: u8 = 4;
/// once per request body piece on its way up (since 1.1)
pub const PHASE_REQUEST_BODY_FILTER: u8 = 5;
/// The key of a `PHASE_*`, for people; `None` when there is none.
pub fn phase_name(value: u8) -> Option<&'static str> {
    Some(match value {
        PHASE_NONE => "none",
        PHASE_REQUEST_FILTER => "request_filter",
        PHASE_RESPONSE_FILTER => "response_filter",
        PHASE_RESPONSE_BODY_FILTER => "response_body_filter",
        PHASE_LOGGING => "logging",
        PHASE_REQUEST_BODY_FILTER => "request_body_filter",
        _ => return None,
    })
}

// Methods (SPEC.md 6). 1..=2 and 105 finish an invocation; 100..=103, 113 and 220..=225 are entries of a mutation record; of them only 103 and 225 are methods of frames too: DATA, staged (SPEC.md 5.7).
/// no method
pub const METHOD_NONE: u32 = 0;
/// this step is done, go on
pub const METHOD_NEXT: u32 = 1;
/// this step is done, answer with what was collected
pub const METHOD_END: u32 = 2;
/// JSON of the item's payload, when it was too large for the step record
pub const METHOD_GET_PAYLOAD: u32 = 3;
/// entry: key, value; replaces
pub const METHOD_SET_RESPONSE_HEADER: u32 = 100;
/// entry: key
pub const METHOD_REMOVE_RESPONSE_HEADER: u32 = 101;
/// entry: value = u16 big endian
pub const METHOD_SET_RESPONSE_STATUS: u32 = 102;
/// entry: value, or flag STAGED; DATA: a staged piece
pub const METHOD_SET_RESPONSE_FULL_BODY: u32 = 103;
/// DATA: one piece of a streamed response
pub const METHOD_SET_RESPONSE_STREAM_DATA: u32 = 104;
/// finishes a streamed response
pub const METHOD_SET_RESPONSE_STREAM_END: u32 = 105;
/// CALL: commit and send the response head now
pub const METHOD_SET_RESPONSE_STREAM_HEADER: u32 = 106;
/// CALL: the body set so far by earlier steps
pub const METHOD_READ_RESPONSE_FULL_BODY: u32 = 107;
/// SDK-local
pub const METHOD_READ_RESPONSE_STATUS: u32 = 108;
/// SDK-local
pub const METHOD_READ_RESPONSE_BYTES: u32 = 109;
/// SDK-local
pub const METHOD_READ_RESPONSE_HEADERS: u32 = 110;
/// SDK-local
pub const METHOD_READ_RESPONSE_DURATION: u32 = 111;
/// SDK-local
pub const METHOD_READ_RESPONSE_ERROR: u32 = 112;
/// entry: key, value; keeps earlier ones
pub const METHOD_ADD_RESPONSE_HEADER: u32 = 113;
/// CALL: whole request body; the answer is DATA
pub const METHOD_READ_REQUEST_FULL_BODY: u32 = 200;
/// SDK-local
pub const METHOD_READ_REQUEST_HEADER: u32 = 201;
/// SDK-local
pub const METHOD_READ_REQUEST_HEADERS: u32 = 202;
/// SDK-local
pub const METHOD_READ_REQUEST_URL: u32 = 203;
/// SDK-local
pub const METHOD_READ_REQUEST_PATH: u32 = 204;
/// SDK-local
pub const METHOD_READ_REQUEST_QUERY: u32 = 205;
/// SDK-local
pub const METHOD_READ_REQUEST_PARAMS: u32 = 206;
/// SDK-local
pub const METHOD_READ_REQUEST_HOST: u32 = 207;
/// SDK-local
pub const METHOD_READ_REQUEST_CLIENT_IP: u32 = 208;
/// SDK-local
pub const METHOD_READ_REQUEST_METHOD: u32 = 209;
/// SDK-local
pub const METHOD_READ_REQUEST_BYTES: u32 = 210;
/// SDK-local
pub const METHOD_READ_REQUEST_TIMESTAMP: u32 = 211;
/// CALL: the request body as it arrives; the answer is DATA
pub const METHOD_STREAM_REQUEST_BODY: u32 = 212;
/// entry: value (since 1.1)
pub const METHOD_SET_REQUEST_METHOD: u32 = 220;
/// entry: value (since 1.1)
pub const METHOD_SET_REQUEST_PATH: u32 = 221;
/// entry: value (since 1.1)
pub const METHOD_SET_REQUEST_QUERY: u32 = 222;
/// entry: key, value; replaces (since 1.1)
pub const METHOD_SET_REQUEST_HEADER: u32 = 223;
/// entry: key (since 1.1)
pub const METHOD_REMOVE_REQUEST_HEADER: u32 = 224;
/// entry: value, or flag STAGED; DATA: a staged piece (since 1.1)
pub const METHOD_SET_REQUEST_BODY: u32 = 225;
/// final REPLY: the client is to become a WebSocket; the payload is a mutation record, the headers of the 101 (since 1.2)
pub const METHOD_WEBSOCKET_UPGRADE: u32 = 300;
/// DATA: a text message to the client (since 1.2)
pub const METHOD_WEBSOCKET_SEND_TEXT: u32 = 301;
/// DATA: a binary message to the client (since 1.2)
pub const METHOD_WEBSOCKET_SEND_BINARY: u32 = 302;
/// DATA: close the socket; a closing record (since 1.2)
pub const METHOD_WEBSOCKET_CLOSE: u32 = 303;
/// DATA: a ping to the client (since 1.2)
pub const METHOD_WEBSOCKET_PING: u32 = 304;
/// DATA: the room's name (since 1.2)
pub const METHOD_WEBSOCKET_JOIN_ROOM: u32 = 310;
/// DATA: the room's name (since 1.2)
pub const METHOD_WEBSOCKET_LEAVE_ROOM: u32 = 311;
/// DATA: an addressed record, a room and a text message (since 1.2)
pub const METHOD_WEBSOCKET_BROADCAST_ROOM_TEXT: u32 = 312;
/// DATA: an addressed record, a room and a binary message (since 1.2)
pub const METHOD_WEBSOCKET_BROADCAST_ROOM_BINARY: u32 = 313;
/// DATA: an addressed record, a connection and a text message (since 1.2)
pub const METHOD_WEBSOCKET_SEND_TEXT_TO: u32 = 314;
/// DATA: an addressed record, a connection and a binary message (since 1.2)
pub const METHOD_WEBSOCKET_SEND_BINARY_TO: u32 = 315;
/// CALL: the room's name; the answer is its number of members, u64 (since 1.2)
pub const METHOD_WEBSOCKET_ROOM_SIZE: u32 = 316;
/// host CALL, phase 0: opens a conversation (since 1.2)
pub const METHOD_WEBSOCKET_ON_OPEN: u32 = 350;
/// host DATA: a text message of the client (since 1.2)
pub const METHOD_WEBSOCKET_ON_MESSAGE_TEXT: u32 = 351;
/// host DATA: a binary message of the client (since 1.2)
pub const METHOD_WEBSOCKET_ON_MESSAGE_BINARY: u32 = 352;
/// host DATA: the socket is closed, a closing record; final REPLY: the conversation is over (since 1.2)
pub const METHOD_WEBSOCKET_ON_CLOSE: u32 = 353;
/// host DATA: what went wrong, UTF-8 (since 1.2)
pub const METHOD_WEBSOCKET_ON_ERROR: u32 = 354;
/// host DATA: another worker takes the socket over (since 1.2)
pub const METHOD_WEBSOCKET_HAND_OVER: u32 = 355;
/// The key of a `METHOD_*`, for people; `None` when there is none.
pub fn method_name(value: u32) -> Option<&'static str> {
    Some(match value {
        METHOD_NONE => "none",
        METHOD_NEXT => "next",
        METHOD_END => "end",
        METHOD_GET_PAYLOAD => "get_payload",
        METHOD_SET_RESPONSE_HEADER => "set_response_header",
        METHOD_REMOVE_RESPONSE_HEADER => "remove_response_header",
        METHOD_SET_RESPONSE_STATUS => "set_response_status",
        METHOD_SET_RESPONSE_FULL_BODY => "set_response_full_body",
        METHOD_SET_RESPONSE_STREAM_DATA => "set_response_stream_data",
        METHOD_SET_RESPONSE_STREAM_END => "set_response_stream_end",
        METHOD_SET_RESPONSE_STREAM_HEADER => "set_response_stream_header",
        METHOD_READ_RESPONSE_FULL_BODY => "read_response_full_body",
        METHOD_READ_RESPONSE_STATUS => "read_response_status",
        METHOD_READ_RESPONSE_BYTES => "read_response_bytes",
        METHOD_READ_RESPONSE_HEADERS => "read_response_headers",
        METHOD_READ_RESPONSE_DURATION => "read_response_duration",
        METHOD_READ_RESPONSE_ERROR => "read_response_error",
        METHOD_ADD_RESPONSE_HEADER => "add_response_header",
        METHOD_READ_REQUEST_FULL_BODY => "read_request_full_body",
        METHOD_READ_REQUEST_HEADER => "read_request_header",
        METHOD_READ_REQUEST_HEADERS => "read_request_headers",
        METHOD_READ_REQUEST_URL => "read_request_url",
        METHOD_READ_REQUEST_PATH => "read_request_path",
        METHOD_READ_REQUEST_QUERY => "read_request_query",
        METHOD_READ_REQUEST_PARAMS => "read_request_params",
        METHOD_READ_REQUEST_HOST => "read_request_host",
        METHOD_READ_REQUEST_CLIENT_IP => "read_request_client_ip",
        METHOD_READ_REQUEST_METHOD => "read_request_method",
        METHOD_READ_REQUEST_BYTES => "read_request_bytes",
        METHOD_READ_REQUEST_TIMESTAMP => "read_request_timestamp",
        METHOD_STREAM_REQUEST_BODY => "stream_request_body",
        METHOD_SET_REQUEST_METHOD => "set_request_method",
        METHOD_SET_REQUEST_PATH => "set_request_path",
        METHOD_SET_REQUEST_QUERY => "set_request_query",
        METHOD_SET_REQUEST_HEADER => "set_request_header",
        METHOD_REMOVE_REQUEST_HEADER => "remove_request_header",
        METHOD_SET_REQUEST_BODY => "set_request_body",
        METHOD_WEBSOCKET_UPGRADE => "websocket_upgrade",
        METHOD_WEBSOCKET_SEND_TEXT => "websocket_send_text",
        METHOD_WEBSOCKET_SEND_BINARY => "websocket_send_binary",
        METHOD_WEBSOCKET_CLOSE => "websocket_close",
        METHOD_WEBSOCKET_PING => "websocket_ping",
        METHOD_WEBSOCKET_JOIN_ROOM => "websocket_join_room",
        METHOD_WEBSOCKET_LEAVE_ROOM => "websocket_leave_room",
        METHOD_WEBSOCKET_BROADCAST_ROOM_TEXT => "websocket_broadcast_room_text",
        METHOD_WEBSOCKET_BROADCAST_ROOM_BINARY => "websocket_broadcast_room_binary",
        METHOD_WEBSOCKET_SEND_TEXT_TO => "websocket_send_text_to",
        METHOD_WEBSOCKET_SEND_BINARY_TO => "websocket_send_binary_to",
        METHOD_WEBSOCKET_ROOM_SIZE => "websocket_room_size",
        METHOD_WEBSOCKET_ON_OPEN => "websocket_on_open",
        METHOD_WEBSOCKET_ON_MESSAGE_TEXT => "websocket_on_message_text",
        METHOD_WEBSOCKET_ON_MESSAGE_BINARY => "websocket_on_message_binary",
        METHOD_WEBSOCKET_ON_CLOSE => "websocket_on_close",
        METHOD_WEBSOCKET_ON_ERROR => "websocket_on_error",
        METHOD_WEBSOCKET_HAND_OVER => "websocket_hand_over",
        _ => return None,
    })
}

// Sections of a step record (SPEC.md 4.2), in the order they must stand in.
/// aux = index into HelloOk.entries; no body
pub const SECTION_ENTRY: u16 = 1;
/// the request record
pub const SECTION_REQUEST: u16 = 2;
/// body = u32 sid of an open session in this worker that holds the record
pub const SECTION_REQUEST_OF: u16 = 3;
/// the item's payload, JSON bytes
pub const SECTION_PAYLOAD: u16 = 4;
/// body = u32 index into Hello.payloads
pub const SECTION_PAYLOAD_ID: u16 = 5;
/// there is a payload, fetch it by GET_PAYLOAD; no body
pub const SECTION_PAYLOAD_CALL: u16 = 6;
/// the response head as it stands
pub const SECTION_RESPONSE: u16 = 7;
/// body piece; aux = PIECE_* bits
pub const SECTION_PIECE: u16 = 8;
/// what Logging may ask
pub const SECTION_STATS: u16 = 9;
/// the last response head this session got still stands; no body (since 1.1)
pub const SECTION_RESPONSE_KEPT: u16 = 10;
/// the socket a conversation is about (since 1.2)
pub const SECTION_WEBSOCKET: u16 = 11;

// aux bits of the section `piece`.
/// no piece follows
pub const PIECE_LAST: u16 = 1;

// flags of a response head.
/// the host holds a body set by an earlier step
pub const HEAD_BODY: u32 = 1;

// Offsets in a request record (SPEC.md 4.3).
/// u32, length of the record, a multiple of 8
pub const REQUEST_LEN: usize = 0;
/// u16, number of header pairs
pub const REQUEST_HEADERS: usize = 4;
/// u16, number of route parameter pairs, after the headers
pub const REQUEST_PARAMS: usize = 6;
/// i64, Unix ms
pub const REQUEST_TIMESTAMP: usize = 8;
/// u64, Content-Length or 0
pub const REQUEST_BYTES: usize = 16;
/// u16, port of the URL; 0 when none, 80 or 443
pub const REQUEST_PORT: usize = 24;
/// u8, REQFLAG_*
pub const REQUEST_FLAGS: usize = 26;
/// u8, 10, 11 or 20
pub const REQUEST_VERSION: usize = 27;
/// u32, 0
pub const REQUEST_RESERVED: usize = 28;
/// span
pub const REQUEST_METHOD: usize = 32;
/// span
pub const REQUEST_PATH: usize = 40;
/// span, without '?'
pub const REQUEST_QUERY: usize = 48;
/// span, without port
pub const REQUEST_HOST: usize = 56;
/// span
pub const REQUEST_CLIENT_IP: usize = 64;
/// span
pub const REQUEST_REQUEST_ID: usize = 72;
/// two spans, 0
pub const REQUEST_SPARE: usize = 80;
/// pair\[headers+params\], 16 B each: span name, span value
pub const REQUEST_PAIRS: usize = 96;

// Header names that travel as ids (SPEC.md 4.8): 1..=47 the regular ones of RFC 7541, Appendix A, then what browsers and proxies send. Never renumbered; a longer table is another feature.
/// accept-charset
pub const NAME_ACCEPT_CHARSET: u32 = 1;
/// accept-encoding
pub const NAME_ACCEPT_ENCODING: u32 = 2;
/// accept-language
pub const NAME_ACCEPT_LANGUAGE: u32 = 3;
/// accept-ranges
pub const NAME_ACCEPT_RANGES: u32 = 4;
/// accept
pub const NAME_ACCEPT: u32 = 5;
/// access-control-allow-origin
pub const NAME_ACCESS_CONTROL_ALLOW_ORIGIN: u32 = 6;
/// age
pub const NAME_AGE: u32 = 7;
/// allow
pub const NAME_ALLOW: u32 = 8;
/// authorization
pub const NAME_AUTHORIZATION: u32 = 9;
/// cache-control
pub const NAME_CACHE_CONTROL: u32 = 10;
/// content-disposition
pub const NAME_CONTENT_DISPOSITION: u32 = 11;
/// content-encoding
pub const NAME_CONTENT_ENCODING: u32 = 12;
/// content-language
pub const NAME_CONTENT_LANGUAGE: u32 = 13;
/// content-length
pub const NAME_CONTENT_LENGTH: u32 = 14;
/// content-location
pub const NAME_CONTENT_LOCATION: u32 = 15;
/// content-range
pub const NAME_CONTENT_RANGE: u32 = 16;
/// content-type
pub const NAME_CONTENT_TYPE: u32 = 17;
/// cookie
pub const NAME_COOKIE: u32 = 18;
/// date
pub const NAME_DATE: u32 = 19;
/// etag
pub const NAME_ETAG: u32 = 20;
/// expect
pub const NAME_EXPECT: u32 = 21;
/// expires
pub const NAME_EXPIRES: u32 = 22;
/// from
pub const NAME_FROM: u32 = 23;
/// host
pub const NAME_HOST: u32 = 24;
/// if-match
pub const NAME_IF_MATCH: u32 = 25;
/// if-modified-since
pub const NAME_IF_MODIFIED_SINCE: u32 = 26;
/// if-none-match
pub const NAME_IF_NONE_MATCH: u32 = 27;
/// if-range
pub const NAME_IF_RANGE: u32 = 28;
/// if-unmodified-since
pub const NAME_IF_UNMODIFIED_SINCE: u32 = 29;
/// last-modified
pub const NAME_LAST_MODIFIED: u32 = 30;
/// link
pub const NAME_LINK: u32 = 31;
/// location
pub const NAME_LOCATION: u32 = 32;
/// max-forwards
pub const NAME_MAX_FORWARDS: u32 = 33;
/// proxy-authenticate
pub const NAME_PROXY_AUTHENTICATE: u32 = 34;
/// proxy-authorization
pub const NAME_PROXY_AUTHORIZATION: u32 = 35;
/// range
pub const NAME_RANGE: u32 = 36;
/// referer
pub const NAME_REFERER: u32 = 37;
/// refresh
pub const NAME_REFRESH: u32 = 38;
/// retry-after
pub const NAME_RETRY_AFTER: u32 = 39;
/// server
pub const NAME_SERVER: u32 = 40;
/// set-cookie
pub const NAME_SET_COOKIE: u32 = 41;
/// strict-transport-security
pub const NAME_STRICT_TRANSPORT_SECURITY: u32 = 42;
/// transfer-encoding
pub const NAME_TRANSFER_ENCODING: u32 = 43;
/// user-agent
pub const NAME_USER_AGENT: u32 = 44;
/// vary
pub const NAME_VARY: u32 = 45;
/// via
pub const NAME_VIA: u32 = 46;
/// www-authenticate
pub const NAME_WWW_AUTHENTICATE: u32 = 47;
/// connection
pub const NAME_CONNECTION: u32 = 48;
/// dnt
pub const NAME_DNT: u32 = 49;
/// forwarded
pub const NAME_FORWARDED: u32 = 50;
/// origin
pub const NAME_ORIGIN: u32 = 51;
/// pragma
pub const NAME_PRAGMA: u32 = 52;
/// priority
pub const NAME_PRIORITY: u32 = 53;
/// sec-ch-ua
pub const NAME_SEC_CH_UA: u32 = 54;
/// sec-ch-ua-mobile
pub const NAME_SEC_CH_UA_MOBILE: u32 = 55;
/// sec-ch-ua-platform
pub const NAME_SEC_CH_UA_PLATFORM: u32 = 56;
/// sec-fetch-dest
pub const NAME_SEC_FETCH_DEST: u32 = 57;
/// sec-fetch-mode
pub const NAME_SEC_FETCH_MODE: u32 = 58;
/// sec-fetch-site
pub const NAME_SEC_FETCH_SITE: u32 = 59;
/// sec-fetch-user
pub const NAME_SEC_FETCH_USER: u32 = 60;
/// te
pub const NAME_TE: u32 = 61;
/// traceparent
pub const NAME_TRACEPARENT: u32 = 62;
/// tracestate
pub const NAME_TRACESTATE: u32 = 63;
/// upgrade-insecure-requests
pub const NAME_UPGRADE_INSECURE_REQUESTS: u32 = 64;
/// x-forwarded-for
pub const NAME_X_FORWARDED_FOR: u32 = 65;
/// x-forwarded-host
pub const NAME_X_FORWARDED_HOST: u32 = 66;
/// x-forwarded-proto
pub const NAME_X_FORWARDED_PROTO: u32 = 67;
/// x-real-ip
pub const NAME_X_REAL_IP: u32 = 68;
/// x-request-id
pub const NAME_X_REQUEST_ID: u32 = 69;
/// x-requested-with
pub const NAME_X_REQUESTED_WITH: u32 = 70;
/// `NAME_*` by id - 1.
pub static NAMES: [&str; 70] = [
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
    "connection",
    "dnt",
    "forwarded",
    "origin",
    "pragma",
    "priority",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "te",
    "traceparent",
    "tracestate",
    "upgrade-insecure-requests",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "x-requested-with",
];
/// The `NAME_*` of a string, 0 when there is none.
pub fn name_id(string: &[u8]) -> u32 {
    match string {
        b"accept-charset" => NAME_ACCEPT_CHARSET,
        b"accept-encoding" => NAME_ACCEPT_ENCODING,
        b"accept-language" => NAME_ACCEPT_LANGUAGE,
        b"accept-ranges" => NAME_ACCEPT_RANGES,
        b"accept" => NAME_ACCEPT,
        b"access-control-allow-origin" => NAME_ACCESS_CONTROL_ALLOW_ORIGIN,
        b"age" => NAME_AGE,
        b"allow" => NAME_ALLOW,
        b"authorization" => NAME_AUTHORIZATION,
        b"cache-control" => NAME_CACHE_CONTROL,
        b"content-disposition" => NAME_CONTENT_DISPOSITION,
        b"content-encoding" => NAME_CONTENT_ENCODING,
        b"content-language" => NAME_CONTENT_LANGUAGE,
        b"content-length" => NAME_CONTENT_LENGTH,
        b"content-location" => NAME_CONTENT_LOCATION,
        b"content-range" => NAME_CONTENT_RANGE,
        b"content-type" => NAME_CONTENT_TYPE,
        b"cookie" => NAME_COOKIE,
        b"date" => NAME_DATE,
        b"etag" => NAME_ETAG,
        b"expect" => NAME_EXPECT,
        b"expires" => NAME_EXPIRES,
        b"from" => NAME_FROM,
        b"host" => NAME_HOST,
        b"if-match" => NAME_IF_MATCH,
        b"if-modified-since" => NAME_IF_MODIFIED_SINCE,
        b"if-none-match" => NAME_IF_NONE_MATCH,
        b"if-range" => NAME_IF_RANGE,
        b"if-unmodified-since" => NAME_IF_UNMODIFIED_SINCE,
        b"last-modified" => NAME_LAST_MODIFIED,
        b"link" => NAME_LINK,
        b"location" => NAME_LOCATION,
        b"max-forwards" => NAME_MAX_FORWARDS,
        b"proxy-authenticate" => NAME_PROXY_AUTHENTICATE,
        b"proxy-authorization" => NAME_PROXY_AUTHORIZATION,
        b"range" => NAME_RANGE,
        b"referer" => NAME_REFERER,
        b"refresh" => NAME_REFRESH,
        b"retry-after" => NAME_RETRY_AFTER,
        b"server" => NAME_SERVER,
        b"set-cookie" => NAME_SET_COOKIE,
        b"strict-transport-security" => NAME_STRICT_TRANSPORT_SECURITY,
        b"transfer-encoding" => NAME_TRANSFER_ENCODING,
        b"user-agent" => NAME_USER_AGENT,
        b"vary" => NAME_VARY,
        b"via" => NAME_VIA,
        b"www-authenticate" => NAME_WWW_AUTHENTICATE,
        b"connection" => NAME_CONNECTION,
        b"dnt" => NAME_DNT,
        b"forwarded" => NAME_FORWARDED,
        b"origin" => NAME_ORIGIN,
        b"pragma" => NAME_PRAGMA,
        b"priority" => NAME_PRIORITY,
        b"sec-ch-ua" => NAME_SEC_CH_UA,
        b"sec-ch-ua-mobile" => NAME_SEC_CH_UA_MOBILE,
        b"sec-ch-ua-platform" => NAME_SEC_CH_UA_PLATFORM,
        b"sec-fetch-dest" => NAME_SEC_FETCH_DEST,
        b"sec-fetch-mode" => NAME_SEC_FETCH_MODE,
        b"sec-fetch-site" => NAME_SEC_FETCH_SITE,
        b"sec-fetch-user" => NAME_SEC_FETCH_USER,
        b"te" => NAME_TE,
        b"traceparent" => NAME_TRACEPARENT,
        b"tracestate" => NAME_TRACESTATE,
        b"upgrade-insecure-requests" => NAME_UPGRADE_INSECURE_REQUESTS,
        b"x-forwarded-for" => NAME_X_FORWARDED_FOR,
        b"x-forwarded-host" => NAME_X_FORWARDED_HOST,
        b"x-forwarded-proto" => NAME_X_FORWARDED_PROTO,
        b"x-real-ip" => NAME_X_REAL_IP,
        b"x-request-id" => NAME_X_REQUEST_ID,
        b"x-requested-with" => NAME_X_REQUESTED_WITH,
        _ => 0,
    }
}

// flags of a request record.
/// the client connection is TLS
pub const REQFLAG_TLS: u8 = 1;

// Offsets in a mutation record and in one of its entries (SPEC.md 4.5).
/// u32, length of the record, a multiple of 8
pub const MUTATION_LEN: usize = 0;
/// u32, number of entries
pub const MUTATION_COUNT: usize = 4;
/// first entry
pub const MUTATION_ENTRIES: usize = 8;
/// u16, one of the METHOD_* entries
pub const MUTATION_OP: usize = 0;
/// u16, OPFLAG_*
pub const MUTATION_OP_FLAGS: usize = 2;
/// u32
pub const MUTATION_KEY_LEN: usize = 4;
/// u32
pub const MUTATION_VALUE_LEN: usize = 8;
/// u32, 0
pub const MUTATION_OP_RESERVED: usize = 12;
/// key, value, zero padding to 8
pub const MUTATION_OP_BYTES: usize = 16;

// flags of a mutation entry.
/// the value came before, as DATA of the same method
pub const OPFLAG_STAGED: u16 = 1;

// Why an invocation was cancelled.
/// its time is used up
pub const CANCEL_DEADLINE: u32 = 1;
/// the client left
pub const CANCEL_CLIENT_GONE: u32 = 2;
/// the host or the plugin is being stopped
pub const CANCEL_SHUTDOWN: u32 = 3;
/// The key of a `CANCEL_*`, for people; `None` when there is none.
pub fn cancel_name(value: u32) -> Option<&'static str> {
    Some(match value {
        CANCEL_DEADLINE => "deadline",
        CANCEL_CLIENT_GONE => "client_gone",
        CANCEL_SHUTDOWN => "shutdown",
        _ => return None,
    })
}

// Codes in the payload of an ERROR frame (SPEC.md 7).
/// the handler panicked
pub const ERROR_PANIC: u32 = 1;
/// no such entry
pub const ERROR_UNKNOWN_ENTRY: u32 = 2;
/// no such method
pub const ERROR_UNKNOWN_METHOD: u32 = 3;
/// not allowed in this phase or state
pub const ERROR_BAD_STATE: u32 = 4;
/// over a limit; the client gets 413 when it is its body
pub const ERROR_TOO_LARGE: u32 = 5;
/// the client left
pub const ERROR_CLIENT_GONE: u32 = 6;
/// the invocation is over
pub const ERROR_LATE: u32 = 7;
/// the peer does not offer this
pub const ERROR_NOT_NEGOTIATED: u32 = 8;
/// anything else
pub const ERROR_INTERNAL: u32 = 9;
/// a mutation record was refused as a whole
pub const ERROR_BAD_RECORD: u32 = 10;
/// the handler ended its goroutine
pub const ERROR_GOEXIT: u32 = 11;
/// the session is closed
pub const ERROR_CLOSED: u32 = 12;
/// The key of a `ERROR_*`, for people; `None` when there is none.
pub fn error_name(value: u32) -> Option<&'static str> {
    Some(match value {
        ERROR_PANIC => "panic",
        ERROR_UNKNOWN_ENTRY => "unknown_entry",
        ERROR_UNKNOWN_METHOD => "unknown_method",
        ERROR_BAD_STATE => "bad_state",
        ERROR_TOO_LARGE => "too_large",
        ERROR_CLIENT_GONE => "client_gone",
        ERROR_LATE => "late",
        ERROR_NOT_NEGOTIATED => "not_negotiated",
        ERROR_INTERNAL => "internal",
        ERROR_BAD_RECORD => "bad_record",
        ERROR_GOEXIT => "goexit",
        ERROR_CLOSED => "closed",
        _ => return None,
    })
}

// Codes of a Refuse message (SPEC.md 8.4).
/// no common ABI version
pub const REFUSE_VERSION: u16 = 1;
/// layout_hash differs
pub const REFUSE_LAYOUT: u16 = 2;
/// the segments are not as Hello says
pub const REFUSE_SEGMENT: u16 = 3;
/// the plugin refused its config
pub const REFUSE_CONFIG: u16 = 4;
/// the plugin failed to initialise
pub const REFUSE_INIT: u16 = 5;

// How a worker wants to be woken (HelloOk.doorbell).
/// FUTEX_WAKE on `bell`
pub const DOORBELL_FUTEX: u8 = 0;
/// a write to the worker's eventfd
pub const DOORBELL_EVENTFD: u8 = 1;

// Feature bits, offered in Hello and taken in HelloOk.
/// the worker may send CALL
pub const FEATURE_HOST_CALLS: u64 = 1;
/// DATA and WINDOW in both directions
pub const FEATURE_STREAMS: u64 = 2;
/// phase 5 (since 1.1)
pub const FEATURE_REQUEST_BODY_FILTER: u64 = 4;
/// header names of the group `name` travel as ids (since 1.1)
pub const FEATURE_HEADER_NAMES: u64 = 8;
/// the section of that name (since 1.1)
pub const FEATURE_RESPONSE_KEPT: u64 = 16;
/// a host may send the request body before it is asked for (since 1.1)
pub const FEATURE_BODY_AHEAD: u64 = 32;
/// a final frame says how long its handler ran (since 1.1)
pub const FEATURE_HANDLER_TIME: u64 = 64;
/// upgrades and conversations (since 1.2)
pub const FEATURE_WEBSOCKET: u64 = 128;
/// all features this tree offers
pub const FEATURE_KNOWN: u64 = 255;

// The status of a worker's final frame, above the phases it wants (SPEC.md 5.4).
/// how long the handler ran stands from this bit on
pub const FINAL_TIME_SHIFT: u32 = 6;
/// the longest time that has room, us
pub const FINAL_TIME_MAX: u32 = 67108863;

// Indices into a lane's statistics (never trusted).
/// frames taken from the peer's ring, stored before the frame is worked on
pub const STAT_TAKEN: usize = 0;
/// worker: times the lane was handed to another goroutine
pub const STAT_HANDOVERS: usize = 1;
/// times this side was woken
pub const STAT_WAKES: usize = 2;
/// worker: handlers run
pub const STAT_CALLS: usize = 3;

// flags of a section `websocket`.
/// an earlier worker had this socket
pub const SOCKET_RESUMED: u32 = 1;

// Limits (SPEC.md 9).
/// default N
pub const LIMIT_SLOTS: usize = 256;
/// default A
pub const LIMIT_ARENA: usize = 1048576;
/// least N
pub const LIMIT_SLOTS_MIN: usize = 64;
/// largest N
pub const LIMIT_SLOTS_MAX: usize = 4096;
/// least A
pub const LIMIT_ARENA_MIN: usize = 262144;
/// largest A
pub const LIMIT_ARENA_MAX: usize = 67108864;
/// largest number of lanes
pub const LIMIT_LANES_MAX: usize = 64;
/// largest step or mutation record
pub const LIMIT_RECORD: usize = 65536;
/// largest DATA piece
pub const LIMIT_DATA: usize = 65536;
/// largest body piece in a step record
pub const LIMIT_PIECE: usize = 49152;
/// largest body value in a mutation record; larger ones are staged
pub const LIMIT_INLINE_BODY: usize = 49152;
/// largest payload in a step record
pub const LIMIT_PAYLOAD_INLINE: usize = 16384;
/// DATA in flight per invocation and direction: half the default A
pub const LIMIT_WINDOW: usize = 524288;
/// DATA in flight per conversation and direction, each piece costing its length and `message_cost`
pub const LIMIT_CONVERSATION: usize = 131072;
/// what a DATA of a conversation costs of its window beside its bytes
pub const LIMIT_MESSAGE_COST: usize = 64;
/// largest payload of a WebSocket ping (RFC 6455 5.5)
pub const LIMIT_PING: usize = 125;
/// longest name of a room, bytes
pub const LIMIT_ROOM_NAME: usize = 128;
/// rooms one connection may be in
pub const LIMIT_ROOMS: usize = 64;
/// conversations open on one lane
pub const LIMIT_CONVERSATIONS: usize = 60000;
/// largest request body sent before it is asked for
pub const LIMIT_BODY_AHEAD: usize = 1048576;
/// staged body per invocation, default
pub const LIMIT_STAGED: usize = 8388608;
/// RawBody, default
pub const LIMIT_RAW_BODY: usize = 8388608;
/// CALLs of one invocation the host works on at a time
pub const LIMIT_HOST_CALLS: usize = 4;
/// events waiting for a busy session
pub const LIMIT_INBOX: usize = 16;
/// header entries one mutation record may set
pub const LIMIT_HEADERS: usize = 100;
/// bytes of header names and values one mutation record may set
pub const LIMIT_HEADER_BYTES: usize = 32768;
/// largest Hello sent in the message itself
pub const LIMIT_HELLO: usize = 65536;
/// largest control message a host reads
pub const LIMIT_CONTROL: usize = 131072;
/// bytes of text in an ERROR or in `stats`
pub const LIMIT_ERROR_TEXT: usize = 4096;

// Inherited descriptors.
/// the control socket
pub const FD_CONTROL: i32 = 3;
