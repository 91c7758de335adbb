package weir

import (
	"errors"
	"reflect"
	"slices"
	"time"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/guest"
	"github.com/weirstream/weir/sdk/go/internal/record"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// Output is a declared output with rows of type T.
type Output[T any] struct {
	fn       *guest.Function
	out      *guest.Output
	cols     *record.Columns
	rows     []T
	mutable  bool
	changes  bool // the function writes a changelog
	decimals bool
	fixed    int // what a row adds to the effects at most, if that is always the same; else 0
}

// Out declares the main output of a function, named "out". It comes before the side outputs.
func Out[T any](f *Function) *Output[T] {
	if len(f.fn.Outputs) > 0 {
		f.fn.Fail(errors.New("weir.Out is declared once, before the side outputs"))
	}
	return output[T](f, "out")
}

// Side declares a side output.
func Side[T any](f *Function, name string) *Output[T] {
	if len(f.fn.Outputs) == 0 {
		f.fn.Fail(errors.New("side output \"" + name + "\" without a main output: declare that first with weir.Out"))
	}
	return output[T](f, name)
}

func output[T any](f *Function, name string) *Output[T] {
	cols, err := record.ColumnsOf(reflect.TypeFor[T]())
	if err != nil {
		f.fn.Fail(errors.New("output \"" + name + "\": " + err.Error()))
	}
	o := &Output[T]{fn: f.fn, cols: cols}
	o.out = &guest.Output{Name: name, Columns: cols, Rows: o}
	if cols != nil {
		o.mutable, o.decimals = cols.Mutable, cols.HasDecimals()
	}
	if cols != nil && !cols.Mutable && !cols.Nested && !slices.Contains(cols.Kinds, wire.Utf8) {
		o.fixed = perRow + cols.Size(unsafe.Pointer(new(T)))
	}
	f.fn.AddOutput(o.out)
	return o
}

// Emit puts a row out, with the event time of the row or timer that is being handled.
func (o *Output[T]) Emit(ctx *Context, row T) { o.emit(ctx, ctx.call.Time, row) }

// EmitAt puts a row out with an event time of its own. One earlier than the watermark is late downstream.
func (o *Output[T]) EmitAt(ctx *Context, at time.Time, row T) {
	t := micros(at)
	if t != ctx.call.Time {
		o.out.Timed = true
	}
	o.emit(ctx, t, row)
}

// EmitKind puts a row of a changelog out: a function with the option Changelog says with each row what it does.
func (o *Output[T]) EmitKind(ctx *Context, kind RowKind, row T) {
	if !o.changes {
		if o.changes = slices.Contains(o.fn.Requires, changelog); !o.changes {
			panic("weir: EmitKind in function " + o.fn.Name + ", which is declared without weir.Changelog")
		}
	}
	o.emit(ctx, ctx.call.Time, row)
	if kind != Insert {
		for len(o.out.Kinds) < len(o.rows)-1 {
			o.out.Kinds = append(o.out.Kinds, uint8(Insert))
		}
		o.out.Kinds = append(o.out.Kinds, uint8(kind))
	}
}

const perRow = 13 // cause, time and kind

func (o *Output[T]) emit(ctx *Context, at int64, row T) {
	check(ctx, o.fn)
	o.rows = append(o.rows, row)
	p := unsafe.Pointer(&o.rows[len(o.rows)-1])
	if o.mutable {
		o.cols.Own(p, &ctx.call.Arena)
	}
	if o.decimals {
		if err := o.cols.Check(p); err != nil {
			ctx.call.Fault(abi.CodeUser, errors.New("output \""+o.out.Name+"\": "+err.Error()))
		}
	}
	o.out.Causes = append(o.out.Causes, ctx.call.Cause)
	o.out.Times = append(o.out.Times, at)
	if o.fixed > 0 {
		ctx.call.Bytes += o.fixed
	} else {
		ctx.call.Bytes += perRow + o.cols.Size(p)
	}
}

// Truncate implements guest.Rows.
func (o *Output[T]) Truncate(n int) { o.rows = o.rows[:n] }

// Store implements guest.Rows.
func (o *Output[T]) Store(b *wire.Builder) {
	o.cols.Store(b, unsafe.Pointer(unsafe.SliceData(o.rows)), unsafe.Sizeof(o.rows[0]), len(o.rows))
}
