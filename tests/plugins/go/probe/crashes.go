package main

import (
	"os"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func crashes(plugin *sdk.NylonPlugin) {
	request(plugin, "panic", func(p *sdk.PhaseRequestFilter) {
		p.Response().SetHeader("x-before", "never applied")
		panic("on purpose")
	})
	request(plugin, "panic-elsewhere", func(p *sdk.PhaseRequestFilter) {
		go func() { panic("on purpose, elsewhere") }()
		time.Sleep(5 * time.Second)
		p.Next()
	})
	request(plugin, "exit", func(*sdk.PhaseRequestFilter) { os.Exit(7) })
	plugin.AddPhaseHandler("panic-log", func(phase *sdk.PhaseHandler) {
		phase.Logging(func(*sdk.PhaseLogging) { panic("in the log") })
	})
	plugin.AddPhaseHandler("panic-body", func(phase *sdk.PhaseHandler) {
		phase.ResponseBodyFilter(func(*sdk.PhaseResponseBodyFilter) { panic("in the body") })
	})
}
