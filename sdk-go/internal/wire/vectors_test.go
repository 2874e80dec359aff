package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// vectorsDir is protocol/vectors, whose README.md says what a runner does.
const vectorsDir = "../../../protocol/vectors"

func TestVectors(t *testing.T) {
	ran := 0
	for _, folder := range []struct {
		name  string
		least int
		run   func(testing.TB, []byte)
	}{
		{"frame", 25, runFrame},
		{"ring", 15, runRing},
		{"record", 15, runRecord},
		{"handshake", 8, runHandshake},
		{"reject", 40, runReject},
	} {
		files, err := filepath.Glob(filepath.Join(vectorsDir, folder.name, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) < folder.least {
			t.Errorf("%s: %d files, not %d", folder.name, len(files), folder.least)
		}
		for _, file := range files {
			ran++
			name := folder.name + "/" + strings.TrimSuffix(filepath.Base(file), ".json")
			t.Run(name, func(t *testing.T) {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				folder.run(t, text)
			})
		}
	}
	fmt.Printf("vectors: %d files\n", ran)
	if ran == 0 {
		t.Error("no vectors found")
	}
}

// hexBytes is hex, or pieces [hex, times].
type hexBytes []byte

func (b *hexBytes) UnmarshalJSON(text []byte) error {
	*b = nil
	if text[0] == '"' {
		return addHex(b, text, 1)
	}
	var pieces [][2]json.RawMessage
	if err := json.Unmarshal(text, &pieces); err != nil {
		return err
	}
	for _, piece := range pieces {
		times := 0
		if err := json.Unmarshal(piece[1], &times); err != nil {
			return err
		}
		if err := addHex(b, piece[0], times); err != nil {
			return err
		}
	}
	return nil
}

func addHex(b *hexBytes, text []byte, times int) error {
	var digits string
	if err := json.Unmarshal(text, &digits); err != nil {
		return err
	}
	raw, err := hex.DecodeString(digits)
	*b = append(*b, bytes.Repeat(raw, times)...)
	return err
}

// str is text, {"hex"} or {"hex", "times"}; it holds any bytes.
type str string

func (s *str) UnmarshalJSON(text []byte) error {
	if text[0] == '"' {
		return json.Unmarshal(text, (*string)(s))
	}
	raw := struct {
		Hex   hexBytes
		Times int
	}{Times: 1}
	err := json.Unmarshal(text, &raw)
	*s = str(bytes.Repeat(raw.Hex, raw.Times))
	return err
}

// run is [offset, hex] or [offset, hex, times].
type run struct {
	at    int
	bytes hexBytes
}

func (r *run) UnmarshalJSON(text []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	times := 1
	if len(parts) == 3 {
		if err := json.Unmarshal(parts[2], &times); err != nil {
			return err
		}
	}
	*r = run{}
	return errors.Join(json.Unmarshal(parts[0], &r.at), addHex(&r.bytes, parts[1], times))
}

func putRuns(lane []byte, runs []run) {
	for _, r := range runs {
		copy(lane[r.at:], r.bytes)
	}
}

type frameFields struct {
	Seq      uint32
	Kind     uint8
	Phase    uint8
	Flags    uint16
	Sid      uint32
	Method   uint32
	CallIdx  uint32 `json:"call_idx"`
	CallGen  uint32 `json:"call_gen"`
	ArenaPos uint64 `json:"arena_pos"`
	Len      uint32
	Status   uint32
	Inline   str
}

func (v *frameFields) frame() (f Frame) {
	f = Frame{
		Seq: v.Seq, Kind: v.Kind, Phase: v.Phase, Flags: v.Flags, Sid: v.Sid, Method: v.Method,
		CallIdx: v.CallIdx, CallGen: v.CallGen, ArenaPos: v.ArenaPos, Len: v.Len, Status: v.Status,
	}
	copy(f.Inline[:], v.Inline)
	return f
}

// frameVector is what frame/ and reject/ say of a slot and who looks at it.
type frameVector struct {
	From        string
	Arena       uint64
	Apos        uint64
	HostCalls   bool `json:"host_calls"`
	HandlerTime bool `json:"handler_time"`
	WebSocket   bool
	Slot        hexBytes
}

func (v *frameVector) frame() (f Frame) {
	f.Decode((*[SizeSlot]byte)(v.Slot))
	return f
}

func (v *frameVector) context() FrameContext {
	return FrameContext{v.Arena, v.Apos, v.HostCalls, v.HandlerTime, v.WebSocket}
}

func side(t testing.TB, name string) Side {
	t.Helper()
	switch name {
	case "host":
		return SideHost
	case "worker":
		return SideWorker
	}
	t.Fatalf("%q is no side", name)
	return 0
}

func parse[T any](t testing.TB, text []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func same(t testing.TB, what string, found, expected any) {
	t.Helper()
	if !reflect.DeepEqual(found, expected) {
		t.Errorf("%s:\n found    %+v\n expected %+v", what, found, expected)
	}
}

func runFrame(t testing.TB, text []byte) {
	v := parse[struct {
		frameVector
		Frame    frameFields
		NextApos uint64 `json:"next_apos"`
	}](t, text)
	found, fields := v.frame(), v.Frame.frame()
	same(t, "decoded", found, fields)
	var slot [SizeSlot]byte
	fields.Encode(&slot)
	same(t, "encoded", slot[:], []byte(v.Slot))
	if err := CheckFrame(&found, side(t, v.From), v.context()); err != nil {
		t.Error(err)
	}
	same(t, "next apos", NextApos(&found, v.context()), v.NextApos)
}

func runRing(t testing.TB, text []byte) {
	type op struct {
		Op      string
		Frame   frameFields
		Payload str
		Result  string
	}
	v := parse[struct {
		Writer string
		Slots  uint32
		Arena  uint64
		Start  struct{ Pos, Apos uint64 }

		PresetProducer []run `json:"preset_producer"`
		PresetConsumer []run `json:"preset_consumer"`
		Ops            []op
		ProducerLane   []run `json:"producer_lane"`
		ConsumerLane   []run `json:"consumer_lane"`
	}](t, text)
	r := newRefRing(Geometry{1, v.Slots, v.Arena}, side(t, v.Writer), v.Start.Pos, v.Start.Apos)
	putRuns(r.producer, v.PresetProducer)
	putRuns(r.consumer, v.PresetConsumer)
	var compare []func()
	for i, op := range v.Ops {
		result := ""
		switch op.Op {
		case "push":
			ok, err := r.push(op.Frame.frame(), []byte(op.Payload))
			if err != nil {
				t.Fatal(i, err)
			}
			result = map[bool]string{true: "ok", false: "full"}[ok]
		case "pop":
			frame, payload, ok, err := r.pop()
			if err != nil {
				t.Fatal(i, err)
			}
			result = map[bool]string{true: "frame", false: "empty"}[ok]
			if ok {
				compare = append(compare, func() {
					same(t, "popped", frame, op.Frame.frame())
					same(t, "payload", string(payload), string(op.Payload))
				})
			}
		case "release":
			r.release()
		default:
			t.Fatalf("unknown op %q", op.Op)
		}
		same(t, fmt.Sprint("result of op ", i), result, op.Result)
	}
	for _, f := range compare {
		f()
	}
	lane := make([]byte, len(r.producer))
	putRuns(lane, v.ProducerLane)
	sameLane(t, "producer", r.producer, lane)
	clear(lane)
	putRuns(lane, v.ConsumerLane)
	sameLane(t, "consumer", r.consumer, lane)
}

func sameLane(t testing.TB, name string, found, expected []byte) {
	t.Helper()
	for i := range expected {
		if found[i] != expected[i] {
			t.Errorf("%s lane, offset %#x: %#x, not %#x", name, i, found[i], expected[i])
			return
		}
	}
}

// strPair is [name, value].
type strPair [2]str

func toPairs(list []strPair) []Pair {
	out := make([]Pair, len(list))
	for i, p := range list {
		out[i] = Pair{string(p[0]), string(p[1])}
	}
	return out
}

func fromPairs(p Pairs) []strPair {
	out := make([]strPair, 0, p.Len())
	for name, value := range p.All() {
		out = append(out, strPair{str(name), str(value)})
	}
	return out
}

type requestFields struct {
	TimestampMs int64 `json:"timestamp_ms"`
	Bytes       uint64
	Port        uint16
	TLS         bool
	Version     uint8
	Method      str
	Path        str
	Query       str
	Host        str
	ClientIP    str `json:"client_ip"`
	RequestID   str `json:"request_id"`
	Headers     []strPair
	Params      []strPair
}

func (v *requestFields) fields() *RequestFields {
	return &RequestFields{
		TimestampMs: v.TimestampMs, Bytes: v.Bytes, Port: v.Port, TLS: v.TLS, Version: v.Version,
		Method: string(v.Method), Path: string(v.Path), Query: string(v.Query), Host: string(v.Host),
		ClientIP: string(v.ClientIP), RequestID: string(v.RequestID),
		Headers: toPairs(v.Headers), Params: toPairs(v.Params),
	}
}

func ofRequest(r Request) *requestFields {
	return &requestFields{
		TimestampMs: r.TimestampMs(), Bytes: r.Bytes(), Port: r.Port(), TLS: r.TLS(), Version: r.Version(),
		Method: str(r.Method()), Path: str(r.Path()), Query: str(r.Query()), Host: str(r.Host()),
		ClientIP: str(r.ClientIP()), RequestID: str(r.RequestID()),
		Headers: fromPairs(r.Headers()), Params: fromPairs(r.Params()),
	}
}

type headFields struct {
	Status  uint16
	Flags   uint32
	Headers []strPair
}

func ofHead(h Head) *headFields {
	return &headFields{h.Status(), h.Flags(), fromPairs(h.Headers())}
}

type stepFields struct {
	Open        bool
	Entry       *uint16
	Request     *requestFields
	RequestOf   *uint32 `json:"request_of"`
	Payload     *str
	PayloadID   *uint32 `json:"payload_id"`
	PayloadCall bool    `json:"payload_call"`
	Kept        bool    `json:"response_kept"`
	Response    *headFields
	Piece       *struct {
		Bytes str
		Last  bool
	}
	Stats *struct {
		Bytes      uint64
		DurationMs uint64 `json:"duration_ms"`
		Error      str
	}
	WebSocket *WebSocketSection
}

func (v *stepFields) encode(names bool) ([]byte, error) {
	w := StepWriter{NameIDs: names}
	if v.Entry != nil {
		w.Entry(*v.Entry)
	}
	if v.Request != nil {
		w.Request(v.Request.fields())
	}
	if v.RequestOf != nil {
		w.RequestOf(*v.RequestOf)
	}
	if v.Payload != nil {
		w.Payload([]byte(*v.Payload))
	}
	if v.PayloadID != nil {
		w.PayloadID(*v.PayloadID)
	}
	if v.PayloadCall {
		w.PayloadCall()
	}
	if v.Response != nil {
		w.Response(v.Response.Status, v.Response.Flags, toPairs(v.Response.Headers))
	}
	if v.Piece != nil {
		w.Piece([]byte(v.Piece.Bytes), v.Piece.Last)
	}
	if v.Stats != nil {
		w.Stats(v.Stats.Bytes, v.Stats.DurationMs, string(v.Stats.Error))
	}
	if v.Kept {
		w.ResponseKept()
	}
	if v.WebSocket != nil {
		w.WebSocket(v.WebSocket)
	}
	return w.Finish()
}

func ofStep(step Step, open bool) *stepFields {
	v := &stepFields{Open: open, Kept: step.ResponseKept}
	if step.HasEntry {
		v.Entry = &step.Entry
	}
	if step.HasRequest {
		v.Request = ofRequest(step.Request)
	}
	if step.RequestOf != 0 {
		v.RequestOf = &step.RequestOf
	}
	switch step.PayloadKind {
	case PayloadInline:
		payload := str(step.Payload)
		v.Payload = &payload
	case PayloadByID:
		v.PayloadID = &step.PayloadID
	case PayloadByCall:
		v.PayloadCall = true
	}
	if step.HasResponse {
		v.Response = ofHead(step.Response)
	}
	if step.HasPiece {
		v.Piece = &struct {
			Bytes str
			Last  bool
		}{str(step.Piece), step.PieceLast}
	}
	if step.HasStats {
		v.Stats = &struct {
			Bytes      uint64
			DurationMs uint64 `json:"duration_ms"`
			Error      str
		}{step.Stats.Bytes, step.Stats.DurationMs, str(step.Stats.Error)}
	}
	if step.HasWebSocket {
		v.WebSocket = &step.WebSocket
	}
	return v
}

type opFields struct {
	Op     uint32
	Name   str
	Value  str
	Status uint16
	Staged bool
}

// recordType is one type of record: how a vector's fields become bytes and the other way round.
type recordType struct {
	encode func(fields []byte) ([]byte, error)
	decode func(record, fields []byte) (found, expected any, err error)
}

// records are the types; names says whether names of the table are ids.
func records(t testing.TB, names bool) map[string]recordType {
	return map[string]recordType{
		"request": {
			func(fields []byte) ([]byte, error) {
				v := parse[requestFields](t, fields)
				return AppendRequest(nil, v.fields(), names)
			},
			func(record, fields []byte) (any, any, error) {
				r, err := ParseRequest(record, names)
				if err != nil {
					return nil, nil, err
				}
				return *ofRequest(r), parse[requestFields](t, fields), nil
			},
		},
		"response_head": {
			func(fields []byte) ([]byte, error) {
				v := parse[headFields](t, fields)
				return AppendHead(nil, v.Status, v.Flags, toPairs(v.Headers), names)
			},
			func(record, fields []byte) (any, any, error) {
				h, err := ParseHead(record, names)
				if err != nil {
					return nil, nil, err
				}
				return *ofHead(h), parse[headFields](t, fields), nil
			},
		},
		"step": {
			func(fields []byte) ([]byte, error) {
				v := parse[stepFields](t, fields)
				return v.encode(names)
			},
			func(record, fields []byte) (any, any, error) {
				v := parse[stepFields](t, fields)
				step, err := ParseStep(record, v.Open, names)
				if err != nil {
					return nil, nil, err
				}
				return *ofStep(step, v.Open), v, nil
			},
		},
		"mutation": {
			func(fields []byte) ([]byte, error) {
				var w MutationWriter
				for _, op := range parse[struct{ Ops []opFields }](t, fields).Ops {
					w.Append(Op{op.Op, []byte(op.Name), []byte(op.Value), op.Status, op.Staged})
				}
				return w.Finish()
			},
			func(record, fields []byte) (any, any, error) {
				m, err := ParseMutation(record)
				if err != nil {
					return nil, nil, err
				}
				found := make([]opFields, 0, m.Len())
				for op := range m.Ops() {
					value := str(op.Value)
					if op.Method == MethodSetResponseStatus {
						value = ""
					}
					found = append(found, opFields{op.Method, str(op.Name), value, op.Status, op.Staged})
				}
				return found, parse[struct{ Ops []opFields }](t, fields).Ops, nil
			},
		},
		"error": {
			func(fields []byte) ([]byte, error) {
				v := parse[faultFields](t, fields)
				return AppendFault(nil, v.Code, string(v.Text)), nil
			},
			func(record, fields []byte) (any, any, error) {
				code, text, err := ParseFault(record)
				return faultFields{code, str(text)}, parse[faultFields](t, fields), err
			},
		},
		"window": {
			func(fields []byte) ([]byte, error) {
				return AppendWindowTotal(nil, parse[struct{ Total uint64 }](t, fields).Total), nil
			},
			func(record, fields []byte) (any, any, error) {
				total, err := WindowTotal(record)
				return total, parse[struct{ Total uint64 }](t, fields).Total, err
			},
		},
		"addressed": {
			func(fields []byte) ([]byte, error) {
				v := parse[addressedFields](t, fields)
				return AppendAddressed(nil, string(v.Name), []byte(v.Bytes)), nil
			},
			func(record, fields []byte) (any, any, error) {
				name, rest, err := ParseAddressed(record)
				return addressedFields{str(name), str(rest)}, parse[addressedFields](t, fields), err
			},
		},
		"name": {
			func(fields []byte) ([]byte, error) {
				return []byte(parse[addressedFields](t, fields).Name), nil
			},
			func(record, fields []byte) (any, any, error) {
				name, err := ParseName(record)
				return addressedFields{Name: str(name)}, parse[addressedFields](t, fields), err
			},
		},
		"closing": {
			func(fields []byte) ([]byte, error) {
				v := parse[closingFields](t, fields)
				return AppendClosing(nil, Closing{v.Code, v.Reason}), nil
			},
			func(record, fields []byte) (any, any, error) {
				v := parse[closingFields](t, fields)
				c, err := ParseClosing(record, side(t, v.From))
				return closingFields{v.From, c.Code, c.Reason}, v, err
			},
		},
		"headers": {
			func(fields []byte) ([]byte, error) {
				return EncodeHeaders(toPairs(parse[struct{ Headers []strPair }](t, fields).Headers)), nil
			},
			func(record, fields []byte) (any, any, error) {
				found, err := DecodeHeaders(record)
				if err != nil {
					return nil, nil, err
				}
				return found, toPairs(parse[struct{ Headers []strPair }](t, fields).Headers), nil
			},
		},
		"header_page": {
			func(fields []byte) ([]byte, error) {
				header := parse[pageFields](t, fields).header()
				page := header.Encode()
				return page[:], nil
			},
			func(record, fields []byte) (any, any, error) {
				found, err := DecodeHeader((*[HeaderPrefix]byte)(record))
				return found, parse[pageFields](t, fields).header(), err
			},
		},
	}
}

type addressedFields struct {
	Name, Bytes str
}

type closingFields struct {
	From   string
	Code   uint16
	Reason string
}

type faultFields struct {
	Code uint32
	Text str
}

type pageFields struct {
	Geometry Geometry
	Epoch    uint64
	AbiMinor uint16 `json:"abi_minor"`
	Features uint64
}

func (v pageFields) header() Header { return Header{v.Geometry, v.Epoch, v.AbiMinor, v.Features} }

func runRecord(t testing.TB, text []byte) {
	v := parse[struct {
		Type   string
		Names  bool
		Fields json.RawMessage
		Bytes  hexBytes
	}](t, text)
	r, ok := records(t, v.Names)[v.Type]
	if !ok {
		t.Fatalf("unknown record %q", v.Type)
	}
	found, expected, err := r.decode(v.Bytes, v.Fields)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "decoded", found, expected)
	encoded, err := r.encode(v.Fields)
	if err != nil {
		t.Fatal(err)
	}
	if v.Type != "headers" {
		same(t, "encoded", hex.EncodeToString(encoded), hex.EncodeToString(v.Bytes))
		return
	}
	again, _, err := r.decode(encoded, v.Fields)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "encoded and decoded", again, expected)
}

