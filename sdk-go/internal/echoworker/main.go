//go:build linux

// Command echoworker is the other end of the benches (benches/README.md). Started by a host it is an ordinary plugin; as
// `echoworker lane futex|eventfd` it answers every frame of one lane with the same payload and, when it may not spin,
// sleeps on that. A third word, `checked`, has it look at every byte, as the peers of the lane do.
package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

func main() {
	note()
	if len(os.Args) >= 3 && os.Args[1] == "lane" {
		s := &sink{}
		if len(os.Args) > 3 && os.Args[3] == "checked" {
			s.expected = bytes.Repeat([]byte{7}, wire.LimitData)
		}
		if err := echo(os.Args[2] == "futex", s); err != nil {
			fmt.Fprintln(os.Stderr, "echoworker:", err)
			os.Exit(1)
		}
		return
	}
	plugin := sdk.NewNylonPlugin()
	plugin.Initialize(configure)
	plugin.AddPhaseHandler("next", next)
	plugin.AddPhaseHandler("getters", func(phase *sdk.PhaseHandler) { phase.RequestFilter(getters) })
	plugin.AddStaticHandler("static", sdk.Handlers{RequestFilter: getters})
	plugin.AddPhaseHandler("payload", payload)
	plugin.AddPhaseHandler("burner", burner)
	plugin.AddPhaseHandler("body", body)
	plugin.AddPhaseHandler("filters", filters)
	plugin.AddPhaseHandler("echo", socketEcho)
	plugin.AddPhaseHandler("room", socketRoom)
	sdk.Serve()
}

// note writes when main began, by the monotonic clock, where the bench coldstart wants to know.
func note() {
	path, wanted := os.LookupEnv("NYLON_BENCH_MAIN_BEGAN")
	if !wanted {
		return
	}
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		fmt.Fprintln(os.Stderr, "echoworker:", err)
		os.Exit(1)
	}
	if err := os.WriteFile(path, strconv.AppendInt(nil, now.Nano(), 10), 0o600); err != nil {
		fmt.Fprintln(os.Stderr, "echoworker:", err)
		os.Exit(1)
	}
}
