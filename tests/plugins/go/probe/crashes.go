package main

import (
	"fmt"
	"io"
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
	// Reads the body whole or as it comes, takes its time, and says what it read.
	request(plugin, "slow-body", func(p *sdk.PhaseRequestFilter) {
		var body []byte
		if p.Request().Header("x-how") == "whole" {
			body = p.Request().RawBody()
		} else {
			body, _ = io.ReadAll(p.Request().Body())
		}
		trace("read %s", process)
		ms, _ := strconv.Atoi(p.Request().Header("x-ms"))
		time.Sleep(time.Duration(ms) * time.Millisecond)
		p.Response().SetHeader("x-plugin-pid", process)
		p.Response().SetHeader("x-body", sum(body))
		p.Next()
	})
	plugin.AddPhaseHandler("slow-response", func(phase *sdk.PhaseHandler) {
		phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
			time.Sleep(500 * time.Millisecond)
			p.SetResponseHeader("x-plugin-pid", process)
			p.Next()
		})
	})
	plugin.AddPhaseHandler("panic-log", func(phase *sdk.PhaseHandler) {
		phase.Logging(func(*sdk.PhaseLogging) { panic("in the log") })
	})
	plugin.AddPhaseHandler("panic-body", func(phase *sdk.PhaseHandler) {
		phase.ResponseBodyFilter(func(*sdk.PhaseResponseBodyFilter) { panic("in the body") })
	})
}
