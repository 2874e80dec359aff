package sdk

import (
	"fmt"
	"os"
	"sync"

	"github.com/nylon-rs/nylon/sdk-go/internal/session"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Version names this SDK in the handshake.
const Version = "sdk-go 0.1.0"

// exitViolation is the exit code of a worker whose host broke the protocol.
const exitViolation = 70

// workers are the workers of this process: one, except in tests.
var workers struct {
	sync.RWMutex
	list []*session.Worker
}

// newWorker makes the sessions' side of a worker for p.
func newWorker(p *NylonPlugin, hello *wire.Hello) *session.Worker {
	p.mu.Lock()
	defer p.mu.Unlock()
	entries := p.entries
	w := &session.Worker{
		Plugin: hello.Plugin, Payloads: hello.Payloads, Window: hello.Window,
		Features: agreed(hello.Features),
		Opener: func() func(int) *session.Session {
			var chunks staticChunks
			return func(i int) *session.Session {
				if h := entries[i].static; h != nil {
					return chunks.session(h)
				}
				return newSession(entries[i].factory)
			}
		},
		Fault: func(err error) {
			fmt.Fprintln(os.Stderr, "nylon: the host broke the protocol:", err)
			os.Exit(exitViolation)
		},
		Warn: warn(hello.Plugin),
		Panicked: func(entry string, value any, stack []byte) {
			fmt.Fprintf(os.Stderr, "nylon: plugin %s, entry %s: panic: %v\n%s", hello.Plugin, entry, value, stack)
		},
	}
	for _, e := range entries {
		w.Entries = append(w.Entries, &session.Entry{Name: e.name})
	}
	workers.Lock()
	workers.list = append(workers.list, w)
	workers.Unlock()
	return w
}

// agreed are the features taken of those offered. WebSockets take two others (SPEC.md 1.3).
func agreed(offered uint64) uint64 {
	const conversations = wire.FeatureHostCalls | wire.FeatureStreams
	if offered&conversations != conversations {
		offered &^= wire.FeatureWebsocket
	}
	return offered & wire.FeatureKnown
}

func forgetWorker(w *session.Worker) {
	workers.Lock()
	defer workers.Unlock()
	for i, o := range workers.list {
		if o == w {
			workers.list = append(workers.list[:i:i], workers.list[i+1:]...)
			return
		}
	}
}

func entryNames(w *session.Worker) []string {
	names := make([]string, len(w.Entries))
	for i, e := range w.Entries {
		names[i] = e.Name
	}
	return names
}

// lookup finds an open session of this process.
func lookup(sid int32) *session.Session {
	workers.RLock()
	defer workers.RUnlock()
	for _, w := range workers.list {
		if s := w.Lookup(uint32(sid)); s != nil {
			return s
		}
	}
	return nil
}
