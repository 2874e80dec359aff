package sdk_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"

	sdk "github.com/nylon-rs/nylon/sdk-go"
	"github.com/nylon-rs/nylon/sdk-go/internal/wire/fbheaders"
	"github.com/nylon-rs/nylon/sdk-go/nylontest"
)

// The complete API, by signature: this file does not compile when one of them changes.
var (
	_ func() *sdk.NylonPlugin                                     = sdk.NewNylonPlugin
	_ func(func(testConfig)) func(map[string]interface{})         = sdk.NewInitializer[testConfig]
	_ func(int32, int8, sdk.NylonMethods, []byte) error           = sdk.RequestMethod
	_ map[sdk.NylonMethods]uint32                                 = sdk.MethodIDMapping
	_ func(...sdk.Option)                                         = sdk.Serve
	_ func() *slog.Logger                                         = sdk.Logger
	_ func(slog.Handler) slog.Handler                             = sdk.NewLogHandler
	_ func(*sdk.NylonPlugin, func(map[string]interface{}))        = (*sdk.NylonPlugin).Initialize
	_ func(*sdk.NylonPlugin, func(map[string]any) error)          = (*sdk.NylonPlugin).InitializeE
	_ func(*sdk.NylonPlugin, func())                              = (*sdk.NylonPlugin).Shutdown
	_ func(*sdk.NylonPlugin, string, func(*sdk.PhaseHandler))     = (*sdk.NylonPlugin).AddPhaseHandler
	_ func(*sdk.NylonPlugin, string, sdk.Handlers)                = (*sdk.NylonPlugin).AddStaticHandler
	_ func(*sdk.PhaseHandler, func(*sdk.PhaseRequestFilter))      = (*sdk.PhaseHandler).RequestFilter
	_ func(*sdk.PhaseHandler, func(*sdk.PhaseRequestBodyFilter))  = (*sdk.PhaseHandler).RequestBodyFilter
	_ func(*sdk.PhaseHandler, func(*sdk.PhaseResponseFilter))     = (*sdk.PhaseHandler).ResponseFilter
	_ func(*sdk.PhaseHandler, func(*sdk.PhaseResponseBodyFilter)) = (*sdk.PhaseHandler).ResponseBodyFilter
	_ func(*sdk.PhaseHandler, func(*sdk.PhaseLogging))            = (*sdk.PhaseHandler).Logging
	_ sdk.HttpPluginFunc                                          = func(*sdk.NylonHttpPluginCtx) {}
	_ int32                                                       = sdk.PhaseHandler{}.SessionId
)

type (
	phase interface {
		Request() *sdk.Request
		GetPayload() map[string]any
		Context() context.Context
		Next()
	}
	responder interface {
		phase
		Response() *sdk.Response
	}
)

var (
	_ interface {
		GetPayload() map[string]any
		Next()
		End()
	} = (*sdk.NylonHttpPluginCtx)(nil)
	_ interface {
		responder
		End()
		WebSocketUpgrade(sdk.WebSocketCallbacks) error
		SetMethod(string)
		SetPath(string)
		SetQuery(string)
		SetRequestHeader(key, value string)
		RemoveRequestHeader(string)
		SetRequestBody([]byte)
	} = (*sdk.PhaseRequestFilter)(nil)
	_ interface {
		phase
		ReadBody() []byte
		SetBody([]byte)
		IsLast() bool
	} = (*sdk.PhaseRequestBodyFilter)(nil)
	_ interface {
		responder
		End()
		SetResponseHeader(key, value string)
		RemoveResponseHeader(string)
		SetResponseStatus(uint16)
		GetRequestHeader(string) string
		GetRequestHeaders() map[string]string
	} = (*sdk.PhaseResponseFilter)(nil)
	_ interface {
		responder
		IsLast() bool
	} = (*sdk.PhaseResponseBodyFilter)(nil)
	_ responder = (*sdk.PhaseLogging)(nil)
	_ interface {
		Get(string) string
		Values(string) []string
		GetAll() map[string]string
	} = (*sdk.Headers)(nil)
	_ interface {
		RawBody() []byte
		Body() io.Reader
		Header(string) string
		URL() string
		Path() string
		Query() string
		Host() string
		ClientIP() string
		Method() string
		Headers() *sdk.Headers
		Params() map[string]string
		Bytes() int64
		Timestamp() int64
	} = (*sdk.Request)(nil)
	_ interface {
		SetHeader(key, value string)
		AddHeader(key, value string)
		RemoveHeader(string)
		SetStatus(uint16)
		BodyRaw([]byte)
		BodyNoCopy([]byte)
		BodyJSON(any) *sdk.Response
		BodyText(string) *sdk.Response
		BodyHTML(string) *sdk.Response
		Redirect(string, ...uint16) *sdk.Response
		Stream() (*sdk.ResponseStream, error)
		ReadBody() []byte
		Status() int
		Bytes() int64
		Headers() map[string]string
		Duration() int64
		Error() string
	} = (*sdk.Response)(nil)
	_ interface {
		io.Writer
		End() error
	} = (*sdk.ResponseStream)(nil)
	_ interface {
		ID() string
		Resumed() bool
		Context() context.Context
		SendText(string) error
		SendBinary([]byte) error
		SendTo(id string, msg string) error
		SendBinaryTo(id string, data []byte) error
		Ping([]byte) error
		Subprotocol() string
		Request() *sdk.Request
		CloseStatus() (code uint16, reason string)
		Close() error
		CloseWith(code uint16, reason string) error
		JoinRoom(string) error
		LeaveRoom(string) error
		BroadcastText(room, msg string) error
		BroadcastBinary(room string, data []byte) error
		RoomSize(room string) (int, error)
	} = (*sdk.WebSocketConn)(nil)
	_ = sdk.WebSocketCallbacks{
		OnOpen: func(*sdk.WebSocketConn) {}, OnClose: func(*sdk.WebSocketConn) {},
		OnMessageText:   func(*sdk.WebSocketConn, string) {},
		OnMessageBinary: func(*sdk.WebSocketConn, []byte) {},
		OnError:         func(*sdk.WebSocketConn, string) {},
	}
)

