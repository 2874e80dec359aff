package nylontest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// The gateway refuses a step whole when one of its changes is not allowed, and so does a test.
func TestRefusedChanges(t *testing.T) {
	var change func(*sdk.PhaseRequestFilter)
	h := one(t, func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
			p.SetRequestHeader("x-fine", "1")
			change(p)
			p.Next()
		})
	})
	many := func(n, size int) func(*sdk.PhaseRequestFilter) {
		return func(p *sdk.PhaseRequestFilter) {
			for i := range n - 1 { // with x-fine
				p.Response().SetHeader(fmt.Sprintf("x-%d", i), strings.Repeat("v", size))
			}
		}
	}
	header := func(name, value string) func(*sdk.PhaseRequestFilter) {
		return func(p *sdk.PhaseRequestFilter) { p.Response().AddHeader(name, value) }
	}
	status := func(s uint16) func(*sdk.PhaseRequestFilter) {
		return func(p *sdk.PhaseRequestFilter) { p.Response().SetStatus(s) }
	}
	method := func(s string) func(*sdk.PhaseRequestFilter) {
		return func(p *sdk.PhaseRequestFilter) { p.SetMethod(s) }
	}
	path := func(s string) func(*sdk.PhaseRequestFilter) {
		return func(p *sdk.PhaseRequestFilter) { p.SetPath(s) }
	}
	query := func(s string) func(*sdk.PhaseRequestFilter) {
		return func(p *sdk.PhaseRequestFilter) { p.SetQuery(s) }
	}
	for what, c := range map[string]func(*sdk.PhaseRequestFilter){
		"CR": header("x", "a\rb"), "LF": header("x", "a\nb"), "NUL": header("x", "a\x00b"), "DEL": header("x", "\x7f"),
		"no name": header("", "v"), "space in a name": header("x y", "v"), "colon in a name": header("x:", "v"),
		"name beyond ASCII": header("ü", "v"), "removed without a name": func(p *sdk.PhaseRequestFilter) { p.Response().RemoveHeader("") },
		"request header":                         func(p *sdk.PhaseRequestFilter) { p.SetRequestHeader("x", "\n") },
		"request name":                           func(p *sdk.PhaseRequestFilter) { p.RemoveRequestHeader("x\n") },
		"a line break where it would be ignored": func(p *sdk.PhaseRequestFilter) { p.SetRequestHeader("host", "\n") },
		"status 199":                             status(199), "status 600": status(600), "status 0": status(0),
		"CONNECT": method("CONNECT"), "no method": method(""), "method with a space": method("GET /"),
		"no path": path(""), "relative path": path("a"), "path with a query": path("/a?b"), "path with a space": path("/a b"),
		"path with a line break": path("/a\r\n"), "path beyond ASCII": path("/ü"), "path with a fragment": path("/#"),
		"query with a space": query("a b"), "query with NUL": query("\x00"), "query with a fragment": query("a#"),
		"101 headers": many(101, 1), "32 KiB of headers": many(40, 1000),
	} {
		change = c
		res := h.Request("it", request{})
		if res.Status != 502 || code(t, res) != "PLUGIN_REFUSED" || res.Upstream != nil || res.Verdicts[0].Verdict != "Error" {
			t.Errorf("%s: %+v", what, res)
		}
	}
	for what, c := range map[string]func(*sdk.PhaseRequestFilter){
		"tab and Latin": header("X_odd!", "a\tb\xfc"), "empty value": header("x", ""), "status 200": status(200), "status 599": status(599),
		"PURGE": method("PURGE"), "path": path("/a/../b%20c"), "query": query("a=1&b=?/"), "no query": query(""),
		"100 headers": many(100, 1), "nearly 32 KiB of headers": many(32, 1000),
	} {
		change = c
		if res := h.Request("it", request{}); res.Error != "" || res.Upstream == nil || res.Upstream.Headers.Get("x-fine") != "1" {
			t.Errorf("%s: %+v", what, res)
		}
	}
}

// What frames a message or belongs to a connection is the gateway's business: such changes are taken and not used.
func TestFramingIsNotThePlugins(t *testing.T) {
	names := []string{
		"Connection", "Content-Length", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
	}
	h := one(t, func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
			for _, name := range append(names, "Host") {
				p.SetRequestHeader(name, "forged")
			}
			p.RemoveRequestHeader("host")
			p.Next()
		})
		phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
			for _, name := range names {
				p.SetResponseHeader(name, "forged")
				p.Response().AddHeader(name, "forged")
			}
			p.RemoveResponseHeader("content-length")
			p.SetResponseHeader("host", "a header like others")
			p.Next()
		})
	})
	res := h.Request("it", request{
		Headers:  http.Header{"Host": {"example.com"}},
		Upstream: response{Headers: http.Header{"Content-Length": {"2"}}, Body: []byte("up")},
	})
	if got := fmt.Sprint(res.Upstream.Headers); got != "map[Host:[example.com]]" {
		t.Error(got)
	}
	if got := fmt.Sprint(res.Headers); got != "map[Content-Length:[2] Host:[a header like others]]" {
		t.Error(got)
	}
}

// A body of the plugin's own takes what described the old one along.
func TestReplacedBody(t *testing.T) {
	h := one(t, func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
			p.SetRequestBody([]byte("four"))
			p.Next()
		})
		phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
			p.Response().BodyText("new")
			p.SetResponseHeader("etag", "mine")
			p.Next()
		})
	})
	res := h.Request("it", request{Body: []byte("old"), Upstream: response{
		Headers: http.Header{"Content-Length": {"2"}, "Content-Encoding": {"br"}, "Etag": {"theirs"}, "X-Kept": {"1"}}, Body: []byte("up"),
	}})
	if got := fmt.Sprint(res.Headers); got != "map[Content-Type:[text/plain; charset=utf-8] Etag:[mine] X-Kept:[1]]" ||
		string(res.Body) != "new" {
		t.Errorf("%s %q", got, res.Body)
	}
	if up := res.Upstream; string(up.Body) != "four" || up.Headers.Get("content-length") != "4" {
		t.Errorf("%+v", up)
	}
}
