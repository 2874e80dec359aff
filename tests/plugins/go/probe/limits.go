package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// limits registers entries that take what a plugin may have too much of.
func limits(plugin *sdk.NylonPlugin) {
	// Notes that it runs, and waits until there is a file of the request's nonce: what releases it needs no plugin.
	wait := func(p *sdk.PhaseRequestFilter) {
		nonce := p.Request().Header("x-nonce")
		trace("in %s", nonce)
		for {
			if _, err := os.Stat(settings.Trace + "." + nonce); err == nil {
				break
			}
			time.Sleep(2 * time.Millisecond)
		}
		p.Response().SetHeader("x-nonce-echo", nonce)
		p.Next()
	}
	request(plugin, "wait", wait)
	// The same in a session that lives until the request's end.
	plugin.AddPhaseHandler("wait-and-log", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(wait)
		phase.Logging(func(p *sdk.PhaseLogging) {
			trace("log %s", p.Request().Header("x-nonce"))
			p.Next()
		})
	})

	// Opens files until there are no more to be had.
	request(plugin, "open-files", func(p *sdk.PhaseRequestFilter) {
		var open []*os.File
		for {
			file, err := os.Open("/dev/null")
			if err != nil {
				p.Response().BodyText(fmt.Sprintf("%d %v", len(open), err))
				break
			}
			open = append(open, file)
		}
		for _, file := range open {
			file.Close()
		}
		p.End()
	})

	// The body, back again.
	request(plugin, "echo", func(p *sdk.PhaseRequestFilter) {
		p.Response().BodyRaw(p.Request().RawBody())
		p.End()
	})

	// A hundred lines of a thousand bytes.
	request(plugin, "lines", func(p *sdk.PhaseRequestFilter) {
		for range 100 {
			fmt.Println(strings.Repeat("x", 1000))
		}
		p.Next()
	})

	// Takes a gigabyte, keeps it, and never answers.
	request(plugin, "eat", func(p *sdk.PhaseRequestFilter) {
		var eaten [][]byte
		for range 256 {
			piece := make([]byte, 4<<20)
			for at := 0; at < len(piece); at += 4096 {
				piece[at] = 1
			}
			eaten = append(eaten, piece)
		}
		trace("ate %d", len(eaten))
		for {
			time.Sleep(time.Hour)
			_ = eaten[0][0]
		}
	})
}
