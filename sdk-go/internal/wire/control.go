package wire

import (
	"unicode/utf8"

	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/nylon-rs/nylon/sdk-go/internal/wire/fb"
)

// Control is a message on the control socket: *Hello, *HelloOk, *Refuse, Shutdown or Bye (SPEC.md 8).
type Control interface {
	build(b *flatbuffers.Builder) (fb.Body, flatbuffers.UOffsetT)
}

// Hello is the host's first message, with the descriptors.
type Hello struct {
	Versions   VersionRange // what the host speaks
	LayoutHash uint64
	Epoch      uint64 // random and not zero, one per process incarnation
	SegLen     uint64 // length of each segment
	Geometry   Geometry
	Features   uint64 // Feature* bits offered
	Window     uint32 // DATA in flight per invocation and direction, bytes
	StagedMax  uint64 // largest staged body, bytes
	SpinNs     uint32 // how long the worker may spin at first
	Generation uint32 // which incarnation of the plugin this is, from 1
	Plugin     string // its name in the configuration
	Config     []byte // its config as JSON text; empty when absent
	Payloads   [][]byte
}

// HelloOk is the worker's answer: attached and initialised.
type HelloOk struct {
	Versions   VersionRange // what the worker speaks
	LayoutHash uint64
	Epoch      uint64 // Hello's
	Features   uint64 // Feature* bits taken, a subset of those offered
	CPUs       uint32 // GOMAXPROCS
	Doorbell   uint8  // one of Doorbell*
	SDK        string // name and version, for people
	Entries    []string
}

// Refuse is the worker's other answer: it will not serve, and exits.
type Refuse struct {
	Code     uint16       // one of Refuse*
	Versions VersionRange // what the worker speaks
	Message  string
}

// Shutdown asks the worker to run its shutdown hooks, say Bye and exit 0.
type Shutdown struct {
	GraceMs uint32
}

// Bye says that the shutdown hooks have run.
type Bye struct{}

// EncodeControl is the message as bytes.
func EncodeControl(c Control) []byte {
	b := flatbuffers.NewBuilder(512)
	kind, body := c.build(b)
	fb.ControlStart(b)
	fb.ControlAddBodyType(b, kind)
	fb.ControlAddBody(b, body)
	b.Finish(fb.ControlEnd(b))
	return b.FinishedBytes()
}

// DecodeControl reads a private copy of a message; everything in it is copied out. The flatbuffers runtime of Go has
// no verifier: it reads through bounds-checked slices, and what it trips over is a violation here.
func DecodeControl(message []byte) (c Control, err error) {
	r := controlReader{left: 2*len(message) + 256}
	defer func() {
		if bad := recover(); bad != nil || r.bad {
			c, err = nil, &Violation{Name: "control", Rule: "not a Control message"}
		}
	}()
	root := fb.GetRootAsControl(message, 0)
	var table flatbuffers.Table
	if !root.Body(&table) {
		r.bad = true
		return nil, nil
	}
	switch root.BodyType() {
	case fb.BodyHello:
		var t fb.Hello
		t.Init(table.Bytes, table.Pos)
		return r.hello(&t), nil
	case fb.BodyHelloOk:
		var t fb.HelloOk
		t.Init(table.Bytes, table.Pos)
		return r.helloOk(&t), nil
	case fb.BodyRefuse:
		var t fb.Refuse
		t.Init(table.Bytes, table.Pos)
		return &Refuse{
			Code:     t.Code(),
			Versions: VersionRange{t.AbiMajor(), t.AbiMinorMin(), t.AbiMinor()},
			Message:  r.text(t.Message()),
		}, nil
	case fb.BodyShutdown:
		var t fb.Shutdown
		t.Init(table.Bytes, table.Pos)
		return Shutdown{t.GraceMs()}, nil
	case fb.BodyBye:
		var t fb.Bye
		t.Init(table.Bytes, table.Pos)
		tab := t.Table()
		_ = tab.Offset(4) // reads its vtable
		return Bye{}, nil
	}
	r.bad = true
	return nil, nil
}

// controlReader copies out of a message. Honest messages do not share strings, so one that unfolds to a multiple of
// its size is refused.
type controlReader struct {
	left int // bytes that may still be copied
	bad  bool
}

// text copies a required string.
func (r *controlReader) text(s []byte) string {
	if s == nil || !utf8.Valid(s) {
		r.bad = true
	}
	return string(r.bytes(s))
}

// bytes copies an optional vector.
func (r *controlReader) bytes(b []byte) []byte {
	r.count(len(b))
	if r.bad || len(b) == 0 {
		return nil
	}
	return append([]byte(nil), b...)
}

// count takes n bytes off what may be copied, and returns 0 once that is used up.
func (r *controlReader) count(n int) int {
	if r.left -= n; r.left < 0 || n < 0 {
		r.bad = true
		return 0
	}
	return n
}

func (r *controlReader) hello(t *fb.Hello) *Hello {
	h := &Hello{
		Versions:   VersionRange{t.AbiMajor(), t.AbiMinorMin(), t.AbiMinor()},
		LayoutHash: t.LayoutHash(),
		Epoch:      t.Epoch(),
		SegLen:     t.SegLen(),
		Geometry:   Geometry{t.Lanes(), t.Slots(), t.ArenaLen()},
		Features:   t.Features(),
		Window:     t.Window(),
		StagedMax:  t.StagedMax(),
		SpinNs:     t.SpinNs(),
		Generation: t.Generation(),
		Plugin:     r.text(t.Plugin()),
		Config:     r.bytes(t.ConfigBytes()),
	}
	for i := range r.count(4*t.PayloadsLength()) / 4 {
		var blob fb.Blob
		t.Payloads(&blob, i)
		bytes := blob.BytesBytes()
		r.bad = r.bad || bytes == nil
		h.Payloads = append(h.Payloads, r.bytes(bytes))
	}
	return h
}

