//go:build linux

package main

import (
	"strings"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// room is the one that all connections of socketRoom are in.
const room = "bench"

// socketEcho sends every text back.
func socketEcho(phase *sdk.PhaseHandler) {
	upgrade(phase, sdk.WebSocketCallbacks{
		OnMessageText: func(ws *sdk.WebSocketConn, msg string) { _ = ws.SendText(msg) },
	})
}

// socketRoom sends a text to everybody if it begins with b, else back.
func socketRoom(phase *sdk.PhaseHandler) {
	upgrade(phase, sdk.WebSocketCallbacks{
		OnOpen: func(ws *sdk.WebSocketConn) { _ = ws.JoinRoom(room) },
		OnMessageText: func(ws *sdk.WebSocketConn, msg string) {
			if strings.HasPrefix(msg, "b") {
				_ = ws.BroadcastText(room, msg)
				return
			}
			_ = ws.SendText(msg)
		},
	})
}

// upgrade makes a WebSocket of every request; whatever goes wrong shows, as the client waits for each answer.
func upgrade(phase *sdk.PhaseHandler, on sdk.WebSocketCallbacks) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		if p.WebSocketUpgrade(on) != nil {
			p.Response().SetStatus(sdk.StatusInternalServerError)
			p.End()
		}
	})
}
