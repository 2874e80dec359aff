package wire

// Side is who wrote a frame.
type Side uint8

// The two sides of a lane.
const (
	SideHost Side = iota
	SideWorker
)

// wantable is the set of phases a session may ask for, 1..=5 (SPEC.md 5.4).
const wantable uint32 = 0b11_1110

// FrameContext is what the consumer knows when it looks at a frame.
type FrameContext struct {
	Arena     uint64 // A, arena bytes of the ring
	Apos      uint64 // the consumer's own arena position, before this frame
	HostCalls bool   // whether FeatureHostCalls is on

	HandlerTime bool // whether FeatureHandlerTime is on
	WebSocket   bool // whether FeatureWebsocket is on
}

// CheckFrame checks everything about a frame that the frame alone can tell (SPEC.md 3.2 to 3.6, 5.4 to 5.8, 5.11, 6, 7).
// Tokens, phases of invocations, windows and the order of messages are for [CheckToken], [Window] and [Messages].
func CheckFrame(f *Frame, from Side, ctx FrameContext) error {
	if !kindAllowed(f.Kind, from, ctx.HostCalls) {
		return violate("kind", "%d", f.Kind)
	}
	unknown := f.Flags&^FlagKnown != 0
	open := f.Flags&(FlagOpen|FlagKeep) != 0 && (from != SideHost || f.Kind != KindCall)
	more := f.Has(FlagMore) && f.Kind != KindData
	if unknown || open || more {
		return violate("flags", "%#04x", f.Flags)
	}
	if f.Phase > PhaseRequestBodyFilter {
		return violate("phase", "%d", f.Phase)
	}
	if err := checkPayload(f, ctx); err != nil {
		return err
	}
	if f.Method > 0xffff {
		return violate("method", "%d", f.Method)
	}
	if from == SideWorker {
		return checkFromWorker(f, ctx)
	}
	return checkFromHost(f, ctx)
}

// NextApos is where the frame after f starts in the arena, for a consumer that has checked f.
func NextApos(f *Frame, ctx FrameContext) uint64 {
	if f.Has(FlagInline) {
		return ctx.Apos
	}
	_, next := Bump(ctx.Apos, f.Len, ctx.Arena)
	return next
}

// Bump is where a payload of n bytes stands and the apos after it (SPEC.md 3.6). arena is a power of two.
func Bump(apos uint64, n uint32, arena uint64) (pos, next uint64) {
	need := RoundLine(n)
	if offset := apos & (arena - 1); offset+need > arena {
		apos += arena - offset
	}
	return apos, apos + need
}

// RoundLine is how much arena a payload of n bytes takes: whole lines.
func RoundLine(n uint32) uint64 {
	line := uint64(SizeLine)
	return (uint64(n) + line - 1) &^ (line - 1)
}

// SeqOf is the publish word of position pos (SPEC.md 3.7).
func SeqOf(pos uint64) uint32 { return uint32(pos) + 1 }

// CheckSeq says whether the slot of position pos is published, found being its publish word (SPEC.md 3.7); an error
// when it is neither published nor "not yet".
func CheckSeq(pos uint64, slots, found uint32) (bool, error) {
	published := SeqOf(pos)
	notYet := published - slots
	if pos < uint64(slots) {
		notYet = 0
	}
	switch found {
	case published:
		return true, nil
	case notYet:
		return false, nil
	}
	return false, violate("seq", "%d at position %d", found, pos)
}

// CheckHead is the peer's head as a full position (SPEC.md 3.9): pos is the producer's, released the last one taken.
func CheckHead(pos, released uint64, found uint32) (uint64, error) {
	step := uint64(found - uint32(released))
	if step > pos-released {
		return released, violate("head", "%d out of %d..=%d", found, released, pos)
	}
	return released + step, nil
}

// CheckArenaHead checks the peer's arena_head (SPEC.md 3.9): apos is the producer's, released the last one taken.
func CheckArenaHead(apos, released, found uint64) (uint64, error) {
	if found < released || found > apos {
		return released, violate("arena_head", "%d out of %d..=%d", found, released, apos)
	}
	return found, nil
}

