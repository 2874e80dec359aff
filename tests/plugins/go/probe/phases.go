package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func phases(plugin *sdk.NylonPlugin) {
	// The payload's "tag" names the item in the trace; its "end" names a phase to END in.
	for _, name := range []string{"order", "order2"} {
		plugin.AddPhaseHandler(name, order)
	}

	// Runs of one session's phases, counted by a captured variable.
	plugin.AddPhaseHandler("counter", func(phase *sdk.PhaseHandler) {
		runs := 0
		phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
			runs++
			p.Response().SetHeader("x-runs", strconv.Itoa(runs))
			p.Next()
		})
		phase.Logging(func(p *sdk.PhaseLogging) {
			trace("counter %d", runs)
			p.Next()
		})
	})

	// The same with nothing but a request filter: its session would be over with the first answer.
	plugin.AddPhaseHandler("filter-counter", func(phase *sdk.PhaseHandler) {
		runs := 0
		phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
			runs++
			p.Response().SetHeader("x-runs", strconv.Itoa(runs))
			p.Next()
		})
	})

	// Response phases that only note that they ran.
	plugin.AddPhaseHandler("responses", func(phase *sdk.PhaseHandler) {
		phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) { trace("res"); p.Next() })
		phase.ResponseBodyFilter(func(p *sdk.PhaseResponseBodyFilter) { trace("body"); p.Next() })
		phase.Logging(func(p *sdk.PhaseLogging) { trace("log"); p.Next() })
	})

	request(plugin, "next", func(p *sdk.PhaseRequestFilter) { p.Next() })
	request(plugin, "next-twice", func(p *sdk.PhaseRequestFilter) { p.Next(); p.Next() })
	request(plugin, "never", func(p *sdk.PhaseRequestFilter) {
		trace("never")
		select {}
	})
	request(plugin, "forgetful", func(*sdk.PhaseRequestFilter) {})
	request(plugin, "sleep", func(p *sdk.PhaseRequestFilter) {
		time.Sleep(time.Duration(number(p.GetPayload(), "ms")) * time.Millisecond)
		p.Response().SetHeader("x-slept", "yes")
		p.Next()
	})
	// slow stamps the nonce after the payload's "ms", and of "seldom" requests one after "seldom_ms".
	var slow atomic.Uint64
	request(plugin, "slow", func(p *sdk.PhaseRequestFilter) {
		payload := p.GetPayload()
		ms := number(payload, "ms")
		if slow.Add(1)%uint64(max(number(payload, "seldom"), 1)) == 0 {
			ms = number(payload, "seldom_ms")
		}
		time.Sleep(time.Duration(ms) * time.Millisecond)
		p.Response().SetHeader("x-nonce-echo", p.Request().Header("x-nonce"))
		p.Response().SetHeader("x-plugin-pid", process)
		p.Next()
	})
	// versions stamps this process in each of four phases, and the name of its program.
	plugin.AddPhaseHandler("versions", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
			p.Response().SetHeader("x-nonce-echo", p.Request().Header("x-nonce"))
			p.Response().SetHeader("x-plugin-pid", process)
			p.Response().SetHeader("x-version", filepath.Base(os.Args[0]))
			p.Next()
		})
		phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
			p.SetResponseHeader("x-response-pid", process)
			p.Next()
		})
		whole := []byte(process)
		phase.ResponseBodyFilter(func(p *sdk.PhaseResponseBodyFilter) {
			p.Response().BodyRaw(whole)
			whole = []byte{}
			p.Next()
		})
		phase.Logging(func(p *sdk.PhaseLogging) {
			trace("version %s %s", p.Request().Header("x-nonce"), process)
			p.Next()
		})
	})
	request(plugin, "prints", func(p *sdk.PhaseRequestFilter) {
		fmt.Println("printed for a request", strings.Repeat("x", number(p.GetPayload(), "bytes")))
		p.Next()
	})
	request(plugin, "later", func(p *sdk.PhaseRequestFilter) {
		go func() {
			time.Sleep(150 * time.Millisecond)
			p.Response().SetHeader("x-later", "yes")
			p.Next()
		}()
	})
	request(plugin, "gate", func(p *sdk.PhaseRequestFilter) {
		p.Response().SetStatus(sdk.StatusForbidden)
		p.Response().BodyText("closed")
		p.End()
	})
	barrier := newBarrier(64)
	request(plugin, "barrier", func(p *sdk.PhaseRequestFilter) {
		barrier.wait()
		p.Response().BodyText(strconv.Itoa(os.Getpid()))
		p.End()
	})
	holds(plugin)
}

