// Package project is the native operator that chooses, renames, reorders and
// widens columns and keeps the rows that predicates are true for. Columns and
// rows are passed on as views wherever their bytes stay the same. It must not
// know who reads the result.
package project

import (
	"encoding/json"
	"fmt"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
)

// Operator projects and filters one input.
type Operator struct {
	ctx     *operator.Context
	kinds   bool // the last column is the row's kind
	out     *schema.Schema
	from    []int
	where   []predicate
	columns []frame.Column
}

// New makes the operator.
func New() *Operator { return &Operator{} }

// Open binds the configuration to the input.
func (o *Operator) Open(ctx *operator.Context) error {
	o.ctx = ctx
	var c Config
	if err := json.Unmarshal(ctx.Config, &c); err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if len(ctx.Inputs) != 1 {
		return fmt.Errorf("a project has one input, not %d", len(ctx.Inputs))
	}
	var err error
	if o.out, o.from, err = c.build(ctx.Inputs[0]); err != nil {
		return err
	}
	o.kinds = c.KindColumn != ""
	o.where, err = compile(c.Where, ctx.Inputs[0])
	return err
}

// Process passes on a view of the batch.
func (o *Operator) Process(_ int, b *batch.Batch) error {
	v := b.View() // has the reference now
	if len(o.where) > 0 && b.Len() > 0 {
		sel := v.Select(b.Len())
		for i := range sel {
			sel[i] = int32(b.Row(i))
		}
		for i := range o.where {
			sel = o.where[i].filter(&b.Columns[o.where[i].column], sel)
		}
		v.Sel = sel
	}
	if v.Len() == 0 {
		v.Release()
		return nil
	}
	o.columns = o.columns[:0]
	for i, at := range o.from {
		o.columns = append(o.columns, cast(&o.out.Fields[i].Type, &b.Columns[at], v))
	}
	if o.kinds {
		o.columns = append(o.columns, kindColumn(&o.out.Fields[len(o.from)].Type, b, v))
		v.Kinds = nil
	}
	v.Schema = o.out
	v.Hashes = nil // the columns that they were of may be gone
	v.SetColumns(o.columns, b.Physical())
	clear(o.columns)
	return o.ctx.Output.Emit(0, v)
}

const (
	kindTexts = "+I-U+U-D" // two letters each, by kind
	kindBytes = 2
)

func kindColumn(t *schema.Type, b, keep *batch.Batch) frame.Column {
	n := b.Physical()
	buf := batch.NewBuffer((n+1)*4 + n*kindBytes)
	keep.Keep(buf)
	c := frame.Column{Type: t, Length: n, Values: buf.Bytes[:(n+1)*4], Bytes: buf.Bytes[(n+1)*4:]}
	for i, offsets := 0, c.Offsets(); i <= n; i++ {
		offsets[i] = int32(i * kindBytes)
	}
	for i := range n {
		k := int(b.Kind(i)) * kindBytes
		copy(c.Bytes[i*kindBytes:], kindTexts[k:k+kindBytes])
	}
	return c
}

// Watermark passes the watermark on.
func (o *Operator) Watermark(_ int, w element.Watermark) error { return o.ctx.Output.Watermark(w) }

// Timers has nothing to do.
func (o *Operator) Timers(int64) error { return nil }

// Barrier has nothing to keep.
func (o *Operator) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{}, nil
}

// EndOfInput has nothing to do.
func (o *Operator) EndOfInput(int) error { return nil }

// Close has nothing to give back.
func (o *Operator) Close() error { return nil }
