package sdk_test

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

// The handlers of a static entry run as those of a factory do, in every phase, and nothing else is sent.
func TestStaticPhases(t *testing.T) {
	watchdog(t)
	var ran []string
	note := func(phase string) { ran = append(ran, phase) }
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("it", func(*sdk.PhaseHandler) { t.Error("the last of a name counts") })
		p.AddStaticHandler("it", sdk.Handlers{
			RequestFilter: func(p *sdk.PhaseRequestFilter) {
				note("request " + p.Request().Header("x-n"))
				p.SetRequestHeader("x-up", "1")
				p.Next()
			},
			RequestBodyFilter: func(p *sdk.PhaseRequestBodyFilter) {
				note("body up")
				p.SetBody(bytes.ToUpper(p.ReadBody()))
				p.Next()
			},
			ResponseFilter: func(p *sdk.PhaseResponseFilter) {
				note("response " + p.Request().Header("x-n"))
				p.SetResponseHeader("x-status", fmt.Sprint(p.Response().Status()))
				p.Next()
			},
			ResponseBodyFilter: func(p *sdk.PhaseResponseBodyFilter) {
				note("body down")
				p.Response().BodyRaw(append(p.Response().ReadBody(), '!'))
				p.Next()
			},
			Logging: func(p *sdk.PhaseLogging) { note("logging"); p.Next() },
		})
		p.AddStaticHandler("one", sdk.Handlers{Logging: func(p *sdk.PhaseLogging) { note("logging"); p.Next() }})
	})
	for n := range 3 * 16 {
		ran = nil
		res := h.Request("it", request{
			Headers: map[string][]string{"X-N": {fmt.Sprint(n)}}, Body: []byte("up"),
			Upstream: response{Status: 201, Body: []byte("down")},
		})
		want := fmt.Sprintf("request %d,body up,response %d,body down,logging", n, n)
		if got := strings.Join(ran, ","); got != want || res.Headers.Get("x-status") != "201" || string(res.Body) != "down!" ||
			string(res.Upstream.Body) != "UP" || res.Upstream.Headers.Get("x-up") != "1" {
			t.Fatalf("%s: %+v", got, res)
		}
	}
	ran = nil
	// A session says what it wants in its first answer.
	if res := h.Request("one", request{}); len(ran) != 1 || len(res.Verdicts) != 2 {
		t.Fatalf("%v %+v", ran, res.Verdicts)
	}
	wait(t, "the sessions to close", func() bool { return h.Stats().Sessions == 0 })
}

// keeper keeps what its handlers were given, and others use it once the request is over.
type keeper struct {
	mu   sync.Mutex
	kept map[string]*sdk.PhaseRequestFilter
}

func (k *keeper) filter(p *sdk.PhaseRequestFilter) {
	path := p.Request().Path()
	p.Response().SetHeader("x-path", path)
	p.SetRequestHeader("x-path", path)
	p.Next()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept[path] = p
}

// any is some request that is over.
func (k *keeper) any() (path string, p *sdk.PhaseRequestFilter) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for path, p = range k.kept {
		break
	}
	return path, p
}

// abuse does everything with a request that is over.
func abuse(t *testing.T, path string, p *sdk.PhaseRequestFilter) {
	r, res := p.Request(), p.Response()
	res.SetHeader("x-path", "of "+path)
	res.AddHeader("x-stale", path)
	res.SetStatus(599)
	res.BodyText("stale " + path)
	p.SetPath("/stale")
	p.SetRequestHeader("x-path", "stale")
	p.End()
	if _, err := res.Stream(); err == nil || !strings.Contains(err.Error(), "not open") {
		t.Errorf("%s: Stream: %v", path, err)
	}
	if b := r.RawBody(); b != nil {
		t.Errorf("%s: a body %q", path, b)
	}
	if r.Path() != path || r.Header("x-path") != path || r.Header("x-own") != path || r.Host() != "example.com" {
		t.Errorf("%s turned into %s: %v", path, r.Path(), r.Headers().GetAll())
	}
	if h := res.Headers(); h["x-path"] != path || len(h) != 1 || res.Status() != 200 {
		t.Errorf("%s: response %v", path, h)
	}
	p.Context()
}