func (r *controlReader) helloOk(t *fb.HelloOk) *HelloOk {
	ok := &HelloOk{
		Versions:   VersionRange{t.AbiMajor(), t.AbiMinorMin(), t.AbiMinor()},
		LayoutHash: t.LayoutHash(),
		Epoch:      t.Epoch(),
		Features:   t.Features(),
		CPUs:       t.Cpus(),
		Doorbell:   t.Doorbell(),
		SDK:        r.text(t.Sdk()),
	}
	for i := range r.count(4*t.EntriesLength()) / 4 {
		ok.Entries = append(ok.Entries, r.text(t.Entries(i)))
	}
	return ok
}

func (h *Hello) build(b *flatbuffers.Builder) (fb.Body, flatbuffers.UOffsetT) {
	blobs := make([]flatbuffers.UOffsetT, len(h.Payloads))
	for i, payload := range h.Payloads {
		bytes := b.CreateByteVector(payload)
		fb.BlobStart(b)
		fb.BlobAddBytes(b, bytes)
		blobs[i] = fb.BlobEnd(b)
	}
	var payloads, config flatbuffers.UOffsetT
	if len(blobs) != 0 {
		payloads = b.CreateVectorOfTables(blobs)
	}
	if len(h.Config) != 0 {
		config = b.CreateByteVector(h.Config)
	}
	plugin := b.CreateString(h.Plugin)
	fb.HelloStart(b)
	fb.HelloAddAbiMajor(b, h.Versions.Major)
	fb.HelloAddAbiMinorMin(b, h.Versions.Min)
	fb.HelloAddAbiMinor(b, h.Versions.Max)
	fb.HelloAddLayoutHash(b, h.LayoutHash)
	fb.HelloAddEpoch(b, h.Epoch)
	fb.HelloAddSegLen(b, h.SegLen)
	fb.HelloAddLanes(b, h.Geometry.Lanes)
	fb.HelloAddSlots(b, h.Geometry.Slots)
	fb.HelloAddArenaLen(b, h.Geometry.Arena)
	fb.HelloAddFeatures(b, h.Features)
	fb.HelloAddWindow(b, h.Window)
	fb.HelloAddStagedMax(b, h.StagedMax)
	fb.HelloAddSpinNs(b, h.SpinNs)
	fb.HelloAddGeneration(b, h.Generation)
	fb.HelloAddPlugin(b, plugin)
	if config != 0 {
		fb.HelloAddConfig(b, config)
	}
	if payloads != 0 {
		fb.HelloAddPayloads(b, payloads)
	}
	return fb.BodyHello, fb.HelloEnd(b)
}

func (ok *HelloOk) build(b *flatbuffers.Builder) (fb.Body, flatbuffers.UOffsetT) {
	names := make([]flatbuffers.UOffsetT, len(ok.Entries))
	for i, name := range ok.Entries {
		names[i] = b.CreateString(name)
	}
	entries := b.CreateVectorOfTables(names)
	sdk := b.CreateString(ok.SDK)
	fb.HelloOkStart(b)
	fb.HelloOkAddAbiMajor(b, ok.Versions.Major)
	fb.HelloOkAddAbiMinorMin(b, ok.Versions.Min)
	fb.HelloOkAddAbiMinor(b, ok.Versions.Max)
	fb.HelloOkAddLayoutHash(b, ok.LayoutHash)
	fb.HelloOkAddEpoch(b, ok.Epoch)
	fb.HelloOkAddFeatures(b, ok.Features)
	fb.HelloOkAddCpus(b, ok.CPUs)
	fb.HelloOkAddDoorbell(b, ok.Doorbell)
	fb.HelloOkAddSdk(b, sdk)
	fb.HelloOkAddEntries(b, entries)
	return fb.BodyHelloOk, fb.HelloOkEnd(b)
}

func (r *Refuse) build(b *flatbuffers.Builder) (fb.Body, flatbuffers.UOffsetT) {
	message := b.CreateString(r.Message)
	fb.RefuseStart(b)
	fb.RefuseAddCode(b, r.Code)
	fb.RefuseAddAbiMajor(b, r.Versions.Major)
	fb.RefuseAddAbiMinorMin(b, r.Versions.Min)
	fb.RefuseAddAbiMinor(b, r.Versions.Max)
	fb.RefuseAddMessage(b, message)
	return fb.BodyRefuse, fb.RefuseEnd(b)
}

func (s Shutdown) build(b *flatbuffers.Builder) (fb.Body, flatbuffers.UOffsetT) {
	fb.ShutdownStart(b)
	fb.ShutdownAddGraceMs(b, s.GraceMs)
	return fb.BodyShutdown, fb.ShutdownEnd(b)
}

func (Bye) build(b *flatbuffers.Builder) (fb.Body, flatbuffers.UOffsetT) {
	fb.ByeStart(b)
	return fb.BodyBye, fb.ByeEnd(b)
}
