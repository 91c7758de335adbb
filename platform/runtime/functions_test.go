package runtime_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sort"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/all"
	"github.com/weirstream/weir/platform/operator/dispatch"
	"github.com/weirstream/weir/platform/operator/outbox"
	"github.com/weirstream/weir/platform/operator/parked"
	"github.com/weirstream/weir/platform/runtime/functiontest"
	"github.com/weirstream/weir/platform/runtime/runtimetest"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/worker/workertest"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// roots is a source of trees: split i has every i-th of them.
type roots struct {
	world *runtimetest.World
	trees []functiontest.Send
	ctx   *operator.Context
	at    int64
	out   *batch.Builder
}

func (s *roots) Open(ctx *operator.Context) error {
	s.ctx, s.out = ctx, batch.NewBuilder(functions.Message)
	for _, it := range ctx.Restored {
		if it.Kind == snapshot.KindSplit {
			s.at = int64(binary.LittleEndian.Uint64(it.Data[0]))
		}
	}
	return nil
}

func (s *roots) Poll() (bool, error) {
	upTo := min(s.world.Allowed(), s.at+3, int64(len(s.trees)))
	if upTo <= s.at {
		return false, nil
	}
	for ; s.at < upTo; s.at++ {
		appendMessage(s.out, "", "", &s.trees[s.at])
	}
	return true, s.ctx.Output.Emit(0, s.out.Finish("", 0))
}

func appendMessage(out *batch.Builder, callerType, callerID string, s *functiontest.Send) {
	out.Column(functions.MessageType).AppendString(s.Type)
	out.Column(functions.MessageID).AppendString(s.ID)
	if callerType == "" {
		out.Column(functions.MessageCallerType).AppendNull()
		out.Column(functions.MessageCallerID).AppendNull()
	} else {
		out.Column(functions.MessageCallerType).AppendString(callerType)
		out.Column(functions.MessageCallerID).AppendString(callerID)
	}
	out.Column(functions.MessageTypename).AppendString("command")
	out.Column(functions.MessageValue).AppendBytes(functiontest.Encode(s.Command))
	out.EndRow(batch.NoTime)
}

func (s *roots) Done() bool { return false }
func (s *roots) Barrier(element.Barrier) (operator.Snapshot, error) {
	at := binary.LittleEndian.AppendUint64(nil, uint64(s.at))
	return operator.Snapshot{Items: []snapshot.Item{{Kind: snapshot.KindSplit, Key: "0", Data: [][]byte{at}}}}, nil
}
func (s *roots) Process(int, *batch.Batch) error        { panic("a source has no input") }
func (s *roots) Watermark(int, element.Watermark) error { return nil }
func (s *roots) Timers(int64) error                     { return nil }
func (s *roots) EndOfInput(int) error                   { return nil }
func (s *roots) Close() error                           { return nil }

// commander is a function that does what it is told: it stands where a module's would.
type commander struct {
	ctx    *operator.Context
	typ    string
	keyer  *batch.Keyer
	slots  []state.Slot
	sent   *batch.Builder
	egress *batch.Builder
}

func (c *commander) Open(ctx *operator.Context) (err error) {
	c.ctx, c.typ = ctx, ctx.Operator
	c.sent, c.egress = batch.NewBuilder(functions.Sent), batch.NewBuilder(functions.Egress)
	c.keyer, err = batch.NewKeyer(functions.Message, []string{"id"})
	return err
}

// The states of commander.
const (
	stateSum state.ID = iota
	stateSeen
)

