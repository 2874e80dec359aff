package nylontest

import (
	"encoding/json"

	"github.com/nylon-rs/nylon/sdk-go/internal/testhost"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire"
)

// failure is why a request fails, as the gateway tells its client.
type failure struct {
	status        int // 0: nobody is there to be told
	code, message string
}

// page is the body of the gateway's answer.
func (f failure) page() []byte {
	body, _ := json.Marshal(map[string]any{"status": f.status, "error": f.code, "message": f.message})
	return body
}

// judge says whether a step failed, and why.
func judge(final testhost.Final) (why failure, failed bool) {
	refused := func(why string) failure { return failure{502, "PLUGIN_REFUSED", "refused: " + why} }
	if final.Fault == nil {
		if err := check(final.Ops); err != nil {
			return refused(err.Error()), true
		}
		return failure{}, false
	}
	code, text := final.Fault.Code, final.Fault.Text
	switch {
	case final.Cancelled == wire.CancelDeadline:
		why = failure{504, "PLUGIN_TIMEOUT", text}
	case final.Cancelled == wire.CancelClientGone:
		why = failure{0, "", text}
	case code == wire.ErrorTooLarge:
		why = failure{413, "PAYLOAD_TOO_LARGE", text}
	case final.Cancelled == 0:
		why = failure{502, "PLUGIN_PANICKED", "the handler failed: " + text}
	case code == wire.ErrorUnknownMethod:
		why = failure{500, "RUNTIME_ERROR", text}
	default:
		why = refused(text)
	}
	return why, true
}
