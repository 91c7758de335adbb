package runtime_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/runtime/runtimetest"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/worker/workertest"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// flow is what the model says of an output: how often it has each row, whether
// the rows of a key keep their order, and what the column n holds.
type flow struct {
	even, odd int // copies of rows with an even and with an odd sequence
	ordered   bool
	n         numbering
	counted   [2]int // copies that the last counter took, for permuted
}

type numbering int

const (
	zeros    numbering = iota // no counter on the way
	exact                     // the place of the row within its key
	permuted                  // 1 to the number of rows of the key, in some order
	unknown
)

// generator makes a random graph and the model of its sinks.
type generator struct {
	r     *rand.Rand
	g     *jobgraph.Graph
	ports []port
	sinks map[string]flow
}

type port struct {
	stage    jobgraph.StageID
	operator int
	output   int
	flow     flow
}

func generate(r *rand.Rand) *generator {
	gen := &generator{r: r, g: &jobgraph.Graph{Version: jobgraph.FormatVersion}, sinks: map[string]flow{}}
	for range 1 + r.IntN(2) {
		gen.source()
	}
	for range 1 + r.IntN(4) {
		gen.middle()
	}
	for range 1 + r.IntN(2) {
		gen.sink()
	}
	return gen
}

func (gen *generator) stage() *jobgraph.Stage {
	id := len(gen.g.Stages)
	gen.g.Stages = append(gen.g.Stages, jobgraph.Stage{ID: jobgraph.StageID(id), Name: fmt.Sprint("stage", id), Parallelism: 1 + gen.r.IntN(4)})
	return &gen.g.Stages[id]
}

func operatorID(s *jobgraph.Stage) string { return fmt.Sprintf("%s-%d", s.Name, len(s.Operators)) }

func (gen *generator) source() {
	s := gen.stage()
	s.Operators = []jobgraph.Operator{{ID: operatorID(s), Kind: runtimetest.Source, Outputs: []string{runtimetest.Columns}}}
	gen.ports = append(gen.ports, port{s.ID, 0, 0, flow{even: 1, odd: 1, ordered: true}})
}

// middle adds a stage whose head counts or passes on, and that may have a chain behind it.
func (gen *generator) middle() {
	s := gen.stage()
	inputs := 1 + gen.r.IntN(2)
	head := jobgraph.Operator{ID: operatorID(s), Kind: runtimetest.Pass}
	if gen.r.IntN(2) == 0 {
		head.Kind = runtimetest.Count
		head.State = []jobgraph.State{{Name: "n", Kind: "value", Form: "framed", Codec: "bytes"}}
	}
	in := gen.connect(s, &head, inputs)
	gen.outputs(s, head, in)
	for range gen.r.IntN(3) {
		at := gen.r.IntN(len(s.Operators))
		output := gen.r.IntN(len(s.Operators[at].Outputs))
		var up flow
		for _, p := range gen.ports {
			if p.stage == s.ID && p.operator == at && p.output == output {
				up = p.flow
			}
		}
		op := jobgraph.Operator{ID: operatorID(s), Kind: runtimetest.Pass, Inputs: []string{runtimetest.Columns}, Upstream: []jobgraph.Port{{Operator: at, Output: output}}}
		gen.outputs(s, op, up)
	}
}

func (gen *generator) sink() {
	s := gen.stage()
	op := jobgraph.Operator{ID: operatorID(s), Kind: runtimetest.Sink}
	gen.sinks[op.ID] = gen.connect(s, &op, 1+gen.r.IntN(2))
	s.Operators = append(s.Operators, op)
}

// connect draws edges to an operator at the head of a stage and says what it gets.
func (gen *generator) connect(s *jobgraph.Stage, op *jobgraph.Operator, inputs int) flow {
	var flows []flow
	for input := range inputs {
		op.Inputs = append(op.Inputs, runtimetest.Columns)
		op.Upstream = append(op.Upstream, jobgraph.Port{Operator: -1, Output: input})
		if op.Kind == runtimetest.Count {
			op.Key = append(op.Key, []string{"key"})
		}
		candidates := slices.DeleteFunc(slices.Clone(gen.ports), func(p port) bool { return p.stage == s.ID })
		gen.r.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
		for _, from := range candidates[:min(len(candidates), 1+gen.r.IntN(2))] {
			e := jobgraph.Edge{From: from.stage, Operator: from.operator, Output: from.output, To: s.ID, Input: input, Schema: runtimetest.Columns}
			f := from.flow
			width := gen.g.Stages[from.stage].Parallelism
			switch kind := gen.r.IntN(4); {
			case op.Kind == runtimetest.Count, kind == 0:
				e.Partitioning, e.Key = jobgraph.Hash, []string{"key"}
			case kind == 1 && width == s.Parallelism:
				e.Partitioning = jobgraph.Forward
			case kind == 2:
				e.Partitioning = jobgraph.Broadcast
				if s.Parallelism > 1 {
					f = flow{even: f.even * s.Parallelism, odd: f.odd * s.Parallelism, n: unknown}
				}
			default:
				e.Partitioning = jobgraph.Rebalance
				f.ordered = f.ordered && s.Parallelism == 1
			}
			gen.g.Edges = append(gen.g.Edges, e)
			flows = append(flows, f)
		}
	}
	if len(flows) == 1 {
		return flows[0]
	}
	sum := flow{n: unknown}
	for _, f := range flows {
		sum.even, sum.odd = sum.even+f.even, sum.odd+f.odd
	}
	return sum
}

