package logbook

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
)

// Handler passes log records on and keeps those of pipelines: the attribute
// "pipeline" says whose a record is, "operator" and "task" where it comes from.
type Handler struct {
	next  slog.Handler
	book  Keeper
	attrs []slog.Attr
	group string
}

// Keeper takes the lines of pipelines; a Book is one.
type Keeper interface {
	Add(pipeline string, l Line)
}

// NewHandler keeps records in book on their way to next.
func NewHandler(next slog.Handler, book Keeper) *Handler { return &Handler{next: next, book: book} }

// Enabled says whether anybody takes records of that level. The book takes all but debug.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.next.Enabled(ctx, level)
}

// Handle keeps a record and passes it on.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	h.keep(r)
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func (h *Handler) keep(r slog.Record) {
	line := Line{Time: r.Time, Level: r.Level}
	pipeline := ""
	var text strings.Builder
	text.WriteString(r.Message)
	take := func(a slog.Attr) bool {
		switch a.Key {
		case "pipeline":
			pipeline = a.Value.String()
		case "operator":
			line.Operator = a.Value.String()
		case "task":
			line.Task = int(a.Value.Resolve().Int64())
		default:
			fmt.Fprintf(&text, " %s%s=%v", h.group, a.Key, a.Value)
		}
		return true
	}
	for _, a := range h.attrs {
		take(a)
	}
	r.Attrs(take)
	if pipeline != "" {
		line.Text = text.String()
		h.book.Add(pipeline, line)
	}
}

// WithAttrs adds attributes to every record.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.next = h.next.WithAttrs(attrs)
	next.attrs = slices.Concat(h.attrs, attrs)
	return &next
}

// WithGroup puts later attributes under a name.
func (h *Handler) WithGroup(name string) slog.Handler {
	next := *h
	next.next = h.next.WithGroup(name)
	next.group = h.group + name + "."
	return &next
}