// holds registers handlers that are held until a request says go: one waits, one computes.
func holds(plugin *sdk.NylonPlugin) {
	var held, over atomic.Bool
	released := make(chan struct{})
	hold := func(wait func()) func(*sdk.PhaseRequestFilter) {
		return func(p *sdk.PhaseRequestFilter) {
			held.Store(true)
			wait()
			p.Response().SetHeader("x-held", "yes")
			p.Next()
		}
	}
	request(plugin, "hold", hold(func() { <-released }))
	request(plugin, "hold-busy", hold(func() {
		for !over.Load() {
		}
	}))
	request(plugin, "held", func(p *sdk.PhaseRequestFilter) {
		p.Response().SetHeader("x-held", strconv.FormatBool(held.Load()))
		p.Next()
	})
	request(plugin, "release", func(p *sdk.PhaseRequestFilter) {
		over.Store(true)
		close(released)
		p.Next()
	})
}

// request registers an entry that has a RequestFilter only.
func request(plugin *sdk.NylonPlugin, name string, handler func(*sdk.PhaseRequestFilter)) {
	plugin.AddPhaseHandler(name, func(phase *sdk.PhaseHandler) { phase.RequestFilter(handler) })
}

func order(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		payload := p.GetPayload()
		passed(p.Request(), payload, "req")
		if text(payload, "end") == "req" {
			p.Response().BodyText("ended")
			p.End()
			return
		}
		p.Next()
	})
	phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
		payload := p.GetPayload()
		passed(p.Request(), payload, "res")
		p.SetResponseHeader("x-res-"+text(payload, "tag"), "yes")
		finish(phase.SessionId, 2, text(payload, "end") == "res", p.Next)
	})
	phase.ResponseBodyFilter(func(p *sdk.PhaseResponseBodyFilter) {
		payload := p.GetPayload()
		passed(p.Request(), payload, "body")
		finish(phase.SessionId, 3, text(payload, "end") == "body", p.Next)
	})
	phase.Logging(func(p *sdk.PhaseLogging) {
		payload := p.GetPayload()
		passed(p.Request(), payload, "log")
		finish(phase.SessionId, 4, text(payload, "end") == "log", p.Next)
	})
}

// passed traces a phase; the harness asking whether the plugin serves is no part of a test.
func passed(r *sdk.Request, payload map[string]any, phase string) {
	if !strings.HasPrefix(r.Path(), "/ready/") {
		trace("%s:%s", text(payload, "tag"), phase)
	}
}

// finish sends END where the SDK has no method for it, else NEXT.
func finish(session int32, phase int8, end bool, next func()) {
	if !end {
		next()
		return
	}
	if err := sdk.RequestMethod(session, phase, sdk.NylonMethodEnd, nil); err != nil {
		trace("end: %v", err)
	}
}

// barrier lets everybody through once n have come.
type barrier struct {
	mu   sync.Mutex
	cond *sync.Cond
	n    int
}

func newBarrier(n int) *barrier {
	b := &barrier{n: n}
	b.cond = sync.NewCond(&b.mu)
	return b
}

func (b *barrier) wait() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n--
	b.cond.Broadcast()
	for b.n > 0 {
		b.cond.Wait()
	}
}
