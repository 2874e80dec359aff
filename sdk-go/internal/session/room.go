package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/nylon-rs/nylon/sdk-go/internal/lane"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

var (
	errRoomName = fmt.Errorf("a room's name has 1 to %d bytes of UTF-8, none of them a control character", wire.LimitRoomName)
	errRooms    = fmt.Errorf("a connection is in %d rooms at most", wire.LimitRooms)
	errConn     = errors.New("not the id of a connection")
)

// CheckRoom says why a name is not that of a room, or nil.
func CheckRoom(name string) error {
	if wire.CheckName(name) != nil {
		return errRoomName
	}
	return nil
}

// Join adds the connection to a room.
func (c *Conversation) Join(room string) error {
	if err := CheckRoom(room); err != nil {
		return err
	}
	c.mu.Lock()
	if !slices.Contains(c.rooms, room) {
		if len(c.rooms) >= wire.LimitRooms {
			c.mu.Unlock()
			return errRooms
		}
		c.rooms = append(c.rooms, room)
	}
	c.mu.Unlock()
	return c.Send(wire.MethodWebsocketJoinRoom, "", []byte(room))
}

// Leave takes the connection out of a room.
func (c *Conversation) Leave(room string) error {
	if err := CheckRoom(room); err != nil {
		return err
	}
	c.mu.Lock()
	c.rooms = slices.DeleteFunc(c.rooms, func(r string) bool { return r == room })
	c.mu.Unlock()
	return c.Send(wire.MethodWebsocketLeaveRoom, "", []byte(room))
}

// CheckID says why an id cannot be a connection's, or nil.
func CheckID(id string) error {
	if wire.CheckName(id) != nil {
		return errConn
	}
	return nil
}

// RoomSize asks the host how many connections are in a room.
func (c *Conversation) RoomSize(room string) (int, error) {
	if err := CheckRoom(room); err != nil {
		return 0, err
	}
	const method = wire.MethodWebsocketRoomSize
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.calls) >= wire.LimitHostCalls {
		c.await(func() bool { return len(c.calls) < wire.LimitHostCalls || c.refuses(method) != nil })
	}
	if err := c.refuses(method); err != nil {
		return 0, err
	}
	c.lastNum++
	call := &hostCall{num: c.lastNum, method: method}
	c.calls = append(c.calls, call)
	c.mu.Unlock()
	f := c.of(wire.KindCall)
	f.Method, f.Status = method, call.num
	c.inv.Session.lane.Send(&f, []byte(room), c.run.Load())
	c.mu.Lock()
	c.await(func() bool { return call.done || c.refuses(method) != nil })
	switch {
	case !call.done:
		return 0, ErrClosed
	case call.err != nil:
		return 0, call.err
	}
	return int(binary.LittleEndian.Uint64(call.data)), nil
}

// answer takes the answer to a call. It runs on the lane's leader.
func (c *Conversation) answer(f *lane.Frame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.IndexFunc(c.calls, func(call *hostCall) bool { return call.num == f.Status })
	if at < 0 {
		return fmt.Errorf("answer to call %d, which is not open", f.Status)
	}
	call := c.calls[at]
	if f.Kind == wire.KindError {
		code, text, err := wire.ParseFault(f.Payload)
		if err != nil {
			return err
		}
		call.err = &HostError{code, string(text)}
	} else if call.data = append(call.data, f.Payload...); f.Method != call.method || len(call.data) != 8 {
		return fmt.Errorf("answer of method %d and %d bytes to a question about a room", f.Method, f.Len)
	}
	call.done = true
	c.calls = slices.Delete(c.calls, at, at+1)
	c.moved.Broadcast()
	return nil
}