func (c *commander) Process(_ int, b *batch.Batch) error {
	defer b.Release()
	time.Sleep(time.Millisecond)
	if err := c.keyer.Encode(b); err != nil {
		return err
	}
	c.slots = c.ctx.State.Resolve(state.Keys{Bytes: c.keyer.Keys.Bytes, Offsets: c.keyer.Keys.Offsets}, c.keyer.Hashes, c.slots[:0])
	for i, slot := range c.slots {
		row := b.Row(i)
		if got := b.Columns[functions.MessageType].StringAt(row); got != c.typ {
			return fmt.Errorf("a message to %s came to %s", got, c.typ)
		}
		id := b.Columns[functions.MessageID].StringAt(row)
		cmd, err := functiontest.Decode(b.Columns[functions.MessageValue].BytesAt(row))
		if err != nil {
			return err
		}
		acc := c.ctx.State.Mutable(slot, stateSum, 16)
		binary.LittleEndian.PutUint64(acc, binary.LittleEndian.Uint64(acc)+uint64(cmd.Add))
		binary.LittleEndian.PutUint64(acc[8:], binary.LittleEndian.Uint64(acc[8:])+1)
		if cmd.Place > 0 {
			// What one command sends to one address comes in its order.
			parent := strconv.AppendInt(nil, cmd.Parent, 10)
			last := 0
			if v, ok := c.ctx.State.GetEntry(slot, stateSeen, parent); ok {
				last, _ = strconv.Atoi(string(v))
			}
			if cmd.Place != last+1 {
				return fmt.Errorf("%s/%s: the %d. message of command %d came after the %d.", c.typ, id, cmd.Place, cmd.Parent, last)
			}
			if err := c.ctx.State.PutEntry(slot, stateSeen, parent, strconv.AppendInt(nil, int64(cmd.Place), 10)); err != nil {
				return err
			}
		}
		c.effects(id, cmd)
	}
	if c.sent.Len() > 0 {
		if err := c.ctx.Output.Emit(0, c.sent.Finish("", 0)); err != nil {
			return err
		}
	}
	if c.egress.Len() > 0 {
		return c.ctx.Output.Emit(1, c.egress.Finish("", 0))
	}
	return nil
}

func (c *commander) effects(id string, cmd *functiontest.Command) {
	for i := range cmd.Sends {
		s := cmd.Sends[i]
		if s.Type == functiontest.Self {
			s.Type, s.ID = c.typ, id
		}
		op := int8(functions.OpSend)
		if s.DelayMs > 0 {
			op = functions.OpDelay
		}
		c.send(id, s.Type, s.ID, functiontest.Encode(s.Command), op, s.DelayMs, s.Token)
	}
	for _, token := range cmd.Cancel {
		c.send(id, "", "", nil, functions.OpCancel, 0, token)
	}
	if cmd.Egress {
		e := c.egress
		e.Column(functions.EgressName).AppendString("test.weir/out")
		e.Column(functions.EgressTypename).AppendString("row")
		e.Column(functions.EgressKey).AppendNull()
		var v [16]byte
		binary.LittleEndian.PutUint64(v[:], uint64(cmd.Node))
		binary.LittleEndian.PutUint64(v[8:], uint64(cmd.Add))
		e.Column(functions.EgressValue).AppendBytes(v[:])
		e.Column(functions.EgressCallerType).AppendString(c.typ)
		e.Column(functions.EgressCallerID).AppendString(id)
		e.EndRow(batch.NoTime)
	}
}

func (c *commander) send(from, typ, id string, value []byte, op int8, delayMs, token int64) {
	s := c.sent
	s.Column(functions.SentType).AppendString(typ)
	s.Column(functions.SentID).AppendString(id)
	s.Column(functions.SentTypename).AppendString("command")
	s.Column(functions.SentValue).AppendBytes(value)
	s.Column(functions.SentOp).AppendInt8(op)
	s.Column(functions.SentDelayMs).AppendInt64(delayMs)
	if token == 0 {
		s.Column(functions.SentToken).AppendNull()
	} else {
		s.Column(functions.SentToken).AppendString(strconv.FormatInt(token, 10))
	}
	s.Column(functions.SentCallerType).AppendString(c.typ)
	s.Column(functions.SentCallerID).AppendString(from)
	s.EndRow(batch.NoTime)
}

