// Package client is the client process of a contender written in Go: rounds come on standard input, samples leave on
// standard output. The rules are those of src/client.rs and src/taker.rs.
package client

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"
)

// Call makes the call of a number, and looks at the answer. One caller uses it at a time.
type Call func(number uint64) error

// Open makes callers ready for payloads of size bytes, one for each call that is open at once. What it returns last
// ends them.
type Open func(size, callers int) ([]Call, func(), error)

// Serve runs rounds until standard input ends. An error of Open is what the contender cannot do; one of a call ends the
// process.
func Serve(server int, open Open) error {
	fmt.Println("ready", server)
	in, out := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	for in.Scan() {
		r, err := parse(in.Text())
		if err != nil {
			return err
		}
		calls, done, err := open(r.size, r.inFlight)
		if err != nil {
			fmt.Println("unsupported", err)
			continue
		}
		t, err := r.run(calls)
		if err != nil {
			return err
		}
		done()
		fmt.Fprintln(out, "ok", t.begun, len(t.samples))
		if err := binary.Write(out, binary.LittleEndian, t.samples); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return in.Err()
}

// round is one round of a cell.
type round struct {
	size, inFlight int
	gap, time      time.Duration
	calls          int
}

func parse(line string) (round, error) {
	var r round
	var kind string
	var gap, limit int64
	_, err := fmt.Sscan(line, &kind, &r.size, &r.inFlight, &gap, &limit, &r.calls)
	if err == nil && kind != "echo" {
		err = fmt.Errorf("no %s here", kind)
	}
	r.gap, r.time = time.Duration(gap)*time.Microsecond, time.Duration(limit)*time.Microsecond
	return r, err
}

// warmUp is how many calls are not timed, or as many as are open at once if those are more.
const warmUp = 50

// taker counts and times the calls of a round.
type taker struct {
	round
	mu      sync.Mutex
	warmUp  int
	begun   int
	since   time.Time // when the first timed call began
	samples []uint64
}

func (r round) run(calls []Call) (*taker, error) {
	t := &taker{round: r, warmUp: max(warmUp, r.inFlight), samples: make([]uint64, 0, r.calls)}
	if r.gap != 0 {
		t.warmUp = 1
	}
	failed := make(chan error, len(calls))
	for _, call := range calls {
		go func() { failed <- t.one(call) }()
	}
	for range calls {
		if err := <-failed; err != nil {
			return nil, err
		}
	}
	return t, nil
}

// one makes one call after the other.
func (t *taker) one(call Call) error {
	due := time.Now()
	for {
		if t.gap != 0 {
			due = due.Add(t.gap)
			if least := time.Now().Add(t.gap / 2); due.Before(least) {
				due = least // a call that took long does not take the gap away
			}
			time.Sleep(time.Until(due))
		}
		number, at := t.begin()
		if number == 0 {
			return nil
		}
		if err := call(uint64(number)); err != nil {
			return err
		}
		t.end(number, time.Since(at))
	}
}

// begin is the number of the next call, 0 if no more are wanted, and when it begins.
func (t *taker) begin() (int, time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := time.Now()
	if t.begun >= t.warmUp+t.calls || (!t.since.IsZero() && at.Sub(t.since) >= t.time) {
		return 0, at
	}
	if t.begun >= t.warmUp && t.since.IsZero() {
		t.since = at
	}
	t.begun++
	return t.begun, at
}

func (t *taker) end(number int, took time.Duration) {
	if number > t.warmUp {
		t.mu.Lock()
		t.samples = append(t.samples, uint64(took))
		t.mu.Unlock()
	}
}

// ServerCommand starts program on the CPU of servers; its process id is the server's.
func ServerCommand(program string, args ...string) *exec.Cmd {
	return exec.Command("taskset", append([]string{"-c", os.Getenv("PEERS_SERVER_CPU"), program}, args...)...)
}

// Server is a server that says "ready" when it listens.
type Server struct {
	Path string // of its socket
	cmd  *exec.Cmd
}

// StartServer starts this program as `serve PATH`.
func StartServer() (*Server, error) {
	itself, err := os.Executable()
	if err != nil {
		return nil, err
	}
	path := fmt.Sprintf("%s/nylon-peers-%d.sock", os.TempDir(), os.Getpid())
	cmd := ServerCommand(itself, "serve", path)
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var said string
	if _, err := fmt.Fscan(out, &said); err != nil || said != "ready" {
		return nil, fmt.Errorf("the server said %q: %v", said, err)
	}
	return &Server{path, cmd}, nil
}

// Pid is its process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Stop ends it.
func (s *Server) Stop() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	_ = os.Remove(s.Path)
}
