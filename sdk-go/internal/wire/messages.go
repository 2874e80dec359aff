package wire

// Messages is the order of the DATA of one conversation in one direction: message by message, and what ends it last
// (SPEC.md 5.11). The receiver calls Take for each.
type Messages struct {
	open   uint32 // method of the message whose last piece is still to come, or ON_ERROR, behind which only ON_CLOSE comes
	closed bool   // this side has closed
}

// Take says that f, DATA that was checked, is next, and whether it is the first piece of its message; an error when it
// stands between the pieces of another message, or after the end.
func (m *Messages) Take(f *Frame) (first bool, err error) {
	fits := m.open == 0 || f.Method == MethodWebsocketOnClose ||
		m.open != MethodWebsocketOnError && (m.open == f.Method || ends(f.Method))
	fromHost := f.Method > MethodWebsocketOnOpen
	if !fits || m.closed && (fromHost || closes(f.Method)) {
		return false, violate("method", "%d", f.Method)
	}
	first = m.open != f.Method
	m.open = 0
	if f.Has(FlagMore) || f.Method == MethodWebsocketOnError {
		m.open = f.Method
	}
	m.closed = m.closed || closes(f.Method)
	return first, nil
}

// ends says whether method is DATA by which a conversation comes to its end, each sent once at most.
func ends(method uint32) bool { return method == MethodWebsocketOnError || closes(method) }

// closes says whether method is the last of a conversation's messages in its direction.
func closes(method uint32) bool {
	switch method {
	case MethodWebsocketClose, MethodWebsocketOnClose, MethodWebsocketHandOver:
		return true
	}
	return false
}
