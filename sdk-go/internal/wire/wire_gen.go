// Code generated from protocol/wire.toml by `cargo xtask gen`. DO NOT EDIT.

package wire

// Version of the ABI and hash of its frozen layout (SPEC.md 1).
const (
	Magic       uint64 = 0x314d48534e4c594e
	AbiMajor    uint16 = 1
	AbiMinor    uint16 = 2
	AbiMinorMin uint16 = 0
	LayoutHash  uint64 = 0x8e4dc0cd9022414d
)

// Offsets in the 4096-byte header page of a segment (SPEC.md 2.3).
const (
	HeaderMagic      int = 0   // u64, the magic
	HeaderAbiMajor   int = 8   // u16
	HeaderAbiMinor   int = 10  // u16, highest minor of the segment's owner
	HeaderHeaderLen  int = 12  // u32, always 4096
	HeaderLayoutHash int = 16  // u64
	HeaderEpoch      int = 24  // u64, random and not zero, one per process incarnation
	HeaderSegLen     int = 32  // u64, length of the segment in bytes
	HeaderLanes      int = 40  // u32, 1..=64
	HeaderSlots      int = 44  // u32 N, a power of two, 64..=4096
	HeaderSlotSize   int = 48  // u32, always 128
	HeaderEndian     int = 52  // u32, always 0x01020304
	HeaderArenaLen   int = 56  // u64 A, a power of two, 256 KiB..=64 MiB
	HeaderLaneStride int = 64  // u64, a multiple of 4096
	HeaderLane0Off   int = 72  // u64, always 0x1000
	HeaderFeatures   int = 80  // u64, feature bits of the segment's owner
	HeaderState      int = 128 // u32, one of STATE_*; in a 128-byte block of its own
	HeaderSpinNsPeer int = 256 // u32, H only: how long the worker may spin, in ns; 0 = not at all
	HeaderPolicySeq  int = 260 // u32, H only: bumped after spin_ns_peer changed
)

// Offsets in a lane, from the lane's start (SPEC.md 2.4).
const (
	LaneBell      int = 0    // u32, W=owner: doorbell of the ring stored in this segment
	LaneRescue    int = 4    // u32, H only: bumped when frames stay untaken though the worker is awake
	LaneHead      int = 128  // u32, W=owner as consumer: slots of the other segment's ring released, free-running
	LaneArenaHead int = 136  // u64, W=owner as consumer: bytes of the other segment's arena released
	LaneWait      int = 256  // u32, W=owner as consumer: even = awake, odd = sleeping epoch
	LaneSpaceWait int = 384  // u32, W=owner as producer out of space: even/odd epoch
	LaneSpaceBell int = 388  // u32, W=owner as consumer: rung after a release while the peer's space_wait is odd
	LaneStats     int = 512  // u64[16], W=owner, never trusted
	LaneRing      int = 1024 // slot[N], then arena[A], 128-aligned
)

// Offsets in a 128-byte slot (SPEC.md 3.1).
const (
	SlotSeq      int = 0  // u32 publish word = low32(pos)+1
	SlotKind     int = 4  // u8
	SlotPhase    int = 5  // u8
	SlotFlags    int = 6  // u16
	SlotSid      int = 8  // u32
	SlotMethod   int = 12 // u32
	SlotCallIdx  int = 16 // u32
	SlotCallGen  int = 20 // u32
	SlotArenaPos int = 24 // u64
	SlotLen      int = 32 // u32
	SlotStatus   int = 36 // u32
	SlotInline   int = 40 // u8[24], going on in the tail line
	SlotTail     int = 64 // u8[64]
)

// Sizes the layout is made of, in bytes unless said otherwise.
const (
	SizeHeader     int = 4096 // header page
	SizeSlot       int = 128  // one slot: a frame line and a tail line
	SizeLine       int = 64   // arena granule
	SizeInline     int = 88   // largest payload that travels inside the slot
	SizeInlineHead int = 24   // part of an inline payload that sits in the frame line
	SizePage       int = 4096 // lane strides are multiples of this
)

// Fixed words.
const (
	ConstEndian uint32 = 16909060 // what `endian` reads on a little-endian host
)

