package sdk

import "github.com/nylon-rs/nylon/sdk-go/internal/wire"

// NylonMethods names a method of the plugin interface.
type NylonMethods string

// Methods that finish a step, and the payload.
const (
	NylonMethodNext       NylonMethods = "next"
	NylonMethodEnd        NylonMethods = "end"
	NylonMethodGetPayload NylonMethods = "get_payload"
)

// Methods on the response.
const (
	NylonMethodSetResponseHeader       NylonMethods = "set_response_header"
	NylonMethodRemoveResponseHeader    NylonMethods = "remove_response_header"
	NylonMethodSetResponseStatus       NylonMethods = "set_response_status"
	NylonMethodSetResponseFullBody     NylonMethods = "set_response_full_body"
	NylonMethodSetResponseStreamData   NylonMethods = "set_response_stream_data"
	NylonMethodSetResponseStreamEnd    NylonMethods = "set_response_stream_end"
	NylonMethodSetResponseStreamHeader NylonMethods = "set_response_stream_header"
	NylonMethodReadResponseFullBody    NylonMethods = "read_response_full_body"
	NylonMethodReadResponseStatus      NylonMethods = "read_response_status"
	NylonMethodReadResponseBytes       NylonMethods = "read_response_bytes"
	NylonMethodReadResponseHeaders     NylonMethods = "read_response_headers"
	NylonMethodReadResponseDuration    NylonMethods = "read_response_duration"
	NylonMethodReadResponseError       NylonMethods = "read_response_error"
)

// Methods on the request.
const (
	NylonMethodReadRequestFullBody  NylonMethods = "read_request_full_body"
	NylonMethodReadRequestHeader    NylonMethods = "read_request_header"
	NylonMethodReadRequestHeaders   NylonMethods = "read_request_headers"
	NylonMethodReadRequestURL       NylonMethods = "read_request_url"
	NylonMethodReadRequestPath      NylonMethods = "read_request_path"
	NylonMethodReadRequestQuery     NylonMethods = "read_request_query"
	NylonMethodReadRequestParams    NylonMethods = "read_request_params"
	NylonMethodReadRequestHost      NylonMethods = "read_request_host"
	NylonMethodReadRequestClientIP  NylonMethods = "read_request_client_ip"
	NylonMethodReadRequestMethod    NylonMethods = "read_request_method"
	NylonMethodReadRequestBytes     NylonMethods = "read_request_bytes"
	NylonMethodReadRequestTimestamp NylonMethods = "read_request_timestamp"
)

// Methods and events of WebSockets.
const (
	NylonMethodWebSocketUpgrade             NylonMethods = "websocket_upgrade"
	NylonMethodWebSocketSendText            NylonMethods = "websocket_send_text"
	NylonMethodWebSocketSendBinary          NylonMethods = "websocket_send_binary"
	NylonMethodWebSocketClose               NylonMethods = "websocket_close"
	NylonMethodWebSocketJoinRoom            NylonMethods = "websocket_join_room"
	NylonMethodWebSocketLeaveRoom           NylonMethods = "websocket_leave_room"
	NylonMethodWebSocketBroadcastRoomText   NylonMethods = "websocket_broadcast_room_text"
	NylonMethodWebSocketBroadcastRoomBinary NylonMethods = "websocket_broadcast_room_binary"
	NylonMethodWebSocketOnOpen              NylonMethods = "websocket_on_open"
	NylonMethodWebSocketOnMessageText       NylonMethods = "websocket_on_message_text"
	NylonMethodWebSocketOnMessageBinary     NylonMethods = "websocket_on_message_binary"
	NylonMethodWebSocketOnClose             NylonMethods = "websocket_on_close"
	NylonMethodWebSocketOnError             NylonMethods = "websocket_on_error"
)

