/* Generated from protocol/wire.toml by `cargo xtask gen`. Do not edit. */
#ifndef NYLON_WIRE_H
#define NYLON_WIRE_H

#include <stdint.h>

#define NYLON_MAGIC UINT64_C(0x314d48534e4c594e)
#define NYLON_ABI_MAJOR 1
#define NYLON_ABI_MINOR 2
#define NYLON_ABI_MINOR_MIN 0
#define NYLON_LAYOUT_HASH UINT64_C(0x8e4dc0cd9022414d)

/* Offsets in the 4096-byte header page of a segment (SPEC.md 2.3). */
#define NYLON_HEADER_MAGIC 0 /* u64, the magic */
#define NYLON_HEADER_ABI_MAJOR 8 /* u16 */
#define NYLON_HEADER_ABI_MINOR 10 /* u16, highest minor of the segment's owner */
#define NYLON_HEADER_HEADER_LEN 12 /* u32, always 4096 */
#define NYLON_HEADER_LAYOUT_HASH 16 /* u64 */
#define NYLON_HEADER_EPOCH 24 /* u64, random and not zero, one per process incarnation */
#define NYLON_HEADER_SEG_LEN 32 /* u64, length of the segment in bytes */
#define NYLON_HEADER_LANES 40 /* u32, 1..=64 */
#define NYLON_HEADER_SLOTS 44 /* u32 N, a power of two, 64..=4096 */
#define NYLON_HEADER_SLOT_SIZE 48 /* u32, always 128 */
#define NYLON_HEADER_ENDIAN 52 /* u32, always 0x01020304 */
#define NYLON_HEADER_ARENA_LEN 56 /* u64 A, a power of two, 256 KiB..=64 MiB */
#define NYLON_HEADER_LANE_STRIDE 64 /* u64, a multiple of 4096 */
#define NYLON_HEADER_LANE0_OFF 72 /* u64, always 0x1000 */
#define NYLON_HEADER_FEATURES 80 /* u64, feature bits of the segment's owner */
#define NYLON_HEADER_STATE 128 /* u32, one of STATE_*; in a 128-byte block of its own */
#define NYLON_HEADER_SPIN_NS_PEER 256 /* u32, H only: how long the worker may spin, in ns; 0 = not at all */
#define NYLON_HEADER_POLICY_SEQ 260 /* u32, H only: bumped after spin_ns_peer changed */

/* Offsets in a lane, from the lane's start (SPEC.md 2.4). */
#define NYLON_LANE_BELL 0 /* u32, W=owner: doorbell of the ring stored in this segment */
#define NYLON_LANE_RESCUE 4 /* u32, H only: bumped when frames stay untaken though the worker is awake */
#define NYLON_LANE_HEAD 128 /* u32, W=owner as consumer: slots of the other segment's ring released, free-running */
#define NYLON_LANE_ARENA_HEAD 136 /* u64, W=owner as consumer: bytes of the other segment's arena released */
#define NYLON_LANE_WAIT 256 /* u32, W=owner as consumer: even = awake, odd = sleeping epoch */
#define NYLON_LANE_SPACE_WAIT 384 /* u32, W=owner as producer out of space: even/odd epoch */
#define NYLON_LANE_SPACE_BELL 388 /* u32, W=owner as consumer: rung after a release while the peer's space_wait is odd */
#define NYLON_LANE_STATS 512 /* u64[16], W=owner, never trusted */
#define NYLON_LANE_RING 1024 /* slot[N], then arena[A], 128-aligned */

/* Offsets in a 128-byte slot (SPEC.md 3.1). */
#define NYLON_SLOT_SEQ 0 /* u32 publish word = low32(pos)+1 */
#define NYLON_SLOT_KIND 4 /* u8 */
#define NYLON_SLOT_PHASE 5 /* u8 */
#define NYLON_SLOT_FLAGS 6 /* u16 */
#define NYLON_SLOT_SID 8 /* u32 */
#define NYLON_SLOT_METHOD 12 /* u32 */
#define NYLON_SLOT_CALL_IDX 16 /* u32 */
#define NYLON_SLOT_CALL_GEN 20 /* u32 */
#define NYLON_SLOT_ARENA_POS 24 /* u64 */
#define NYLON_SLOT_LEN 32 /* u32 */
#define NYLON_SLOT_STATUS 36 /* u32 */
#define NYLON_SLOT_INLINE 40 /* u8[24], going on in the tail line */
#define NYLON_SLOT_TAIL 64 /* u8[64] */

