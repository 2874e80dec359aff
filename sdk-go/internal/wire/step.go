package wire

import (
	"encoding/binary"
	"errors"
)

// ErrOrder is returned by a StepWriter whose methods were called out of order.
var ErrOrder = errors.New("sections of a step record out of order")

const (
	sectionHead = 8  // {tag u16, aux u16, len u32}
	statsHead   = 16 // stats before their text
)

// StepWriter appends one step record (SPEC.md 4.2): what a host tells a worker with a CALL. Call its methods in the
// order they stand here, which is the order the sections must have; each at most once. Reset starts a record.
type StepWriter struct {
	NameIDs bool // whether the worker has FeatureHeaderNames; stays over a Reset

	buf   []byte
	start int
	last  uint16
	err   error
}

// Reset starts a record at the end of dst.
func (w *StepWriter) Reset(dst []byte) {
	*w = StepWriter{NameIDs: w.NameIDs, buf: dst, start: len(dst)}
}

// Entry is the index into HelloOk.Entries; on the CALL that opens the session.
func (w *StepWriter) Entry(index uint16) { w.section(SectionEntry, index, nil) }

// Request is the request, written in place.
func (w *StepWriter) Request(r *RequestFields) {
	at := w.open(SectionRequest, 0)
	w.close(at, func(b []byte) ([]byte, error) { return AppendRequest(b, r, w.NameIDs) })
}

// RequestRecord is the request, from a record written before.
func (w *StepWriter) RequestRecord(record []byte) { w.section(SectionRequest, 0, record) }

// RequestOf is the open session of this worker that holds the request.
func (w *StepWriter) RequestOf(sid uint32) { w.word(SectionRequestOf, sid) }

// Payload is the item's payload as JSON.
func (w *StepWriter) Payload(json []byte) { w.section(SectionPayload, 0, json) }

// PayloadID is the item's payload as an index into Hello.Payloads.
func (w *StepWriter) PayloadID(index uint32) { w.word(SectionPayloadId, index) }

// PayloadCall says that there is a payload, to be fetched by MethodGetPayload.
func (w *StepWriter) PayloadCall() { w.section(SectionPayloadCall, 0, nil) }

// Response is the response head, written in place.
func (w *StepWriter) Response(status uint16, flags uint32, headers []Pair) {
	at := w.open(SectionResponse, 0)
	w.close(at, func(b []byte) ([]byte, error) { return AppendHead(b, status, flags, headers, w.NameIDs) })
}

// ResponseRecord is the response head, from a record written before.
func (w *StepWriter) ResponseRecord(head []byte) { w.section(SectionResponse, 0, head) }

// Piece is one body piece; last when none follows.
func (w *StepWriter) Piece(piece []byte, last bool) {
	var aux uint16
	if last {
		aux = PieceLast
	}
	w.section(SectionPiece, aux, piece)
}

// Stats is what Logging may ask; text is empty when nothing went wrong.
func (w *StepWriter) Stats(bytes, durationMs uint64, text string) {
	at := w.open(SectionStats, 0)
	w.close(at, func(b []byte) ([]byte, error) {
		b = binary.LittleEndian.AppendUint64(b, bytes)
		b = binary.LittleEndian.AppendUint64(b, durationMs)
		return append(b, cutText(text, LimitErrorText)...), nil
	})
}

// ResponseKept says that the response head is that of this session's last step that had one (SPEC.md 4.9).
func (w *StepWriter) ResponseKept() { w.section(SectionResponseKept, 0, nil) }

// WebSocket is the socket a conversation is about; on the CALL that begins it.
func (w *StepWriter) WebSocket(s *WebSocketSection) {
	at := w.open(SectionWebsocket, 0)
	w.close(at, s.append)
}

// Finish returns the slice; on error it is as it was before Reset.
func (w *StepWriter) Finish() ([]byte, error) {
	if w.err != nil {
		return w.buf[:w.start], w.err
	}
	return w.buf, nil
}

func (w *StepWriter) word(tag uint16, word uint32) {
	var body [4]byte
	binary.LittleEndian.PutUint32(body[:], word)
	w.section(tag, 0, body[:])
}

func (w *StepWriter) section(tag, aux uint16, body []byte) {
	if len(body) > LimitRecord {
		w.err = ErrTooLarge
	}
	at := w.open(tag, aux)
	w.close(at, func(b []byte) ([]byte, error) { return append(b, body...), nil })
}

// open appends the head of a section and returns where it stands.
func (w *StepWriter) open(tag, aux uint16) int {
	if tag <= w.last {
		w.err = ErrOrder
	}
	w.last = tag
	at := len(w.buf)
	w.buf = binary.LittleEndian.AppendUint16(w.buf, tag)
	w.buf = binary.LittleEndian.AppendUint16(w.buf, aux)
	w.buf = append(w.buf, 0, 0, 0, 0)
	return at
}

// close appends the body of the section at at, writes its length and pads it.
func (w *StepWriter) close(at int, body func([]byte) ([]byte, error)) {
	if w.err != nil {
		return
	}
	if w.buf, w.err = body(w.buf); w.err != nil {
		return
	}
	binary.LittleEndian.PutUint32(w.buf[at+4:], uint32(len(w.buf)-at-sectionHead))
	if w.buf = pad8(w.buf, w.start); len(w.buf)-w.start > LimitRecord {
		w.err = ErrTooLarge
	}
}

// PayloadKind says where a step's payload is.
type PayloadKind uint8