type versionsField [3]uint16

func (v versionsField) versions() VersionRange { return VersionRange{v[0], v[1], v[2]} }

type controlFields struct {
	Type       string
	Versions   versionsField
	LayoutHash uint64 `json:"layout_hash"`
	Epoch      uint64
	SegLen     uint64 `json:"seg_len"`
	Geometry   Geometry
	Features   uint64
	Window     uint32
	StagedMax  uint64 `json:"staged_max"`
	SpinNs     uint32 `json:"spin_ns"`
	Generation uint32
	Plugin     string
	Config     str
	Payloads   []str
	CPUs       uint32
	Doorbell   uint8
	SDK        string
	Entries    []string
	Code       uint16
	Message    string
	GraceMs    uint32 `json:"grace_ms"`
	Bytes      hexBytes
}

func (v *controlFields) control(t testing.TB) Control {
	switch v.Type {
	case "hello":
		h := &Hello{
			Versions: v.Versions.versions(), LayoutHash: v.LayoutHash, Epoch: v.Epoch, SegLen: v.SegLen,
			Geometry: v.Geometry, Features: v.Features, Window: v.Window, StagedMax: v.StagedMax,
			SpinNs: v.SpinNs, Generation: v.Generation, Plugin: v.Plugin,
		}
		if v.Config != "" {
			h.Config = []byte(v.Config)
		}
		for _, payload := range v.Payloads {
			h.Payloads = append(h.Payloads, append([]byte(nil), payload...))
		}
		return h
	case "hello_ok":
		return &HelloOk{
			Versions: v.Versions.versions(), LayoutHash: v.LayoutHash, Epoch: v.Epoch, Features: v.Features,
			CPUs: v.CPUs, Doorbell: v.Doorbell, SDK: v.SDK, Entries: v.Entries,
		}
	case "refuse":
		return &Refuse{v.Code, v.Versions.versions(), v.Message}
	case "shutdown":
		return Shutdown{v.GraceMs}
	case "bye":
		return Bye{}
	}
	t.Fatalf("unknown message %q", v.Type)
	return nil
}