// Values of the header's `state` (H: written by the host).
const (
	StateInit     uint32 = 0 // not attached yet
	StateReady    uint32 = 1 // handshake done, frames may flow
	StateDraining uint32 = 2 // no new invocation will come
	StateClosed   uint32 = 3 // the host has let go of the segment
)

// Frame kinds (SPEC.md 3.2). 0 is never valid, so that a hole reads as a violation.
const (
	KindCall   uint8 = 1  // host: start an invocation; worker: ask the host something
	KindReply  uint8 = 2  // worker: the final answer of an invocation; host: the answer to a worker's CALL
	KindError  uint8 = 3  // worker: the invocation failed; host: a worker's CALL failed
	KindCancel uint8 = 4  // host: this invocation is void; `status` is a CANCEL_* reason
	KindPing   uint8 = 5  // host: are you there; `status` is echoed
	KindPong   uint8 = 6  // worker: echo of PING
	KindGoaway uint8 = 7  // worker: please drain me; host: no new invocation will come
	KindData   uint8 = 8  // a piece of a body or stream of an open invocation
	KindWindow uint8 = 9  // bytes of DATA taken so far, u64, of an open invocation
	KindClose  uint8 = 10 // host: the session is over on both sides; no answer
)

// Frame flags (SPEC.md 3.3).
const (
	FlagInline uint16 = 1  // the payload sits in the slot; arena_pos is 0
	FlagMore   uint16 = 2  // DATA: more pieces follow
	FlagOneway uint16 = 4  // kept for later minors: nobody sets it, a receiver ignores it
	FlagOpen   uint16 = 8  // host CALL: opens the session named by sid
	FlagKeep   uint16 = 16 // host CALL: more of this phase may come in this session, so its answer does not end it
	FlagKnown  uint16 = 31 // all bits a minor of this major may set
)

// Phases of a request (SPEC.md 5.1).
const (
	PhaseNone               uint8 = 0 // method traffic
	PhaseRequestFilter      uint8 = 1 // before the upstream is chosen
	PhaseResponseFilter     uint8 = 2 // when response headers exist
	PhaseResponseBodyFilter uint8 = 3 // once per response body piece
	PhaseLogging            uint8 = 4 // after the response is complete or failed
	PhaseRequestBodyFilter  uint8 = 5 // once per request body piece on its way up (since 1.1)
)