func (gen *generator) outputs(s *jobgraph.Stage, op jobgraph.Operator, in flow) {
	out := in
	if op.Kind == runtimetest.Count {
		out.n, out.counted = permuted, [2]int{in.even, in.odd}
		if in.ordered {
			out.n = exact
		}
	}
	op.Outputs = []string{runtimetest.Columns}
	at := len(s.Operators)
	gen.ports = append(gen.ports, port{s.ID, at, 0, out})
	if op.Kind == runtimetest.Pass && gen.r.IntN(2) == 0 {
		op.Outputs = append(op.Outputs, runtimetest.Columns)
		side := out
		side.even = 0
		if side.n == permuted {
			side.n = unknown
		}
		gen.ports = append(gen.ports, port{s.ID, at, 1, side})
	}
	s.Operators = append(s.Operators, op)
}

// check holds what sinks have shown against the model.
func (gen *generator) check(t *testing.T, w *runtimetest.World) {
	t.Helper()
	if late := w.Late(); len(late) > 0 {
		t.Errorf("%d rows behind a watermark, first %s", len(late), late[0])
	}
	for id, f := range gen.sinks {
		got := map[int64]map[int64]int{} // key -> seq -> copies
		numbers := map[int64][]int64{}
		byKey := map[int64][]runtimetest.Row{}
		for _, rows := range w.Visible(id) {
			for _, row := range rows {
				if got[row.Key] == nil {
					got[row.Key] = map[int64]int{}
				}
				got[row.Key][row.Seq]++
				numbers[row.Key] = append(numbers[row.Key], row.N)
				byKey[row.Key] = append(byKey[row.Key], row)
			}
		}
		place := map[int64]int64{}
		for split := range w.Splits {
			taken := map[int64]int64{} // key -> rows of it that the counter took
			for seq := range w.Rows {
				key := runtimetest.KeyOf(split, seq)
				want := []int{f.even, f.odd}[seq%2]
				if have := got[key][seq]; have != want {
					t.Errorf("%s: key %d, row %d came %d times, want %d", id, key, seq, have, want)
					return
				}
				delete(got[key], seq)
				taken[key] += int64(f.counted[seq%2])
				if f.ordered && f.n == exact && f.counted[seq%2] > 0 {
					place[key]++
					if want > 0 {
						if n := byKey[key][0].N; n != place[key] {
							t.Errorf("%s: key %d, row %d has the number %d, want %d", id, key, seq, n, place[key])
							return
						}
					}
				}
				if f.ordered && want > 0 {
					if byKey[key][0].Seq != seq {
						t.Errorf("%s: key %d: row %d stands where %d should", id, key, byKey[key][0].Seq, seq)
						return
					}
					byKey[key] = byKey[key][1:]
				}
			}
			for key, total := range taken {
				if f.n != permuted {
					break
				}
				slices.Sort(numbers[key])
				for i, n := range numbers[key] {
					if n != int64(i+1) || len(numbers[key]) != int(total) {
						t.Errorf("%s: key %d: numbers are %v, want 1 to %d", id, key, numbers[key], total)
						return
					}
				}
			}
		}
		for key, rest := range got {
			for seq := range rest {
				t.Errorf("%s: key %d, row %d was never sent", id, key, seq)
				return
			}
		}
	}
}

func TestAnyGraphShowsEveryRowOnceAndInOrderThroughKillsAtAnyMoment(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	for range rounds {
		seed := rand.Uint64()
		if !t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { killedAtRandom(t, seed) }) {
			return
		}
	}
}

func killedAtRandom(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	gen := generate(r)
	if err := gen.g.Validate(); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := runtimetest.NewWorld(1+r.IntN(6), int64(50+r.IntN(300)))
		w.BatchRows = 1 + r.IntN(40)
		run := workertest.New(t, gen.g, memblob.New(memblob.Options{}), w.NewOperator)
		run.Start()
		defer run.Worker.Close()
		var pending uint64 // asked for and not committed
		told := true       // the worker knows of the last commit
		for range 20 + r.IntN(60) {
			switch r.IntN(7) {
			case 0, 1:
				w.Allow(w.Allowed() + int64(r.IntN(60)))
			case 2:
				synctest.Wait()
			case 3:
				if pending == 0 {
					pending = run.Trigger()
				}
			case 4:
				if pending != 0 && run.Commit(pending) {
					pending, told = 0, false
				}
			case 5:
				if !told {
					run.Notice()
					told = true
				}
			case 6:
				if r.IntN(3) == 0 {
					run.Kill()
					if live := batch.Live(); live != 0 {
						t.Fatalf("%d batches or buffers live after a kill", live)
					}
					run.Start()
					pending, told = 0, true
				}
			}
		}
		finish(t, run, w, pending, told)
		gen.check(t, w)
		run.Kill()
		if live := batch.Live(); live != 0 {
			t.Fatalf("%d batches or buffers live in the end", live)
		}
	})
}

// finish lets the sources read to their end and commits what comes of it.
func finish(t *testing.T, run *workertest.Run, w *runtimetest.World, pending uint64, told bool) {
	t.Helper()
	w.Allow(w.Rows)
	for range 2 {
		if !told {
			run.Notice()
		}
		synctest.Wait()
		if pending == 0 {
			pending = run.Trigger()
		}
		synctest.Wait()
		if h := run.Heard(); len(h.Failures) > 0 || !h.Ended {
			t.Fatalf("ended %t, failures %v", h.Ended, h.Failures)
		}
		if !run.Commit(pending) {
			t.Fatalf("checkpoint %d is not acknowledged; it waits for %v", pending, run.Worker.Job(workertest.UID).Waiting())
		}
		pending, told = 0, false
	}
	run.Notice()
	synctest.Wait()
	h := run.Heard()
	if n := len(h.Published); n == 0 || h.Published[n-1] != run.Last.Meta.Checkpoint {
		t.Fatalf("published are %v, the last commit is %d", h.Published, run.Last.Meta.Checkpoint)
	}
}
