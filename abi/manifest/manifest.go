// Package manifest is what a module says of itself: its functions with their inputs, outputs, state, timers and needs.
// A manifest comes from an untrusted guest, so Parse checks every name, number and list against the contract's limits.
// The package must not know how functions are run or wired.
package manifest

import (
	"encoding/json"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/row"
	"github.com/weirstream/weir/abi/schema"
)

// Manifest is a module's description. Unknown fields of its text are ignored; the text itself is what is kept.
type Manifest struct {
	ABI       Version         `json:"abi"`
	SDK       string          `json:"sdk,omitempty"`
	Requires  []string        `json:"requires,omitempty"`
	Functions []Function      `json:"functions"`
	Graph     json.RawMessage `json:"graph,omitempty"`
}

// Version is the version of the contract the module was built for.
type Version struct {
	Major int `json:"major"`
	Minor int `json:"minor"`
}

// Function is one function. The order of each list is the index used in frames; output 0 is the main one.
type Function struct {
	Name     string   `json:"name"`
	Type     string   `json:"type,omitempty"` // of a stateful function: namespace/name
	Doc      string   `json:"doc,omitempty"`
	Inputs   []Input  `json:"inputs"`
	Outputs  []Output `json:"outputs,omitempty"`
	State    []State  `json:"state,omitempty"`
	Timers   []Timer  `json:"timers,omitempty"`
	Requires []string `json:"requires,omitempty"`

	signature *frame.Signature
}

// Input is rows a function takes. Key names the key columns; all inputs of a function have the same key types or none.
type Input struct {
	Name    string   `json:"name"`
	Columns string   `json:"columns"`
	Key     []string `json:"key,omitempty"`

	schema *schema.Schema
}

// Output is rows a function puts out.
type Output struct {
	Name    string `json:"name"`
	Columns string `json:"columns"`

	schema *schema.Schema
}

// State is one keyed state of a function.
type State struct {
	Name     string `json:"name"`
	Kind     Kind   `json:"kind"`
	Form     Form   `json:"form"`
	Codec    string `json:"codec"`
	Key      string `json:"key,omitempty"`   // map: the type of its keys
	Value    string `json:"value,omitempty"` // codec row: `id:name:type` fields
	Version  int    `json:"version,omitempty"`
	TTLMs    int64  `json:"ttl_ms,omitempty"`
	TTLOn    TTLOn  `json:"ttl_on,omitempty"`
	MaxBytes int    `json:"max_bytes,omitempty"` // framed: of one value

	row *row.Schema
	key *schema.Schema
}

// Timer is one timer of a function.
type Timer struct {
	Name string    `json:"name"`
	Kind TimerKind `json:"kind"`
}

// Kind is the kind of a state.
type Kind string

// The kinds of state.
const (
	Value       Kind = "value"
	Reducing    Kind = "reducing"
	Aggregating Kind = "aggregating"
	List        Kind = "list"
	Map         Kind = "map"
)

// Form says how state reaches the function.
type Form string

// The forms: in the call's frame, or by import.
const (
	Framed Form = "framed"
	Hosted Form = "hosted"
)

// TTLOn says what renews a state's time to live.
type TTLOn string

// The renewals.
const (
	OnWrite     TTLOn = "write"
	OnReadWrite TTLOn = "read_write"
)

// TimerKind is the time a timer goes by.
type TimerKind string

// The timer kinds.
const (
	EventTime      TimerKind = "event"
	ProcessingTime TimerKind = "processing"
)

// CodecRow is the codec of state whose shape the host knows; CodecBytes, CodecJSON and the prefix CodecProtobuf name
// those it does not look inside.
const (
	CodecRow      = "row"
	CodecBytes    = "bytes"
	CodecJSON     = "json"
	CodecProtobuf = "protobuf:"
)

// Schema is the parsed form of Columns.
func (i *Input) Schema() *schema.Schema { return i.schema }

// Schema is the parsed form of Columns.
func (o *Output) Schema() *schema.Schema { return o.schema }

// Row is the shape of the value of codec row, nil for other codecs.
func (s *State) Row() *row.Schema { return s.row }

// KeySchema is the one-column schema of a map's keys, nil for other kinds.
func (s *State) KeySchema() *schema.Schema { return s.key }

// Keyed tells whether the function's inputs are keyed.
func (f *Function) Keyed() bool { return len(f.Inputs) > 0 && len(f.Inputs[0].Key) > 0 }

// KeySchema is the schema of the key columns of the function's first input, nil if it is not keyed.
func (f *Function) KeySchema() *schema.Schema { return f.signature.Key }

// Needs tells whether the function, or the whole module m, requires the capability.
func (m *Manifest) Needs(f *Function, capability string) bool {
	for _, list := range [][]string{m.Requires, f.Requires} {
		for _, c := range list {
			if c == capability {
				return true
			}
		}
	}
	return false
}

// Function is the function of that name, or nil.
func (m *Manifest) Function(name string) *Function {
	for i := range m.Functions {
		if m.Functions[i].Name == name {
			return &m.Functions[i]
		}
	}
	return nil
}

// Signature is what calls of the function are written and checked by. It is made once, by Parse.
func (f *Function) Signature() *frame.Signature { return f.signature }

// Marshal is the canonical text: known fields only, in a fixed order.
func (m *Manifest) Marshal() ([]byte, error) { return json.Marshal(m) }

func (m *Manifest) sign(f *Function) {
	s := &frame.Signature{
		Name:      f.Name,
		Changelog: m.Needs(f, abi.CapabilityChangelog),
		Positions: m.Needs(f, abi.CapabilityPositions),
	}
	for i := range f.Inputs {
		s.Inputs = append(s.Inputs, f.Inputs[i].schema)
	}
	for i := range f.Outputs {
		s.Outputs = append(s.Outputs, f.Outputs[i].schema)
	}
	if f.Keyed() {
		s.Key = schema.Must(f.Inputs[0].schema.Project(f.Inputs[0].Key...))
	}
	for i := range f.State {
		s.States = append(s.States, frame.StateSignature{Name: f.State[i].Name, Framed: f.State[i].Form == Framed, MaxBytes: f.State[i].MaxBytes})
	}
	for _, t := range f.Timers {
		kind := uint8(abi.TimerEvent)
		if t.Kind == ProcessingTime {
			kind = abi.TimerProcessing
		}
		s.Timers = append(s.Timers, frame.TimerSignature{Name: t.Name, Kind: kind})
	}
	f.signature = s
}