/* Sizes the layout is made of, in bytes unless said otherwise. */
#define NYLON_SIZE_HEADER 4096 /* header page */
#define NYLON_SIZE_SLOT 128 /* one slot: a frame line and a tail line */
#define NYLON_SIZE_LINE 64 /* arena granule */
#define NYLON_SIZE_INLINE 88 /* largest payload that travels inside the slot */
#define NYLON_SIZE_INLINE_HEAD 24 /* part of an inline payload that sits in the frame line */
#define NYLON_SIZE_PAGE 4096 /* lane strides are multiples of this */

/* Fixed words. */
#define NYLON_CONST_ENDIAN 16909060 /* what `endian` reads on a little-endian host */

/* Values of the header's `state` (H: written by the host). */
#define NYLON_STATE_INIT 0 /* not attached yet */
#define NYLON_STATE_READY 1 /* handshake done, frames may flow */
#define NYLON_STATE_DRAINING 2 /* no new invocation will come */
#define NYLON_STATE_CLOSED 3 /* the host has let go of the segment */

/* Frame kinds (SPEC.md 3.2). 0 is never valid, so that a hole reads as a violation. */
#define NYLON_KIND_CALL 1 /* host: start an invocation; worker: ask the host something */
#define NYLON_KIND_REPLY 2 /* worker: the final answer of an invocation; host: the answer to a worker's CALL */
#define NYLON_KIND_ERROR 3 /* worker: the invocation failed; host: a worker's CALL failed */
#define NYLON_KIND_CANCEL 4 /* host: this invocation is void; `status` is a CANCEL_* reason */
#define NYLON_KIND_PING 5 /* host: are you there; `status` is echoed */
#define NYLON_KIND_PONG 6 /* worker: echo of PING */
#define NYLON_KIND_GOAWAY 7 /* worker: please drain me; host: no new invocation will come */
#define NYLON_KIND_DATA 8 /* a piece of a body or stream of an open invocation */
#define NYLON_KIND_WINDOW 9 /* bytes of DATA taken so far, u64, of an open invocation */
#define NYLON_KIND_CLOSE 10 /* host: the session is over on both sides; no answer */

/* Frame flags (SPEC.md 3.3). */
#define NYLON_FLAG_INLINE 1 /* the payload sits in the slot; arena_pos is 0 */
#define NYLON_FLAG_MORE 2 /* DATA: more pieces follow */
#define NYLON_FLAG_ONEWAY 4 /* kept for later minors: nobody sets it, a receiver ignores it */
#define NYLON_FLAG_OPEN 8 /* host CALL: opens the session named by sid */
#define NYLON_FLAG_KEEP 16 /* host CALL: more of this phase may come in this session, so its answer does not end it */
#define NYLON_FLAG_KNOWN 31 /* all bits a minor of this major may set */

/* Phases of a request (SPEC.md 5.1). */
#define NYLON_PHASE_NONE 0 /* method traffic */
#define NYLON_PHASE_REQUEST_FILTER 1 /* before the upstream is chosen */
#define NYLON_PHASE_RESPONSE_FILTER 2 /* when response headers exist */
#define NYLON_PHASE_RESPONSE_BODY_FILTER 3 /* once per response body piece */
#define NYLON_PHASE_LOGGING 4 /* after the response is complete or failed */
#define NYLON_PHASE_REQUEST_BODY_FILTER 5 /* once per request body piece on its way up (since 1.1) */

