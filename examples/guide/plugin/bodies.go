package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	sdk "github.com/nylon-rs/nylon/sdk-go"
)

// signed reads the whole request body and tells the upstream its digest. The upstream gets the body as well.
func signed(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		sum := sha256.Sum256(p.Request().RawBody())
		p.SetRequestHeader("x-body-sha256", hex.EncodeToString(sum[:]))
		p.Next()
	})
}

// count reads the request body as it arrives, however large it is.
func count(phase *sdk.PhaseHandler) {
	phase.RequestFilter(func(p *sdk.PhaseRequestFilter) {
		n, err := io.Copy(io.Discard, p.Request().Body())
		if err != nil {
			return // the client left, or the time is up: nobody waits for a verdict
		}
		p.Response().BodyText(fmt.Sprintf("%d bytes\n", n))
		p.End()
	})
}

// crlf changes line ends in both directions, piece by piece: the upstream sees \n, the client \r\n.
func crlf(phase *sdk.PhaseHandler) {
	phase.RequestBodyFilter(func(p *sdk.PhaseRequestBodyFilter) {
		p.SetBody(bytes.ReplaceAll(p.ReadBody(), []byte("\r"), nil))
		p.Next()
	})
	phase.ResponseBodyFilter(func(p *sdk.PhaseResponseBodyFilter) {
		piece := p.Response().ReadBody()
		p.Response().BodyRaw(bytes.ReplaceAll(piece, []byte("\n"), []byte("\r\n")))
		p.Next()
	})
}
