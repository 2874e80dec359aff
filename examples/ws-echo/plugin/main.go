// Command ws-echo is a Nylon plugin that sends every WebSocket message back to where it came from.
package main

import sdk "github.com/nylon-rs/nylon/sdk-go"

func main() {
	register(sdk.NewNylonPlugin())
	sdk.Serve()
}

func register(plugin *sdk.NylonPlugin) {
	plugin.AddPhaseHandler("echo", echo)
}

// echo turns the request into a WebSocket. Its callbacks run one at a time and in order, for each connection by itself.
func echo(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		err := p.WebSocketUpgrade(sdk.WebSocketCallbacks{
			OnMessageText:   func(ws *sdk.WebSocketConn, msg string) { answered(ws, ws.SendText(msg)) },
			OnMessageBinary: func(ws *sdk.WebSocketConn, msg []byte) { answered(ws, ws.SendBinary(msg)) },
			OnClose: func(ws *sdk.WebSocketConn) {
				code, reason := ws.CloseStatus()
				sdk.Logger().InfoContext(ws.Context(), "closed", "code", code, "reason", reason)
			},
		})
		if err != nil { // no callback will run: the request is still one that wants an answer
			p.Response().SetStatus(sdk.StatusInternalServerError)
			p.Response().BodyText(err.Error() + "\n")
			p.End()
		}
	})
}

// answered notes an answer that did not get away.
func answered(ws *sdk.WebSocketConn, err error) {
	if err != nil {
		sdk.Logger().WarnContext(ws.Context(), "not answered", "error", err)
	}
}