/* Methods (SPEC.md 6). 1..=2 and 105 finish an invocation; 100..=103, 113 and 220..=225 are entries of a mutation record; of them only 103 and 225 are methods of frames too: DATA, staged (SPEC.md 5.7). */
#define NYLON_METHOD_NONE 0 /* no method */
#define NYLON_METHOD_NEXT 1 /* this step is done, go on */
#define NYLON_METHOD_END 2 /* this step is done, answer with what was collected */
#define NYLON_METHOD_GET_PAYLOAD 3 /* JSON of the item's payload, when it was too large for the step record */
#define NYLON_METHOD_SET_RESPONSE_HEADER 100 /* entry: key, value; replaces */
#define NYLON_METHOD_REMOVE_RESPONSE_HEADER 101 /* entry: key */
#define NYLON_METHOD_SET_RESPONSE_STATUS 102 /* entry: value = u16 big endian */
#define NYLON_METHOD_SET_RESPONSE_FULL_BODY 103 /* entry: value, or flag STAGED; DATA: a staged piece */
#define NYLON_METHOD_SET_RESPONSE_STREAM_DATA 104 /* DATA: one piece of a streamed response */
#define NYLON_METHOD_SET_RESPONSE_STREAM_END 105 /* finishes a streamed response */
#define NYLON_METHOD_SET_RESPONSE_STREAM_HEADER 106 /* CALL: commit and send the response head now */
#define NYLON_METHOD_READ_RESPONSE_FULL_BODY 107 /* CALL: the body set so far by earlier steps */
#define NYLON_METHOD_READ_RESPONSE_STATUS 108 /* SDK-local */
#define NYLON_METHOD_READ_RESPONSE_BYTES 109 /* SDK-local */
#define NYLON_METHOD_READ_RESPONSE_HEADERS 110 /* SDK-local */
#define NYLON_METHOD_READ_RESPONSE_DURATION 111 /* SDK-local */
#define NYLON_METHOD_READ_RESPONSE_ERROR 112 /* SDK-local */
#define NYLON_METHOD_ADD_RESPONSE_HEADER 113 /* entry: key, value; keeps earlier ones */
#define NYLON_METHOD_READ_REQUEST_FULL_BODY 200 /* CALL: whole request body; the answer is DATA */
#define NYLON_METHOD_READ_REQUEST_HEADER 201 /* SDK-local */
#define NYLON_METHOD_READ_REQUEST_HEADERS 202 /* SDK-local */
#define NYLON_METHOD_READ_REQUEST_URL 203 /* SDK-local */
#define NYLON_METHOD_READ_REQUEST_PATH 204 /* SDK-local */
#define NYLON_METHOD_READ_REQUEST_QUERY 205 /* SDK-local */
#define NYLON_METHOD_READ_REQUEST_PARAMS 206 /* SDK-local */
#define NYLON_METHOD_READ_REQUEST_HOST 207 /* SDK-local */
#define NYLON_METHOD_READ_REQUEST_CLIENT_IP 208 /* SDK-local */
#define NYLON_METHOD_READ_REQUEST_METHOD 209 /* SDK-local */
#define NYLON_METHOD_READ_REQUEST_BYTES 210 /* SDK-local */
#define NYLON_METHOD_READ_REQUEST_TIMESTAMP 211 /* SDK-local */
#define NYLON_METHOD_STREAM_REQUEST_BODY 212 /* CALL: the request body as it arrives; the answer is DATA */
#define NYLON_METHOD_SET_REQUEST_METHOD 220 /* entry: value (since 1.1) */
#define NYLON_METHOD_SET_REQUEST_PATH 221 /* entry: value (since 1.1) */
#define NYLON_METHOD_SET_REQUEST_QUERY 222 /* entry: value (since 1.1) */
#define NYLON_METHOD_SET_REQUEST_HEADER 223 /* entry: key, value; replaces (since 1.1) */
#define NYLON_METHOD_REMOVE_REQUEST_HEADER 224 /* entry: key (since 1.1) */
#define NYLON_METHOD_SET_REQUEST_BODY 225 /* entry: value, or flag STAGED; DATA: a staged piece (since 1.1) */
#define NYLON_METHOD_WEBSOCKET_UPGRADE 300 /* final REPLY: the client is to become a WebSocket; the payload is a mutation record, the headers of the 101 (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_SEND_TEXT 301 /* DATA: a text message to the client (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_SEND_BINARY 302 /* DATA: a binary message to the client (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_CLOSE 303 /* DATA: close the socket; a closing record (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_PING 304 /* DATA: a ping to the client (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_JOIN_ROOM 310 /* DATA: the room's name (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_LEAVE_ROOM 311 /* DATA: the room's name (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_BROADCAST_ROOM_TEXT 312 /* DATA: an addressed record, a room and a text message (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_BROADCAST_ROOM_BINARY 313 /* DATA: an addressed record, a room and a binary message (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_SEND_TEXT_TO 314 /* DATA: an addressed record, a connection and a text message (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_SEND_BINARY_TO 315 /* DATA: an addressed record, a connection and a binary message (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_ROOM_SIZE 316 /* CALL: the room's name; the answer is its number of members, u64 (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_ON_OPEN 350 /* host CALL, phase 0: opens a conversation (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_ON_MESSAGE_TEXT 351 /* host DATA: a text message of the client (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_ON_MESSAGE_BINARY 352 /* host DATA: a binary message of the client (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_ON_CLOSE 353 /* host DATA: the socket is closed, a closing record; final REPLY: the conversation is over (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_ON_ERROR 354 /* host DATA: what went wrong, UTF-8 (since 1.2) */
#define NYLON_METHOD_WEBSOCKET_HAND_OVER 355 /* host DATA: another worker takes the socket over (since 1.2) */

