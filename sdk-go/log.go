package sdk

import (
	"context"
	"log/slog"
	"os"

	"github.com/nylon-rs/nylon/sdk-go/internal/session"
	"github.com/nylon-rs/nylon/sdk-go/internal/shm"
)

// logHandler adds the plugin and, from a handler's context, the entry, the request id and the trace.
type logHandler struct {
	inner slog.Handler
	// What inner is made of: where groups are open, the attributes of a request go around them.
	root  slog.Handler
	steps []func(slog.Handler) slog.Handler
	group bool
}

// NewLogHandler wraps a slog.Handler: lines logged with a phase's Context carry `plugin`, `entry`, `request_id` and, if
// the request is traced, `trace_id`.
func NewLogHandler(inner slog.Handler) slog.Handler { return logHandler{inner: inner, root: inner} }

// Logger logs lines to standard error, which the gateway captures and takes apart: level, message, entry and request id
// are fields of its log, everything else is in `attributes`. Use its *Context methods with a phase's Context:
// ctx := phase.Context(); sdk.Logger().InfoContext(ctx, "checked"). In a program that no gateway started lines are text.
func Logger() *slog.Logger { return slog.New(NewLogHandler(stderrHandler())) }

// stderrHandler writes what the gateway understands: JSON with a mark.
func stderrHandler() slog.Handler {
	if !underGateway() {
		return slog.NewTextHandler(os.Stderr, nil)
	}
	return slog.NewJSONHandler(os.Stderr, nil).WithAttrs([]slog.Attr{slog.Int("nylon_log", 1)})
}

// Enabled implements slog.Handler.
func (h logHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.inner.Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h logHandler) Handle(ctx context.Context, r slog.Record) error {
	inv := session.Of(ctx)
	if inv == nil {
		return h.inner.Handle(ctx, r)
	}
	attrs := requestAttrs(inv.Session)
	if !h.group {
		r = r.Clone()
		r.AddAttrs(attrs...)
		return h.inner.Handle(ctx, r)
	}
	inner := h.root.WithAttrs(attrs)
	for _, step := range h.steps {
		inner = step(inner)
	}
	return inner.Handle(ctx, r)
}

// requestAttrs are the attributes that say which request a line belongs to.
func requestAttrs(s *session.Session) []slog.Attr {
	attrs := []slog.Attr{
		slog.String("plugin", s.Plugin()), slog.String("entry", s.Entry()),
		slog.String("request_id", shm.String(s.Record().RequestID())),
	}
	// version, trace id, parent id, flags: as the gateway wrote it.
	if t := s.Header("traceparent"); len(t) >= 55 && t[2] == '-' && t[35] == '-' {
		attrs = append(attrs, slog.String("trace_id", t[3:35]))
	}
	return attrs
}

// WithAttrs implements slog.Handler.
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(h.group, func(inner slog.Handler) slog.Handler { return inner.WithAttrs(attrs) })
}

// WithGroup implements slog.Handler.
func (h logHandler) WithGroup(name string) slog.Handler {
	return h.with(h.group || name != "", func(inner slog.Handler) slog.Handler { return inner.WithGroup(name) })
}

func (h logHandler) with(group bool, step func(slog.Handler) slog.Handler) slog.Handler {
	steps := append(h.steps[:len(h.steps):len(h.steps)], step)
	return logHandler{inner: step(h.inner), root: h.root, steps: steps, group: group}
}

// warn tells the plugin's author something, on standard error.
func warn(plugin string) func(string, ...any) {
	l := slog.New(stderrHandler()).With("plugin", plugin)
	return func(msg string, kv ...any) { l.Warn("nylon: "+msg, kv...) }
}
