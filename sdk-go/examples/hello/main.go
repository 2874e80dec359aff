// Hello is the smallest plugin: one middleware that adds a header, and one service that answers.
package main

import (
	"fmt"
	"os"
	"strconv"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func main() {
	register(sdk.NewNylonPlugin())
	sdk.Serve()
}

func register(plugin *sdk.NylonPlugin) {
	pid := strconv.Itoa(os.Getpid())

	plugin.AddPhaseHandler("hello", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
			ctx.Response().SetHeader("x-nylon-pid", pid)
			ctx.Next()
		})
	})

	plugin.AddPhaseHandler("myapp", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
			req := ctx.Request()
			ctx.Response().BodyText(fmt.Sprintf("hello from process %s: %s %s\n", pid, req.Method(), req.Path()))
			ctx.End()
		})
	})
}
