package wire

import "encoding/binary"

// Cost is what a DATA costs of its window: in a conversation also for the frame itself, so that many small messages are
// bound too, and nothing when it says that the conversation ends (SPEC.md 5.8).
func Cost(f *Frame) uint32 {
	switch {
	case f.Phase != PhaseNone:
		return f.Len
	case ends(f.Method):
		return 0
	}
	return f.Len + uint32(LimitMessageCost)
}

// Window counts the DATA of one invocation in one direction, as either end does (SPEC.md 5.8). The sender calls Take
// before it sends and OnTotal for each WINDOW; the receiver calls Take for each DATA and Give once bytes are handed on.
// What is counted are bytes, and in a conversation [Cost].
type Window struct {
	limit, sent, taken uint64
}

// NewWindow is a direction in which limit bytes may be outstanding; a conversation's is LimitConversation.
func NewWindow(limit uint32) Window { return Window{limit: uint64(limit)} }

// Room is how many bytes may still be sent.
func (w *Window) Room() uint64 {
	return w.limit - min(w.limit, w.sent-w.taken)
}

// Take counts n bytes of DATA that go out or come in; an error, and nothing counted, when the window does not hold
// them.
func (w *Window) Take(n uint32) error {
	if uint64(n) > w.Room() {
		return windowRule("exceeded")
	}
	w.sent += uint64(n)
	return nil
}

// Give counts n more bytes that were handed on, and returns the total of the WINDOW to send.
func (w *Window) Give(n uint64) uint64 {
	w.taken += min(n, w.sent-w.taken)
	return w.taken
}

// OnTotal takes the total of a WINDOW and returns how many bytes it freed.
func (w *Window) OnTotal(total uint64) (uint64, error) {
	if total < w.taken {
		return 0, windowRule("back")
	}
	if total > w.sent {
		return 0, windowRule("ahead")
	}
	freed := total - w.taken
	w.taken = total
	return freed, nil
}

// Outstanding is how many bytes were sent and not yet returned.
func (w *Window) Outstanding() uint64 { return w.sent - w.taken }

// WindowTotal is the total in a WINDOW's payload.
func WindowTotal(payload []byte) (uint64, error) {
	if len(payload) != 8 {
		return 0, windowRule("len")
	}
	return binary.LittleEndian.Uint64(payload), nil
}

// AppendWindowTotal appends the payload of a WINDOW.
func AppendWindowTotal(dst []byte, total uint64) []byte {
	return binary.LittleEndian.AppendUint64(dst, total)
}
