//! Generated from wire.toml by `cargo xtask gen`. Do not edit.

/// First eight bytes of a segment.
pub const MAGIC: u64 = 0x314d48534e4c594e;
/// ABI major.
pub const ABI_MAJOR: u16 = 1;
/// Highest ABI minor spoken.
pub const ABI_MINOR: u16 = 1;
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
/// not negotiated yet
pub const METHOD_WEBSOCKET_UPGRADE: u32 = 300;
/// not negotiated yet
pub const METHOD_WEBSOCKET_SEND_TEXT: u32 = 301;
/// not negotiated yet
pub const METHOD_WEBSOCKET_SEND_BINARY: u32 = 302;
/// not negotiated yet
pub const METHOD_WEBSOCKET_CLOSE: u32 = 303;
/// not negotiated yet
pub const METHOD_WEBSOCKET_JOIN_ROOM: u32 = 310;
/// not negotiated yet
pub const METHOD_WEBSOCKET_LEAVE_ROOM: u32 = 311;
/// not negotiated yet
pub const METHOD_WEBSOCKET_BROADCAST_ROOM_TEXT: u32 = 312;
/// not negotiated yet
pub const METHOD_WEBSOCKET_BROADCAST_ROOM_BINARY: u32 = 313;
/// not negotiated yet
pub const METHOD_WEBSOCKET_ON_OPEN: u32 = 350;
/// not negotiated yet
pub const METHOD_WEBSOCKET_ON_MESSAGE_TEXT: u32 = 351;
/// not negotiated yet
pub const METHOD_WEBSOCKET_ON_MESSAGE_BINARY: u32 = 352;
/// not negotiated yet
pub const METHOD_WEBSOCKET_ON_CLOSE: u32 = 353;
/// not negotiated yet
pub const METHOD_WEBSOCKET_ON_ERROR: u32 = 354;

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
/// all features this tree offers
pub const FEATURE_KNOWN: u64 = 7;

// Indices into a lane's statistics (never trusted).
/// frames taken from the peer's ring, stored before the frame is worked on
pub const STAT_TAKEN: usize = 0;
/// worker: times the lane was handed to another goroutine
pub const STAT_HANDOVERS: usize = 1;
/// times this side was woken
pub const STAT_WAKES: usize = 2;
/// worker: handlers run
pub const STAT_CALLS: usize = 3;

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
/// DATA in flight per invocation and direction
pub const LIMIT_WINDOW: usize = 262144;
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
