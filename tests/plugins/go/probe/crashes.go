package main

import (
	"fmt"
	"os"
	"strconv"
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
	// Prints as many numbered lines as the request says, and holds it, or ends the process.
	request(plugin, "stuck", func(p *sdk.PhaseRequestFilter) {
		lines, _ := strconv.Atoi(p.Request().Header("x-lines"))
		for n := 1; n <= lines; n++ {
			fmt.Fprintf(os.Stderr, "line %d\n", n)
		}
		if p.Request().Header("x-end") == "exit" {
			os.Exit(3)
		}
		trace("held %s", p.Request().Header("x-request-id"))
		time.Sleep(time.Minute)
		p.Next()
	})
	plugin.AddPhaseHandler("panic-log", func(phase *sdk.PhaseHandler) {
		phase.Logging(func(*sdk.PhaseLogging) { panic("in the log") })
	})
	plugin.AddPhaseHandler("panic-body", func(phase *sdk.PhaseHandler) {
		phase.ResponseBodyFilter(func(*sdk.PhaseResponseBodyFilter) { panic("in the body") })
	})
}
