package main

import (
	"fmt"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// accesslog prints a line for each request once it is answered; the gateway's log shows it under the plugin's name.
func accesslog(phase *sdk.PhaseHandler) {
	phase.Logging(func(p *sdk.PhaseLogging) {
		request, response := p.Request(), p.Response()
		fmt.Printf("access %s %s %d %d bytes %d ms %s\n", request.Method(), request.Path(),
			response.Status(), response.Bytes(), response.Duration(), response.Error())
		p.Next()
	})
}