func TestConstants(t *testing.T) {
	if first, second := sdk.NewNylonPlugin(), sdk.NewNylonPlugin(); first != second {
		t.Error("NewNylonPlugin returns different plugins")
	}
	if got := fmt.Sprint(sdk.StatusOK, sdk.StatusFound, sdk.StatusBadRequest, sdk.StatusUnauthorized, sdk.StatusForbidden,
		sdk.StatusNotFound, sdk.StatusTooManyRequests, sdk.StatusInternalServerError); got != "200 302 400 401 403 404 429 500" {
		t.Error(got)
	}
	if got := strings.Join([]string{
		sdk.ContentTypeJSON, sdk.ContentTypeText, sdk.ContentTypeHTML,
		sdk.HeaderContentType, sdk.HeaderContentLength, sdk.HeaderLocation, sdk.HeaderTransferEncoding,
	}, "|"); got != "application/json|text/plain; charset=utf-8|text/html; charset=utf-8|Content-Type|Content-Length|Location|Transfer-Encoding" {
		t.Error(got)
	}
	ids := map[uint32]bool{}
	for _, id := range sdk.MethodIDMapping {
		ids[id] = true
	}
	for _, run := range [][2]uint32{{1, 3}, {100, 112}, {200, 211}, {300, 303}, {310, 313}, {350, 354}} {
		for id := run[0]; id <= run[1]; id++ {
			if !ids[id] {
				t.Errorf("method %d has no name", id)
			}
		}
	}
	if len(ids) != len(sdk.MethodIDMapping) || len(ids) != 3+13+12+4+4+5 {
		t.Errorf("%d ids for %d names", len(ids), len(sdk.MethodIDMapping))
	}
}

// An original plugin, but for its import path, `import "C"` and Serve in main.
type pluginConfig struct {
	Debug bool `json:"debug"`
}

func originalPlugin(plugin *sdk.NylonPlugin, out io.Writer) {
	plugin.Initialize(sdk.NewInitializer(func(config pluginConfig) {
		fmt.Fprintln(out, "config", config.Debug)
	}))
	plugin.Shutdown(func() { fmt.Fprintln(out, "shutdown") })

	plugin.AddPhaseHandler("authz", func(phase *sdk.PhaseHandler) {
		state := map[string]bool{"authz": false}
		phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
			state["authz"] = true
			fmt.Fprintln(out, "payload", ctx.GetPayload())
			response := ctx.Response()
			response.SetHeader("X-RequestFilter", "authz-1")
			ctx.Next()
		})
		phase.ResponseFilter(func(ctx *sdk.PhaseResponseFilter) {
			if state["authz"] {
				ctx.SetResponseHeader("X-ResponseFilter", "authz-2 "+ctx.GetRequestHeader("x-in"))
			}
			ctx.Next()
		})
	})
	plugin.AddPhaseHandler("stream", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
			res := ctx.Response()
			res.SetStatus(200)
			res.SetHeader("Content-Type", "text/plain")
			stream, err := res.Stream()
			if err != nil {
				ctx.Next()
				return
			}
			stream.Write([]byte("Hello"))
			for _, c := range ", World" {
				stream.Write([]byte(string(c)))
			}
			stream.End()
		})
	})
	plugin.AddPhaseHandler("myapp", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
			req, res := ctx.Request(), ctx.Response()
			res.SetStatus(200)
			res.SetHeader("Transfer-Encoding", "chunked")
			res.BodyJSON(map[string]interface{}{
				"url": req.URL(), "params": req.Params(), "client_ip": req.ClientIP(), "headers": req.Headers().GetAll(),
			})
			ctx.End()
		})
	})
	plugin.AddPhaseHandler("ws", func(phase *sdk.PhaseHandler) {
		phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
			err := ctx.WebSocketUpgrade(sdk.WebSocketCallbacks{
				OnOpen: func(ws *sdk.WebSocketConn) { ws.SendText("hello"); _ = ws.JoinRoom("lobby") },
			})
			if err != nil {
				fmt.Fprintln(out, "upgrade:", err)
				ctx.Next()
			}
		})
	})
}