func (c *commander) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{Keyed: c.ctx.State.Freeze()}, nil
}
func (c *commander) Watermark(_ int, w element.Watermark) error { return c.ctx.Output.Watermark(w) }
func (c *commander) Timers(int64) error                         { return nil }
func (c *commander) EndOfInput(int) error                       { return nil }
func (c *commander) Close() error                               { return nil }

// unraw makes rows for the test's sink of the records of an egress.
type unraw struct {
	ctx *operator.Context
	out *batch.Builder
}

func (u *unraw) Open(ctx *operator.Context) error {
	u.ctx, u.out = ctx, batch.NewBuilder(schema.MustParse(runtimetest.Columns))
	return nil
}

func (u *unraw) Process(_ int, b *batch.Batch) error {
	defer b.Release()
	for i := range b.Len() {
		v := b.Columns[1].BytesAt(b.Row(i))
		u.out.Column(0).AppendInt64(int64(binary.LittleEndian.Uint64(v)))
		u.out.Column(1).AppendInt64(int64(binary.LittleEndian.Uint64(v[8:])))
		u.out.Column(2).AppendInt64(0)
		u.out.EndRow(b.Time(b.Row(i)))
	}
	return u.ctx.Output.Emit(0, u.out.Finish("", 0))
}
func (u *unraw) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{}, nil
}
func (u *unraw) Watermark(int, element.Watermark) error { return nil }
func (u *unraw) Timers(int64) error                     { return nil }
func (u *unraw) EndOfInput(int) error                   { return nil }
func (u *unraw) Close() error                           { return nil }

// application is a stage of functions with everything that belongs to one.
func application(types []string, width int) *jobgraph.Graph {
	message, raw := functions.Message.String(), schema.Raw().String()
	encode := func(v any) json.RawMessage { b, _ := json.Marshal(v); return b }
	head := jobgraph.Operator{
		ID: "dispatch", Kind: dispatch.Kind, Config: encode(dispatch.Config{Types: types}), Inputs: []string{message, message},
		Upstream: []jobgraph.Port{{Operator: -1, Output: 0}, {Operator: -1, Output: 1}},
	}
	tail := jobgraph.Operator{ID: "outbox", Kind: outbox.Kind, Config: encode(outbox.Config{Egress: []string{"test.weir/out"}}), State: outbox.States(), Outputs: []string{message, raw, message}}
	feed := func(schema string, operator, output int) {
		tail.Inputs = append(tail.Inputs, schema)
		tail.Key = append(tail.Key, []string{"caller_id"})
		tail.Upstream = append(tail.Upstream, jobgraph.Port{Operator: operator, Output: output})
	}
	operators := []jobgraph.Operator{head}
	for i, typ := range types {
		operators[0].Outputs = append(operators[0].Outputs, message)
		operators = append(operators, jobgraph.Operator{
			ID: typ, Kind: "commander", Inputs: []string{message}, Key: [][]string{{"id"}}, Outputs: []string{functions.Sent.String(), functions.Egress.String()},
			State: []jobgraph.State{
				{Name: "sum", Kind: "value", Form: "framed", Codec: "bytes"}, {Name: "seen", Kind: "map", Form: "hosted", Codec: "bytes"},
			},
			Upstream: []jobgraph.Port{{Operator: 0, Output: i}},
		})
		feed(functions.Sent.String(), i+1, 0)
		feed(functions.Egress.String(), i+1, 1)
	}
	operators[0].Outputs = append(operators[0].Outputs, message)
	operators = append(operators, jobgraph.Operator{
		ID: "parked", Kind: parked.Kind, Config: encode(parked.Config{Types: types}), State: parked.States(), Inputs: []string{message}, Key: [][]string{{"id"}},
		Outputs: []string{message}, Upstream: []jobgraph.Port{{Operator: 0, Output: len(types)}},
	})
	feed(message, len(types)+1, 0)
	operators = append(operators, tail)
	last := len(operators) - 1
	return &jobgraph.Graph{
		Version: jobgraph.FormatVersion,
		Stages: []jobgraph.Stage{
			{ID: 0, Name: "in", Parallelism: 1, Operators: []jobgraph.Operator{{ID: "in", Kind: "roots", Outputs: []string{message}}}},
			{ID: 1, Name: "functions", Parallelism: width, Operators: operators},
			{ID: 2, Name: "out", Parallelism: 1, Operators: []jobgraph.Operator{
				{ID: "unraw", Kind: "unraw", Inputs: []string{raw}, Outputs: []string{runtimetest.Columns}, Upstream: []jobgraph.Port{{Operator: -1}}},
				{ID: "out", Kind: runtimetest.Sink, Inputs: []string{runtimetest.Columns}, Upstream: []jobgraph.Port{{Operator: 0}}},
			}},
		},
		Edges: []jobgraph.Edge{
			{From: 0, To: 1, Input: 0, Partitioning: jobgraph.Hash, Key: []string{"id"}, Schema: message},
			{From: 1, Operator: last, To: 1, Input: 1, Partitioning: jobgraph.Hash, Key: []string{"id"}, Schema: message, Feedback: true},
			{From: 1, Operator: last, Output: 1, To: 2, Partitioning: jobgraph.Rebalance, Schema: raw},
		},
	}
}