/* Sections of a step record (SPEC.md 4.2), in the order they must stand in. */
#define NYLON_SECTION_ENTRY 1 /* aux = index into HelloOk.entries; no body */
#define NYLON_SECTION_REQUEST 2 /* the request record */
#define NYLON_SECTION_REQUEST_OF 3 /* body = u32 sid of an open session in this worker that holds the record */
#define NYLON_SECTION_PAYLOAD 4 /* the item's payload, JSON bytes */
#define NYLON_SECTION_PAYLOAD_ID 5 /* body = u32 index into Hello.payloads */
#define NYLON_SECTION_PAYLOAD_CALL 6 /* there is a payload, fetch it by GET_PAYLOAD; no body */
#define NYLON_SECTION_RESPONSE 7 /* the response head as it stands */
#define NYLON_SECTION_PIECE 8 /* body piece; aux = PIECE_* bits */
#define NYLON_SECTION_STATS 9 /* what Logging may ask */
#define NYLON_SECTION_RESPONSE_KEPT 10 /* the last response head this session got still stands; no body (since 1.1) */
#define NYLON_SECTION_WEBSOCKET 11 /* the socket a conversation is about (since 1.2) */

/* aux bits of the section `piece`. */
#define NYLON_PIECE_LAST 1 /* no piece follows */

/* flags of a response head. */
#define NYLON_HEAD_BODY 1 /* the host holds a body set by an earlier step */

/* Offsets in a request record (SPEC.md 4.3). */
#define NYLON_REQUEST_LEN 0 /* u32, length of the record, a multiple of 8 */
#define NYLON_REQUEST_HEADERS 4 /* u16, number of header pairs */
#define NYLON_REQUEST_PARAMS 6 /* u16, number of route parameter pairs, after the headers */
#define NYLON_REQUEST_TIMESTAMP 8 /* i64, Unix ms */
#define NYLON_REQUEST_BYTES 16 /* u64, Content-Length or 0 */
#define NYLON_REQUEST_PORT 24 /* u16, port of the URL; 0 when none, 80 or 443 */
#define NYLON_REQUEST_FLAGS 26 /* u8, REQFLAG_* */
#define NYLON_REQUEST_VERSION 27 /* u8, 10, 11 or 20 */
#define NYLON_REQUEST_RESERVED 28 /* u32, 0 */
#define NYLON_REQUEST_METHOD 32 /* span */
#define NYLON_REQUEST_PATH 40 /* span */
#define NYLON_REQUEST_QUERY 48 /* span, without '?' */
#define NYLON_REQUEST_HOST 56 /* span, without port */
#define NYLON_REQUEST_CLIENT_IP 64 /* span */
#define NYLON_REQUEST_REQUEST_ID 72 /* span */
#define NYLON_REQUEST_SPARE 80 /* two spans, 0 */
#define NYLON_REQUEST_PAIRS 96 /* pair[headers+params], 16 B each: span name, span value */