// Issued is one slot of the host's slab, as far as a frame's token is held to it (SPEC.md 5.1, 5.2).
type Issued struct {
	Gen   uint32 // the last generation issued; 0 = none yet
	Live  bool   // whether that invocation still waits for its final frame
	Sid   uint32
	Phase uint8
}

// CheckToken holds a frame of an invocation to what was issued: slab has the slot f.CallIdx, or inSlab is false. A
// frame that is late is to be dropped and counted.
func CheckToken(f *Frame, slab Issued, inSlab bool) (late bool, err error) {
	// Serial numbers: less than half the circle behind is older, the rest is ahead and never issued.
	age := slab.Gen - f.CallGen
	if !inSlab || f.CallGen == 0 || slab.Gen == 0 || age > 1<<31-1 {
		return false, violate("token", "%d:%d was never issued", f.CallIdx, f.CallGen)
	}
	switch {
	case age > 0 || !slab.Live:
		return true, nil
	case f.Sid != slab.Sid:
		return false, violate("sid", "%d", f.Sid)
	case f.Phase != slab.Phase:
		return false, violate("phase", "%d", f.Phase)
	}
	return false, nil
}

// HasToken says whether frames of kind carry the token of an invocation (SPEC.md 5.1).
func HasToken(kind uint8) bool {
	switch kind {
	case KindCall, KindReply, KindError, KindCancel, KindData, KindWindow:
		return true
	}
	return false
}

func kindAllowed(kind uint8, from Side, hostCalls bool) bool {
	switch kind {
	case KindCall:
		return from == SideHost || hostCalls
	case KindReply, KindError, KindGoaway, KindData, KindWindow:
		return true
	case KindCancel, KindPing, KindClose:
		return from == SideHost
	case KindPong:
		return from == SideWorker
	}
	return false
}

func checkPayload(f *Frame, ctx FrameContext) error {
	if f.Has(FlagInline) {
		if f.Len > uint32(SizeInline) || f.ArenaPos != 0 {
			return violate("inline", "payload of %d bytes at %d", f.Len, f.ArenaPos)
		}
		return nil
	}
	if f.Len == 0 || uint64(f.Len) > ctx.Arena/4 {
		return violate("len", "%d", f.Len)
	}
	if expected, _ := Bump(ctx.Apos, f.Len, ctx.Arena); f.ArenaPos != expected {
		return violate("arena_pos", "%d, not %d", f.ArenaPos, expected)
	}
	return nil
}

func checkFromWorker(f *Frame, ctx FrameContext) error {
	switch f.Kind {
	case KindCall:
		if f.Method == MethodWebsocketRoomSize {
			if err := conversing(f, ctx); err != nil {
				return err
			}
		}
		return callNumber(f)
	case KindReply:
		if err := checkFinal(f, ctx); err != nil {
			return err
		}
		known := wantable
		if ctx.HandlerTime {
			known |= FinalTimeMax << FinalTimeShift
		}
		if f.Status&^known != 0 {
			return violate("status", "%#x", f.Status)
		}
	case KindError:
		return errorLen(f)
	case KindData:
		if inConversation(f, ctx) {
			return checkSaid(f, SideWorker)
		}
		switch f.Method {
		case MethodSetResponseFullBody, MethodSetResponseStreamData, MethodSetRequestBody:
			return dataLen(f, LimitData)
		}
		return violate("method", "%d", f.Method)
	case KindWindow:
		return windowLen(f)
	}
	return nil
}

