package statereader

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/weirstream/weir/abi/manifest"
	"github.com/weirstream/weir/abi/row"
	"github.com/weirstream/weir/abi/schema"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/operator/fetch"
	"github.com/weirstream/weir/platform/operator/outbox"
	"github.com/weirstream/weir/platform/operator/parked"
	"github.com/weirstream/weir/platform/operator/remote"
	"github.com/weirstream/weir/platform/operator/udf"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// addressColumns are those of the key of operators that keep state of addresses.
var addressColumns = map[string][]string{
	remote.Kind: {"type", "id"}, parked.Kind: {"type", "id"}, outbox.Kind: {"caller_type", "caller_id"}, fetch.Kind: {"caller_type", "caller_id"},
}

// kindTimer is the kind of what stands under state.TimerState.
const kindTimer = "timer"

// listKeyBytes is the length of an element's key within a hosted list.
const listKeyBytes = 8

// shapes is what is known of an operator's state.
type shapes struct {
	key *schema.Schema
	// address: the key is that of a function's address, under the hash of its id alone.
	address bool
	states  map[string]*shape
	timers  []string // names, by number; of a module that is not here: none
}

type shape struct {
	jobgraph.State
	row   *row.Schema    // nil: the host does not know what is in a value
	entry *schema.Schema // of a map: its keys
}

// shapesOf finds an operator in a graph, and a state of it if one is named.
func (s *Service) shapesOf(ctx context.Context, g *jobgraph.Graph, t *target) (*shapes, error) {
	var names []string
	var op *jobgraph.Operator
	for i := range g.Stages {
		for j := range g.Stages[i].Operators {
			o := &g.Stages[i].Operators[j]
			if o.ID == t.operator {
				op = o
			}
			if len(o.Key) > 0 && len(o.Key[0]) > 0 {
				names = append(names, o.ID)
			}
		}
	}
	switch {
	case op == nil:
		return nil, hint(fmt.Errorf("read state of pipeline %s: it has no operator %q: %w", t.pipeline, t.operator, catalog.ErrNotFound), "%s%s", meant(t.operator, names), withState(names))
	case len(op.Key) == 0 || len(op.Key[0]) == 0:
		return nil, hint(fmt.Errorf("read state of pipeline %s: operator %s has no keyed state: %w", t.pipeline, op.ID, catalog.ErrInvalid), "%s", withState(names))
	case len(op.Inputs) == 0:
		return nil, fmt.Errorf("read state of operator %s: the graph does not say what it reads: %w", op.ID, catalog.ErrDamaged)
	}
	in, err := schema.Parse(op.Inputs[0])
	if err != nil {
		return nil, fmt.Errorf("read the input of operator %s: %w", op.ID, err)
	}
	out := &shapes{states: map[string]*shape{}}
	columns := op.Key[0]
	if of, ok := addressColumns[op.Kind]; ok {
		columns, out.address = of, true
	}
	if out.key, err = in.Project(columns...); err != nil {
		return nil, fmt.Errorf("read the key of operator %s: %w", op.ID, err)
	}
	var states []string
	for _, st := range op.State {
		if out.states[st.Name], err = shapeOf(st); err != nil {
			return nil, fmt.Errorf("read the shape of state %s of operator %s: %w", st.Name, op.ID, err)
		}
		states = append(states, st.Name)
	}
	if t.state != "" && t.state != state.TimerState && out.states[t.state] == nil {
		return nil, hint(fmt.Errorf("read state of operator %s: it has no state %q: %w", op.ID, t.state, catalog.ErrNotFound),
			"%sit has %s", meant(t.state, states), strings.Join(append(states, state.TimerState), ", "))
	}
	out.timers = s.timersOf(ctx, op)
	return out, nil
}

func withState(names []string) string {
	if len(names) == 0 {
		return "none of its operators has keyed state"
	}
	return "with keyed state there are " + strings.Join(names, ", ")
}