/* Header names that travel as ids (SPEC.md 4.8): 1..=47 the regular ones of RFC 7541, Appendix A, then what browsers and proxies send. Never renumbered; a longer table is another feature. */
#define NYLON_NAME_ACCEPT_CHARSET 1 /* accept-charset */
#define NYLON_NAME_ACCEPT_ENCODING 2 /* accept-encoding */
#define NYLON_NAME_ACCEPT_LANGUAGE 3 /* accept-language */
#define NYLON_NAME_ACCEPT_RANGES 4 /* accept-ranges */
#define NYLON_NAME_ACCEPT 5 /* accept */
#define NYLON_NAME_ACCESS_CONTROL_ALLOW_ORIGIN 6 /* access-control-allow-origin */
#define NYLON_NAME_AGE 7 /* age */
#define NYLON_NAME_ALLOW 8 /* allow */
#define NYLON_NAME_AUTHORIZATION 9 /* authorization */
#define NYLON_NAME_CACHE_CONTROL 10 /* cache-control */
#define NYLON_NAME_CONTENT_DISPOSITION 11 /* content-disposition */
#define NYLON_NAME_CONTENT_ENCODING 12 /* content-encoding */
#define NYLON_NAME_CONTENT_LANGUAGE 13 /* content-language */
#define NYLON_NAME_CONTENT_LENGTH 14 /* content-length */
#define NYLON_NAME_CONTENT_LOCATION 15 /* content-location */
#define NYLON_NAME_CONTENT_RANGE 16 /* content-range */
#define NYLON_NAME_CONTENT_TYPE 17 /* content-type */
#define NYLON_NAME_COOKIE 18 /* cookie */
#define NYLON_NAME_DATE 19 /* date */
#define NYLON_NAME_ETAG 20 /* etag */
#define NYLON_NAME_EXPECT 21 /* expect */
#define NYLON_NAME_EXPIRES 22 /* expires */
#define NYLON_NAME_FROM 23 /* from */
#define NYLON_NAME_HOST 24 /* host */
#define NYLON_NAME_IF_MATCH 25 /* if-match */
#define NYLON_NAME_IF_MODIFIED_SINCE 26 /* if-modified-since */
#define NYLON_NAME_IF_NONE_MATCH 27 /* if-none-match */
#define NYLON_NAME_IF_RANGE 28 /* if-range */
#define NYLON_NAME_IF_UNMODIFIED_SINCE 29 /* if-unmodified-since */
#define NYLON_NAME_LAST_MODIFIED 30 /* last-modified */
#define NYLON_NAME_LINK 31 /* link */
#define NYLON_NAME_LOCATION 32 /* location */
#define NYLON_NAME_MAX_FORWARDS 33 /* max-forwards */
#define NYLON_NAME_PROXY_AUTHENTICATE 34 /* proxy-authenticate */
#define NYLON_NAME_PROXY_AUTHORIZATION 35 /* proxy-authorization */
#define NYLON_NAME_RANGE 36 /* range */
#define NYLON_NAME_REFERER 37 /* referer */
#define NYLON_NAME_REFRESH 38 /* refresh */
#define NYLON_NAME_RETRY_AFTER 39 /* retry-after */
#define NYLON_NAME_SERVER 40 /* server */
#define NYLON_NAME_SET_COOKIE 41 /* set-cookie */
#define NYLON_NAME_STRICT_TRANSPORT_SECURITY 42 /* strict-transport-security */
#define NYLON_NAME_TRANSFER_ENCODING 43 /* transfer-encoding */
#define NYLON_NAME_USER_AGENT 44 /* user-agent */
#define NYLON_NAME_VARY 45 /* vary */
#define NYLON_NAME_VIA 46 /* via */
#define NYLON_NAME_WWW_AUTHENTICATE 47 /* www-authenticate */
#define NYLON_NAME_CONNECTION 48 /* connection */
#define NYLON_NAME_DNT 49 /* dnt */
#define NYLON_NAME_FORWARDED 50 /* forwarded */
#define NYLON_NAME_ORIGIN 51 /* origin */
#define NYLON_NAME_PRAGMA 52 /* pragma */
#define NYLON_NAME_PRIORITY 53 /* priority */
#define NYLON_NAME_SEC_CH_UA 54 /* sec-ch-ua */
#define NYLON_NAME_SEC_CH_UA_MOBILE 55 /* sec-ch-ua-mobile */
#define NYLON_NAME_SEC_CH_UA_PLATFORM 56 /* sec-ch-ua-platform */
#define NYLON_NAME_SEC_FETCH_DEST 57 /* sec-fetch-dest */
#define NYLON_NAME_SEC_FETCH_MODE 58 /* sec-fetch-mode */
#define NYLON_NAME_SEC_FETCH_SITE 59 /* sec-fetch-site */
#define NYLON_NAME_SEC_FETCH_USER 60 /* sec-fetch-user */
#define NYLON_NAME_TE 61 /* te */
#define NYLON_NAME_TRACEPARENT 62 /* traceparent */
#define NYLON_NAME_TRACESTATE 63 /* tracestate */
#define NYLON_NAME_UPGRADE_INSECURE_REQUESTS 64 /* upgrade-insecure-requests */
#define NYLON_NAME_X_FORWARDED_FOR 65 /* x-forwarded-for */
#define NYLON_NAME_X_FORWARDED_HOST 66 /* x-forwarded-host */
#define NYLON_NAME_X_FORWARDED_PROTO 67 /* x-forwarded-proto */
#define NYLON_NAME_X_REAL_IP 68 /* x-real-ip */
#define NYLON_NAME_X_REQUEST_ID 69 /* x-request-id */
#define NYLON_NAME_X_REQUESTED_WITH 70 /* x-requested-with */
/* NYLON_NAME_* by id - 1, as an initialiser. */
#define NYLON_NAMES { \
  "accept-charset", \
  "accept-encoding", \
  "accept-language", \
  "accept-ranges", \
  "accept", \
  "access-control-allow-origin", \
  "age", \
  "allow", \
  "authorization", \
  "cache-control", \
  "content-disposition", \
  "content-encoding", \
  "content-language", \
  "content-length", \
  "content-location", \
  "content-range", \
  "content-type", \
  "cookie", \
  "date", \
  "etag", \
  "expect", \
  "expires", \
  "from", \
  "host", \
  "if-match", \
  "if-modified-since", \
  "if-none-match", \
  "if-range", \
  "if-unmodified-since", \
  "last-modified", \
  "link", \
  "location", \
  "max-forwards", \
  "proxy-authenticate", \
  "proxy-authorization", \
  "range", \
  "referer", \
  "refresh", \
  "retry-after", \
  "server", \
  "set-cookie", \
  "strict-transport-security", \
  "transfer-encoding", \
  "user-agent", \
  "vary", \
  "via", \
  "www-authenticate", \
  "connection", \
  "dnt", \
  "forwarded", \
  "origin", \
  "pragma", \
  "priority", \
  "sec-ch-ua", \
  "sec-ch-ua-mobile", \
  "sec-ch-ua-platform", \
  "sec-fetch-dest", \
  "sec-fetch-mode", \
  "sec-fetch-site", \
  "sec-fetch-user", \
  "te", \
  "traceparent", \
  "tracestate", \
  "upgrade-insecure-requests", \
  "x-forwarded-for", \
  "x-forwarded-host", \
  "x-forwarded-proto", \
  "x-real-ip", \
  "x-request-id", \
  "x-requested-with" }

