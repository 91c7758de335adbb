// Package native is what a native operator tells the planner about itself: the
// schema it gives, the state it keeps, and whether its rows are a changelog. It
// must not know any operator, nor how a plan becomes a job graph.
package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Input is what comes into an operator.
type Input struct {
	Name      string // of the output that is read, for messages
	Schema    *schema.Schema
	Changelog bool // rows may take back earlier ones
}

// Plan is a native operator whose configuration and inputs fit together.
type Plan struct {
	Config    any // what the operator reads at Open
	State     []jobgraph.State
	Output    *schema.Schema
	Key       [][]string // per input; nil: not keyed
	Changelog bool       // of the output
}

// Problem is a configuration that only its author can mend.
type Problem struct {
	Message string
	Hint    string
}

func (p *Problem) Error() string {
	if p.Hint == "" {
		return p.Message
	}
	return p.Message + "; " + p.Hint
}

// Refuse makes a Problem.
func Refuse(hint, format string, args ...any) error {
	return &Problem{Message: fmt.Sprintf(format, args...), Hint: hint}
}

// Decode reads a configuration and refuses fields that it does not know.
func Decode(raw json.RawMessage, into any) error {
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return Refuse("", "config: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Refuse("", "config: there is more than one value")
	}
	return nil
}

// RowError is a row that an operator cannot take in; it fails the job, since
// only the author of the pipeline or of the data can mend it.
type RowError struct{ Text string }

func (e *RowError) Error() string { return e.Text }

// UserFault marks the error for whoever decides about restarts.
func (e *RowError) UserFault() bool { return true }
