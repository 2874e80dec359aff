package sdk

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// Request is the client's request with this plugin's own changes. Its getters cost no round trip, except RawBody and
// Body, and stay valid after the request.
type Request call

// Method is the method, like GET.
func (r *Request) Method() string { return r.inv.Session.Method() }

// URL is scheme://host[:port]path?query.
func (r *Request) URL() string {
	rec := r.inv.Session.Record()
	var b strings.Builder
	b.WriteString("http")
	if rec.TLS() {
		b.WriteString("s")
	}
	b.WriteString("://")
	b.Write(rec.Host())
	if port := rec.Port(); port != 0 && port != 80 && port != 443 {
		b.WriteString(":" + strconv.Itoa(int(port)))
	}
	b.WriteString(r.Path())
	if q := r.Query(); q != "" {
		b.WriteString("?" + q)
	}
	return b.String()
}

// Path is the path as it came, undecoded.
func (r *Request) Path() string { return r.inv.Session.Path() }

// Query is the raw query without '?'.
func (r *Request) Query() string { return r.inv.Session.Query() }

// Host is the host without port.
func (r *Request) Host() string { return shm.String(r.inv.Session.Record().Host()) }

// ClientIP is the address of the peer.
func (r *Request) ClientIP() string { return shm.String(r.inv.Session.Record().ClientIP()) }

// Header is the value of a header, whatever the case of its name; "" when it is missing.
func (r *Request) Header(key string) string { return r.inv.Session.Header(key) }

// Headers are all headers.
func (r *Request) Headers() *Headers { return &Headers{r.inv.Session.Headers()} }

// Params are the parameters of the route.
func (r *Request) Params() map[string]string {
	params := r.inv.Session.Record().Params()
	m := make(map[string]string, params.Len())
	for name, value := range params.All() {
		m[shm.String(name)] = shm.String(value)
	}
	return m
}

// Bytes is the Content-Length, or 0.
func (r *Request) Bytes() int64 { return int64(r.inv.Session.Record().Bytes()) }

// Timestamp is when the request arrived, in Unix ms.
func (r *Request) Timestamp() int64 { return r.inv.Session.Record().TimestampMs() }

// RawBody is the whole request body. It waits for the gateway once per request and keeps the bytes. A body over the
// gateway's bound, 8 MiB by default, is answered with 413: RawBody returns nil and the verdict is replaced.
func (r *Request) RawBody() []byte {
	b, err := r.inv.RawBody()
	if err != nil {
		(*call)(r).spoil("RawBody", err)
		return nil
	}
	return b
}

// Body reads the request body as it arrives, within a window: a slow reader slows the client down, not the memory. It is
// an io.WriterTo as well: by io.Copy the writer is given each piece where it was received, for the time of its Write.
func (r *Request) Body() io.Reader {
	if b, ok := r.inv.Session.RawBody(); ok {
		return bytes.NewReader(b)
	}
	return r.inv.Body()
}

// Headers are header fields in order; repeated ones are kept.
type Headers struct{ list []wire.Pair }

// Get is the last value of a header, whatever the case of its name; "" when it is missing.
func (h *Headers) Get(key string) string {
	for i := len(h.list) - 1; i >= 0; i-- {
		if strings.EqualFold(h.list[i].Name, key) {
			return h.list[i].Value
		}
	}
	return ""
}

// Values are all values of a header, in order.
func (h *Headers) Values(key string) []string {
	var out []string
	for _, p := range h.list {
		if strings.EqualFold(p.Name, key) {
			out = append(out, p.Value)
		}
	}
	return out
}

// GetAll are the headers by lower-case name; of repeated ones the last.
func (h *Headers) GetAll() map[string]string {
	m := make(map[string]string, len(h.list))
	for _, p := range h.list {
		m[p.Name] = p.Value
	}
	return m
}
