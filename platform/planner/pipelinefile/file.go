// Package pipelinefile reads pipeline files: YAML (or JSON, which is YAML) to
// a File in which every part knows its line and column. It checks form alone
// and must not know which modules and topics exist.
package pipelinefile

import (
	"encoding/json"
	"time"
)

// Limits of a pipeline file.
const (
	MaxFileBytes = 256 << 10
	MaxParts     = 256 // sources, operators and sinks together
	MaxNameBytes = 63
)

// Pos is a place in the file, both from 1; zero: none.
type Pos struct{ Line, Column int }

// Text is a string and where it stands.
type Text struct {
	Value string
	Pos   Pos
}

// File is one pipeline as its author wrote it.
type File struct {
	Name        Text // field pipeline
	Namespace   Text
	Module      Text // the module of operators that name none
	Parallelism int  // 0: the default
	Errors      Policy
	DeadLetters Text // topic
	Checkpoint  Checkpoint
	State       State
	MaxRestarts int
	Sources     []Source
	Operators   []Operator
	Sinks       []Sink
	Functions   *Functions // nil: the pipeline has none
}

// Checkpoint is how often checkpoints are taken; zero fields take the defaults.
type Checkpoint struct {
	Interval, MinPause, Timeout time.Duration
	Retain                      int
}

// State says where keyed state is kept.
type State struct {
	Backend Text // "memory" or "disk"; empty: memory
}

// The backends of keyed state.
const (
	Memory = "memory"
	Disk   = "disk"
)

// Policy says what becomes of a record that cannot be decoded or that a function refuses.
type Policy string

// The policies; empty takes the pipeline's, and that dead letters.
const (
	DeadLetter Policy = "dead_letter"
	Fail       Policy = "fail"
)

// Source is an input of the pipeline.
type Source struct {
	Name      Text
	Topic     Text
	File      Text // instead of Topic
	Format    Text
	Columns   Text
	EventTime EventTime
	Start     Text
	Bounded   bool
	Errors    Policy
	Options   json.RawMessage // of the connector and the format; nil: none
	Pos       Pos
}

// EventTime says where event times come from and how late rows may be.
type EventTime struct {
	Column   Text // empty: the time the record was stored
	Lateness time.Duration
	Idle     time.Duration // a drained split is idle after this; 0: the default
	MaxDrift time.Duration // how far a split may run ahead of the slowest; 0: no limit
}

// Operator is a function of a module, or a native operator by its kind.
type Operator struct {
	Name        Text
	Module      Text
	Function    Text
	Kind        Text
	Inputs      []Input
	Key         []Text // native operators only; a function says its own
	Parallelism int
	Errors      Policy
	CallTimeout time.Duration // of one call of the function; 0: the default
	MemoryMiB   int           // of an instance; 0: the default
	Config      json.RawMessage
	Pos         Pos
}

// Input wires an input to an output: "name" or "name.output".
type Input struct {
	Name Text // of the function's input; empty: its only one
	From Text
}

// Sink is an output of the pipeline.
type Sink struct {
	Name        Text
	Topic       Text
	File        Text
	Input       Text
	Format      Text
	Key         Text // a column: the records' key
	Guarantee   Text
	Parallelism int
	Options     json.RawMessage
	Pos         Pos
}

// Problem is something wrong with a file, for its author.
type Problem struct {
	Pos     Pos
	Message string
	Hint    string
}

func (p Problem) Error() string {
	text := p.Message
	if p.Pos.Line > 0 {
		text = fmtPos(p.Pos) + ": " + text
	}
	if p.Hint != "" {
		text += "; " + p.Hint
	}
	return text
}
