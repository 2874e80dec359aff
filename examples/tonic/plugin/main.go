// Command tonic is the plugin of the tonic example: it signs every answer, and looks at the pieces of those of a unary
// call without changing them.
package main

import (
	"fmt"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

func main() {
	register(sdk.NewNylonPlugin())
	sdk.Serve()
}

func register(plugin *sdk.NylonPlugin) {
	plugin.AddPhaseHandler("sign", sign)
	plugin.AddPhaseHandler("measure", measure)
}

// sign names the method that was called in a header of the response: gRPC shows it as metadata.
func sign(phase *sdk.PhaseHandler) {
	phase.ResponseFilter(func(p *sdk.PhaseResponseFilter) {
		p.SetResponseHeader("x-signed", p.Request().Path())
		p.Next()
	})
}

// measure sees each piece of a response and leaves it as it is; trailers are not its business and pass by.
func measure(phase *sdk.PhaseHandler) {
	phase.ResponseBodyFilter(func(p *sdk.PhaseResponseBodyFilter) {
		fmt.Println("piece of", len(p.Response().ReadBody()), "bytes")
		p.Next()
	})
}