// Methods (SPEC.md 6). 1..=2 and 105 finish an invocation; 100..=103, 113 and 220..=225 are entries of a mutation record; of them only 103 and 225 are methods of frames too: DATA, staged (SPEC.md 5.7).
const (
	MethodNone                         uint32 = 0   // no method
	MethodNext                         uint32 = 1   // this step is done, go on
	MethodEnd                          uint32 = 2   // this step is done, answer with what was collected
	MethodGetPayload                   uint32 = 3   // JSON of the item's payload, when it was too large for the step record
	MethodSetResponseHeader            uint32 = 100 // entry: key, value; replaces
	MethodRemoveResponseHeader         uint32 = 101 // entry: key
	MethodSetResponseStatus            uint32 = 102 // entry: value = u16 big endian
	MethodSetResponseFullBody          uint32 = 103 // entry: value, or flag STAGED; DATA: a staged piece
	MethodSetResponseStreamData        uint32 = 104 // DATA: one piece of a streamed response
	MethodSetResponseStreamEnd         uint32 = 105 // finishes a streamed response
	MethodSetResponseStreamHeader      uint32 = 106 // CALL: commit and send the response head now
	MethodReadResponseFullBody         uint32 = 107 // CALL: the body set so far by earlier steps
	MethodReadResponseStatus           uint32 = 108 // SDK-local
	MethodReadResponseBytes            uint32 = 109 // SDK-local
	MethodReadResponseHeaders          uint32 = 110 // SDK-local
	MethodReadResponseDuration         uint32 = 111 // SDK-local
	MethodReadResponseError            uint32 = 112 // SDK-local
	MethodAddResponseHeader            uint32 = 113 // entry: key, value; keeps earlier ones
	MethodReadRequestFullBody          uint32 = 200 // CALL: whole request body; the answer is DATA
	MethodReadRequestHeader            uint32 = 201 // SDK-local
	MethodReadRequestHeaders           uint32 = 202 // SDK-local
	MethodReadRequestUrl               uint32 = 203 // SDK-local
	MethodReadRequestPath              uint32 = 204 // SDK-local
	MethodReadRequestQuery             uint32 = 205 // SDK-local
	MethodReadRequestParams            uint32 = 206 // SDK-local
	MethodReadRequestHost              uint32 = 207 // SDK-local
	MethodReadRequestClientIp          uint32 = 208 // SDK-local
	MethodReadRequestMethod            uint32 = 209 // SDK-local
	MethodReadRequestBytes             uint32 = 210 // SDK-local
	MethodReadRequestTimestamp         uint32 = 211 // SDK-local
	MethodStreamRequestBody            uint32 = 212 // CALL: the request body as it arrives; the answer is DATA
	MethodSetRequestMethod             uint32 = 220 // entry: value (since 1.1)
	MethodSetRequestPath               uint32 = 221 // entry: value (since 1.1)
	MethodSetRequestQuery              uint32 = 222 // entry: value (since 1.1)
	MethodSetRequestHeader             uint32 = 223 // entry: key, value; replaces (since 1.1)
	MethodRemoveRequestHeader          uint32 = 224 // entry: key (since 1.1)
	MethodSetRequestBody               uint32 = 225 // entry: value, or flag STAGED; DATA: a staged piece (since 1.1)
	MethodWebsocketUpgrade             uint32 = 300 // final REPLY: the client is to become a WebSocket; the payload is a mutation record, the headers of the 101 (since 1.2)
	MethodWebsocketSendText            uint32 = 301 // DATA: a text message to the client (since 1.2)
	MethodWebsocketSendBinary          uint32 = 302 // DATA: a binary message to the client (since 1.2)
	MethodWebsocketClose               uint32 = 303 // DATA: close the socket; a closing record (since 1.2)
	MethodWebsocketPing                uint32 = 304 // DATA: a ping to the client (since 1.2)
	MethodWebsocketJoinRoom            uint32 = 310 // DATA: the room's name (since 1.2)
	MethodWebsocketLeaveRoom           uint32 = 311 // DATA: the room's name (since 1.2)
	MethodWebsocketBroadcastRoomText   uint32 = 312 // DATA: an addressed record, a room and a text message (since 1.2)
	MethodWebsocketBroadcastRoomBinary uint32 = 313 // DATA: an addressed record, a room and a binary message (since 1.2)
	MethodWebsocketSendTextTo          uint32 = 314 // DATA: an addressed record, a connection and a text message (since 1.2)
	MethodWebsocketSendBinaryTo        uint32 = 315 // DATA: an addressed record, a connection and a binary message (since 1.2)
	MethodWebsocketRoomSize            uint32 = 316 // CALL: the room's name; the answer is its number of members, u64 (since 1.2)
	MethodWebsocketOnOpen              uint32 = 350 // host CALL, phase 0: opens a conversation (since 1.2)
	MethodWebsocketOnMessageText       uint32 = 351 // host DATA: a text message of the client (since 1.2)
	MethodWebsocketOnMessageBinary     uint32 = 352 // host DATA: a binary message of the client (since 1.2)
	MethodWebsocketOnClose             uint32 = 353 // host DATA: the socket is closed, a closing record; final REPLY: the conversation is over (since 1.2)
	MethodWebsocketOnError             uint32 = 354 // host DATA: what went wrong, UTF-8 (since 1.2)
	MethodWebsocketHandOver            uint32 = 355 // host DATA: another worker takes the socket over (since 1.2)
)

// Sections of a step record (SPEC.md 4.2), in the order they must stand in.
const (
	SectionEntry        uint16 = 1  // aux = index into HelloOk.entries; no body
	SectionRequest      uint16 = 2  // the request record
	SectionRequestOf    uint16 = 3  // body = u32 sid of an open session in this worker that holds the record
	SectionPayload      uint16 = 4  // the item's payload, JSON bytes
	SectionPayloadId    uint16 = 5  // body = u32 index into Hello.payloads
	SectionPayloadCall  uint16 = 6  // there is a payload, fetch it by GET_PAYLOAD; no body
	SectionResponse     uint16 = 7  // the response head as it stands
	SectionPiece        uint16 = 8  // body piece; aux = PIECE_* bits
	SectionStats        uint16 = 9  // what Logging may ask
	SectionResponseKept uint16 = 10 // the last response head this session got still stands; no body (since 1.1)
	SectionWebsocket    uint16 = 11 // the socket a conversation is about (since 1.2)
)

