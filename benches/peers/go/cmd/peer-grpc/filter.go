package main

import (
	"context"
	"net/http"

	"github.com/nylon-rs/nylon/benches/peers/go/internal/peersv1"
)

// filter does in two unary calls what the plugin of the gateway bench does in its two phases.
type filter struct {
	peersv1.UnimplementedFilterServer
}

// Request implements peersv1.FilterServer: reads three fields, sets one header and goes on.
func (filter) Request(_ context.Context, head *peersv1.RequestHead) (*peersv1.Mutation, error) {
	if head.GetMethod() != http.MethodGet || head.GetPath() != "/bench" {
		return &peersv1.Mutation{Status: http.StatusBadRequest}, nil
	}
	return set("x-bench", header(head.GetHeaders(), "x-nonce")), nil
}

// Response implements peersv1.FilterServer: sets one header more.
func (filter) Response(_ context.Context, head *peersv1.ResponseHead) (*peersv1.Mutation, error) {
	return set("x-content", header(head.GetHeaders(), "content-type")), nil
}

func header(all []*peersv1.Header, name string) []byte {
	for _, h := range all {
		if h.GetName() == name {
			return h.GetValue()
		}
	}
	return nil
}

func set(name string, value []byte) *peersv1.Mutation {
	return &peersv1.Mutation{Set: []*peersv1.Header{{Name: name, Value: value}}}
}
