package secrets

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
)

// hidden is what stands where a value stood.
const hidden = "(secret)"

// maxHidden bounds how many values a process takes out of texts; the oldest are forgotten first.
const maxHidden = 4096

// Redactor takes values out of texts: a library that was given a password may
// put it into its error. The zero value hides nothing.
type Redactor struct {
	values atomic.Pointer[hiding]
}

type hiding struct {
	values   []string
	replacer *strings.Replacer
}

// Hide has a value taken out from now on.
func (r *Redactor) Hide(value string) {
	for {
		old := r.values.Load()
		var next hiding
		if old != nil {
			if slices.Contains(old.values, value) {
				return
			}
			next.values = slices.Clone(old.values[max(0, len(old.values)+1-maxHidden):])
		}
		next.values = append(next.values, value)
		var pairs []string
		for _, v := range next.values {
			for _, form := range forms(v) {
				pairs = append(pairs, form, hidden)
			}
		}
		next.replacer = strings.NewReplacer(pairs...)
		if r.values.CompareAndSwap(old, &next) {
			return
		}
	}
}

// forms are the ways in which texts show a value: as it is, quoted by Go or JSON, in a URL.
func forms(value string) []string {
	all := []string{value}
	quoted := strconv.Quote(value)
	inJSON, _ := json.Marshal(value) // a string is always JSON
	for _, f := range []string{quoted[1 : len(quoted)-1], string(inJSON[1 : len(inJSON)-1]), url.QueryEscape(value), url.PathEscape(value)} {
		if !slices.Contains(all, f) {
			all = append(all, f)
		}
	}
	// The longest first, so that no part of one stays.
	slices.SortFunc(all, func(a, b string) int { return len(b) - len(a) })
	return all
}

// Text is a text without the values.
func (r *Redactor) Text(text string) string {
	if h := r.values.Load(); h != nil {
		return h.replacer.Replace(text)
	}
	return text
}

// Error is an error whose text is without the values; what it wraps stays.
func (r *Redactor) Error(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if clean := r.Text(text); clean != text {
		return &redacted{err, clean}
	}
	return err
}

type redacted struct {
	err  error
	text string
}

func (e *redacted) Error() string { return e.text }

// Unwrap lets callers branch on the kind of error. They show Error, not this.
func (e *redacted) Unwrap() error { return e.err }

// Handler takes the values out of log records.
func (r *Redactor) Handler(next slog.Handler) slog.Handler { return &handler{next, r} }

type handler struct {
	slog.Handler
	r *Redactor
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, record slog.Record) error {
	if h.r.values.Load() == nil {
		return h.Handler.Handle(ctx, record)
	}
	clean := slog.NewRecord(record.Time, record.Level, h.r.Text(record.Message), record.PC)
	record.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(h.attr(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

func (h *handler) attr(a slog.Attr) slog.Attr {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindGroup:
		var members []any
		for _, m := range v.Group() {
			members = append(members, h.attr(m))
		}
		return slog.Group(a.Key, members...)
	case slog.KindBool, slog.KindDuration, slog.KindFloat64, slog.KindInt64, slog.KindUint64, slog.KindTime:
		return a
	case slog.KindString, slog.KindAny, slog.KindLogValuer:
	}
	if text := v.String(); h.r.Text(text) != text {
		return slog.String(a.Key, h.r.Text(text))
	}
	return a
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs), h.r}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.Handler.WithGroup(name), h.r}
}