// aux bits of the section `piece`.
const (
	PieceLast uint16 = 1 // no piece follows
)

// flags of a response head.
const (
	HeadBody uint32 = 1 // the host holds a body set by an earlier step
)

// Offsets in a request record (SPEC.md 4.3).
const (
	RequestLen       int = 0  // u32, length of the record, a multiple of 8
	RequestHeaders   int = 4  // u16, number of header pairs
	RequestParams    int = 6  // u16, number of route parameter pairs, after the headers
	RequestTimestamp int = 8  // i64, Unix ms
	RequestBytes     int = 16 // u64, Content-Length or 0
	RequestPort      int = 24 // u16, port of the URL; 0 when none, 80 or 443
	RequestFlags     int = 26 // u8, REQFLAG_*
	RequestVersion   int = 27 // u8, 10, 11 or 20
	RequestReserved  int = 28 // u32, 0
	RequestMethod    int = 32 // span
	RequestPath      int = 40 // span
	RequestQuery     int = 48 // span, without '?'
	RequestHost      int = 56 // span, without port
	RequestClientIp  int = 64 // span
	RequestRequestId int = 72 // span
	RequestSpare     int = 80 // two spans, 0
	RequestPairs     int = 96 // pair[headers+params], 16 B each: span name, span value
)

// Header names that travel as ids (SPEC.md 4.8): 1..=47 the regular ones of RFC 7541, Appendix A, then what browsers and proxies send. Never renumbered; a longer table is another feature.
const (
	NameAcceptCharset            uint32 = 1  // accept-charset
	NameAcceptEncoding           uint32 = 2  // accept-encoding
	NameAcceptLanguage           uint32 = 3  // accept-language
	NameAcceptRanges             uint32 = 4  // accept-ranges
	NameAccept                   uint32 = 5  // accept
	NameAccessControlAllowOrigin uint32 = 6  // access-control-allow-origin
	NameAge                      uint32 = 7  // age
	NameAllow                    uint32 = 8  // allow
	NameAuthorization            uint32 = 9  // authorization
	NameCacheControl             uint32 = 10 // cache-control
	NameContentDisposition       uint32 = 11 // content-disposition
	NameContentEncoding          uint32 = 12 // content-encoding
	NameContentLanguage          uint32 = 13 // content-language
	NameContentLength            uint32 = 14 // content-length
	NameContentLocation          uint32 = 15 // content-location
	NameContentRange             uint32 = 16 // content-range
	NameContentType              uint32 = 17 // content-type
	NameCookie                   uint32 = 18 // cookie
	NameDate                     uint32 = 19 // date
	NameEtag                     uint32 = 20 // etag
	NameExpect                   uint32 = 21 // expect
	NameExpires                  uint32 = 22 // expires
	NameFrom                     uint32 = 23 // from
	NameHost                     uint32 = 24 // host
	NameIfMatch                  uint32 = 25 // if-match
	NameIfModifiedSince          uint32 = 26 // if-modified-since
	NameIfNoneMatch              uint32 = 27 // if-none-match
	NameIfRange                  uint32 = 28 // if-range
	NameIfUnmodifiedSince        uint32 = 29 // if-unmodified-since
	NameLastModified             uint32 = 30 // last-modified
	NameLink                     uint32 = 31 // link
	NameLocation                 uint32 = 32 // location
	NameMaxForwards              uint32 = 33 // max-forwards
	NameProxyAuthenticate        uint32 = 34 // proxy-authenticate
	NameProxyAuthorization       uint32 = 35 // proxy-authorization
	NameRange                    uint32 = 36 // range
	NameReferer                  uint32 = 37 // referer
	NameRefresh                  uint32 = 38 // refresh
	NameRetryAfter               uint32 = 39 // retry-after
	NameServer                   uint32 = 40 // server
	NameSetCookie                uint32 = 41 // set-cookie
	NameStrictTransportSecurity  uint32 = 42 // strict-transport-security
	NameTransferEncoding         uint32 = 43 // transfer-encoding
	NameUserAgent                uint32 = 44 // user-agent
	NameVary                     uint32 = 45 // vary
	NameVia                      uint32 = 46 // via
	NameWwwAuthenticate          uint32 = 47 // www-authenticate
	NameConnection               uint32 = 48 // connection
	NameDnt                      uint32 = 49 // dnt
	NameForwarded                uint32 = 50 // forwarded
	NameOrigin                   uint32 = 51 // origin
	NamePragma                   uint32 = 52 // pragma
	NamePriority                 uint32 = 53 // priority
	NameSecChUa                  uint32 = 54 // sec-ch-ua
	NameSecChUaMobile            uint32 = 55 // sec-ch-ua-mobile
	NameSecChUaPlatform          uint32 = 56 // sec-ch-ua-platform
	NameSecFetchDest             uint32 = 57 // sec-fetch-dest
	NameSecFetchMode             uint32 = 58 // sec-fetch-mode
	NameSecFetchSite             uint32 = 59 // sec-fetch-site
	NameSecFetchUser             uint32 = 60 // sec-fetch-user
	NameTe                       uint32 = 61 // te
	NameTraceparent              uint32 = 62 // traceparent
	NameTracestate               uint32 = 63 // tracestate
	NameUpgradeInsecureRequests  uint32 = 64 // upgrade-insecure-requests
	NameXForwardedFor            uint32 = 65 // x-forwarded-for
	NameXForwardedHost           uint32 = 66 // x-forwarded-host
	NameXForwardedProto          uint32 = 67 // x-forwarded-proto
	NameXRealIp                  uint32 = 68 // x-real-ip
	NameXRequestId               uint32 = 69 // x-request-id
	NameXRequestedWith           uint32 = 70 // x-requested-with
)