func TestFunctionsDoEveryCommandOnceThroughKillsRescalesAndNewTypes(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for range rounds {
		seed := rand.Uint64()
		if !t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { commandsKilledAtRandom(t, seed) }) {
			return
		}
	}
}

func commandsKilledAtRandom(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 3))
	o := functiontest.Options{Types: 2 + r.IntN(6), IDs: 1 + r.IntN(40), Depth: 1 + r.IntN(5), Width: 1 + r.IntN(4)}
	gen, model := functiontest.NewGenerator(r, o), functiontest.NewModel()
	src := &roots{}
	for range 5 + r.IntN(30) {
		root := gen.Root()
		model.Run(root)
		src.trees = append(src.trees, root)
	}
	var types []string
	for i := range o.Types {
		types = append(types, functiontest.TypeName(i))
	}
	known := 1 + r.IntN(len(types)) // the others come with a later revision
	synctest.Test(t, func(t *testing.T) {
		w := runtimetest.NewWorld(1, int64(len(src.trees)))
		graph := application(types[:known], 1+r.IntN(4))
		if err := graph.Validate(); err != nil {
			t.Fatal(err)
		}
		run := workertest.New(t, graph, memblob.New(memblob.Options{}), func(kind string) (operator.Operator, error) {
			switch kind {
			case "roots":
				return &roots{world: w, trees: src.trees}, nil
			case "commander":
				return &commander{}, nil
			case "unraw":
				return &unraw{}, nil
			}
			if make := all.Placed[kind]; make != nil {
				return make(), nil
			}
			return w.NewOperator(kind)
		})
		run.Start()
		defer run.Worker.Close()
		var pending uint64
		told := true
		checkpoint := func(patience time.Duration) {
			t.Helper()
			if !told {
				run.Notice()
				told = true
			}
			if pending == 0 {
				pending = run.Trigger()
			}
			time.Sleep(patience)
			if h := run.Heard(); len(h.Failures) > 0 {
				t.Fatalf("failures %v", h.Failures)
			}
			if run.Commit(pending) {
				pending, told = 0, false
			}
		}
		for range 20 + r.IntN(60) {
			switch r.IntN(6) {
			case 0, 1:
				w.Allow(w.Allowed() + int64(r.IntN(6)))
			case 2:
				time.Sleep(time.Duration(r.IntN(500)) * time.Millisecond)
			case 3, 4:
				checkpoint(time.Duration(r.IntN(40)) * time.Millisecond)
			case 5:
				if r.IntN(3) > 0 {
					continue
				}
				run.Kill()
				if live := batch.Live(); live != 0 {
					t.Fatalf("%d batches or buffers live after a kill", live)
				}
				if r.IntN(2) == 0 {
					known = min(known+1, len(types))
				}
				run.SetGraph(application(types[:known], 1+r.IntN(4)))
				run.Start()
				pending, told = 0, true
			}
		}
		for pending != 0 { // a revision begins from a checkpoint, not in the midst of one
			checkpoint(time.Minute)
		}
		run.Kill()
		run.SetGraph(application(types, 1+r.IntN(4)))
		run.Start()
		pending, told = 0, true
		w.Allow(w.Rows)
		time.Sleep(2 * functiontest.Far)
		for range 3 {
			checkpoint(time.Minute)
		}
		if pending != 0 {
			t.Fatalf("checkpoint %d is not acknowledged; it waits for %v", pending, run.Worker.Job(workertest.UID).Waiting())
		}
		run.Notice()
		time.Sleep(time.Minute)
		compare(t, model, w, run)
		run.Kill()
		if live := batch.Live(); live != 0 {
			t.Fatalf("%d batches or buffers live in the end", live)
		}
	})
}

