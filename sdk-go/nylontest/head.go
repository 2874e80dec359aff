package nylontest

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// head is a response head on its way back. Names are in lower case.
type head struct {
	status  int
	headers []wire.Pair
}

// apply makes changes in call order.
func (h *head) apply(ops []wire.Op) {
	for _, op := range ops {
		p := wire.Pair{Name: strings.ToLower(string(op.Name)), Value: string(op.Value)}
		switch op.Method {
		case wire.MethodSetResponseStatus:
			h.status = int(op.Status)
		case wire.MethodSetResponseHeader:
			h.remove(p.Name)
			h.headers = append(h.headers, p)
		case wire.MethodAddResponseHeader:
			h.headers = append(h.headers, p)
		case wire.MethodRemoveResponseHeader:
			h.remove(p.Name)
		}
	}
}

func (h *head) remove(names ...string) {
	h.headers = slices.DeleteFunc(h.headers, func(p wire.Pair) bool { return slices.Contains(names, p.Name) })
}

func headerOf(pairs []wire.Pair) http.Header {
	h := http.Header{}
	for _, p := range pairs {
		h.Add(p.Name, p.Value)
	}
	return h
}

func pairsOf(h http.Header) (out []wire.Pair) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, v := range h[name] {
			out = append(out, wire.Pair{Name: strings.ToLower(name), Value: v})
		}
	}
	return out
}