// names has Name* by id.
var names = [...][]byte{
	nil,
	[]byte("accept-charset"),
	[]byte("accept-encoding"),
	[]byte("accept-language"),
	[]byte("accept-ranges"),
	[]byte("accept"),
	[]byte("access-control-allow-origin"),
	[]byte("age"),
	[]byte("allow"),
	[]byte("authorization"),
	[]byte("cache-control"),
	[]byte("content-disposition"),
	[]byte("content-encoding"),
	[]byte("content-language"),
	[]byte("content-length"),
	[]byte("content-location"),
	[]byte("content-range"),
	[]byte("content-type"),
	[]byte("cookie"),
	[]byte("date"),
	[]byte("etag"),
	[]byte("expect"),
	[]byte("expires"),
	[]byte("from"),
	[]byte("host"),
	[]byte("if-match"),
	[]byte("if-modified-since"),
	[]byte("if-none-match"),
	[]byte("if-range"),
	[]byte("if-unmodified-since"),
	[]byte("last-modified"),
	[]byte("link"),
	[]byte("location"),
	[]byte("max-forwards"),
	[]byte("proxy-authenticate"),
	[]byte("proxy-authorization"),
	[]byte("range"),
	[]byte("referer"),
	[]byte("refresh"),
	[]byte("retry-after"),
	[]byte("server"),
	[]byte("set-cookie"),
	[]byte("strict-transport-security"),
	[]byte("transfer-encoding"),
	[]byte("user-agent"),
	[]byte("vary"),
	[]byte("via"),
	[]byte("www-authenticate"),
	[]byte("connection"),
	[]byte("dnt"),
	[]byte("forwarded"),
	[]byte("origin"),
	[]byte("pragma"),
	[]byte("priority"),
	[]byte("sec-ch-ua"),
	[]byte("sec-ch-ua-mobile"),
	[]byte("sec-ch-ua-platform"),
	[]byte("sec-fetch-dest"),
	[]byte("sec-fetch-mode"),
	[]byte("sec-fetch-site"),
	[]byte("sec-fetch-user"),
	[]byte("te"),
	[]byte("traceparent"),
	[]byte("tracestate"),
	[]byte("upgrade-insecure-requests"),
	[]byte("x-forwarded-for"),
	[]byte("x-forwarded-host"),
	[]byte("x-forwarded-proto"),
	[]byte("x-real-ip"),
	[]byte("x-request-id"),
	[]byte("x-requested-with"),
}

