package runtime_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/runtime/runtimetest"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/worker/workertest"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

const hopKeys = 23

// hops is how often a row goes round, and nextHop where to.
func hops(seq int64) int64    { return seq * 7 % 31 }
func nextHop(key int64) int64 { return (key*5 + 3) % hopKeys }

// hop sends each row round the cycle until it has made its hops, then out. It
// counts the visits of each key in state: on its way out a row has the count.
type hop struct {
	ctx    *operator.Context
	keyers []*batch.Keyer
	out    [2]*batch.Builder
	slots  []state.Slot
}

func (h *hop) Open(ctx *operator.Context) error {
	h.ctx = ctx
	for i := range ctx.Inputs {
		k, err := batch.NewKeyer(ctx.Inputs[i], ctx.Key[i])
		if err != nil {
			return err
		}
		h.keyers = append(h.keyers, k)
	}
	for i := range h.out {
		h.out[i] = batch.NewBuilder(schema.MustParse(runtimetest.Columns))
	}
	return nil
}

func (h *hop) Process(input int, b *batch.Batch) error {
	defer b.Release()
	time.Sleep(time.Millisecond) // so that something is always on its way
	k := h.keyers[input]
	if err := k.Encode(b); err != nil {
		return err
	}
	h.slots = h.ctx.State.Resolve(state.Keys{Bytes: k.Keys.Bytes, Offsets: k.Keys.Offsets}, k.Hashes, h.slots[:0])
	keys, seqs, ns := b.Columns[0].Int64s(), b.Columns[1].Int64s(), b.Columns[2].Int64s()
	for i, slot := range h.slots {
		row := b.Row(i)
		acc := h.ctx.State.Mutable(slot, 0, 8)
		visits := binary.LittleEndian.Uint64(acc) + 1
		binary.LittleEndian.PutUint64(acc, visits)
		to, key, n := 0, nextHop(keys[row]), ns[row]+1
		if ns[row] == hops(seqs[row]) {
			to, key, n = 1, keys[row], int64(visits)
		}
		h.out[to].Column(0).AppendInt64(key)
		h.out[to].Column(1).AppendInt64(seqs[row])
		h.out[to].Column(2).AppendInt64(n)
		h.out[to].EndRow(b.Time(row))
	}
	for i, out := range h.out {
		if out.Len() > 0 {
			if err := h.ctx.Output.Emit(i, out.Finish("", 0)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *hop) Barrier(element.Barrier) (operator.Snapshot, error) {
	return operator.Snapshot{Keyed: h.ctx.State.Freeze()}, nil
}
func (h *hop) Watermark(int, element.Watermark) error { return nil }
func (h *hop) Timers(int64) error                     { return nil }
func (h *hop) EndOfInput(int) error                   { return nil }
func (h *hop) Close() error                           { return nil }

// round is a source, a stage that a feedback edge leads back to, and a sink.
func round(sources, width int) *jobgraph.Graph {
	keyed := []string{"key"}
	return &jobgraph.Graph{
		Version: jobgraph.FormatVersion,
		Stages: []jobgraph.Stage{
			{ID: 0, Name: "in", Parallelism: sources, Operators: []jobgraph.Operator{{ID: "in", Kind: runtimetest.Source, Outputs: []string{runtimetest.Columns}}}},
			{ID: 1, Name: "round", Parallelism: width, Operators: []jobgraph.Operator{{
				ID: "hop", Kind: "hop", Inputs: []string{runtimetest.Columns, runtimetest.Columns}, Key: [][]string{keyed, keyed},
				Outputs:  []string{runtimetest.Columns, runtimetest.Columns},
				State:    []jobgraph.State{{Name: "visits", Kind: "value", Form: "framed", Codec: "bytes"}},
				Upstream: []jobgraph.Port{{Operator: -1, Output: 0}, {Operator: -1, Output: 1}},
			}}},
			{ID: 2, Name: "out", Parallelism: 1, Operators: []jobgraph.Operator{{
				ID: "out", Kind: runtimetest.Sink, Inputs: []string{runtimetest.Columns}, Upstream: []jobgraph.Port{{Operator: -1}},
			}}},
		},
		Edges: []jobgraph.Edge{
			{From: 0, To: 1, Input: 0, Partitioning: jobgraph.Hash, Key: keyed, Schema: runtimetest.Columns},
			{From: 1, Output: 0, To: 1, Input: 1, Partitioning: jobgraph.Hash, Key: keyed, Schema: runtimetest.Columns, Feedback: true},
			{From: 1, Output: 1, To: 2, Partitioning: jobgraph.Rebalance, Schema: runtimetest.Columns},
		},
	}
}

// checkRound holds what came out against a model that walks every row by itself.
func checkRound(t *testing.T, w *runtimetest.World) {
	t.Helper()
	want, visits := map[[2]int64]int{}, map[int64]int64{}
	for split := range w.Splits {
		for seq := range w.Rows {
			key := runtimetest.KeyOf(split, seq)
			visits[key]++
			for range hops(seq) {
				key = nextHop(key)
				visits[key]++
			}
			want[[2]int64{key, seq}]++
		}
	}
	seen := map[[2]int64]bool{}
	for _, rows := range w.Visible("out") {
		for _, row := range rows {
			want[[2]int64{row.Key, row.Seq}]--
			if row.N < 1 || row.N > visits[row.Key] || seen[[2]int64{row.Key, row.N}] {
				t.Fatalf("row %+v: its key has %d visits in all, and no two rows are the same one", row, visits[row.Key])
			}
			seen[[2]int64{row.Key, row.N}] = true
		}
	}
	for row, n := range want {
		if n != 0 {
			t.Fatalf("key %d, row %d: %d too few", row[0], row[1], n)
		}
	}
}

func TestACycleHandlesEveryRowOnceThroughKillsAtAnyMoment(t *testing.T) {
	rounds := 80
	if testing.Short() {
		rounds = 20
	}
	for range rounds {
		seed := rand.Uint64()
		if !t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { cycleKilledAtRandom(t, seed) }) {
			return
		}
	}
}

func cycleKilledAtRandom(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 2))
	sources := 1 + r.IntN(3)
	synctest.Test(t, func(t *testing.T) {
		w := runtimetest.NewWorld(1+r.IntN(6), int64(50+r.IntN(300)))
		w.BatchRows = 1 + r.IntN(40)
		graph := round(sources, 1+r.IntN(4))
		if err := graph.Validate(); err != nil {
			t.Fatal(err)
		}
		run := workertest.New(t, graph, memblob.New(memblob.Options{}), func(kind string) (operator.Operator, error) {
			if kind == "hop" {
				return &hop{}, nil
			}
			return w.NewOperator(kind)
		})
		run.Start()
		defer run.Worker.Close()
		var pending uint64
		told := true
		for range 30 + r.IntN(80) {
			switch r.IntN(7) {
			case 0, 1:
				w.Allow(w.Allowed() + int64(r.IntN(60)))
			case 2:
				time.Sleep(time.Duration(r.IntN(8)) * time.Millisecond)
			case 3:
				if pending == 0 {
					pending = run.Trigger()
				}
			case 4:
				time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
				if pending != 0 && run.Commit(pending) {
					pending, told = 0, false
				}
			case 5:
				if !told {
					run.Notice()
					told = true
				}
			case 6:
				if r.IntN(2) == 0 {
					run.Kill()
					if live := batch.Live(); live != 0 {
						t.Fatalf("%d batches or buffers live after a kill", live)
					}
					// The same state, another number of tasks: what was on its way goes to its new owners.
					run.SetGraph(round(sources, 1+r.IntN(4)))
					run.Start()
					pending, told = 0, true
				}
			}
		}
		w.Allow(w.Rows)
		for range 2 {
			if !told {
				run.Notice()
			}
			time.Sleep(time.Minute)
			if pending == 0 {
				pending = run.Trigger()
			}
			time.Sleep(time.Second)
			if h := run.Heard(); len(h.Failures) > 0 {
				t.Fatalf("failures %v", h.Failures)
			}
			if !run.Commit(pending) {
				t.Fatalf("checkpoint %d is not acknowledged; it waits for %v", pending, run.Worker.Job(workertest.UID).Waiting())
			}
			pending, told = 0, false
		}
		run.Notice()
		synctest.Wait()
		checkRound(t, w)
		run.Kill()
		if live := batch.Live(); live != 0 {
			t.Fatalf("%d batches or buffers live in the end", live)
		}
	})
}
