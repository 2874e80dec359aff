package main

import (
	"fmt"
	"hash/fnv"
	"io"
	"strconv"
	"sync"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func requests(plugin *sdk.NylonPlugin) {
	// Every getter, as JSON.
	request(plugin, "getters", func(p *sdk.PhaseRequestFilter) {
		r := p.Request()
		p.Response().BodyJSON(map[string]any{
			"method": r.Method(), "path": r.Path(), "query": r.Query(), "url": r.URL(), "host": r.Host(),
			"client_ip": r.ClientIP(), "params": r.Params(), "bytes": r.Bytes(), "timestamp": r.Timestamp(),
			"header": r.Header("X-One"), "missing": r.Header("x-not-there"),
			"headers": r.Headers().GetAll(), "values": r.Headers().Values("x-one"),
		})
		p.End()
	})

	request(plugin, "missing-header", func(p *sdk.PhaseRequestFilter) {
		if key := p.Request().Header("x-api-key"); key != "" {
			p.Next()
			return
		}
		p.Response().SetStatus(sdk.StatusUnauthorized)
		p.Response().BodyText("no key")
		p.End()
	})

	request(plugin, "parallel-getters", parallelGetters)

	request(plugin, "raw-body", func(p *sdk.PhaseRequestFilter) {
		first, second := p.Request().RawBody(), p.Request().RawBody()
		p.Response().SetHeader("x-body", sum(first))
		p.Response().SetHeader("x-body-again", sum(second))
		p.Next()
	})
	request(plugin, "body-reader", func(p *sdk.PhaseRequestFilter) {
		hash := fnv.New64a()
		n, err := io.Copy(hash, p.Request().Body())
		p.Response().BodyText(fmt.Sprintf("%d %d %v", n, hash.Sum64(), err))
		p.End()
	})

	// Reads the body as the request says: whole, as it comes, or not at all.
	request(plugin, "body-perhaps", func(p *sdk.PhaseRequestFilter) {
		hash, how := fnv.New64a(), p.Request().Header("x-how")
		switch how {
		case "whole":
			p.Response().BodyText(sum(p.Request().RawBody()))
		case "reader":
			n, _ := io.Copy(hash, p.Request().Body())
			p.Response().BodyText(fmt.Sprintf("%d %d", n, hash.Sum64()))
		}
		p.End()
	})

	request(plugin, "payload", func(p *sdk.PhaseRequestFilter) {
		first, second := p.GetPayload(), p.GetPayload()
		p.Response().BodyJSON(map[string]any{"payload": first, "again": second})
		p.End()
	})

	request(plugin, "rewrite", func(p *sdk.PhaseRequestFilter) {
		p.SetMethod("PUT")
		p.SetPath("/rewritten")
		p.SetQuery("a=1&b=2")
		p.SetRequestHeader("x-added", "by plugin")
		p.RemoveRequestHeader("x-secret")
		p.SetRequestBody([]byte("a new body"))
		p.Next()
	})
}

// parallelGetters reads three fields from eight goroutines and counts answers that are not their own.
func parallelGetters(p *sdk.PhaseRequestFilter) {
	r := p.Request()
	path, method, header := r.Path(), r.Method(), r.Header("x-nonce")
	var wrong sync.Map
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 200 {
				if r.Path() != path || r.Method() != method || r.Header("x-nonce") != header {
					wrong.Store(i, true)
				}
				if sum(r.RawBody()) != sum([]byte(header)) {
					wrong.Store(i, true)
				}
			}
		})
	}
	all.Wait()
	count := 0
	wrong.Range(func(any, any) bool { count++; return true })
	p.Response().SetHeader("x-nonce-echo", header)
	p.Response().BodyText(strconv.Itoa(count))
	p.End()
}

// sum is the length and FNV-1a64 of bytes.
func sum(bytes []byte) string {
	hash := fnv.New64a()
	hash.Write(bytes)
	return fmt.Sprintf("%d %d", len(bytes), hash.Sum64())
}