func shapeOf(st jobgraph.State) (*shape, error) {
	out := &shape{State: st}
	var err error
	if st.Codec == manifest.CodecRow {
		if out.row, err = row.Parse(st.Value); err != nil {
			return nil, err
		}
	}
	if st.Kind == string(manifest.Map) && st.Key != "" {
		t, err := schema.ParseType(st.Key)
		if err != nil {
			return nil, err
		}
		if out.entry, err = schema.New(schema.Field{Name: "key", Type: t}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// timersOf are the names of a function's timers. A savepoint may be of a module
// that is not here: its timers are then shown by their numbers.
func (s *Service) timersOf(ctx context.Context, op *jobgraph.Operator) []string {
	var c udf.Config
	if op.Kind != udf.Kind || json.Unmarshal(op.Config, &c) != nil {
		return nil
	}
	m, err := s.options.Modules.Manifest(ctx, c.Module)
	if err != nil {
		return nil
	}
	f := m.Function(c.Function)
	if f == nil {
		return nil
	}
	var names []string
	for _, t := range f.Timers {
		names = append(names, t.Name)
	}
	return names
}

// show makes words of an entry. What cannot be read as its shape is shown as it is stored.
func (s *shapes) show(e *state.Entry) *weirv1.StateEntry {
	out := &weirv1.StateEntry{State: e.State}
	var err error
	if out.Key, err = rowText(s.key, e.Key); err != nil {
		out.Key, out.Undecoded = quoted(e.Key), "key: "+err.Error()
	}
	if e.Expires != 0 {
		out.Expires = timestamp(e.Expires)
	}
	if e.State == state.TimerState {
		s.timer(out, e)
		return out
	}
	sh := s.states[e.State]
	if sh == nil {
		out.Bytes, out.Undecoded = e.Value, "the pipeline's graph does not have this state"
		if e.Sub != nil {
			out.Entry = quoted(e.Sub)
		}
		return out
	}
	out.Kind = sh.Kind
	if e.Sub != nil {
		if out.Entry, err = sh.entryText(e.Sub); err != nil {
			out.Entry, out.Undecoded = quoted(e.Sub), "entry: "+err.Error()
		}
	}
	if out.Value, err = sh.valueText(e.Value); err != nil {
		out.Undecoded = "value: " + err.Error()
	}
	if out.Value == "" {
		out.Bytes = e.Value
	}
	return out
}

func quoted(b []byte) string { return strconv.Quote(base64.StdEncoding.EncodeToString(b)) }

func (s *shapes) timer(out *weirv1.StateEntry, e *state.Entry) {
	out.Kind = kindTimer
	t, err := state.ParseTimerSub(e.Sub)
	if err != nil {
		out.Entry, out.Undecoded = quoted(e.Sub), err.Error()
		return
	}
	out.Entry, out.Clock, out.Due = "#"+strconv.Itoa(int(t.Name)), "event_time", timestamp(t.Time)
	if int(t.Name) < len(s.timers) {
		out.Entry = s.timers[t.Name]
	}
	if t.Kind == state.ProcessingTime {
		out.Clock = "processing_time"
	}
	if out.Due == nil {
		out.Value = strconv.FormatInt(t.Time, 10) // no year has it; the microseconds still tell
	}
}

func (s *shape) entryText(sub []byte) (string, error) {
	switch {
	case s.entry != nil:
		return rowText(s.entry, sub)
	case s.Kind == string(manifest.List) && len(sub) == listKeyBytes:
		return strconv.FormatUint(binary.BigEndian.Uint64(sub), 10), nil
	}
	return quoted(sub), nil
}

// valueText is a value as JSON; empty if its codec is not the host's to read.
func (s *shape) valueText(b []byte) (string, error) {
	switch {
	case s.Codec == manifest.CodecJSON && json.Valid(b):
		return string(b), nil
	case s.Codec == manifest.CodecJSON:
		return "", fmt.Errorf("it is no JSON")
	case s.row == nil:
		return "", nil
	}
	text, err := row.ToJSON(s.row, b)
	if err != nil {
		return "", err
	}
	if f := s.row.Fields; len(f) != 1 || f[0].ID != 1 || f[0].Name != scalarName {
		return string(text), nil
	}
	var scalar struct {
		Value json.RawMessage `json:"value"`
	}
	if err := json.Unmarshal(text, &scalar); err != nil {
		return "", err
	}
	return string(scalar.Value), nil
}

// scalarName is the name of the one field by which a row is a scalar: 1:value:type.
const scalarName = "value"
