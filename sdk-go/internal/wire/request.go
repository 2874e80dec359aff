package wire

import "encoding/binary"

// requestSpans are the offsets of the fixed part's spans, in the order their strings are written.
var requestSpans = [...]int{
	RequestMethod, RequestPath, RequestQuery, RequestHost, RequestClientIp, RequestRequestId,
}

// RequestFields is what goes into a request record (SPEC.md 4.3).
type RequestFields struct {
	TimestampMs int64  // Unix ms
	Bytes       uint64 // Content-Length or 0
	Port        uint16 // port of the URL; 0 when none, 80 or 443
	TLS         bool
	Version     uint8 // 10, 11 or 20
	Method      string
	Path        string // undecoded
	Query       string // raw, without '?'
	Host        string // without port
	ClientIP    string
	RequestID   string
	Headers     []Pair // names in lower case; repeated names are kept
	Params      []Pair // route parameters
}

// AppendRequest appends the record of r; ids says whether names are ids (SPEC.md 4.8). On error dst comes back as it was.
func AppendRequest(dst []byte, r *RequestFields, ids bool) ([]byte, error) {
	fixed := [...]string{r.Method, r.Path, r.Query, r.Host, r.ClientIP, r.RequestID}
	pairs := len(r.Headers) + len(r.Params)
	pairsEnd := RequestPairs + pairs*pairSize
	if pairsEnd > LimitRecord {
		return dst, ErrTooLarge
	}
	start := len(dst)
	dst = appendZeros(dst, pairsEnd)
	rec := dst[start:]
	le := binary.LittleEndian
	le.PutUint16(rec[RequestHeaders:], uint16(len(r.Headers)))
	le.PutUint16(rec[RequestParams:], uint16(len(r.Params)))
	le.PutUint64(rec[RequestTimestamp:], uint64(r.TimestampMs))
	le.PutUint64(rec[RequestBytes:], r.Bytes)
	le.PutUint16(rec[RequestPort:], r.Port)
	if r.TLS {
		rec[RequestFlags] = ReqflagTls
	}
	rec[RequestVersion] = r.Version
	for i, s := range fixed {
		dst = appendSpan(dst, start, start+requestSpans[i], s)
	}
	at := start + RequestPairs
	dst = appendPairs(dst, start, at, r.Headers, ids)
	dst = appendPairs(dst, start, at+len(r.Headers)*pairSize, r.Params, false)
	dst = pad8(dst, start)
	if len(dst)-start > LimitRecord {
		return dst[:start], ErrTooLarge
	}
	le.PutUint32(dst[start+RequestLen:], uint32(len(dst)-start))
	return dst, nil
}

// Request is a checked request record. What it returns are views of the record.
type Request struct {
	record          []byte
	headers, params int
}

// Clone is the request in memory of its own.
func (r Request) Clone() Request {
	r.record = append([]byte(nil), r.record...)
	return r
}

// ParseRequest checks record, which is the record and nothing else; ids says whether FeatureHeaderNames is on.
func ParseRequest(record []byte, ids bool) (Request, error) {
	if len(record) < RequestPairs || len(record)%8 != 0 {
		return Request{}, recordRule("request-len")
	}
	le := binary.LittleEndian
	if uint64(le.Uint32(record[RequestLen:])) != uint64(len(record)) {
		return Request{}, recordRule("request-len")
	}
	if !allZero(record[RequestReserved:RequestMethod]) || !allZero(record[RequestSpare:RequestPairs]) {
		return Request{}, recordRule("request-reserved")
	}
	r := Request{
		record:  record,
		headers: int(le.Uint16(record[RequestHeaders:])),
		params:  int(le.Uint16(record[RequestParams:])),
	}
	floor := RequestPairs + (r.headers+r.params)*pairSize
	if floor > len(record) {
		return Request{}, recordRule("request-pairs-past-end")
	}
	for _, at := range requestSpans {
		if err := checkSpan(record, at, floor, "request"); err != nil {
			return Request{}, err
		}
	}
	params := RequestPairs + r.headers*pairSize
	if err := checkHeaders(record, RequestPairs, params, floor, "request", ids); err != nil {
		return Request{}, err
	}
	for at := params; at < floor; at += spanSize {
		if err := checkSpan(record, at, floor, "request"); err != nil {
			return Request{}, err
		}
	}
	return r, nil
}

// Record is the whole record; nil for the zero Request.
func (r Request) Record() []byte { return r.record }

// TimestampMs is when the request began, Unix ms.
func (r Request) TimestampMs() int64 {
	return int64(binary.LittleEndian.Uint64(r.record[RequestTimestamp:]))
}

// Bytes is Content-Length or 0.
func (r Request) Bytes() uint64 { return binary.LittleEndian.Uint64(r.record[RequestBytes:]) }

// Port is the port of the URL; 0 when none, 80 or 443.
func (r Request) Port() uint16 { return binary.LittleEndian.Uint16(r.record[RequestPort:]) }

// TLS says whether the client connection is TLS.
func (r Request) TLS() bool { return r.record[RequestFlags]&ReqflagTls != 0 }

// Version is 10, 11 or 20.
func (r Request) Version() uint8 { return r.record[RequestVersion] }

// Method is GET, POST, …
func (r Request) Method() []byte { return span(r.record, RequestMethod) }

// Path is undecoded.
func (r Request) Path() []byte { return span(r.record, RequestPath) }

// Query is raw, without '?'.
func (r Request) Query() []byte { return span(r.record, RequestQuery) }

// Host is without port.
func (r Request) Host() []byte { return span(r.record, RequestHost) }

// ClientIP is the peer's address as text.
func (r Request) ClientIP() []byte { return span(r.record, RequestClientIp) }

// RequestID is the id in logs and traces.
func (r Request) RequestID() []byte { return span(r.record, RequestRequestId) }

// Headers are the header pairs, names in lower case; repeated names are kept.
func (r Request) Headers() Pairs { return Pairs{r.record, RequestPairs, r.headers} }

// Params are the route parameters.
func (r Request) Params() Pairs {
	return Pairs{r.record, RequestPairs + r.headers*pairSize, r.params}
}
