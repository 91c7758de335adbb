// Package guest answers the host's four exports over bytes: it describes the functions of a module, opens them and runs their calls. The same code runs in a module
// and natively under weirtest; only imports and exports differ by build tag. It must not know the Go types of rows and states, which package weir puts behind its interfaces.
package guest

import (
	"errors"
	"strings"

	"github.com/weirstream/weir/sdk/go/internal/abi"
	"github.com/weirstream/weir/sdk/go/internal/record"
	"github.com/weirstream/weir/sdk/go/internal/wire"
)

// Function is one declared function.
type Function struct {
	Name     string
	Type     string // of a stateful function: namespace/name
	Doc      string
	Key      []string // default key columns of its inputs; none: not keyed
	KeyKinds []wire.Kind
	KeyTexts []string
	Inputs   []*Input
	Outputs  []*Output
	States   []*State
	Timers   []*Timer
	Requires []string
	Call     *Call

	// Configure decodes the configuration at open; nil if the function has none.
	Configure func(json []byte) (any, error)
	// Assets are files of the module's bundle, decoded at open.
	Assets []Asset

	keyPlans map[any]*record.Columns
	errs     []error
}

// Asset is one declared asset.
type Asset struct {
	Name   string
	Decode func([]byte) (any, error)
}

// Input is one declared input.
type Input struct {
	Name    string
	Columns *record.Columns
	Key     []string
	Handled bool
	Handler RowHandler
}

// RowHandler gives rows to the user's code.
type RowHandler interface {
	// Run handles cause i with row i, for all rows.
	Run(c *Call)
	// One handles the begun cause with one row.
	One(c *Call, row int) error
}

// Timer is one declared timer.
type Timer struct {
	Name  string
	Kind  uint8 // abi.CauseEventTimer or abi.CauseProcessingTimer
	Fired func(at int64) error
}

// Fail notes an error of the declaration; describe and open report it.
func (f *Function) Fail(err error) {
	if err != nil {
		f.errs = append(f.errs, errors.New("function "+quote(f.Name)+": "+err.Error()))
	}
}

// Keyed says whether the function's inputs are keyed.
func (f *Function) Keyed() bool { return len(f.KeyKinds) > 0 }

// AddInput declares an input.
func (f *Function) AddInput(in *Input) {
	f.Fail(checkName("input", in.Name))
	for _, other := range f.Inputs {
		if other.Name == in.Name {
			f.Fail(errors.New("two inputs are named " + quote(in.Name)))
		}
	}
	f.Inputs = append(f.Inputs, in)
	if in.Columns == nil {
		return
	}
	if in.Key == nil {
		in.Key = f.Key
	}
	kinds, texts, err := in.Columns.Select(in.Key)
	if err != nil {
		f.Fail(errors.New("input " + quote(in.Name) + ": " + err.Error()))
		return
	}
	if len(f.Inputs) == 1 {
		f.KeyKinds, f.KeyTexts = kinds, texts
	} else if strings.Join(texts, ",") != strings.Join(f.KeyTexts, ",") {
		f.Fail(errors.New("input " + quote(in.Name) + " has a key of " + strings.Join(texts, ",") + ", the first input one of " + strings.Join(f.KeyTexts, ",") +
			": all inputs have the same key types"))
	}
	if in.Columns.Nested {
		f.Require("nested")
	}
}

// AddOutput declares an output.
func (f *Function) AddOutput(o *Output) {
	f.Fail(checkName("output", o.Name))
	for _, other := range f.Outputs {
		if other.Name == o.Name {
			f.Fail(errors.New("two outputs are named " + quote(o.Name)))
		}
	}
	f.Outputs = append(f.Outputs, o)
	if o.Columns != nil && o.Columns.Nested {
		f.Require("nested")
	}
}

// AddState declares a state and returns its number.
func (f *Function) AddState(s *State) int {
	f.Fail(checkName("state", s.Name))
	for _, other := range f.States {
		if other.Name == s.Name {
			f.Fail(errors.New("two states are named " + quote(s.Name)))
		}
	}
	if s.Framed == nil {
		f.Require("hosted_state")
	}
	f.States = append(f.States, s)
	return len(f.States) - 1
}

// AddTimer declares a timer and returns its number.
func (f *Function) AddTimer(t *Timer) int {
	f.Fail(checkName("timer", t.Name))
	for _, other := range f.Timers {
		if other.Name == t.Name {
			f.Fail(errors.New("two timers are named " + quote(t.Name)))
		}
	}
	f.Timers = append(f.Timers, t)
	return len(f.Timers) - 1
}

// Require adds a capability.
func (f *Function) Require(capability string) {
	for _, r := range f.Requires {
		if r == capability {
			return
		}
	}
	f.Requires = append(f.Requires, capability)
}

// check reports what is wrong with the declaration as a whole.
func (f *Function) check() error {
	errs := f.errs
	complain := func(text string) { errs = append(errs, errors.New("function "+quote(f.Name)+": "+text)) }
	if err := checkName("function", f.Name); err != nil {
		errs = append(errs, err)
	}
	if len(f.Inputs) == 0 {
		complain("it has no input: declare one with weir.In")
	}
	for _, in := range f.Inputs {
		if !in.Handled {
			complain("input " + quote(in.Name) + " has no handler: give it one with On")
		}
	}
	for _, t := range f.Timers {
		if t.Fired == nil {
			complain("timer " + quote(t.Name) + " has no handler: give it one with On")
		}
	}
	if !f.Keyed() && len(f.States)+len(f.Timers) > 0 {
		complain("only keyed functions have state and timers: declare it with weir.Keyed and its key columns")
	}
	if len(f.Inputs) > abi.MaxPerFunction || len(f.Outputs) > abi.MaxPerFunction || len(f.States) > abi.MaxPerFunction || len(f.Timers) > abi.MaxPerFunction {
		complain("at most 64 inputs, 64 outputs, 64 states and 64 timers: split it")
	}
	return errors.Join(errs...)
}

// KeyPlan returns how a Go type is read from the key columns, planned once per type.
func (f *Function) KeyPlan(id any, plan func() (*record.Columns, error)) (*record.Columns, error) {
	if c, ok := f.keyPlans[id]; ok {
		return c, nil
	}
	c, err := plan()
	if err != nil {
		return nil, err
	}
	if f.keyPlans == nil {
		f.keyPlans = map[any]*record.Columns{}
	}
	f.keyPlans[id] = c
	return c, nil
}

func checkName(what, name string) error {
	ok := name != "" && len(name) <= abi.MaxNameBytes
	for i := range len(name) {
		c := name[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-')
	}
	if !ok {
		return errors.New(what + " name " + quote(name) + ": want 1 to 63 letters, digits, _ or -")
	}
	return nil
}
