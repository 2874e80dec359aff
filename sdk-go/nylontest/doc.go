// Package nylontest runs a plugin's handlers in a unit test, without a gateway and on any system.
//
//	h := nylontest.New(t, func(p *sdk.NylonPlugin) { p.AddPhaseHandler("auth", auth) })
//	res := h.Request("auth", nylontest.Request{Path: "/private"})
//	if res.Status != 401 { t.Fatal(res.Status) }
//
// Host.WebSocket connects a client instead: a Socket that sends, reads and leaves.
//
// A request goes through the phases in the order of the gateway: request filter, request body filter, upstream,
// response filter, response body filter, logging. The frames are the real ones, over the real lane on heap memory.
package nylontest
