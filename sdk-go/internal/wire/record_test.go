package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

var testHeaders = []Pair{{"host", "a.test"}, {"x-empty", ""}, {"x-empty", "again"}}

func testRequest() *RequestFields {
	return &RequestFields{
		TimestampMs: -1, Bytes: 7, Port: 8080, TLS: true, Version: 11,
		Method: "GET", Path: "/users/42", Host: "a.test", ClientIP: "192.0.2.1", RequestID: "r-1",
		Headers: testHeaders, Params: []Pair{{"id", "42"}},
	}
}

func collect(p Pairs) (out []Pair) {
	for name, value := range p.All() {
		out = append(out, Pair{string(name), string(value)})
	}
	return out
}

func TestStepRoundTrip(t *testing.T) {
	var w StepWriter
	w.Reset([]byte("before"))
	w.Entry(3)
	w.Request(testRequest())
	w.Payload([]byte("{}"))
	w.Response(404, HeadBody, testHeaders)
	w.Piece([]byte("piece"), true)
	w.Stats(9, 12, "refused")
	out, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	step, err := ParseStep(out[6:], true, false)
	if err != nil {
		t.Fatal(err)
	}
	r := step.Request
	if step.Entry != 3 || r.TimestampMs() != -1 || r.Port() != 8080 || !r.TLS() || string(r.Path()) != "/users/42" {
		t.Errorf("request: %+v", step)
	}
	if got := collect(r.Headers()); !reflect.DeepEqual(got, testHeaders) {
		t.Errorf("headers: %v", got)
	}
	if got := collect(r.Params()); !reflect.DeepEqual(got, []Pair{{"id", "42"}}) {
		t.Errorf("params: %v", got)
	}
	if got := collect(step.Response.Headers()); step.Response.Status() != 404 || !reflect.DeepEqual(got, testHeaders) {
		t.Errorf("response: %v", got)
	}
	if string(step.Payload) != "{}" || string(step.Piece) != "piece" || !step.PieceLast || string(step.Stats.Error) != "refused" {
		t.Errorf("step: %+v", step)
	}
}

func TestTooLargeLeavesNothing(t *testing.T) {
	big := make([]byte, LimitRecord)
	var m MutationWriter
	m.Reset([]byte("kept"))
	m.Status(200)
	m.Body(big)
	if out, err := m.Finish(); !errors.Is(err, ErrTooLarge) || string(out) != "kept" {
		t.Errorf("mutation: %q, %v", out, err)
	}
	var s StepWriter
	s.Reset([]byte("kept"))
	s.Piece(big, false)
	if out, err := s.Finish(); !errors.Is(err, ErrTooLarge) || string(out) != "kept" {
		t.Errorf("step: %q, %v", out, err)
	}
}

func TestStepWriterWantsOrder(t *testing.T) {
	var s StepWriter
	s.PayloadCall()
	s.Entry(1)
	if _, err := s.Finish(); !errors.Is(err, ErrOrder) {
		t.Error(err)
	}
}

func TestZeroMutationWriter(t *testing.T) {
	var w MutationWriter
	w.SetHeader("a", "b")
	out, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseMutation(out)
	if err != nil || m.Len() != 1 {
		t.Fatal(m, err)
	}
	var back MutationWriter
	for op := range m.Ops() {
		back.Append(op)
	}
	if again, _ := back.Finish(); !bytes.Equal(out, again) {
		t.Errorf("%x, not %x", again, out)
	}
}

func TestControlRoundTrip(t *testing.T) {
	g := Geometry{1, 256, 1 << 20}
	hello := &Hello{
		Versions: Versions, LayoutHash: LayoutHash, Epoch: 77, SegLen: g.SegmentLen(), Geometry: g,
		Features: FeatureKnown, Window: 1 << 18, Generation: 1, Plugin: "authz",
		Config: []byte("{}"), Payloads: [][]byte{[]byte("{}"), nil},
	}
	ok := &HelloOk{Versions: Versions, LayoutHash: LayoutHash, Epoch: 77, CPUs: 2, SDK: "go", Entries: []string{"a", ""}}
	for _, c := range []Control{hello, ok, &Refuse{RefuseConfig, Versions, "no key"}, Shutdown{5000}, Shutdown{}, Bye{}} {
		message := EncodeControl(c)
		got, err := DecodeControl(message)
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%+v, %v, not %+v", got, err, c)
		}
		for cut := range message {
			_, _ = DecodeControl(message[:cut])
		}
	}
	if minor, err := ok.Check(hello); minor != AbiMinor || err != nil {
		t.Error(minor, err)
	}
}

