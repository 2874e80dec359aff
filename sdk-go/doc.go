// Package sdk is how a plugin of the Nylon gateway is written in Go.
//
// A plugin is an ordinary program. It registers entries, each a set of handlers for the phases of a request, and calls
// [Serve]; the gateway starts it as a process of its own and talks to it through shared memory:
//
//	func main() {
//		plugin := sdk.NewNylonPlugin()
//		plugin.AddPhaseHandler("hello", func(phase *sdk.PhaseHandler) {
//			phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
//				ctx.Response().SetHeader("x-hello", ctx.Request().Host())
//				ctx.Next()
//			})
//		})
//		sdk.Serve()
//	}
//
// The function given to [NylonPlugin.AddPhaseHandler] runs once per request, so variables inside it are the state of
// that request; handlers without such state can be registered once for all requests, by
// [NylonPlugin.AddStaticHandler]. Every handler gives one verdict: Next (go on) or End (answer with what was
// collected). It may give it later, from another goroutine; the first one counts. What a handler sets is applied
// together with its verdict, whole or not at all: a handler that panics changes nothing.
//
// Getters read the plugin's own copy of the request and cost no round trip; they stay valid for as long as they are
// held. Only RawBody, Body, Stream and a large payload ask the gateway. A plugin costs what it uses: phases that an
// entry does not register are never sent to it.
//
// A request becomes a WebSocket by [PhaseRequestFilter.WebSocketUpgrade]; [WebSocketConn] is what its callbacks get.
//
// Standard output and error are the plugin's own; the gateway captures them line by line.
package sdk
