package wire

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// addVectors seeds f with the bytes of every vector. `go test` runs these, `go test -fuzz=NAME` goes on from them.
func addVectors(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(vectorsDir, "*", "*.json"))
	if err != nil || len(files) == 0 {
		f.Fatal("no vectors found", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var v struct {
			Bytes, Slot hexBytes
			Messages    []struct{ Bytes hexBytes }
		}
		if err := json.Unmarshal(text, &v); err != nil {
			f.Fatal(file, err)
		}
		f.Add([]byte(v.Bytes))
		f.Add([]byte(v.Slot))
		for _, m := range v.Messages {
			f.Add([]byte(m.Bytes))
		}
	}
}

func walkPairs(t *testing.T, p Pairs) {
	n := 0
	for name, value := range p.All() {
		if last, ok := p.Last(string(name)); len(name) != 0 && !ok {
			t.Errorf("no %q", name)
		} else {
			_, _ = last, value
		}
		n++
	}
	if n != p.Len() {
		t.Errorf("%d pairs, not %d", n, p.Len())
	}
}

func walkRequest(t *testing.T, r Request) {
	walkPairs(t, r.Headers())
	walkPairs(t, r.Params())
	_, _, _ = r.Method(), r.Path(), r.Query()
	_, _, _ = r.Host(), r.ClientIP(), r.RequestID()
	_, _, _ = r.TimestampMs(), r.Bytes(), r.TLS()
}

func FuzzStep(f *testing.F) {
	addVectors(f)
	f.Fuzz(func(t *testing.T, record []byte) {
		for _, ids := range []bool{false, true} {
			if r, err := ParseRequest(record, ids); err == nil {
				walkRequest(t, r)
			}
			if h, err := ParseHead(record, ids); err == nil {
				walkPairs(t, h.Headers())
			}
		}
		for i := range 4 {
			step, err := ParseStep(record, i&1 != 0, i&2 != 0)
			if err != nil {
				continue
			}
			if step.HasRequest {
				walkRequest(t, step.Request)
			}
			if step.HasResponse {
				walkPairs(t, step.Response.Headers())
			}
			if step.HasWebSocket && CheckName(step.WebSocket.ID) != nil {
				t.Errorf("%q is no id", step.WebSocket.ID)
			}
		}
	})
}

func FuzzConversation(f *testing.F) {
	addVectors(f)
	f.Fuzz(func(t *testing.T, record []byte) {
		again := func(found []byte) {
			if !bytes.Equal(found, record) {
				t.Errorf("%x, not %x", found, record)
			}
		}
		if s, err := parseWebSocket(record); err == nil {
			found, _ := s.append(nil)
			again(found)
		}
		if name, rest, err := ParseAddressed(record); err == nil {
			again(AppendAddressed(nil, name, rest))
		}
		for _, from := range []Side{SideHost, SideWorker} {
			if c, err := ParseClosing(record, from); err == nil {
				again(AppendClosing(nil, c))
			}
		}
	})
}

func FuzzMutation(f *testing.F) {
	addVectors(f)
	f.Fuzz(func(t *testing.T, record []byte) {
		m, err := ParseMutation(record)
		if err != nil || len(record) == 0 {
			return
		}
		// There is one way to write a record.
		var w MutationWriter
		for op := range m.Ops() {
			w.Append(op)
		}
		if again, err := w.Finish(); err != nil || !bytes.Equal(again, record) {
			t.Errorf("%x, %v, not %x", again, err, record)
		}
	})
}

// stringsLen is how many bytes the names and values of pairs have.
func stringsLen(pairs []Pair) int {
	n := 0
	for i := range pairs {
		n += len(pairs[i].Name) + len(pairs[i].Value)
	}
	return n
}

func FuzzControl(f *testing.F) {
	addVectors(f)
	f.Fuzz(func(t *testing.T, message []byte) {
		if c, err := DecodeControl(message); err == nil {
			if _, err := DecodeControl(EncodeControl(c)); err != nil {
				t.Errorf("%+v: %v", c, err)
			}
		}
		if list, err := DecodeHeaders(message); err == nil && stringsLen(list) > 2*len(message)+256 {
			t.Errorf("unfolded to %d bytes", stringsLen(list))
		}
	})
}

func FuzzFrame(f *testing.F) {
	addVectors(f)
	f.Fuzz(func(t *testing.T, slot []byte) {
		if len(slot) < SizeSlot {
			return
		}
		_, _ = DecodeHeader((*[HeaderPrefix]byte)(slot))
		var frame Frame
		frame.Decode((*[SizeSlot]byte)(slot))
		var again [SizeSlot]byte
		if frame.Encode(&again); !bytes.Equal(again[:], slot[:SizeSlot]) {
			t.Errorf("%x, not %x", again, slot[:SizeSlot])
		}
		ctx := FrameContext{1 << 20, frame.ArenaPos &^ 63 & (1<<62 - 1), true, true, true}
		for _, from := range []Side{SideHost, SideWorker} {
			if CheckFrame(&frame, from, ctx) != nil {
				continue
			}
			if frame.Has(FlagInline) {
				_ = frame.InlinePayload()
			} else if frame.ArenaPos&(ctx.Arena-1)+uint64(frame.Len) > ctx.Arena {
				t.Errorf("past the arena: %+v", frame)
			}
		}
	})
}
