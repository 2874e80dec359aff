package lane

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// The golden ring vectors, replayed on the producer and the consumer that are shipped (protocol/vectors/README.md).
// Package wire replays all vectors on its pure helpers.
func TestRingVectors(t *testing.T) {
	files, err := filepath.Glob("../../../protocol/vectors/ring/*.json")
	if err != nil || len(files) < 15 {
		t.Fatalf("%d ring vectors: %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			replay(t, text)
		})
	}
	t.Logf("vectors: %d files", len(files))
}

type payloadField struct{ bytes []byte }

func (p *payloadField) UnmarshalJSON(text []byte) error {
	var v struct {
		Hex   string
		Times *int
	}
	if text[0] == '"' {
		var s string
		err := json.Unmarshal(text, &s)
		p.bytes = []byte(s)
		return err
	}
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	b, err := hex.DecodeString(v.Hex)
	if v.Times != nil {
		b = bytes.Repeat(b, *v.Times)
	}
	p.bytes = b
	return err
}

type runField struct {
	at    int
	bytes []byte
}

func (r *runField) UnmarshalJSON(text []byte) error {
	var at, times = 0, 1
	var digits string
	if err := json.Unmarshal(text, &[]any{&at, &digits, &times}); err != nil {
		return err
	}
	b, err := hex.DecodeString(digits)
	r.at, r.bytes = at, bytes.Repeat(b, times)
	return err
}

type frameField struct {
	Seq      uint32 `json:"seq"`
	Kind     uint8  `json:"kind"`
	Phase    uint8  `json:"phase"`
	Flags    uint16 `json:"flags"`
	Sid      uint32 `json:"sid"`
	Method   uint32 `json:"method"`
	CallIdx  uint32 `json:"call_idx"`
	CallGen  uint32 `json:"call_gen"`
	ArenaPos uint64 `json:"arena_pos"`
	Len      uint32 `json:"len"`
	Status   uint32 `json:"status"`
}

func (v frameField) frame() (f wire.Frame) {
	f.Kind, f.Phase, f.Flags, f.Sid, f.Method = v.Kind, v.Phase, v.Flags, v.Sid, v.Method
	f.CallIdx, f.CallGen, f.ArenaPos, f.Len, f.Status = v.CallIdx, v.CallGen, v.ArenaPos, v.Len, v.Status
	return f
}

func replay(t *testing.T, text []byte) {
	var v struct {
		Writer         string `json:"writer"`
		Slots          uint32 `json:"slots"`
		Arena          uint64 `json:"arena"`
		Start          struct{ Pos, Apos uint64 }
		PresetProducer []runField `json:"preset_producer"`
		PresetConsumer []runField `json:"preset_consumer"`
		Ops            []struct {
			Op, Result string
			Frame      frameField
			Payload    payloadField
		}
		ProducerLane []runField `json:"producer_lane"`
		ConsumerLane []runField `json:"consumer_lane"`
	}
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	g := wire.Geometry{Lanes: 1, Slots: v.Slots, Arena: v.Arena}
	writer, reader := shm.New(g), shm.New(g)
	own, peer := writer.Lane(0), reader.Lane(0)
	side := map[string]wire.Side{"host": wire.SideHost, "worker": wire.SideWorker}[v.Writer]
	fault := func(err error) { t.Errorf("violation: %v", err) }
	prod := NewProducer(side, own, peer, func() {}, NewMonitor(), fault)
	cons := NewConsumer(side, peer, own, func() {}, fault)

	prod.pos, prod.head, cons.pos, cons.released = v.Start.Pos, v.Start.Pos, v.Start.Pos, v.Start.Pos
	prod.apos, prod.arenaHead, cons.apos, cons.arenaRel = v.Start.Apos, v.Start.Apos, v.Start.Apos, v.Start.Apos
	atomic.StoreUint32(peer.Head, uint32(v.Start.Pos))
	atomic.StoreUint64(peer.ArenaHead, v.Start.Apos)
	for p := v.Start.Pos - min(v.Start.Pos, own.N); p < v.Start.Pos; p++ {
		atomic.StoreUint32(own.Seq(p), wire.SeqOf(p))
	}
	put := func(s *shm.Segment, runs []runField) {
		for _, r := range runs {
			copy(s.Bytes(wire.SizeHeader+r.at, len(r.bytes)), r.bytes)
		}
	}
	put(writer, v.PresetProducer)
	put(reader, v.PresetConsumer)

	var checks []func()
	for i, op := range v.Ops {
		switch op.Op {
		case "push":
			f := Frame{Frame: op.Frame.frame()}
			if ok := prod.TrySend(&f, op.Payload.bytes); ok != (op.Result == "ok") {
				t.Fatalf("op %d: push said %v, not %s", i, ok, op.Result)
			}
		case "pop":
			f := &Frame{}
			if ok := cons.Pop(f); ok != (op.Result == "frame") {
				t.Fatalf("op %d: pop said %v, not %s", i, ok, op.Result)
			}
			checks = append(checks, func() {
				found := f.Frame
				clear(found.Inline[:]) // compared as the payload
				if want := op.Frame.frame(); op.Result == "frame" && found != want || !bytes.Equal(f.Payload, op.Payload.bytes) {
					t.Errorf("op %d: popped %+v, not %+v", i, found, want)
				}
			})
		case "release":
			cons.Release()
		default:
			t.Fatalf("op %q", op.Op)
		}
	}
	for _, check := range checks {
		check()
	}
	same := func(name string, s *shm.Segment, runs []runField) {
		want := make([]byte, g.LaneStride())
		for _, r := range runs {
			copy(want[r.at:], r.bytes)
		}
		found := bytes.Clone(s.Bytes(wire.SizeHeader, len(want)))
		for _, b := range [][]byte{want, found} { // the words of doorbells and statistics
			clear(b[wire.LaneBell : wire.LaneRescue+4])
			clear(b[wire.LaneWait : wire.LaneWait+4])
			clear(b[wire.LaneSpaceWait : wire.LaneSpaceBell+4])
			clear(b[wire.LaneStats : wire.LaneStats+16*8])
		}
		for i := range want {
			if want[i] != found[i] {
				t.Fatalf("%s lane: byte %#x is %#x, not %#x", name, i, found[i], want[i])
			}
		}
	}
	same("producer's", writer, v.ProducerLane)
	same("consumer's", reader, v.ConsumerLane)
}