/* flags of a request record. */
#define NYLON_REQFLAG_TLS 1 /* the client connection is TLS */

/* Offsets in a mutation record and in one of its entries (SPEC.md 4.5). */
#define NYLON_MUTATION_LEN 0 /* u32, length of the record, a multiple of 8 */
#define NYLON_MUTATION_COUNT 4 /* u32, number of entries */
#define NYLON_MUTATION_ENTRIES 8 /* first entry */
#define NYLON_MUTATION_OP 0 /* u16, one of the METHOD_* entries */
#define NYLON_MUTATION_OP_FLAGS 2 /* u16, OPFLAG_* */
#define NYLON_MUTATION_KEY_LEN 4 /* u32 */
#define NYLON_MUTATION_VALUE_LEN 8 /* u32 */
#define NYLON_MUTATION_OP_RESERVED 12 /* u32, 0 */
#define NYLON_MUTATION_OP_BYTES 16 /* key, value, zero padding to 8 */

/* flags of a mutation entry. */
#define NYLON_OPFLAG_STAGED 1 /* the value came before, as DATA of the same method */

/* Why an invocation was cancelled. */
#define NYLON_CANCEL_DEADLINE 1 /* its time is used up */
#define NYLON_CANCEL_CLIENT_GONE 2 /* the client left */
#define NYLON_CANCEL_SHUTDOWN 3 /* the host or the plugin is being stopped */

