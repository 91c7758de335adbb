package dispatch

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator"
)

// Routes says which output the messages of a type go to.
type Routes struct {
	exact    map[string]int
	patterns map[string]int // by namespace
	unknown  int
}

// NewRoutes reads a list of types as Config has it.
func NewRoutes(types []string) (*Routes, error) {
	r := &Routes{exact: map[string]int{}, patterns: map[string]int{}, unknown: len(types)}
	for i, t := range types {
		table, name := r.exact, t
		if namespace, ok := strings.CutSuffix(t, "/*"); ok {
			table, name = r.patterns, namespace
		}
		if _, twice := table[name]; twice {
			return nil, fmt.Errorf("type %q is there twice", t)
		}
		table[name] = i
	}
	return r, nil
}

// Of gives the output of a type, which is len(types) if nothing names it.
func (r *Routes) Of(typ []byte) int {
	if i, ok := r.exact[string(typ)]; ok {
		return i
	}
	if len(r.patterns) > 0 {
		namespace, _, _ := strings.Cut(string(typ), "/")
		if i, ok := r.patterns[namespace]; ok {
			return i
		}
	}
	return r.unknown
}

// Known says whether anything names the type.
func (r *Routes) Known(typ []byte) bool { return r.Of(typ) != r.unknown }

// Batches of fewer than smallRows are put together until there are gatheredRows,
// or nothing more has come: a message to a random one of n tasks leaves its batch
// n times smaller than the one it came in.
const (
	smallRows    = 128
	gatheredRows = 512
)

// Operator deals messages out by their types.
type Operator struct {
	gathered *batch.Builder
	rows     []int32 // scratch

	ctx    *operator.Context
	routes *Routes
	idle   bool
	owners []int32   // output of each row
	counts []int32   // rows by output
	fill   [][]int32 // selections by output, while they are written
}

// New makes the operator.
func New() *Operator { return &Operator{} }

// Open reads the types.
func (o *Operator) Open(ctx *operator.Context) (err error) {
	o.ctx = ctx
	var c Config
	if err := json.Unmarshal(ctx.Config, &c); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if o.routes, err = NewRoutes(c.Types); err != nil {
		return err
	}
	if len(ctx.Outputs) != len(c.Types)+1 {
		return fmt.Errorf("%d outputs for %d types, want one more", len(ctx.Outputs), len(c.Types))
	}
	o.gathered = batch.NewBuilder(functions.Message)
	o.counts, o.fill = make([]int32, len(ctx.Outputs)), make([][]int32, len(ctx.Outputs))
	return nil
}

// Process deals a batch out, or keeps its rows until there are more.
func (o *Operator) Process(_ int, b *batch.Batch) error {
	if b.Len() >= smallRows {
		if err := o.Flush(); err != nil {
			b.Release()
			return err
		}
		return o.deal(b)
	}
	rows := b.Sel
	if rows == nil {
		for len(o.rows) < smallRows {
			o.rows = append(o.rows, int32(len(o.rows)))
		}
		rows = o.rows[:b.Len()]
	}
	for i := range b.Columns {
		o.gathered.Column(i).AppendRows(&b.Columns[i], rows)
	}
	for _, row := range rows {
		o.gathered.EndRow(b.Time(int(row)))
	}
	b.Release()
	if o.gathered.Len() >= gatheredRows {
		return o.Flush()
	}
	return nil
}

// Flush deals out what has been kept.
func (o *Operator) Flush() error {
	if o.gathered.Len() == 0 {
		return nil
	}
	return o.deal(o.gathered.Finish("", 0))
}

// deal gives each output a view of its rows, in their order.
func (o *Operator) deal(b *batch.Batch) error {
	n := b.Len()
	types := &b.Columns[functions.MessageType]
	clear(o.counts)
	o.owners = o.owners[:0]
	var last []byte
	owner := int32(-1)
	for i := range n {
		if typ := types.BytesAt(b.Row(i)); owner < 0 || string(typ) != string(last) { // types come in runs
			last, owner = typ, int32(o.routes.Of(typ))
		}
		o.owners = append(o.owners, owner)
		o.counts[owner]++
	}
	if n > 0 && int(o.counts[owner]) == n {
		return o.ctx.Output.Emit(int(owner), b)
	}
	defer b.Release()
	views := make([]*batch.Batch, 0, len(o.counts))
	for out, count := range o.counts {
		o.fill[out] = nil
		if count > 0 {
			v := b.Retain().View()
			o.fill[out] = v.Select(int(count))[:0]
			views = append(views, v)
		}
	}
	for i, out := range o.owners {
		o.fill[out] = append(o.fill[out], int32(b.Row(i)))
	}
	for out := range o.counts {
		if o.fill[out] == nil {
			continue
		}
		v := views[0]
		views = views[1:]
		if err := o.ctx.Output.Emit(out, v); err != nil {
			for _, rest := range views {
				rest.Release()
			}
			return err
		}
	}
	return nil
}

// Watermark ends here: what functions do has no event time, so whoever merges
// their output with another input is not held back by it.
func (o *Operator) Watermark(int, element.Watermark) error {
	if o.idle {
		return nil
	}
	o.idle = true
	return o.ctx.Output.Watermark(element.Watermark{Time: element.MinTime, Status: element.Idle})
}

// Barrier keeps nothing: what came before it is handled before it.
func (o *Operator) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{}, o.Flush()
}

// Timers, EndOfInput and Close have nothing to do.
func (o *Operator) Timers(int64) error   { return nil }
func (o *Operator) EndOfInput(int) error { return nil }
func (o *Operator) Close() error         { return nil }
