package sdk_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// role makes the test binary a plugin process.
const role = "NYLON_TEST_PLUGIN"

// barrierSize is how many handlers of the entry "barrier" wait for each other.
const barrierSize = 64

func TestMain(m *testing.M) {
	if os.Getenv(role) != "" {
		pluginProcess()
	}
	os.Exit(m.Run())
}

func pluginProcess() {
	plugin := sdk.NewNylonPlugin()
	var config testConfig
	plugin.Initialize(sdk.NewInitializer(func(c testConfig) { config = c }))
	plugin.InitializeE(func(map[string]any) error {
		if config.Greeting == "fail" {
			return errors.New("no database at db:5432")
		}
		return nil
	})
	plugin.Shutdown(func() { os.Stdout.WriteString("bye\n") })
	plugin.AddPhaseHandler("greet", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
			ctx.Response().BodyText(config.Greeting + " " + ctx.Request().Path())
			ctx.End()
		})
	})
	plugin.AddPhaseHandler("block", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
			if ctx.Request().Path() == "/block" {
				time.Sleep(200 * time.Millisecond)
			}
			ctx.Next()
		})
	})
	var barrier sync.WaitGroup
	barrier.Add(barrierSize)
	plugin.AddPhaseHandler("barrier", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
			barrier.Done()
			barrier.Wait()
			ctx.Next()
		})
	})
	plugin.AddPhaseHandler("panic", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(*sdk.PhaseRequestFilter) { panic("ouch") })
	})
	dispatchEntries(plugin)
	sdk.Serve()
}

func spawn(t *testing.T, opt testhost.Options, change func(*wire.Hello)) (*testhost.Process, *bytes.Buffer, error) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), role+"=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	opt.Fault = func(err error) { t.Errorf("violation: %v", err) }
	p, err := testhost.Spawn(cmd, opt, change)
	t.Cleanup(func() {
		if cmd.ProcessState == nil && cmd.Process != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return p, &out, err
}

func TestProcessServes(t *testing.T) {
	watchdog(t)
	for _, kind := range []struct {
		name   string
		spinNs uint32
		lanes  uint32
	}{{"eventfd", 0, 1}, {"futex", 1000, 1}, {"eventfd, 3 lanes", 0, 3}} {
		t.Run(kind.name, func(t *testing.T) {
			opt := testhost.Options{Config: []byte(`{"greeting":"hi","count":3}`)}
			opt.Geometry = wire.Geometry{Lanes: kind.lanes, Slots: 64, Arena: 256 << 10}
			p, out, err := spawn(t, opt, func(h *wire.Hello) { h.SpinNs = kind.spinNs })
			if err != nil {
				t.Fatal(err, out)
			}
			if got := strings.Join(p.Ok.Entries, ","); got != "greet,block,barrier,panic,quick,burn,litter" {
				t.Fatalf("entries %q", got)
			}
			for range 1000 {
				final := open(t, p.Host, 0, "/x")
				if final.Fault != nil || final.Method != wire.MethodEnd || final.Wants != 0 {
					t.Fatalf("%+v %v", final, final.Fault)
				}
			}
			if final := open(t, p.Host, 3, "/x"); final.Fault == nil || final.Fault.Code != wire.ErrorPanic || final.Fault.Text != "ouch" {
				t.Fatalf("%+v", final)
			}
			// A handler that blocks unseen: the others are served meanwhile.
			start := time.Now()
			blocked := p.Begin(&testhost.Step{Sid: testhost.NewSid(), Open: true, Phase: 1, Record: step(t, 1, "/block")})
			for range 10 {
				if final := open(t, p.Host, 0, "/x"); final.Fault != nil {
					t.Fatal(final.Fault)
				}
			}
			t.Logf("10 sessions beside a blocked one: %v", time.Since(start))
			if final := blocked.Wait(); final.Fault != nil {
				t.Fatal(final.Fault)
			}
			if err := p.Shutdown(); err != nil {
				t.Fatal(err, out)
			}
			if !strings.Contains(out.String(), "bye\n") {
				t.Fatalf("no shutdown hook ran: %s", out)
			}
			p.Release()
		})
	}
}

// A worker with one processor, in a process of its own: 64 handlers that wait for each other all finish.
func TestProcessBarrier(t *testing.T) {
	watchdog(t)
	t.Setenv("GOMAXPROCS", "1")
	p, out, err := spawn(t, testhost.Options{}, nil)
	if err != nil {
		t.Fatal(err, out)
	}
	var all []*testhost.Invocation
	for range barrierSize {
		all = append(all, p.Begin(&testhost.Step{Sid: testhost.NewSid(), Open: true, Phase: 1, Record: step(t, 2, "/")}))
	}
	for _, inv := range all {
		if final := inv.Wait(); final.Fault != nil {
			t.Fatal(final.Fault)
		}
	}
	if err := p.Shutdown(); err != nil {
		t.Fatal(err, out)
	}
	p.Release()
}

func TestProcessRefuses(t *testing.T) {
	watchdog(t)
	for _, c := range []struct {
		name, config string
		change       func(*wire.Hello)
		code         uint16
		text         string
	}{
		{"config type", `{"count":"three"}`, nil, wire.RefuseConfig, "count"},
		{"config list", `[1]`, nil, wire.RefuseConfig, "JSON object"},
		{"init", `{"greeting":"fail"}`, nil, wire.RefuseInit, "no database"},
		{"major", ``, func(h *wire.Hello) { h.Versions.Major++ }, wire.RefuseVersion, "2.0–2.2"},
		{"layout", ``, func(h *wire.Hello) { h.LayoutHash++ }, wire.RefuseLayout, "layout"},
		{"epoch", ``, func(h *wire.Hello) { h.Epoch++ }, wire.RefuseSegment, "epoch"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, out, err := spawn(t, testhost.Options{Config: []byte(c.config)}, c.change)
			var refused *testhost.Refused
			if !errors.As(err, &refused) || refused.Code != c.code || !strings.Contains(refused.Message, c.text) {
				t.Fatalf("%v; output: %s", err, out)
			}
		})
	}
}

func TestProcessLargeHello(t *testing.T) {
	watchdog(t)
	config := `{"greeting":"` + strings.Repeat("x", 100<<10) + `"}`
	p, out, err := spawn(t, testhost.Options{Config: []byte(config)}, nil)
	if err != nil {
		t.Fatal(err, out)
	}
	final := open(t, p.Host, 0, "/")
	if body := final.Staged[wire.MethodSetResponseFullBody]; len(body) < 100<<10 {
		t.Fatalf("%d bytes: %+v", len(body), final.Fault)
	}
	p.Hangup() // the host dies: so does the worker, at once
	done := make(chan error, 1)
	go func() { done <- p.Cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("the worker outlived its host")
	}
	p.Release()
}

func TestStartedByHand(t *testing.T) {
	watchdog(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), role+"=1")
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "type: process") {
		t.Fatalf("exit %d: %s", cmd.ProcessState.ExitCode(), out)
	}
}