// Where a step's payload is.
const (
	PayloadNone   PayloadKind = iota
	PayloadInline             // in Step.Payload
	PayloadByID               // in Hello.Payloads, at Step.PayloadID
	PayloadByCall             // at the host: ask by MethodGetPayload
)

// Step is a checked step record. What it holds are views of the record, but for WebSocket.
type Step struct {
	HasEntry    bool
	Entry       uint16 // index into HelloOk.Entries
	HasRequest  bool   // whether Request is there
	Request     Request
	RequestOf   uint32 // the session that holds the request, or 0
	PayloadKind PayloadKind
	Payload     []byte
	PayloadID   uint32
	HasResponse bool // whether Response is there
	Response    Head
	HasPiece    bool // whether Piece is there
	Piece       []byte
	PieceLast   bool // no piece follows
	HasStats    bool // whether Stats is there
	Stats       Stats
	// ResponseKept: the response head is that of this session's last step that had one.
	ResponseKept bool
	HasWebSocket bool             // whether WebSocket is there
	WebSocket    WebSocketSection // the socket a conversation is about
}

// Stats is what Logging may ask (SPEC.md 4.7).
type Stats struct {
	Bytes      uint64 // response body bytes sent
	DurationMs uint64 // since the request began
	Error      []byte // what went wrong, empty if nothing did; not checked to be UTF-8
}

// ParseStep checks the payload of a host's CALL; open says whether the frame has FlagOpen, ids whether
// FeatureHeaderNames is on.
func ParseStep(payload []byte, open, ids bool) (Step, error) {
	var step Step
	requestOf := false
	rest, last := payload, uint16(0)
	for len(rest) != 0 {
		tag, aux, body, after, err := parseSection(rest)
		if err != nil {
			return Step{}, err
		}
		if tag == last {
			return Step{}, recordRule("step-twice")
		}
		if tag < last {
			return Step{}, recordRule("step-order")
		}
		rest, last = after, tag
		if err := step.add(tag, aux, body, ids); err != nil {
			return Step{}, err
		}
		requestOf = requestOf || tag == SectionRequestOf
	}
	hasRequest := step.HasRequest || requestOf
	switch {
	case open && !step.HasEntry:
		return Step{}, recordRule("step-open-without-entry")
	case open && !hasRequest:
		return Step{}, recordRule("step-open-without-request")
	case !open && step.HasEntry:
		return Step{}, recordRule("step-entry-without-open")
	case !open && hasRequest:
		return Step{}, recordRule("step-request-without-open")
	case open && step.ResponseKept:
		return Step{}, recordRule("step-response-kept-open")
	case open && step.HasWebSocket:
		return Step{}, recordRule("step-websocket-open")
	case step.HasResponse && step.ResponseKept:
		return Step{}, recordRule("step-two-responses")
	}
	return step, nil
}

func (s *Step) add(tag, aux uint16, body []byte, ids bool) (err error) {
	if want, fixed := sectionLen(tag); fixed && len(body) != want {
		return recordRule("step-section-len")
	}
	switch tag {
	case SectionEntry:
		s.HasEntry, s.Entry = true, aux
	case SectionRequest:
		s.HasRequest = true
		s.Request, err = ParseRequest(body, ids)
	case SectionRequestOf:
		if s.HasRequest {
			return recordRule("step-two-requests")
		}
		s.RequestOf = binary.LittleEndian.Uint32(body)
	case SectionPayload, SectionPayloadId, SectionPayloadCall:
		return s.addPayload(tag, body)
	case SectionResponse:
		s.HasResponse = true
		s.Response, err = ParseHead(body, ids)
	case SectionPiece:
		s.HasPiece, s.Piece, s.PieceLast = true, body, aux&PieceLast != 0
	case SectionResponseKept:
		s.ResponseKept = true
	case SectionWebsocket:
		s.HasWebSocket = true
		s.WebSocket, err = parseWebSocket(body)
	case SectionStats:
		if len(body) < statsHead {
			return recordRule("stats-short")
		}
		le := binary.LittleEndian
		s.HasStats = true
		s.Stats = Stats{le.Uint64(body), le.Uint64(body[8:]), body[statsHead:]}
	}
	return err
}

func (s *Step) addPayload(tag uint16, body []byte) error {
	if s.PayloadKind != PayloadNone {
		return recordRule("step-two-payloads")
	}
	switch tag {
	case SectionPayload:
		s.PayloadKind, s.Payload = PayloadInline, body
	case SectionPayloadId:
		s.PayloadKind, s.PayloadID = PayloadByID, binary.LittleEndian.Uint32(body)
	case SectionPayloadCall:
		s.PayloadKind = PayloadByCall
	}
	return nil
}

// sectionLen is how long a section's body is, where that is fixed.
func sectionLen(tag uint16) (n int, fixed bool) {
	switch tag {
	case SectionEntry, SectionPayloadCall, SectionResponseKept:
		return 0, true
	case SectionRequestOf, SectionPayloadId:
		return 4, true
	}
	return 0, false
}

// parseSection is the first section of b and what follows its padding.
func parseSection(b []byte) (tag, aux uint16, body, rest []byte, err error) {
	if len(b) < sectionHead {
		return 0, 0, nil, nil, recordRule("step-truncated-head")
	}
	le := binary.LittleEndian
	end := sectionHead + int(le.Uint32(b[4:]))
	padded := round8(end)
	if padded > len(b) {
		return 0, 0, nil, nil, recordRule("step-past-end")
	}
	if !allZero(b[end:padded]) {
		return 0, 0, nil, nil, recordRule("step-padding")
	}
	return le.Uint16(b), le.Uint16(b[2:]), b[sectionHead:end:end], b[padded:], nil
}
