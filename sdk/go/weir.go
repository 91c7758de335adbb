// Package weir is what a stateful stream function is written against. A function is declared in package variables, with its inputs, outputs, state and timers; its handlers
// are ordinary Go. The program is built as a module and has an empty main:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o x.wasm .
//
// A stateless function is one line:
//
//	var _ = weir.Map("with_tax", func(o *Order) (Order, error) { o.Price *= 1.2; return *o, nil })
//
// A keyed one declares what it needs and says what happens for each row:
//
//	var (
//		counter = weir.Keyed("counter", "user")
//		clicks  = weir.In[Click](counter, "clicks")
//		counts  = weir.Out[Count](counter)
//		seen    = weir.ValueOf[int64](counter, "seen")
//	)
//
//	func init() {
//		clicks.On(func(ctx *weir.Context, c *Click) error {
//			n := seen.Edit(ctx)
//			*n++
//			counts.Emit(ctx, Count{c.User, *n})
//			return nil
//		})
//	}
//
// Rows handed to a handler, and every string and []byte in them or read from state, are valid until the call in which they came returns: use strings.Clone or
// bytes.Clone for what is kept longer, though nothing should be, since the host may replace the instance between any two calls. What must survive goes into state. An error
// that a handler returns fails its row alone: nothing of what the handler did for that row happens.
//
// The package knows nothing of the platform that runs the module: all it meets is the contract, abi/README.md.
package weir

import (
	"errors"
	"time"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/guest"
)

// Function is one declared function of the module.
type Function struct {
	fn       *guest.Function
	ctx      *Context
	stateful *stateful // nil: rows come by inputs, not messages to an address
}

// FunctionOption changes a declared function.
type FunctionOption interface{ apply(*guest.Function) }

type functionOption func(*guest.Function)

func (o functionOption) apply(f *guest.Function) { o(f) }

// Doc describes the function in listings.
func Doc(text string) FunctionOption {
	return functionOption(func(f *guest.Function) { f.Doc = text })
}

// Positions asks for the position of each row in its topic, for Context.Position.
func Positions() FunctionOption {
	return functionOption(func(f *guest.Function) { f.Require("positions") })
}

// Process declares a function without keys: it has inputs and outputs, and neither state nor timers.
func Process(name string, opts ...FunctionOption) *Function { return declare(name, nil, opts) }

// Keyed declares a function whose rows are grouped by key columns. An input may name its own with By.
func Keyed(name string, key ...string) *Function {
	f := declare(name, key, nil)
	if len(key) == 0 {
		f.fn.Fail(errors.New("weir.Keyed without key columns: name them, or use weir.Process"))
	}
	return f
}

// With applies options to a function; for Keyed, whose arguments are columns.
func (f *Function) With(opts ...FunctionOption) *Function {
	for _, o := range opts {
		o.apply(f.fn)
	}
	return f
}

func declare(name string, key []string, opts []FunctionOption) *Function {
	f := &Function{fn: &guest.Function{Name: name, Key: key}, ctx: &Context{}}
	f.fn.Call = &f.ctx.call
	f.ctx.call.Fn = f.fn
	f.With(opts...)
	guest.Default.Functions = append(guest.Default.Functions, f.fn)
	return f
}

// Name is the function's name.
func (f *Function) Name() string { return f.fn.Name }

// check stops a handle from being used with the context of another function.
func check(ctx *Context, fn *guest.Function) {
	if ctx.call.Fn != fn {
		wrongContext(ctx, fn)
	}
}

//go:noinline
func wrongContext(ctx *Context, fn *guest.Function) {
	panic("weir: something declared for function " + fn.Name + " was used in function " + ctx.call.Fn.Name)
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return abi.NoTime
	}
	return t.UnixMicro()
}

func timeOf(us int64) time.Time {
	if us == abi.NoTime {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}