/* Codes in the payload of an ERROR frame (SPEC.md 7). */
#define NYLON_ERROR_PANIC 1 /* the handler panicked */
#define NYLON_ERROR_UNKNOWN_ENTRY 2 /* no such entry */
#define NYLON_ERROR_UNKNOWN_METHOD 3 /* no such method */
#define NYLON_ERROR_BAD_STATE 4 /* not allowed in this phase or state */
#define NYLON_ERROR_TOO_LARGE 5 /* over a limit; the client gets 413 when it is its body */
#define NYLON_ERROR_CLIENT_GONE 6 /* the client left */
#define NYLON_ERROR_LATE 7 /* the invocation is over */
#define NYLON_ERROR_NOT_NEGOTIATED 8 /* the peer does not offer this */
#define NYLON_ERROR_INTERNAL 9 /* anything else */
#define NYLON_ERROR_BAD_RECORD 10 /* a mutation record was refused as a whole */
#define NYLON_ERROR_GOEXIT 11 /* the handler ended its goroutine */
#define NYLON_ERROR_CLOSED 12 /* the session is closed */

/* Codes of a Refuse message (SPEC.md 8.4). */
#define NYLON_REFUSE_VERSION 1 /* no common ABI version */
#define NYLON_REFUSE_LAYOUT 2 /* layout_hash differs */
#define NYLON_REFUSE_SEGMENT 3 /* the segments are not as Hello says */
#define NYLON_REFUSE_CONFIG 4 /* the plugin refused its config */
#define NYLON_REFUSE_INIT 5 /* the plugin failed to initialise */

/* How a worker wants to be woken (HelloOk.doorbell). */
#define NYLON_DOORBELL_FUTEX 0 /* FUTEX_WAKE on `bell` */
#define NYLON_DOORBELL_EVENTFD 1 /* a write to the worker's eventfd */

/* Feature bits, offered in Hello and taken in HelloOk. */
#define NYLON_FEATURE_HOST_CALLS 1 /* the worker may send CALL */
#define NYLON_FEATURE_STREAMS 2 /* DATA and WINDOW in both directions */
#define NYLON_FEATURE_REQUEST_BODY_FILTER 4 /* phase 5 (since 1.1) */
#define NYLON_FEATURE_HEADER_NAMES 8 /* header names of the group `name` travel as ids (since 1.1) */
#define NYLON_FEATURE_RESPONSE_KEPT 16 /* the section of that name (since 1.1) */
#define NYLON_FEATURE_BODY_AHEAD 32 /* a host may send the request body before it is asked for (since 1.1) */
#define NYLON_FEATURE_HANDLER_TIME 64 /* a final frame says how long its handler ran (since 1.1) */
#define NYLON_FEATURE_WEBSOCKET 128 /* upgrades and conversations (since 1.2) */
#define NYLON_FEATURE_KNOWN 255 /* all features this tree offers */