func TestHeaderLists(t *testing.T) {
	got, err := DecodeHeaders(EncodeHeaders(testHeaders))
	if err != nil || !reflect.DeepEqual(got, testHeaders) {
		t.Error(got, err)
	}
	if _, err := DecodeHeaders([]byte("junk")); err == nil {
		t.Error("junk was read")
	}
}

// What a handler costs: nothing but the slice it is given.
func TestNoAllocations(t *testing.T) {
	buf := make([]byte, 0, 4096)
	request := testRequest()
	per := testing.AllocsPerRun(100, func() {
		s := StepWriter{NameIDs: true}
		s.Reset(buf)
		s.Entry(1)
		s.Request(request)
		s.Response(200, 0, testHeaders)
		record, err := s.Finish()
		if err != nil {
			t.Fatal(err)
		}
		step, err := ParseStep(record, true, true)
		if err != nil || step.Request.Headers().Len() != 3 {
			t.Fatal(err)
		}
		for _, name := range []string{"host", "Host", "X-Empty"} {
			if _, ok := step.Request.Headers().Last(name); !ok {
				t.Fatal(name)
			}
		}
		var m MutationWriter
		m.Reset(buf)
		m.SetHeader("x-a", "b")
		m.Status(200)
		record, _ = m.Finish()
		mutation, err := ParseMutation(record)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for range mutation.Ops() {
			n++
		}
	})
	if per != 0 {
		t.Errorf("%v allocations", per)
	}
}

// Every name of the table is found in any case, and nothing else.
func TestNameIDs(t *testing.T) {
	for id, name := range names {
		if id == 0 {
			continue
		}
		for _, s := range []string{string(name), strings.ToUpper(string(name))} {
			if found := nameID(s); found != uint32(id) {
				t.Errorf("%s: %d, not %d", s, found, id)
			}
		}
		for _, s := range []string{string(name) + "x", string(name[1:]), "\r" + string(name[1:]), string(name[:1]) + "\r" + string(name[2:])} {
			if found := nameID(s); found != 0 && string(names[found]) != s {
				t.Errorf("%q: %d", s, found)
			}
		}
	}
}

// A head that still stands must have come before.
func TestHeadStands(t *testing.T) {
	var last Head
	kept := Step{ResponseKept: true}
	if last.Stands(&kept) {
		t.Error("a session without a head has one")
	}
	record, err := AppendHead(nil, 404, 0, testHeaders, true)
	if err != nil {
		t.Fatal(err)
	}
	head, err := ParseHead(record, true)
	if err != nil || !last.Stands(&Step{HasResponse: true, Response: head}) || !last.Stands(&Step{}) {
		t.Fatal(err)
	}
	if kept = (Step{ResponseKept: true}); !last.Stands(&kept) || !kept.HasResponse || kept.Response.Status() != 404 {
		t.Error(kept)
	}
}

func TestClosingCutsItsReason(t *testing.T) {
	reason := strings.Repeat("ü", 80)
	b := AppendClosing(nil, Closing{4000, reason})
	if c, err := ParseClosing(b, SideWorker); err != nil || len(b) != 124 || c != (Closing{4000, reason[:122]}) {
		t.Error(len(b), c, err)
	}
	if b := AppendClosing(nil, Closing{0, "lost"}); len(b) != 0 {
		t.Errorf("%x", b)
	}
}

// A close passes a full window, and voids what is half sent.
func TestConversationEndsThoughItsWindowIsFull(t *testing.T) {
	data := func(method, n uint32) *Frame { return &Frame{Kind: KindData, Method: method, Len: n} }
	w, m := NewWindow(uint32(LimitConversation)), Messages{}
	piece := data(MethodWebsocketSendText, 65_472)
	piece.Flags = FlagMore
	for _, begins := range []bool{true, false} {
		if first, err := m.Take(piece); w.Take(Cost(piece)) != nil || err != nil || first != begins {
			t.Error(first, err)
		}
	}
	end := data(MethodWebsocketClose, 20)
	if first, err := m.Take(end); w.Room() != 0 || w.Take(Cost(end)) != nil || err != nil || !first {
		t.Error(w.Room(), first, err)
	}
	if _, err := m.Take(end); err == nil {
		t.Error("closed twice")
	}
}
