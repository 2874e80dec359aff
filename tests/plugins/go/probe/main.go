// Command probe is the plugin of the whole-process tests: one entry per thing a test wants to see.
//
// What a test cannot read off the answer, an entry writes as a line to the file named by the config's "trace".
package main

import (
	"os"
	"strconv"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// process is this process's id; asking for it is a system call.
var process = strconv.Itoa(os.Getpid())

func main() {
	if file := os.Getenv(orphanTo); file != "" {
		orphan(file)
		return
	}
	plugin := sdk.NewNylonPlugin()
	plugin.Initialize(sdk.NewInitializer(start))
	plugin.Shutdown(func() { trace("shutdown %s", settings.Name) })

	plugin.AddPhaseHandler("pid", pid)
	plugin.AddPhaseHandler("nonce", nonce)
	phases(plugin)
	requests(plugin)
	responses(plugin)
	bodies(plugin)
	streams(plugin)
	proxying(plugin)
	crashes(plugin)
	limits(plugin)
	logs(plugin)
	admin(plugin)
	websockets(plugin)
	sdk.Serve()
}

// pid answers with the worker's process id: the harness asks it to see whether the plugin serves.
func pid(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		p.Response().BodyText(process)
		p.End()
	})
}

// nonce stamps the request's nonce and this process on the answer.
func nonce(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		p.Response().SetHeader("x-nonce-echo", p.Request().Header("x-nonce"))
		p.Response().SetHeader("x-plugin-pid", process)
		p.Next()
	})
}