func checkFromHost(f *Frame, ctx FrameContext) error {
	switch f.Kind {
	case KindCall:
		return checkOpen(f, ctx)
	case KindReply:
		return callNumber(f)
	case KindError:
		if err := callNumber(f); err != nil {
			return err
		}
		return errorLen(f)
	case KindData:
		if inConversation(f, ctx) {
			return checkSaid(f, SideHost)
		}
		switch f.Method {
		case MethodGetPayload, MethodReadResponseFullBody, MethodReadRequestFullBody, MethodStreamRequestBody:
		default:
			return violate("method", "%d", f.Method)
		}
		if f.Method != MethodReadRequestFullBody {
			if err := callNumber(f); err != nil {
				return err
			}
		}
		return dataLen(f, LimitData)
	case KindWindow:
		return windowLen(f)
	}
	return nil
}

// inConversation says whether f belongs to a conversation (SPEC.md 5.11).
func inConversation(f *Frame, ctx FrameContext) bool { return ctx.WebSocket && f.Phase == PhaseNone }

// conversing checks what only a frame of a conversation may say.
func conversing(f *Frame, ctx FrameContext) error {
	switch {
	case !ctx.WebSocket:
		return violate("method", "%d", f.Method)
	case !inConversation(f, ctx):
		return violate("phase", "%d", f.Phase)
	}
	return nil
}

// checkFinal checks the method of a final REPLY (SPEC.md 5.4).
func checkFinal(f *Frame, ctx FrameContext) error {
	upgrade := f.Method == MethodWebsocketUpgrade
	switch {
	case f.Method == MethodWebsocketOnClose:
		return conversing(f, ctx)
	case inConversation(f, ctx):
	case f.Method == MethodNext, f.Method == MethodEnd, f.Method == MethodSetResponseStreamEnd:
		return nil
	case upgrade && ctx.WebSocket && f.Phase != PhaseRequestFilter:
		return violate("phase", "%d", f.Phase)
	case upgrade && ctx.WebSocket:
		return nil
	}
	return violate("method", "%d", f.Method)
}

// checkOpen checks a host's CALL: one of method ON_OPEN begins a conversation, and nothing else does (SPEC.md 5.11).
func checkOpen(f *Frame, ctx FrameContext) error {
	if f.Method == MethodWebsocketOnOpen {
		if f.Flags&(FlagOpen|FlagKeep) != 0 {
			return violate("flags", "%#04x", f.Flags)
		}
		return conversing(f, ctx)
	}
	if inConversation(f, ctx) {
		return violate("method", "%d", f.Method)
	}
	return nil
}

// checkSaid checks DATA of a conversation: which methods from may use, how long they are, and which come in pieces
// (SPEC.md 5.11).
func checkSaid(f *Frame, from Side) error {
	host := from == SideHost
	var longest int
	pieces := false
	switch method := f.Method; {
	case host && (method == MethodWebsocketOnMessageText || method == MethodWebsocketOnMessageBinary),
		!host && (method == MethodWebsocketSendText || method == MethodWebsocketSendBinary),
		!host && method >= MethodWebsocketBroadcastRoomText && method <= MethodWebsocketSendBinaryTo:
		pieces, longest = true, LimitData
	case host && method == MethodWebsocketOnClose,
		!host && (method == MethodWebsocketClose || method == MethodWebsocketPing):
		longest = LimitPing
	case !host && (method == MethodWebsocketJoinRoom || method == MethodWebsocketLeaveRoom):
		longest = LimitRoomName
	case host && method == MethodWebsocketOnError:
		longest = LimitErrorText
	case host && method == MethodWebsocketHandOver:
	default:
		return violate("method", "%d", method)
	}
	if f.Has(FlagMore) && !pieces {
		return violate("flags", "%#04x", f.Flags)
	}
	return dataLen(f, longest)
}

func callNumber(f *Frame) error {
	if f.Status == 0 {
		return violate("status", "0x0")
	}
	return nil
}

func errorLen(f *Frame) error {
	if f.Len < 4 {
		return violate("error", "payload of %d bytes", f.Len)
	}
	return nil
}

func dataLen(f *Frame, longest int) error {
	if f.Len > uint32(longest) {
		return windowRule("data-len")
	}
	return nil
}

func windowLen(f *Frame) error {
	if f.Len != 8 {
		return windowRule("len")
	}
	return nil
}