// nameSlots has the Name* of a string at nameSlot, which no two strings share; 0 = none.
const nameFactor = 0x4e46eed9

var nameSlots = [256]uint8{
	54, 60, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 45, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 6, 0, 0,
	0, 0, 0, 37, 0, 0, 0, 0, 0, 0, 10, 28, 14, 0, 0, 59,
	2, 0, 0, 0, 0, 0, 0, 27, 21, 40, 0, 48, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0, 0, 65, 0, 0, 0, 0, 0, 0,
	22, 15, 0, 0, 0, 0, 0, 0, 30, 31, 13, 50, 0, 0, 0, 0,
	51, 0, 29, 46, 0, 0, 0, 0, 0, 0, 53, 0, 0, 18, 0, 0,
	0, 52, 0, 67, 17, 0, 70, 7, 56, 0, 0, 0, 0, 0, 57, 0,
	62, 0, 0, 0, 0, 0, 0, 39, 0, 0, 0, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 43, 47, 0, 0,
	42, 0, 0, 3, 23, 0, 0, 0, 64, 0, 55, 4, 0, 0, 0, 0,
	26, 0, 0, 0, 0, 0, 19, 0, 0, 0, 63, 0, 0, 33, 0, 41,
	58, 24, 0, 0, 0, 0, 0, 34, 0, 0, 49, 0, 0, 69, 0, 16,
	0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 66, 11, 0, 0, 0,
	0, 8, 0, 0, 0, 0, 0, 12, 0, 9, 0, 0, 0, 68, 0, 32,
	0, 0, 61, 0, 0, 38, 0, 0, 0, 0, 25, 0, 0, 35, 20, 0,
}

// flags of a request record.
const (
	ReqflagTls uint8 = 1 // the client connection is TLS
)

// Offsets in a mutation record and in one of its entries (SPEC.md 4.5).
const (
	MutationLen        int = 0  // u32, length of the record, a multiple of 8
	MutationCount      int = 4  // u32, number of entries
	MutationEntries    int = 8  // first entry
	MutationOp         int = 0  // u16, one of the METHOD_* entries
	MutationOpFlags    int = 2  // u16, OPFLAG_*
	MutationKeyLen     int = 4  // u32
	MutationValueLen   int = 8  // u32
	MutationOpReserved int = 12 // u32, 0
	MutationOpBytes    int = 16 // key, value, zero padding to 8
)

// flags of a mutation entry.
const (
	OpflagStaged uint16 = 1 // the value came before, as DATA of the same method
)

// Why an invocation was cancelled.
const (
	CancelDeadline   uint32 = 1 // its time is used up
	CancelClientGone uint32 = 2 // the client left
	CancelShutdown   uint32 = 3 // the host or the plugin is being stopped
)

// Codes in the payload of an ERROR frame (SPEC.md 7).
const (
	ErrorPanic         uint32 = 1  // the handler panicked
	ErrorUnknownEntry  uint32 = 2  // no such entry
	ErrorUnknownMethod uint32 = 3  // no such method
	ErrorBadState      uint32 = 4  // not allowed in this phase or state
	ErrorTooLarge      uint32 = 5  // over a limit; the client gets 413 when it is its body
	ErrorClientGone    uint32 = 6  // the client left
	ErrorLate          uint32 = 7  // the invocation is over
	ErrorNotNegotiated uint32 = 8  // the peer does not offer this
	ErrorInternal      uint32 = 9  // anything else
	ErrorBadRecord     uint32 = 10 // a mutation record was refused as a whole
	ErrorGoexit        uint32 = 11 // the handler ended its goroutine
	ErrorClosed        uint32 = 12 // the session is closed
)

