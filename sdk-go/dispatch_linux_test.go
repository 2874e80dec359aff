package sdk_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// besides is how many others must be served while a handler computes.
const besides = 20

// dispatchEntries are those of the worker process that this file uses.
func dispatchEntries(plugin *sdk.NylonPlugin) {
	var served atomic.Int64
	plugin.AddStaticHandler("quick", sdk.Handlers{RequestFilter: func(ctx *sdk.PhaseRequestFilter) {
		served.Add(1)
		ctx.Next()
	}})
	// It computes until others were served, and ends instead of going on when that takes for ever.
	plugin.AddStaticHandler("burn", sdk.Handlers{RequestFilter: func(ctx *sdk.PhaseRequestFilter) {
		for start, enough := time.Now(), served.Load()+besides; served.Load() < enough; {
			if time.Since(start) > 5*time.Second {
				ctx.End()
				return
			}
		}
		ctx.Next()
	}})
	plugin.AddStaticHandler("litter", sdk.Handlers{RequestFilter: func(ctx *sdk.PhaseRequestFilter) {
		go litter()
		ctx.Next()
	}})
}

// litter keeps the garbage collector busy for ever.
func litter() {
	var kept [64][]*[]byte
	for i := 0; ; i++ {
		b := make([]byte, 4096)
		kept[i%len(kept)] = append(kept[i%len(kept)][:0:0], &b)
	}
}

// doorbells are the two kinds, as a Hello asks for them.
var doorbells = []struct {
	name   string
	spinNs uint32
}{{"eventfd", 0}, {"futex", 1000}}

// dispatchers are the worker processes that dispatch must get right: one processor, and a busy garbage collector.
func dispatchers(t *testing.T, run func(t *testing.T, p *testhost.Process, entry func(string) uint16, out *bytes.Buffer)) {
	for i, bell := range doorbells {
		for j, env := range []string{"GOMAXPROCS=1", "GOGC=1"} {
			if testing.Short() && i != j { // each once under the race detector, which is slow
				continue
			}
			t.Run(bell.name+", "+env, func(t *testing.T) {
				watchdog(t)
				name, value, _ := strings.Cut(env, "=")
				t.Setenv(name, value) // of the worker; this process has read its own
				p, out, err := spawn(t, testhost.Options{}, func(h *wire.Hello) { h.SpinNs = bell.spinNs })
				if err != nil {
					t.Fatal(err, out)
				}
				entry := func(name string) uint16 {
					for i, e := range p.Ok.Entries {
						if e == name {
							return uint16(i)
						}
					}
					t.Fatalf("no entry %s", name)
					return 0
				}
				if name == "GOGC" {
					open(t, p.Host, entry("litter"), "/")
				}
				run(t, p, entry, out)
				if err := p.Shutdown(); err != nil {
					t.Fatal(err, out)
				}
				p.Release()
			})
		}
	}
}

// A handler that computes keeps its lane from nobody: the first one is noticed by the host and loses the lane, the next
// ones run off it.
func TestProcessBurn(t *testing.T) {
	dispatchers(t, func(t *testing.T, p *testhost.Process, entry func(string) uint16, out *bytes.Buffer) {
		burn, quick := entry("burn"), entry("quick")
		for i := range 3 {
			burner := p.Begin(&testhost.Step{Sid: testhost.NewSid(), Open: true, Phase: 1, Record: step(t, burn, "/")})
			var took []time.Duration
			for !burner.Over() {
				start := time.Now()
				if final := open(t, p.Host, quick, "/"); final.Fault != nil {
					t.Fatal(final.Fault, out)
				}
				took = append(took, time.Since(start))
			}
			if final := burner.Wait(); final.Method != wire.MethodNext {
				t.Errorf("handler %d kept the lane: %+v", i, final)
			}
			slices.Sort(took)
			t.Logf("beside handler %d: the longest took %v, half of them at most %v", i, took[len(took)-1], took[len(took)/2])
		}
	})
}

// Many sessions of every kind at a time all end.
func TestProcessUnderLoad(t *testing.T) {
	dispatchers(t, func(t *testing.T, p *testhost.Process, entry func(string) uint16, out *bytes.Buffer) {
		var all []*testhost.Invocation
		for i := range 600 {
			name := []string{"greet", "greet", "block"}[i%3]
			path := "/"
			if i%100 == 50 {
				path = "/block"
			}
			all = append(all, p.Begin(&testhost.Step{
				Sid: testhost.NewSid(), Open: true, Phase: 1, Record: step(t, entry(name), path),
			}))
			if i%60 == 59 {
				for _, inv := range all {
					if final := inv.Wait(); final.Fault != nil {
						t.Fatal(final.Fault, out)
					}
				}
				all = all[:0]
			}
		}
	})
}

// A worker that has nothing to do does nothing: no goroutine wakes, by a timer or otherwise.
func TestProcessIdle(t *testing.T) {
	for _, bell := range doorbells {
		t.Run(bell.name, func(t *testing.T) {
			t.Parallel()
			watchdog(t)
			p, out, err := spawn(t, testhost.Options{}, func(h *wire.Hello) { h.SpinNs = bell.spinNs })
			if err != nil {
				t.Fatal(err, out)
			}
			for range 100 {
				if final := open(t, p.Host, 0, "/"); final.Fault != nil {
					t.Fatal(final.Fault)
				}
			}
			time.Sleep(500 * time.Millisecond) // the runtime puts its threads to bed
			before := switches(t, p.Cmd.Process.Pid)
			time.Sleep(1500 * time.Millisecond)
			if n := switches(t, p.Cmd.Process.Pid) - before; n > 4 {
				t.Errorf("%d switches of its threads in 1.5 s of nothing", n)
			}
			if final := open(t, p.Host, 0, "/"); final.Fault != nil {
				t.Fatal(final.Fault)
			}
			if err := p.Shutdown(); err != nil {
				t.Fatal(err)
			}
			p.Release()
		})
	}
}

// switches is how often the threads of a process were switched to or from.
func switches(t *testing.T, pid int) (n int) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatal("no threads: ", err)
	}
	for _, task := range tasks {
		text, err := os.ReadFile(task)
		if err != nil {
			continue // it ended
		}
		for line := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(line, ":"); strings.HasSuffix(name, "ctxt_switches") {
				count, err := strconv.Atoi(strings.TrimSpace(value))
				if err != nil {
					t.Fatal(err)
				}
				n += count
			}
		}
	}
	return n
}