func TestOriginalPlugin(t *testing.T) {
	watchdog(t)
	var out bytes.Buffer
	h := nylontest.New(t, func(p *sdk.NylonPlugin) { originalPlugin(p, &out) }, nylontest.Config(map[string]any{"debug": true}))
	res := h.Request("authz", nylontest.Request{Headers: map[string][]string{"X-In": {"in"}}, Payload: map[string]any{"a": 1}})
	if res.Headers.Get("x-requestfilter") != "authz-1" || res.Headers.Get("x-responsefilter") != "authz-2 in" {
		t.Errorf("%v", res.Headers)
	}
	if res = h.Request("stream", nylontest.Request{Service: true}); string(res.Body) != "Hello, World" || len(res.Chunks) != 8 {
		t.Errorf("%q", res.Body)
	}
	res = h.Request("myapp", nylontest.Request{Service: true, Path: "/u/7", Params: map[string]string{"id": "7"}})
	if want := `{"client_ip":"192.0.2.1","headers":{},"params":{"id":"7"},"url":"http://example.com/u/7"}`; string(res.Body) != want {
		t.Errorf("%s", res.Body)
	}
	if res = h.Request("ws", nylontest.Request{}); res.Status != 400 || string(res.Body) != "Missing Sec-WebSocket-Key" {
		t.Errorf("%+v", res)
	}
	if m := h.WebSocket("ws", nylontest.Request{}).Read(); m.Text != "hello" {
		t.Errorf("%+v", m)
	}
	if got := out.String(); got != "config true\npayload map[a:1]\n" {
		t.Errorf("%q", got)
	}
}

// RequestMethod issues what the typed API does, by name.
func TestRequestMethod(t *testing.T) {
	watchdog(t)
	var handler *sdk.PhaseHandler
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	h := nylontest.New(t, func(p *sdk.NylonPlugin) {
		p.AddPhaseHandler("raw", func(phase *sdk.PhaseHandler) {
			handler = phase
			id := phase.SessionId
			phase.RequestFilter(func(ctx *sdk.PhaseRequestFilter) {
				header := headerKeyValue("X-Raw", "1")
				must(sdk.RequestMethod(id, 0, sdk.NylonMethodSetResponseHeader, header))
				must(sdk.RequestMethod(id, 0, sdk.NylonMethodRemoveResponseHeader, []byte("server")))
				must(sdk.RequestMethod(id, 0, sdk.NylonMethodSetResponseStatus, []byte{1, 44}))
				must(sdk.RequestMethod(id, 0, sdk.NylonMethodSetResponseFullBody, []byte("raw")))
				must(sdk.RequestMethod(id, 0, sdk.NylonMethodReadRequestPath, nil))
				for name, data := range map[sdk.NylonMethods][]byte{
					"no_such_method": nil, sdk.NylonMethodWebSocketSendText: nil,
					sdk.NylonMethodSetResponseStatus: {1}, sdk.NylonMethodSetResponseHeader: {1, 2, 3},
				} {
					if sdk.RequestMethod(id, 0, name, data) == nil {
						t.Errorf("%s succeeded", name)
					}
				}
				must(sdk.RequestMethod(id, 0, sdk.NylonMethodEnd, nil))
			})
		})
	})
	res := h.Request("raw", nylontest.Request{Service: true})
	if res.Status != 300 || res.Headers.Get("x-raw") != "1" || string(res.Body) != "raw" {
		t.Fatalf("%+v", res)
	}
	err := sdk.RequestMethod(handler.SessionId, 0, sdk.NylonMethodNext, nil)
	if want := fmt.Sprintf("session %d not open", handler.SessionId); err == nil || err.Error() != want {
		t.Fatalf("%v, not %s", err, want)
	}
}

func headerKeyValue(key, value string) []byte {
	b := flatbuffers.NewBuilder(64)
	k, v := b.CreateString(key), b.CreateString(value)
	fbheaders.HeaderKeyValueStart(b)
	fbheaders.HeaderKeyValueAddKey(b, k)
	fbheaders.HeaderKeyValueAddValue(b, v)
	b.Finish(fbheaders.HeaderKeyValueEnd(b))
	return b.FinishedBytes()
}
