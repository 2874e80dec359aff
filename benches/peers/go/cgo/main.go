// Command cgo is an in-process plugin: a C shared library with six exports, which works as Nylon did before its plugins
// had processes of their own. Each phase of a session gets a goroutine; what a handler asks of the host goes through a
// callback, and the handler sleeps on a condition until the answer lies in its session's map.
package main

/*
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct {
	uint32_t sid;
	uint8_t phase;
	uint32_t method;
	const uint8_t *ptr;
	uint64_t len;
} FfiBuffer;

typedef void (*Callback)(const FfiBuffer *);

static void call_back(Callback callback, uint32_t sid, uint8_t phase, uint32_t method, const void *ptr, uint64_t len) {
	FfiBuffer buffer = {sid, phase, method, ptr, len};
	callback(&buffer);
}
*/
import "C"

import (
	"sync"
	"unsafe"
)

// Methods, by the numbers of protocol/wire.toml.
const (
	methodNext              = 1
	methodEnd               = 2
	methodSetResponseHeader = 100
	methodReadPath          = 204
	methodReadMethod        = 209
	methodReadHeader        = 201
)

// handler is what a plugin registers for a phase.
type handler func(s *session, payload []byte)

var (
	entries  = map[string]handler{}
	mu       sync.RWMutex
	sessions = map[uint32]*session{}
)

// session is one request.
type session struct {
	sid      uint32
	callback C.Callback
	handler  handler

	mu      sync.Mutex
	cond    sync.Cond
	answers map[uint32][]byte
}

//export initialize
func initialize(config *C.char, length C.int) {
	register()
}

//export register_session_stream
func register_session_stream(sid C.uint32_t, entry *C.char, length C.int, callback C.Callback) C.bool {
	handler, ok := entries[C.GoStringN(entry, length)]
	if !ok {
		return false
	}
	s := &session{sid: uint32(sid), callback: callback, handler: handler, answers: map[uint32][]byte{}}
	s.cond.L = &s.mu
	mu.Lock()
	sessions[s.sid] = s
	mu.Unlock()
	return true
}

//export event_stream
func event_stream(buffer *C.FfiBuffer) {
	mu.RLock()
	s := sessions[uint32(buffer.sid)]
	mu.RUnlock()
	if s == nil {
		return
	}
	data := C.GoBytes(unsafe.Pointer(buffer.ptr), C.int(buffer.len))
	if buffer.phase != 0 {
		go s.handler(s, data)
		return
	}
	s.mu.Lock()
	s.answers[uint32(buffer.method)] = data
	s.mu.Unlock()
	s.cond.Broadcast()
}

//export close_session_stream
func close_session_stream(sid C.uint32_t) {
	mu.Lock()
	delete(sessions, uint32(sid))
	mu.Unlock()
}

//export shutdown
func shutdown() {}

//export plugin_free
func plugin_free(ptr unsafe.Pointer) { C.free(ptr) }

// command tells the host something; the host frees the bytes when it has its copy.
func (s *session) command(method uint32, data []byte) {
	var ptr unsafe.Pointer
	if len(data) > 0 {
		ptr = C.CBytes(data)
	}
	C.call_back(s.callback, C.uint32_t(s.sid), 0, C.uint32_t(method), ptr, C.uint64_t(len(data)))
}

// ask sends a method and sleeps until the host has answered.
func (s *session) ask(method uint32, data []byte) []byte {
	s.command(method, data)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if answer, ok := s.answers[method]; ok {
			delete(s.answers, method)
			return answer
		}
		s.cond.Wait()
	}
}

func main() {}