// A plugin that keeps pointers to requests and uses them after their end reaches no other request, and what they answer
// stays what it was: in the static form as in the other.
func TestKeptPointersReachNobody(t *testing.T) {
	k := &keeper{}
	for name, setup := range map[string]func(*sdk.NylonPlugin){"factory": filter(k.filter), "static": static(k.filter)} {
		t.Run(name, func(t *testing.T) {
			k.kept = map[string]*sdk.PhaseRequestFilter{}
			l := local(t, testhost.Options{}, setup)
			var clients, abusers sync.WaitGroup
			stop := make(chan struct{})
			for range 2 {
				abusers.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if path, p := k.any(); p != nil {
							abuse(t, path, p)
						}
						runtime.Gosched()
					}
				})
			}
			for c := range 4 {
				clients.Go(func() {
					for i := range 300 {
						path := fmt.Sprintf("/%d/%d", c, i)
						var w wire.StepWriter
						w.Entry(0)
						w.Request(&wire.RequestFields{
							Method: "GET", Path: path, Host: "example.com", Headers: []wire.Pair{{Name: "x-own", Value: path}},
						})
						rec, err := w.Finish()
						if err != nil {
							t.Error(err)
						}
						final := l.Run(&testhost.Step{Sid: testhost.NewSid(), Open: true, Phase: 1, Record: rec})
						if final.Fault != nil || final.Method != wire.MethodNext || len(final.Ops) != 2 ||
							string(final.Ops[0].Value) != path || string(final.Ops[1].Value) != path {
							t.Errorf("%s: %+v", path, final)
							return
						}
					}
				})
			}
			clients.Wait()
			wait(t, "the last handlers", func() bool {
				k.mu.Lock()
				defer k.mu.Unlock()
				return len(k.kept) == 1200
			})
			close(stop)
			abusers.Wait()
			runtime.GC()
			for path, p := range k.kept {
				abuse(t, path, p)
			}
			if n := l.Worker.Sessions(); n != 0 {
				t.Errorf("%d sessions left", n)
			}
		})
	}
}

// Static sessions share memory, so a request that is kept, or goes on for hours, must not keep its neighbours' bodies.
func TestStaticLetsGoOfBodies(t *testing.T) {
	watchdog(t)
	const size, requests = 1 << 20, 16
	freed := make(chan int, 3*requests)
	held := make(chan *sdk.PhaseRequestFilter, requests)
	notice := func(b []byte) []byte {
		runtime.AddCleanup(&b[0], func(n int) { freed <- n }, len(b))
		return b
	}
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddStaticHandler("it", sdk.Handlers{
			RequestFilter: func(p *sdk.PhaseRequestFilter) {
				if n := len(notice(p.Request().RawBody())); n != size || len(p.Request().RawBody()) != n {
					t.Errorf("%d bytes", n)
				}
				p.Response().BodyRaw(make([]byte, size))
				notice(p.Response().ReadBody())
				held <- p
				p.End()
				if len(p.Request().RawBody()) != size || len(p.Response().ReadBody()) != size {
					t.Error("gone while the handler runs")
				}
			},
			Logging: func(p *sdk.PhaseLogging) { p.Next() },
		})
	})
	body := make([]byte, size)
	for range requests {
		if res := h.Request("it", request{Body: body}); len(res.Body) != size {
			t.Fatalf("%d bytes, %s", len(res.Body), res.Error)
		}
	}
	wait(t, "the sessions to close", func() bool { return h.Stats().Sessions == 0 })
	wait(t, "the bodies to be freed", func() bool { runtime.GC(); return len(freed) == 2*requests })
	close(held)
	for p := range held {
		if p.Request().Path() != "/" || p.Request().RawBody() != nil || p.Response().ReadBody() != nil {
			t.Error("after the end")
		}
	}
}
