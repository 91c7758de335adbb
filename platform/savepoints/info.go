package savepoints

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// timersShape is how the timers of an operator are shown.
const timersShape = "timers"

// Info tells what is in a savepoint. It reads all of it: what is counted is there and whole.
func (s *Service) Info(ctx context.Context, r *weirv1.GetSavepointRequest) (*weirv1.GetSavepointResponse, error) {
	sp, err := s.find("look into", r.GetNamespace(), r.GetId())
	if err != nil {
		return nil, err
	}
	m, err := s.manifest(ctx, sp)
	if err != nil {
		return nil, err
	}
	encoded, err := s.object(ctx, "the graph of savepoint "+sp.ID, s.options.GraphName(sp.Graph), sp.Graph)
	if err != nil {
		return nil, err
	}
	graph, err := jobgraph.Decode(encoded)
	if err != nil {
		return nil, fmt.Errorf("read the graph of savepoint %s: %w", sp.ID, err)
	}
	file, err := s.object(ctx, "the file of savepoint "+sp.ID, s.options.SpecName(sp.Spec), sp.Spec)
	if err != nil {
		return nil, err
	}
	out := &weirv1.GetSavepointResponse{Savepoint: s.message(s.options.Node.View(), sp), File: string(file)}
	for i := range m.Operators {
		o, err := s.operator(ctx, m, &m.Operators[i], graph)
		if err != nil {
			return nil, hint(fmt.Errorf("savepoint %s is damaged: %w: %w", sp.ID, err, catalog.ErrDamaged), "import it from an export, or take another savepoint")
		}
		out.Operators = append(out.Operators, o)
		out.Bytes += o.GetBytes()
	}
	return out, nil
}

// tally counts the entries and keys of one state.
type tally struct {
	entries, keys uint64
	key           []byte
}

// counter counts what is loaded, which comes by key hash, state and key.
type counter map[string]*tally

// Load implements snapshot.Loader.
func (c counter) Load(e state.Entry) error {
	t := c[e.State]
	if t == nil {
		t = &tally{}
		c[e.State] = t
	}
	t.entries++
	if t.keys == 0 || !bytes.Equal(t.key, e.Key) {
		t.keys++
		t.key = append(t.key[:0], e.Key...)
	}
	return nil
}

func (s *Service) operator(ctx context.Context, m *snapshot.Manifest, o *snapshot.OperatorState, graph *jobgraph.Graph) (*weirv1.SavepointOperator, error) {
	out := &weirv1.SavepointOperator{Operator: o.Operator, Tasks: uint32(len(o.Tasks)), Bytes: o.Bytes()}
	if _, op, ok := graph.Operator(o.Operator); ok {
		out.Kind = op.Kind
	}
	counts := counter{}
	if err := snapshot.Restore(ctx, s.options.Blobs, m, o.Operator, snapshot.AllGroups(), counts); err != nil {
		return nil, err
	}
	texts := map[string]string{state.TimerState: timersShape}
	for _, shape := range pipelines.Shapes(graph) {
		if shape.Operator == o.Operator {
			texts[shape.State] = shape.Text
		}
	}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		out.States = append(out.States, &weirv1.SavepointState{Name: name, Shape: texts[name], Entries: counts[name].entries, Keys: counts[name].keys})
	}
	for _, t := range o.Tasks {
		for _, ref := range t.Items {
			item, err := snapshot.OpenItem(ctx, s.options.Blobs, ref)
			if err != nil {
				return nil, err
			}
			if item.Kind != snapshot.KindSplit {
				out.Items++
				continue
			}
			out.Positions = append(out.Positions, position(item))
		}
	}
	slices.SortFunc(out.Positions, func(a, b *weirv1.SavepointPosition) int { return compareSplits(a.GetSplit(), b.GetSplit()) })
	return out, nil
}

// compareSplits orders names that differ in length by it, so that 10 follows 9.
func compareSplits(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return bytes.Compare([]byte(a), []byte(b))
}

// position reads a split's item, which the source operator wrote.
func position(item snapshot.Item) *weirv1.SavepointPosition {
	out := &weirv1.SavepointPosition{Split: item.Key}
	var stored struct {
		Position  json.RawMessage `json:"position"`
		Watermark *int64          `json:"watermark"`
	}
	if len(item.Data) == 1 && json.Unmarshal(item.Data[0], &stored) == nil {
		out.Position = string(stored.Position)
		if w := stored.Watermark; w != nil && *w > -maxShownMicros && *w < maxShownMicros {
			out.Watermark = timestamppb.New(time.UnixMicro(*w))
		}
	}
	return out
}

// maxShownMicros is the year 9999: no watermark of data is later, and none before any record is shown.
const maxShownMicros = 253402300799000000