func runHandshake(t testing.TB, text []byte) {
	v := parse[struct {
		Messages []controlFields
		Worker   *versionsField
		Expect   *struct {
			Minor   uint16
			Code    uint16
			Message string
		}
	}](t, text)
	var messages []Control
	for i := range v.Messages {
		fields := v.Messages[i].control(t)
		for _, message := range [][]byte{v.Messages[i].Bytes, EncodeControl(fields)} {
			found, err := DecodeControl(message)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "decoded", found, fields)
		}
		messages = append(messages, fields)
	}
	if v.Expect == nil {
		return
	}
	hello := messages[0].(*Hello)
	var minor uint16
	var err error
	if v.Worker != nil {
		minor, err = hello.Check(v.Worker.versions())
	} else {
		minor, err = messages[1].(*HelloOk).Check(hello)
	}
	found := *v.Expect
	found.Minor, found.Code, found.Message = minor, 0, ""
	if err != nil {
		reason := err.(*RefuseReason)
		found.Code, found.Message = reason.Code, reason.Message
	}
	same(t, "outcome", found, *v.Expect)
}

func runReject(t testing.TB, text []byte) {
	v := parse[struct {
		frameVector
		Check     string
		Violation string
		Rule      string
		Verdict   string
		Issued    *struct {
			Generation uint32
			Live       bool
			Sid        uint32
			Phase      uint8
		}
		Pos, Released, Found uint64
		Slots                uint32
		Limit                uint32
		Ops                  [][2]json.RawMessage
		Host                 pageFields
		Open, Names          bool
		Bytes                hexBytes
	}](t, text)
	var err error
	late := false
	switch v.Check {
	case "frame":
		f := v.frame()
		err = CheckFrame(&f, side(t, v.From), v.context())
	case "token":
		f := v.frame()
		var issued Issued
		if v.Issued != nil {
			issued = Issued{v.Issued.Generation, v.Issued.Live, v.Issued.Sid, v.Issued.Phase}
		}
		late, err = CheckToken(&f, issued, v.Issued != nil)
	case "seq":
		_, err = CheckSeq(v.Pos, v.Slots, uint32(v.Found))
	case "head":
		_, err = CheckHead(v.Pos, v.Released, uint32(v.Found))
	case "arena_head":
		_, err = CheckArenaHead(v.Apos, v.Released, v.Found)
	case "window":
		w := NewWindow(v.Limit)
		for i, op := range v.Ops {
			if err != nil {
				t.Fatalf("op %d was refused: %v", i-1, err)
			}
			n := parse[uint64](t, op[1])
			switch parse[string](t, op[0]) {
			case "take":
				err = w.Take(uint32(n))
			case "message":
				err = w.Take(Cost(&Frame{Kind: KindData, Method: MethodWebsocketSendText, Len: uint32(n)}))
			default:
				_, err = w.OnTotal(n)
			}
		}
	case "messages":
		var m Messages
		for i, op := range v.Ops {
			if err != nil {
				t.Fatalf("piece %d was refused: %v", i-1, err)
			}
			f := Frame{Kind: KindData, Method: parse[uint32](t, op[0])}
			if parse[string](t, op[1]) == "more" {
				f.Flags = FlagMore
			}
			_, err = m.Take(&f)
		}
	case "header":
		host := v.Host.header()
		_, err = DecodePeerHeader((*[HeaderPrefix]byte)(v.Bytes), &host)
	case "control":
		_, err = DecodeControl(v.Bytes)
	default:
		r, ok := records(t, v.Names)[v.Check]
		if !ok {
			t.Fatalf("unknown check %q", v.Check)
		}
		_, _, err = r.decode(v.Bytes, fmt.Appendf(nil, `{"open": %t, "from": %q}`, v.Open, v.From))
	}
	if v.Verdict != "" {
		same(t, "late", late, v.Verdict == "late")
		same(t, "error", err, nil)
		return
	}
	var violation *Violation
	if !errors.As(err, &violation) {
		t.Fatalf("accepted, or refused otherwise: %v", err)
	}
	same(t, "violation", violation.Name, v.Violation)
	if v.Rule != "" {
		same(t, "rule", violation.Rule, v.Rule)
	}
}

// Every string of a vector is read as it is written.
func TestNotation(t *testing.T) {
	for text, expected := range map[string]string{
		`"a\u00e9"`:                  "aé",
		`{"hex": "00ff"}`:            "\x00\xff",
		`{"hex": "61", "times": 3}`:  "aaa",
		`{"hex": "61", "times": 0}`:  "",
		`{"hex": "c3a9","times": 1}`: "é",
	} {
		if found := parse[str](t, []byte(text)); string(found) != expected {
			t.Errorf("%s: %q, not %q", text, found, expected)
		}
	}
	if found := parse[hexBytes](t, []byte(`[["0102", 2], ["ff", 1]]`)); !slices.Equal(found, []byte{1, 2, 1, 2, 255}) {
		t.Errorf("%x", found)
	}
}
