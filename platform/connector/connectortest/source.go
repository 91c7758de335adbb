// Package connectortest has what every connector must hold, as suites that a
// connector's tests run against the real thing. It must not know any connector.
package connectortest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
)

// deadline bounds every wait of a suite.
const deadline = 20 * time.Second

// row gives a row as text; it stands for all of its columns.
func row(b *batch.Batch, r int) string {
	text := ""
	for i := range b.Columns {
		c := &b.Columns[i]
		switch {
		case c.Null(r):
			text += "null;"
		case c.Type.Kind.VarLen():
			text += fmt.Sprintf("%q;", c.BytesAt(r))
		case c.Type.Kind.Integer():
			text += fmt.Sprintf("%d;", c.IntAt(r))
		default:
			text += c.Type.String() + ";"
		}
	}
	return text
}

// step is what one Fetch brought.
type step struct {
	rows  []string
	after connector.Position
}

func readSplit(t *testing.T, s connector.Source, split connector.Split, after connector.Position) []step {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	r, err := s.Open(ctx, split, after)
	if err != nil {
		t.Fatalf("open split %s after %s: %v", split.ID, after, err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Errorf("close split %s: %v", split.ID, err)
		}
	}()
	if r.Position() == nil {
		t.Errorf("split %s: a reader that was opened after %s stands nowhere", split.ID, after)
	}
	var steps []step
	for {
		f, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return steps
		}
		if err != nil {
			t.Fatalf("read split %s after %s: %v", split.ID, after, err)
		}
		var rows []string
		if f.Batch != nil {
			for i := range f.Batch.Len() {
				rows = append(rows, row(f.Batch, f.Batch.Row(i)))
			}
			f.Batch.Release()
		}
		if string(f.After) != string(r.Position()) {
			t.Errorf("split %s: After is %s, Position %s", split.ID, f.After, r.Position())
		}
		steps = append(steps, step{rows, f.After})
	}
}

func join(steps []step) (rows []string) {
	for _, s := range steps {
		rows = append(rows, s.rows...)
	}
	return rows
}

// Source checks a bounded source that has something to read: splits are stable,
// reading repeats, and reading on behind any position gives exactly the rest.
func Source(t *testing.T, open func(t *testing.T) connector.Source) {
	live := batch.Live()
	s := open(t)
	splits, err := s.Splits(t.Context())
	if err != nil || len(splits) == 0 {
		t.Fatalf("splits %v: %v", splits, err)
	}
	again, err := open(t).Splits(t.Context())
	if err != nil || !slices.Equal(splits, again) {
		t.Errorf("splits are %v, then %v, %v", splits, again, err)
	}
	total := 0
	for _, split := range splits {
		whole := readSplit(t, s, split, nil)
		total += len(join(whole))
		for i, st := range whole {
			want := join(whole[i+1:])
			if got := join(readSplit(t, open(t), split, st.after)); !slices.Equal(got, want) {
				t.Errorf("split %s behind %s: %d rows, want %d", split.ID, st.after, len(got), len(want))
			}
		}
	}
	if total == 0 {
		t.Error("the source gave nothing: the suite proves nothing")
	}
	if n := batch.Live() - live; n != 0 {
		t.Errorf("%d live buffers", n)
	}
	refusesStrangers(t, s, splits[0])
}

func refusesStrangers(t *testing.T, s connector.Source, split connector.Split) {
	t.Helper()
	for _, p := range []string{"{", `[]`, "x"} {
		if r, err := s.Open(t.Context(), split, connector.Position(p)); err == nil {
			t.Errorf("position %q is accepted", p)
			_ = r.Close()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := s.Open(ctx, split, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range 1000 { // what is there may still come, then the end of ctx
		f, err := r.Next(ctx)
		if f.Batch != nil {
			f.Batch.Release()
		}
		if err != nil {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Error("a reader goes on behind the end of its context")
}
