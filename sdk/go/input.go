package weir

import (
	"errors"
	"reflect"
	"unsafe"

	"github.com/weirstream/weir/sdk/go/internal/guest"
	"github.com/weirstream/weir/sdk/go/internal/record"
)

// loadRows is how many rows are turned into structs at once: enough to spread the cost of a column, few enough to stay in the cache.
const loadRows = 128

// Input is a declared input with rows of type T.
type Input[T any] struct {
	f    *Function
	in   *guest.Input
	cols *record.Columns
	rows []T
	on   func(*Context, *T) error
}

// InputOption changes a declared input.
type InputOption interface{ applyInput(*guest.Input) }

type inputOption func(*guest.Input)

func (o inputOption) applyInput(in *guest.Input) { o(in) }

// By names the key columns of one input, where they differ from the function's.
func By(columns ...string) InputOption {
	return inputOption(func(in *guest.Input) { in.Key = columns })
}

// In declares an input. Its columns are the exported fields of T, in order: a field's column has the name in its tag (`weir:"origin"`), else the field's own in
// snake_case. A pointer or Null may be null; a struct's fields become columns a.b.
func In[T any](f *Function, name string, opts ...InputOption) *Input[T] {
	cols, err := record.ColumnsOf(reflect.TypeFor[T]())
	if err != nil {
		f.fn.Fail(errors.New("input \"" + name + "\": " + err.Error()))
	}
	in := &Input[T]{f: f, cols: cols, in: &guest.Input{Name: name, Columns: cols}}
	in.in.Handler = in
	for _, o := range opts {
		o.applyInput(in.in)
	}
	f.fn.AddInput(in.in)
	return in
}

// On sets the handler of the input's rows. The row is valid until the handler returns: the SDK uses it again.
func (in *Input[T]) On(handler func(ctx *Context, row *T) error) {
	if in.on != nil {
		in.f.fn.Fail(errors.New("input \"" + in.in.Name + "\" has two handlers"))
	}
	in.on = handler
	in.in.Handled = true
}

// Run implements guest.RowHandler.
func (in *Input[T]) Run(c *guest.Call) {
	if in.rows == nil {
		in.rows = make([]T, loadRows)
	}
	ctx, on, rows := in.f.ctx, in.on, in.rows
	for from := 0; from < c.Rows.Rows; from += loadRows {
		n := min(loadRows, c.Rows.Rows-from)
		if err := in.cols.Load(unsafe.Pointer(&rows[0]), unsafe.Sizeof(rows[0]), &c.Rows, from, n); err != nil {
			guest.Fatal("input " + in.in.Name + ": " + err.Error())
		}
		for i := range rows[:n] {
			c.Begin(uint32(from + i))
			if err := on(ctx, &rows[i]); (err != nil || !c.Quiet()) && !c.End(err) {
				return
			}
		}
	}
}

// One implements guest.RowHandler.
func (in *Input[T]) One(c *guest.Call, row int) error {
	if in.rows == nil {
		in.rows = make([]T, loadRows)
	}
	if err := in.cols.Load(unsafe.Pointer(&in.rows[0]), unsafe.Sizeof(in.rows[0]), &c.Rows, row, 1); err != nil {
		guest.Fatal("input " + in.in.Name + ": " + err.Error())
	}
	return in.on(in.f.ctx, &in.rows[0])
}