// Codes of a Refuse message (SPEC.md 8.4).
const (
	RefuseVersion uint16 = 1 // no common ABI version
	RefuseLayout  uint16 = 2 // layout_hash differs
	RefuseSegment uint16 = 3 // the segments are not as Hello says
	RefuseConfig  uint16 = 4 // the plugin refused its config
	RefuseInit    uint16 = 5 // the plugin failed to initialise
)

// How a worker wants to be woken (HelloOk.doorbell).
const (
	DoorbellFutex   uint8 = 0 // FUTEX_WAKE on `bell`
	DoorbellEventfd uint8 = 1 // a write to the worker's eventfd
)

// Feature bits, offered in Hello and taken in HelloOk.
const (
	FeatureHostCalls         uint64 = 1   // the worker may send CALL
	FeatureStreams           uint64 = 2   // DATA and WINDOW in both directions
	FeatureRequestBodyFilter uint64 = 4   // phase 5 (since 1.1)
	FeatureHeaderNames       uint64 = 8   // header names of the group `name` travel as ids (since 1.1)
	FeatureResponseKept      uint64 = 16  // the section of that name (since 1.1)
	FeatureBodyAhead         uint64 = 32  // a host may send the request body before it is asked for (since 1.1)
	FeatureHandlerTime       uint64 = 64  // a final frame says how long its handler ran (since 1.1)
	FeatureWebsocket         uint64 = 128 // upgrades and conversations (since 1.2)
	FeatureKnown             uint64 = 255 // all features this tree offers
)

// The status of a worker's final frame, above the phases it wants (SPEC.md 5.4).
const (
	FinalTimeShift uint32 = 6        // how long the handler ran stands from this bit on
	FinalTimeMax   uint32 = 67108863 // the longest time that has room, us
)

// Indices into a lane's statistics (never trusted).
const (
	StatTaken     int = 0 // frames taken from the peer's ring, stored before the frame is worked on
	StatHandovers int = 1 // worker: times the lane was handed to another goroutine
	StatWakes     int = 2 // times this side was woken
	StatCalls     int = 3 // worker: handlers run
)

// flags of a section `websocket`.
const (
	SocketResumed uint32 = 1 // an earlier worker had this socket
)

// Limits (SPEC.md 9).
const (
	LimitSlots         int = 256      // default N
	LimitArena         int = 1048576  // default A
	LimitSlotsMin      int = 64       // least N
	LimitSlotsMax      int = 4096     // largest N
	LimitArenaMin      int = 262144   // least A
	LimitArenaMax      int = 67108864 // largest A
	LimitLanesMax      int = 64       // largest number of lanes
	LimitRecord        int = 65536    // largest step or mutation record
	LimitData          int = 65536    // largest DATA piece
	LimitPiece         int = 49152    // largest body piece in a step record
	LimitInlineBody    int = 49152    // largest body value in a mutation record; larger ones are staged
	LimitPayloadInline int = 16384    // largest payload in a step record
	LimitWindow        int = 524288   // DATA in flight per invocation and direction: half the default A
	LimitConversation  int = 131072   // DATA in flight per conversation and direction, each piece costing its length and `message_cost`
	LimitMessageCost   int = 64       // what a DATA of a conversation costs of its window beside its bytes
	LimitPing          int = 125      // largest payload of a WebSocket ping (RFC 6455 5.5)
	LimitRoomName      int = 128      // longest name of a room, bytes
	LimitRooms         int = 64       // rooms one connection may be in
	LimitConversations int = 60000    // conversations open on one lane
	LimitBodyAhead     int = 1048576  // largest request body sent before it is asked for
	LimitStaged        int = 8388608  // staged body per invocation, default
	LimitRawBody       int = 8388608  // RawBody, default
	LimitHostCalls     int = 4        // CALLs of one invocation the host works on at a time
	LimitInbox         int = 16       // events waiting for a busy session
	LimitHeaders       int = 100      // header entries one mutation record may set
	LimitHeaderBytes   int = 32768    // bytes of header names and values one mutation record may set
	LimitHello         int = 65536    // largest Hello sent in the message itself
	LimitControl       int = 131072   // largest control message a host reads
	LimitErrorText     int = 4096     // bytes of text in an ERROR or in `stats`
)

// Inherited descriptors.
const (
	FdControl int32 = 3 // the control socket
)
