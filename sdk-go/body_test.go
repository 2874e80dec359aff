package sdk_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/bridge"
	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

// pattern is n bytes of which each piece differs from its neighbours.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// views writes down what it is given, and spoils it afterwards: nobody may see that.
type views struct{ got []byte }

func (v *views) Write(p []byte) (int, error) {
	v.got = append(v.got, p...)
	clear(p)
	return len(p), nil
}

// Every way to read a body gives its bytes, whatever the pieces, the window and what other requests read meanwhile.
func TestBodiesByEveryWay(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, static(func(p *sdk.PhaseRequestFilter) {
		var got []byte
		var err error
		switch r := p.Request(); r.Path() {
		case "/raw":
			got = r.RawBody()
		case "/read":
			got, err = io.ReadAll(r.Body())
		case "/copy":
			var v views
			_, err = io.Copy(&v, r.Body())
			got = v.got
		case "/both": // a part by Read, and the rest by WriteTo
			body, head := r.Body(), make([]byte, 777)
			n, _ := io.ReadFull(body, head)
			var v views
			_, err = io.Copy(&v, body)
			got = append(head[:n], v.got...)
		}
		if err != nil {
			t.Error(p.Request().Path(), err)
		}
		p.Response().BodyNoCopy(got)
		p.End()
	}), nylontest.Window(200_000))
	done := make(chan string, 100)
	running := 0
	for _, size := range []int{0, 10, 100, 20_000, 70_000, 1_500_000} {
		body := pattern(size)
		for _, path := range []string{"/raw", "/read", "/copy", "/both"} {
			running++
			go func() {
				req := request{Path: path, Body: body}
				if size > 20_000 {
					req.Pieces = [][]byte{body[:3], body[3:19_000], body[19_000:19_100], body[19_100:]}
				}
				if res := h.Request("filter", req); !bytes.Equal(res.Body, body) {
					done <- fmt.Sprintf("%s: %d bytes of %d, %s", path, len(res.Body), size, res.Error)
					return
				}
				done <- ""
			}()
		}
	}
	for range running {
		if why := <-done; why != "" {
			t.Error(why)
		}
	}
}

// A writer that fails ends the copy with its error, and the body can be read on.
func TestBodyWriterFails(t *testing.T) {
	watchdog(t)
	h := nylontest.New(t, filter(func(p *sdk.PhaseRequestFilter) {
		body := p.Request().Body()
		if n, err := io.Copy(writer(func([]byte) (int, error) { return 2, io.ErrClosedPipe }), body); n != 2 || err != io.ErrClosedPipe {
			t.Error(n, err)
		}
		rest, err := io.ReadAll(body)
		if err != nil {
			t.Error(err)
		}
		p.Response().BodyRaw(rest)
		p.End()
	}))
	if res := h.Request("filter", request{Body: []byte("0123456789")}); string(res.Body) != "23456789" {
		t.Fatalf("%q %s", res.Body, res.Error)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// BenchmarkBody is 1 MiB from the host into a handler. Nearly all that it allocates is the worker's: the test host sends
// slices of one body.
func BenchmarkBody(b *testing.B) {
	const size = 1 << 20
	body := [][]byte{pattern(size)}
	read := func(p *sdk.PhaseRequestFilter) (n int64, err error) {
		return io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{p.Request().Body()}, make([]byte, 32<<10))
	}
	copied := func(p *sdk.PhaseRequestFilter) (n int64, err error) { return io.Copy(io.Discard, p.Request().Body()) }
	raw := func(p *sdk.PhaseRequestFilter) (n int64, err error) { return int64(len(p.Request().RawBody())), nil }
	for name, get := range map[string]func(*sdk.PhaseRequestFilter) (int64, error){"raw": raw, "read": read, "copy": copied} {
		b.Run(name, func(b *testing.B) {
			plugin := bridge.New().(*sdk.NylonPlugin)
			filter(func(p *sdk.PhaseRequestFilter) {
				if n, err := get(p); n != size || err != nil {
					b.Error(n, err)
				}
				p.Next()
			})(plugin)
			l, err := testhost.NewLocal(plugin, testhost.Options{Fault: func(err error) { b.Error(err) }}, func(string, ...any) {})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Stop()
			var w wire.StepWriter
			w.Entry(0)
			w.Request(&wire.RequestFields{Method: "POST", Path: "/", Bytes: size})
			rec, err := w.Finish()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				final := l.Run(&testhost.Step{
					Sid: testhost.NewSid(), Open: true, Phase: 1, Record: rec, Body: func() [][]byte { return body },
				})
				if final.Fault != nil {
					b.Fatal(final.Fault)
				}
			}
		})
	}
}