// compare holds egress and the state in the last checkpoint against the model.
func compare(t *testing.T, model *functiontest.Model, w *runtimetest.World, run *workertest.Run) {
	t.Helper()
	got := map[int64]int{}
	for _, rows := range w.Visible("out") {
		for _, row := range rows {
			got[row.Key]++
			if want, ok := model.Egress[row.Key]; !ok || want != row.Seq || got[row.Key] > 1 {
				t.Fatalf("command %d gave %d for the %d. time; the model says %d (%t)", row.Key, row.Seq, got[row.Key], want, ok)
			}
		}
	}
	for node := range model.Egress {
		if got[node] == 0 {
			t.Fatalf("command %d gave nothing", node)
		}
	}
	sums := map[string]int64{}
	for address := range model.Counts {
		sums[address] = -1
	}
	for typ, entries := range finalState(t, run) {
		for id, acc := range entries {
			address := typ + "/" + id
			sum, n := int64(binary.LittleEndian.Uint64(acc)), int64(binary.LittleEndian.Uint64(acc[8:]))
			if sum != model.Sums[address] || n != model.Counts[address] {
				t.Fatalf("%s has %d of %d commands, want %d of %d", address, sum, n, model.Sums[address], model.Counts[address])
			}
			delete(sums, address)
		}
	}
	if len(sums) > 0 {
		var missing []string
		for a := range sums {
			missing = append(missing, a)
		}
		sort.Strings(missing)
		t.Fatalf("no state of %v", missing)
	}
}

// finalState reads the sums in the last checkpoint: type, id, bytes. What waits
// for a type, or for a time, is nothing any more.
func finalState(t *testing.T, run *workertest.Run) map[string]map[string][]byte {
	t.Helper()
	out := map[string]map[string][]byte{}
	for _, op := range run.Last.Operators {
		if op.Operator == "dispatch" || op.Operator == "out" || op.Operator == "in" || op.Operator == "unraw" {
			continue
		}
		c := &collector{}
		if err := snapshot.Restore(t.Context(), run.Blobs, run.Last, op.Operator, snapshot.Groups{First: 0, Last: 255}, c); err != nil {
			t.Fatal(err)
		}
		for _, e := range c.entries {
			switch {
			case op.Operator == "parked" && e.State == "mail", op.Operator == "outbox" && e.State != "$timers":
				t.Fatalf("%s still has %q of %q", op.Operator, e.State, e.Key)
			case e.State == "sum":
				if out[op.Operator] == nil {
					out[op.Operator] = map[string][]byte{}
				}
				out[op.Operator][string(e.Key[1:])] = e.Value
			}
		}
	}
	return out
}

// collector keeps what a restore gives.
type collector struct{ entries []state.Entry }

func (c *collector) Load(e state.Entry) error {
	e.Key, e.Sub, e.Value = bytes.Clone(e.Key), bytes.Clone(e.Sub), bytes.Clone(e.Value)
	c.entries = append(c.entries, e)
	return nil
}
