package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

// aCase is one line of ../cases.json. Here it goes through its entry alone, in memory; tests/tests/quickstart.rs sends the
// same through the gateway with ../nylon.yaml. What is absent is not compared, and null means "must not be there".
type aCase struct {
	Name    string
	Entry   string
	Service bool // the entry answers by itself, as a service
	Request struct {
		Method, Path, Query string
		Headers             map[string]string
		Pieces              []string // of the body
	}
	Payload  map[string]any // what the gateway makes of the payload in nylon.yaml, for this request
	Upstream struct {       // what the upstream answers on this path
		Status  int
		Headers map[string]string
		Pieces  []string
	}
	Expect expected
}

type expected struct {
	Status   int
	Headers  map[string]*string
	Body     *string
	JSON     map[string]any  // a part of the body
	Chunks   int             // of a streamed body
	Upstream json.RawMessage // what the upstream sees, null: it is not asked
	Same     []string        // headers the client and the upstream both see, with one value
	Not      map[string]string
	Log      string // how a printed line begins
}

func TestCases(t *testing.T) {
	for _, c := range readCases(t) {
		t.Run(c.Name, func(t *testing.T) {
			h := host(t)
			var res *nylontest.Result
			printed := capture(t, func() { res = h.Request(c.Entry, c.request()) })
			c.Expect.check(t, res, printed)
		})
	}
}

func TestEveryEntryHasACase(t *testing.T) {
	entries := map[string]bool{}
	for _, c := range readCases(t) {
		entries[c.Entry] = true
	}
	for _, entry := range host(t).Entries() {
		if !entries[entry] {
			t.Errorf("no case for %q", entry)
		}
	}
}

func readCases(t *testing.T) (cases []aCase) {
	t.Helper()
	text, err := os.ReadFile("../cases.json")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&cases); err != nil || len(cases) == 0 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	return cases
}

func (c *aCase) request() nylontest.Request {
	req := nylontest.Request{
		Method: c.Request.Method, Path: c.Request.Path, Query: c.Request.Query, Headers: header(c.Request.Headers),
		Pieces: pieces(c.Request.Pieces), ClientIP: "127.0.0.1", Service: c.Service,
		Upstream: nylontest.Response{
			Status: c.Upstream.Status, Headers: header(c.Upstream.Headers), Pieces: pieces(c.Upstream.Pieces),
		},
	}
	if c.Payload != nil {
		req.Payload = c.Payload
	}
	return req
}

func (e *expected) check(t *testing.T, res *nylontest.Result, printed string) {
	t.Helper()
	if res.Status != e.Status {
		t.Errorf("status %d, not %d: %s", res.Status, e.Status, res.Body)
	}
	checkHeaders(t, "the client", res.Headers, e.Headers)
	if e.Body != nil && string(res.Body) != *e.Body {
		t.Errorf("body %q, not %q", res.Body, *e.Body)
	}
	if e.JSON != nil {
		var got any
		if err := json.Unmarshal(res.Body, &got); err != nil || !contains(got, e.JSON) {
			t.Errorf("body %s lacks %v (%v)", res.Body, e.JSON, err)
		}
	}
	if e.Chunks > 0 && (!res.Streamed || len(res.Chunks) != e.Chunks) {
		t.Errorf("streamed: %v, %d chunks", res.Streamed, len(res.Chunks))
	}
	e.checkUpstream(t, res)
	if e.Log != "" && !strings.HasPrefix(printed, e.Log) {
		t.Errorf("printed %q, not %q", printed, e.Log)
	}
}

func (e *expected) checkUpstream(t *testing.T, res *nylontest.Result) {
	t.Helper()
	if string(e.Upstream) == "null" && res.Upstream != nil {
		t.Errorf("the upstream was asked: %+v", res.Upstream)
	}
	var want *struct {
		Method, Path string
		Headers      map[string]*string
		Body         *string
	}
	if len(e.Upstream) > 0 {
		if err := json.Unmarshal(e.Upstream, &want); err != nil {
			t.Fatal(err)
		}
	}
	if (want != nil || len(e.Same) > 0) && res.Upstream == nil {
		t.Fatalf("the upstream was not asked: %s", res.Error)
	}
	if want != nil {
		got := res.Upstream
		if want.Method != "" && got.Method != want.Method || want.Path != "" && got.Path != want.Path {
			t.Errorf("the upstream saw %s %s", got.Method, got.Path)
		}
		checkHeaders(t, "the upstream", got.Headers, want.Headers)
		if want.Body != nil && string(got.Body) != *want.Body {
			t.Errorf("the upstream saw %q, not %q", got.Body, *want.Body)
		}
	}
	for _, name := range e.Same {
		down, up := res.Headers.Get(name), res.Upstream.Headers.Get(name)
		if down == "" || down != up || down == e.Not[name] {
			t.Errorf("%s: the client saw %q, the upstream %q", name, down, up)
		}
	}
}

func checkHeaders(t *testing.T, who string, got http.Header, want map[string]*string) {
	t.Helper()
	for name, value := range want {
		switch all := got.Values(name); {
		case value == nil && len(all) > 0:
			t.Errorf("%s saw %s: %q", who, name, all)
		case value != nil && (len(all) != 1 || all[0] != *value):
			t.Errorf("%s saw %s: %q, not %q", who, name, all, *value)
		}
	}
}

// contains says whether every key of want is in got, with its value.
func contains(got, want any) bool {
	w, ok := want.(map[string]any)
	if !ok {
		return got == want
	}
	g, ok := got.(map[string]any)
	for key, value := range w {
		ok = ok && contains(g[key], value)
	}
	return ok
}

// capture returns what f prints.
func capture(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = w
	f()
	os.Stdout = stdout
	_ = w.Close()
	printed, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(printed)
}

func header(m map[string]string) http.Header {
	h := http.Header{}
	for name, value := range m {
		h.Set(name, value)
	}
	return h
}

func pieces(texts []string) (out [][]byte) {
	for _, text := range texts {
		out = append(out, []byte(text))
	}
	return out
}