// MethodIDMapping is the number of each method on the wire.
var MethodIDMapping = map[NylonMethods]uint32{
	NylonMethodNext:       wire.MethodNext,
	NylonMethodEnd:        wire.MethodEnd,
	NylonMethodGetPayload: wire.MethodGetPayload,

	NylonMethodSetResponseHeader:       wire.MethodSetResponseHeader,
	NylonMethodRemoveResponseHeader:    wire.MethodRemoveResponseHeader,
	NylonMethodSetResponseStatus:       wire.MethodSetResponseStatus,
	NylonMethodSetResponseFullBody:     wire.MethodSetResponseFullBody,
	NylonMethodSetResponseStreamData:   wire.MethodSetResponseStreamData,
	NylonMethodSetResponseStreamEnd:    wire.MethodSetResponseStreamEnd,
	NylonMethodSetResponseStreamHeader: wire.MethodSetResponseStreamHeader,
	NylonMethodReadResponseFullBody:    wire.MethodReadResponseFullBody,
	NylonMethodReadResponseStatus:      wire.MethodReadResponseStatus,
	NylonMethodReadResponseBytes:       wire.MethodReadResponseBytes,
	NylonMethodReadResponseHeaders:     wire.MethodReadResponseHeaders,
	NylonMethodReadResponseDuration:    wire.MethodReadResponseDuration,
	NylonMethodReadResponseError:       wire.MethodReadResponseError,

	NylonMethodReadRequestFullBody:  wire.MethodReadRequestFullBody,
	NylonMethodReadRequestHeader:    wire.MethodReadRequestHeader,
	NylonMethodReadRequestHeaders:   wire.MethodReadRequestHeaders,
	NylonMethodReadRequestURL:       wire.MethodReadRequestUrl,
	NylonMethodReadRequestPath:      wire.MethodReadRequestPath,
	NylonMethodReadRequestQuery:     wire.MethodReadRequestQuery,
	NylonMethodReadRequestParams:    wire.MethodReadRequestParams,
	NylonMethodReadRequestHost:      wire.MethodReadRequestHost,
	NylonMethodReadRequestClientIP:  wire.MethodReadRequestClientIp,
	NylonMethodReadRequestMethod:    wire.MethodReadRequestMethod,
	NylonMethodReadRequestBytes:     wire.MethodReadRequestBytes,
	NylonMethodReadRequestTimestamp: wire.MethodReadRequestTimestamp,

	NylonMethodWebSocketUpgrade:             wire.MethodWebsocketUpgrade,
	NylonMethodWebSocketSendText:            wire.MethodWebsocketSendText,
	NylonMethodWebSocketSendBinary:          wire.MethodWebsocketSendBinary,
	NylonMethodWebSocketClose:               wire.MethodWebsocketClose,
	NylonMethodWebSocketJoinRoom:            wire.MethodWebsocketJoinRoom,
	NylonMethodWebSocketLeaveRoom:           wire.MethodWebsocketLeaveRoom,
	NylonMethodWebSocketBroadcastRoomText:   wire.MethodWebsocketBroadcastRoomText,
	NylonMethodWebSocketBroadcastRoomBinary: wire.MethodWebsocketBroadcastRoomBinary,
	NylonMethodWebSocketOnOpen:              wire.MethodWebsocketOnOpen,
	NylonMethodWebSocketOnMessageText:       wire.MethodWebsocketOnMessageText,
	NylonMethodWebSocketOnMessageBinary:     wire.MethodWebsocketOnMessageBinary,
	NylonMethodWebSocketOnClose:             wire.MethodWebsocketOnClose,
	NylonMethodWebSocketOnError:             wire.MethodWebsocketOnError,
}

// Status codes that plugins use most.
const (
	StatusOK                  = 200
	StatusFound               = 302
	StatusBadRequest          = 400
	StatusUnauthorized        = 401
	StatusForbidden           = 403
	StatusNotFound            = 404
	StatusTooManyRequests     = 429
	StatusInternalServerError = 500
)

// Values of Content-Type.
const (
	ContentTypeJSON = "application/json"
	ContentTypeText = "text/plain; charset=utf-8"
	ContentTypeHTML = "text/html; charset=utf-8"
)

// Header names.
const (
	HeaderContentType      = "Content-Type"
	HeaderContentLength    = "Content-Length"
	HeaderLocation         = "Location"
	HeaderTransferEncoding = "Transfer-Encoding"
)
