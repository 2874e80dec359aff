package sdk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/nylon-rs/nylon/sdk-go/internal/session"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire/fbheaders"
)

// RequestMethod issues a method by name in a session. Methods that change something join the changes of the handler
// that runs there; methods that read have no effect here, their answers are what the typed API returns.
//
// phase only matters to next, end and set_response_stream_end, which finish a handler: with a phase they finish that
// phase's handler alone, and are dropped when another phase runs by now, for theirs is finished already. Phase 0 is
// whatever runs. Two runs of one phase in one session, as of the pieces of a body or of two middleware items with the
// same entry, have the same phase: only the Next and End of the handler's own argument tell them apart.
func RequestMethod(sessionID int32, phase int8, method NylonMethods, data []byte) error {
	id, known := MethodIDMapping[method]
	if !known {
		return fmt.Errorf("unknown method %q", method)
	}
	s := lookup(sessionID)
	if s == nil {
		return fmt.Errorf("session %d not open", sessionID)
	}
	if id >= wire.MethodWebsocketUpgrade {
		return webSocketMethod(s.Conversation(), id, data)
	}
	inv := s.Current()
	if inv == nil {
		return ErrFinished
	}
	if finishes(id) && phase != 0 && phase != int8(inv.Phase) {
		return nil
	}
	switch id {
	case wire.MethodNext, wire.MethodEnd:
		inv.Finish(id)
	case wire.MethodSetResponseHeader:
		key, value, err := headerKeyValue(data)
		if err != nil {
			return err
		}
		return inv.Edit(id, key, value)
	case wire.MethodRemoveResponseHeader:
		return inv.Edit(id, string(data), "")
	case wire.MethodSetResponseStatus:
		if len(data) != 2 {
			return errors.New("a status is two bytes, big endian")
		}
		return inv.SetStatus(binary.BigEndian.Uint16(data))
	case wire.MethodSetResponseFullBody:
		return inv.SetBody(id, data, false)
	case wire.MethodSetResponseStreamHeader:
		return inv.Stream()
	case wire.MethodSetResponseStreamData:
		_, err := inv.Write(data)
		return err
	case wire.MethodSetResponseStreamEnd:
		return inv.EndStream()
	}
	return nil
}

// webSocketMethod issues a method in the WebSocket that a session became. What a broadcast takes is the room's name, a
// NUL and the message.
func webSocketMethod(c *session.Conversation, id uint32, data []byte) error {
	if id == wire.MethodWebsocketUpgrade {
		return errors.New("callbacks are functions: use WebSocketUpgrade")
	}
	if c == nil {
		return ErrClosed
	}
	switch id {
	case wire.MethodWebsocketSendText:
		return c.SendText(id, "", string(data))
	case wire.MethodWebsocketSendBinary:
		return c.Send(id, "", data)
	case wire.MethodWebsocketClose:
		return c.Close(0, "")
	case wire.MethodWebsocketJoinRoom:
		return c.Join(string(data))
	case wire.MethodWebsocketLeaveRoom:
		return c.Leave(string(data))
	case wire.MethodWebsocketBroadcastRoomText, wire.MethodWebsocketBroadcastRoomBinary:
		room, message, _ := bytes.Cut(data, []byte{0})
		if err := session.CheckRoom(string(room)); err != nil {
			return err
		}
		if id == wire.MethodWebsocketBroadcastRoomText {
			return c.SendText(id, string(room), string(message))
		}
		return c.Send(id, string(room), message)
	}
	return errors.New("an event, not a method to issue")
}

// finishes says whether a method is a verdict.
func finishes(id uint32) bool {
	return id == wire.MethodNext || id == wire.MethodEnd || id == wire.MethodSetResponseStreamEnd
}

// headerKeyValue reads the FlatBuffer that set_response_header takes. The flatbuffers runtime checks by panicking.
func headerKeyValue(data []byte) (key, value string, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("not a HeaderKeyValue")
		}
	}()
	kv := fbheaders.GetRootAsHeaderKeyValue(data, 0)
	return string(kv.Key()), string(kv.Value()), nil
}
