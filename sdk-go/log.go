package sdk

import (
	"context"
	"log/slog"
	"os"

	"github.com/nylon-rs/nylon/sdk-go/internal/session"
	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
)

// logHandler adds the plugin and, from a handler's context, the entry and the request id.
type logHandler struct{ inner slog.Handler }

// NewLogHandler wraps a slog.Handler: lines logged with a phase's Context carry `plugin`, `entry` and `request_id`.
func NewLogHandler(inner slog.Handler) slog.Handler { return logHandler{inner} }

// Logger logs text lines to standard error, which the gateway captures. Use its *Context methods with a phase's
// Context: ctx := phase.Context(); sdk.Logger().InfoContext(ctx, "checked").
func Logger() *slog.Logger { return slog.New(NewLogHandler(slog.NewTextHandler(os.Stderr, nil))) }

// Enabled implements slog.Handler.
func (h logHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	if inv := session.Of(ctx); inv != nil {
		s := inv.Session
		r = r.Clone()
		r.AddAttrs(slog.String("plugin", s.Plugin()), slog.String("entry", s.Entry()),
			slog.String("request_id", shm.String(s.Record().RequestID())))
	}
	return h.inner.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.inner.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.inner.WithGroup(name)} }

// warn tells the plugin's author something, on standard error.
func warn(plugin string) func(string, ...any) {
	l := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("plugin", plugin)
	return func(msg string, kv ...any) { l.Warn("nylon: "+msg, kv...) }
}
