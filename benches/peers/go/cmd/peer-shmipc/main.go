// Command peer-shmipc is cloudwego/shmipc-go: buffers and queues in shared memory, one session, a stream for each call
// that is open at once; the server answers in callbacks.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	shmipc "github.com/cloudwego/shmipc-go"

	"github.com/nylon-rs/nylon/benches/peers/go/internal/client"
	"github.com/nylon-rs/nylon/benches/peers/go/internal/payload"
	"github.com/nylon-rs/nylon/benches/peers/go/internal/program"
)

// noLog is the level above all others; the library would print to standard output.
const noLog = 5

func main() {
	shmipc.SetLogLevel(noLog)
	program.Main(serve, open)
}

// listener takes streams on the server.
type listener struct{}

// OnNewStream implements shmipc.ListenCallback.
func (listener) OnNewStream(s *shmipc.Stream) {
	if err := s.SetCallbacks(&answerer{s}); err != nil {
		fatal(err)
	}
}

// OnShutdown implements shmipc.ListenCallback.
func (listener) OnShutdown(string) {}

// answerer answers one stream.
type answerer struct {
	stream *shmipc.Stream
}

// OnData implements shmipc.StreamCallbacks: the size in 8 bytes, then the payload.
func (a *answerer) OnData(reader shmipc.BufferReader) {
	in, err := read(reader)
	if err == nil {
		_, err = payload.Check(in)
	}
	if err == nil {
		err = write(a.stream, in)
	}
	if err != nil {
		if !ended(err) {
			fatal(err)
		}
		return
	}
	a.stream.ReleaseReadAndReuse()
}

// OnLocalClose implements shmipc.StreamCallbacks.
func (*answerer) OnLocalClose() {}

// OnRemoteClose implements shmipc.StreamCallbacks.
func (*answerer) OnRemoteClose() {}

func serve(path string) error {
	config := shmipc.NewDefaultListenerConfig(path, "unix")
	config.LogOutput = io.Discard
	config.QueueCap = queueCap
	l, err := shmipc.NewListener(listener{}, config)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return l.Run()
}

// As in the library's own bench.
const (
	queueCap  = 65535
	memoryCap = 256 << 20
)

// open keeps one session for all rounds of a size: slices of memory are cut to it.
func open(path string) client.Open {
	var manager *shmipc.SessionManager
	last := 0
	return func(size, callers int) ([]client.Call, func(), error) {
		if size != last {
			if manager != nil {
				_ = manager.Close()
			}
			m, err := shmipc.NewSessionManager(config(path, size))
			if err != nil {
				return nil, nil, err
			}
			manager, last = m, size
		}
		calls, streams := make([]client.Call, callers), make([]*shmipc.Stream, callers)
		for i := range calls {
			stream, err := manager.GetStream()
			if err != nil {
				return nil, nil, err
			}
			in := payload.Fresh(size)
			streams[i] = stream
			calls[i] = func(number uint64) error { return call(stream, in, number) }
		}
		return calls, func() {
			for _, stream := range streams {
				manager.PutBack(stream)
			}
		}, nil
	}
}

func config(path string, size int) *shmipc.SessionManagerConfig {
	config := shmipc.DefaultSessionManagerConfig()
	config.Address, config.Network = path, "unix"
	config.Config.LogOutput = io.Discard
	config.MemMapType = shmipc.MemMapTypeMemFd
	config.SessionNum = 1
	config.MaxStreamNum = 256
	config.InitializeTimeout = 10 * time.Second
	config.QueueCap = queueCap
	config.ShareMemoryBufferCap = memoryCap
	config.BufferSliceSizes = []*shmipc.SizePercentPair{
		{Size: uint32(size) + 256, Percent: 70}, {Size: 16 << 10, Percent: 20}, {Size: 64 << 10, Percent: 10},
	}
	return config
}

func call(s *shmipc.Stream, in []byte, number uint64) error {
	payload.Stamp(in, number)
	if err := write(s, in); err != nil {
		return err
	}
	out, err := read(s.BufferReader())
	if err != nil {
		return err
	}
	if err := payload.CheckAnswer(out, len(in), number); err != nil {
		return err
	}
	s.ReleaseReadAndReuse()
	return nil
}

// write sends the size in 8 bytes, and the payload.
func write(s *shmipc.Stream, p []byte) error {
	size, err := s.BufferWriter().Reserve(8)
	if err != nil {
		return err
	}
	payload.Stamp(size, uint64(len(p)))
	if _, err := s.BufferWriter().WriteBytes(p); err != nil {
		return err
	}
	for {
		err := s.Flush(false)
		if !errors.Is(err, shmipc.ErrQueueFull) {
			return err
		}
		time.Sleep(time.Microsecond)
	}
}

// read waits for a payload; it lies in shared memory where that is possible.
func read(r shmipc.BufferReader) ([]byte, error) {
	size, err := r.ReadBytes(8)
	if err != nil {
		return nil, err
	}
	n, err := payload.Size(size)
	if err != nil {
		return nil, err
	}
	return r.ReadBytes(n)
}

func ended(err error) bool {
	return errors.Is(err, shmipc.ErrStreamClosed) || errors.Is(err, shmipc.ErrEndOfStream)
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "peer-shmipc:", err)
	os.Exit(1)
}