/* The status of a worker's final frame, above the phases it wants (SPEC.md 5.4). */
#define NYLON_FINAL_TIME_SHIFT 6 /* how long the handler ran stands from this bit on */
#define NYLON_FINAL_TIME_MAX 67108863 /* the longest time that has room, us */

/* Indices into a lane's statistics (never trusted). */
#define NYLON_STAT_TAKEN 0 /* frames taken from the peer's ring, stored before the frame is worked on */
#define NYLON_STAT_HANDOVERS 1 /* worker: times the lane was handed to another goroutine */
#define NYLON_STAT_WAKES 2 /* times this side was woken */
#define NYLON_STAT_CALLS 3 /* worker: handlers run */

/* flags of a section `websocket`. */
#define NYLON_SOCKET_RESUMED 1 /* an earlier worker had this socket */

/* Limits (SPEC.md 9). */
#define NYLON_LIMIT_SLOTS 256 /* default N */
#define NYLON_LIMIT_ARENA 1048576 /* default A */
#define NYLON_LIMIT_SLOTS_MIN 64 /* least N */
#define NYLON_LIMIT_SLOTS_MAX 4096 /* largest N */
#define NYLON_LIMIT_ARENA_MIN 262144 /* least A */
#define NYLON_LIMIT_ARENA_MAX 67108864 /* largest A */
#define NYLON_LIMIT_LANES_MAX 64 /* largest number of lanes */
#define NYLON_LIMIT_RECORD 65536 /* largest step or mutation record */
#define NYLON_LIMIT_DATA 65536 /* largest DATA piece */
#define NYLON_LIMIT_PIECE 49152 /* largest body piece in a step record */
#define NYLON_LIMIT_INLINE_BODY 49152 /* largest body value in a mutation record; larger ones are staged */
#define NYLON_LIMIT_PAYLOAD_INLINE 16384 /* largest payload in a step record */
#define NYLON_LIMIT_WINDOW 524288 /* DATA in flight per invocation and direction: half the default A */
#define NYLON_LIMIT_CONVERSATION 131072 /* DATA in flight per conversation and direction, each piece costing its length and `message_cost` */
#define NYLON_LIMIT_MESSAGE_COST 64 /* what a DATA of a conversation costs of its window beside its bytes */
#define NYLON_LIMIT_PING 125 /* largest payload of a WebSocket ping (RFC 6455 5.5) */
#define NYLON_LIMIT_ROOM_NAME 128 /* longest name of a room, bytes */
#define NYLON_LIMIT_ROOMS 64 /* rooms one connection may be in */
#define NYLON_LIMIT_CONVERSATIONS 60000 /* conversations open on one lane */
#define NYLON_LIMIT_BODY_AHEAD 1048576 /* largest request body sent before it is asked for */
#define NYLON_LIMIT_STAGED 8388608 /* staged body per invocation, default */
#define NYLON_LIMIT_RAW_BODY 8388608 /* RawBody, default */
#define NYLON_LIMIT_HOST_CALLS 4 /* CALLs of one invocation the host works on at a time */
#define NYLON_LIMIT_INBOX 16 /* events waiting for a busy session */
#define NYLON_LIMIT_HEADERS 100 /* header entries one mutation record may set */
#define NYLON_LIMIT_HEADER_BYTES 32768 /* bytes of header names and values one mutation record may set */
#define NYLON_LIMIT_HELLO 65536 /* largest Hello sent in the message itself */
#define NYLON_LIMIT_CONTROL 131072 /* largest control message a host reads */
#define NYLON_LIMIT_ERROR_TEXT 4096 /* bytes of text in an ERROR or in `stats` */

/* Inherited descriptors. */
#define NYLON_FD_CONTROL 3 /* the control socket */

#endif
