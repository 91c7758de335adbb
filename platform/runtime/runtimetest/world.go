// Package runtimetest has a few operators with which tests run real tasks: a
// source that counts, operators that pass on and that count by key, a sink whose
// rows become visible on commit. What comes out of any graph of them can be said
// beforehand. It must not know who runs the tasks.
package runtimetest

import (
	"fmt"
	"sync"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/operator"
)

// The kinds of operators.
const (
	Source = "test.source"
	Pass   = "test.pass"
	Count  = "test.count"
	Sink   = "test.sink"
)

// Columns are those of every row: key and seq are the source's, n is the number
// of rows of the key that the last counter had seen.
const Columns = "key:int64,seq:int64,n:int64"

// Row is a row as a sink got it.
type Row struct{ Key, Seq, N int64 }

// keysPerSplit keeps a key within one split, so that its rows have an order.
const keysPerSplit = 5

// KeyOf is the key of a split's row.
func KeyOf(split int, seq int64) int64 {
	return int64(split*keysPerSplit) + (seq*seq+seq/3)%keysPerSplit
}

// World is what lies outside of the tasks, and so outlives them: what sources
// may read and what sinks have shown.
type World struct {
	// Splits of every source, and the rows of each.
	Splits int
	Rows   int64
	// BatchRows is how many rows a source emits at once, at most.
	BatchRows int
	// Before, if set, is called by operators for each batch, with the lock not
	// held. While tasks run it is changed by SetBefore.
	Before func(id operator.Identity, rows int) error

	schema *schema.Schema

	mu      sync.Mutex // guards what follows
	allowed int64
	wakes   map[string]func()
	visible map[string]map[int][]Row // sink -> writer -> rows
	shown   map[string]uint64        // writer -> last transaction
	late    []string
}

// NewWorld makes a world in which sources may read nothing yet.
func NewWorld(splits int, rows int64) *World {
	return &World{
		Splits: splits, Rows: rows, BatchRows: 7, schema: schema.MustParse(Columns),
		wakes: map[string]func(){}, visible: map[string]map[int][]Row{}, shown: map[string]uint64{},
	}
}

// NewOperator makes an operator of one of the kinds.
func (w *World) NewOperator(kind string) (operator.Operator, error) {
	switch kind {
	case Source:
		return &source{world: w}, nil
	case Pass:
		return &pass{world: w}, nil
	case Count:
		return &count{world: w}, nil
	case Sink:
		return &sink{world: w}, nil
	}
	return nil, fmt.Errorf("no operator kind %q", kind)
}

// Allow lets sources read their first n rows of every split.
func (w *World) Allow(n int64) {
	w.mu.Lock()
	w.allowed = max(w.allowed, min(n, w.Rows))
	var wakes []func()
	for _, f := range w.wakes {
		wakes = append(wakes, f)
	}
	w.mu.Unlock()
	for _, f := range wakes {
		f()
	}
}

// Allowed is how far sources may read.
func (w *World) Allowed() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.allowed
}

// Visible gives what a sink's writers have shown, each in its order.
func (w *World) Visible(sink string) map[int][]Row {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[int][]Row{}
	for writer, rows := range w.visible[sink] {
		out[writer] = append([]Row{}, rows...)
	}
	return out
}

// Late lists rows that came behind the watermark of their input: never any.
func (w *World) Late() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string{}, w.late...)
}

func (w *World) noteLate(id operator.Identity, time, watermark int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = append(w.late, fmt.Sprintf("%s/%d: a row of %d behind %d", id.Operator, id.Task, time, watermark))
}

// show makes a transaction visible, once.
func (w *World) show(sink string, writer int, checkpoint uint64, rows []Row) {
	w.mu.Lock()
	defer w.mu.Unlock()
	name := fmt.Sprint(sink, "/", writer)
	if w.shown[name] >= checkpoint {
		return
	}
	w.shown[name] = checkpoint
	if w.visible[sink] == nil {
		w.visible[sink] = map[int][]Row{}
	}
	w.visible[sink][writer] = append(w.visible[sink][writer], rows...)
}

// SetBefore changes Before while tasks run.
func (w *World) SetBefore(f func(id operator.Identity, rows int) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Before = f
}

func (w *World) before(id operator.Identity, rows int) error {
	w.mu.Lock()
	f := w.Before
	w.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(id, rows)
}
