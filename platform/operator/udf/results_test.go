package udf

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/operator/operatortest"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/wasmhost"
)

// step is one thing that happens to an operator.
type step struct {
	input     int
	row       operatortest.Row // of an input
	watermark int64
	clock     int64
}

func history(r *rand.Rand) []step {
	var steps []step
	keys := []string{"", "a", "bb", "ccc", "dddd", "\x00nul"}
	time, clock := int64(1000), int64(1000)
	op := func(deep bool) string {
		n, k := r.Int64N(10)-5, r.Int64N(6)
		ops := []string{
			fmt.Sprint("add ", n), "sum", "forget", fmt.Sprint("text ", r.IntN(900)), "length",
			fmt.Sprint("put ", k, " ", n), fmt.Sprint("put ", k, " ", n), fmt.Sprint("get ", k), fmt.Sprint("delete ", k), "clear", "scan", "scan",
			fmt.Sprint("append ", n), fmt.Sprint("append ", n), "list", "empty",
			fmt.Sprint("first ", time+r.Int64N(60)-10), fmt.Sprint("second ", time+r.Int64N(60)-10), fmt.Sprint("clock ", clock+r.Int64N(60)-10),
			fmt.Sprint("-first ", time+r.Int64N(60)-10), fmt.Sprint("-second ", time+r.Int64N(60)-10), fmt.Sprint("-clock ", clock+r.Int64N(60)-10),
			"say hello", "side by side", fmt.Sprint("at ", time+r.Int64N(10)), "fail with a text", fmt.Sprint("text ", 1100+r.IntN(100)),
		}
		if deep {
			ops = ops[:len(ops)-2]
		}
		return ops[r.IntN(len(ops))]
	}
	for range 150 + r.IntN(150) {
		switch n := r.IntN(20); {
		case n == 0:
			time += 20
			steps = append(steps, step{input: -1, watermark: time})
		case n == 1:
			clock += 20
			steps = append(steps, step{input: -2, clock: clock})
		case n < 5:
			steps = append(steps, step{input: 1, row: operatortest.Of(time+r.Int64N(20), keys[r.IntN(len(keys))], r.Int64N(100))})
		default:
			var ops []string
			for range 1 + r.IntN(5) {
				ops = append(ops, op(false))
			}
			if r.IntN(3) == 0 { // a timer that does something, and may set the next
				at := time + r.Int64N(60) - 10
				ops = append(ops, fmt.Sprintf("plan %d %s|%s|first %d", at, op(r.IntN(4) > 0), op(true), at+1+r.Int64N(30)))
				if r.IntN(2) == 0 {
					ops = append(ops, fmt.Sprint("first ", at))
				}
			}
			steps = append(steps, step{input: 0, row: operatortest.Of(time+r.Int64N(20), keys[r.IntN(len(keys))], strings.Join(ops, "; "))})
		}
	}
	return append(steps, step{input: -1, watermark: 1 << 40}, step{input: -2, clock: 1 << 40})
}

func (m *model) play(steps []step) {
	for _, s := range steps {
		switch s.input {
		case 0:
			m.line(s.row.Values[0].(string), s.row.Values[1].(string), s.row.Time)
		case 1:
			m.number(s.row.Values[0].(string), s.row.Values[1].(int64), s.row.Time)
		case -1:
			m.event(s.watermark)
		case -2:
			m.fire(true, s.clock)
		}
	}
}

// play runs steps in batches of at most longest rows and returns what is left.
func (r *rig) play(rng *rand.Rand, steps []step, longest int) []step {
	r.t.Helper()
	s := steps[0]
	switch s.input {
	case -1:
		r.event(s.watermark)
		return steps[1:]
	case -2:
		r.advance(s.clock)
		return steps[1:]
	}
	var rows []operatortest.Row
	for n := 1 + rng.IntN(longest); len(rows) < n && len(steps) > 0 && steps[0].input == s.input; steps = steps[1:] {
		rows = append(rows, steps[0].row)
	}
	decoys := rng
	if rng.IntN(2) == 0 {
		decoys = nil
	}
	if err := r.Process(s.input, operatortest.Batch(decoys, r.inputs[s.input], rows)); err != nil {
		r.t.Fatalf("process: %v", err)
	}
	return steps
}

// byKey gives the texts of rows for each key, in order.
func byKey(rows []operatortest.Row) map[string][]string {
	out := map[string][]string{}
	for _, r := range rows {
		key := r.Values[0].(string)
		out[key] = append(out[key], r.String())
	}
	return out
}

func (r *rig) same(how string, m *model) {
	r.t.Helper()
	for output := range 2 {
		got, want := byKey(r.rows[output]), byKey(m.rows[output])
		for key := range want {
			if !slices.Equal(got[key], want[key]) {
				for i := range min(len(got[key]), len(want[key])) {
					if got[key][i] != want[key][i] {
						r.t.Errorf("%s: output %d, key %q, row %d is %s, want %s", how, output, key, i, got[key][i], want[key][i])
						break
					}
				}
				r.t.Errorf("%s: output %d, key %q: %d rows, want %d", how, output, key, len(got[key]), len(want[key]))
				return
			}
		}
		if len(r.rows[output]) != len(m.rows[output]) {
			r.t.Errorf("%s: output %d has %d rows, want %d", how, output, len(r.rows[output]), len(m.rows[output]))
		}
	}
	if len(r.letters()) != len(m.rows[2]) {
		r.t.Errorf("%s: %d dead letters, want %d", how, len(r.letters()), len(m.rows[2]))
	}
}

const histories = 8

// eachHistory runs random histories; WEIR_SEED replays one.
func eachHistory(t *testing.T, f func(t *testing.T, rng *rand.Rand, steps []step, want *model)) {
	alive(t)
	for range histories {
		seed := rand.Uint64()
		if text := os.Getenv(operatortest.SeedVariable); text != "" {
			seed, _ = strconv.ParseUint(text, 10, 64)
		}
		t.Logf("seed %d (replay it by %s)", seed, operatortest.SeedVariable)
		rng := rand.New(rand.NewPCG(seed, 0))
		steps := history(rng)
		want := newModel()
		want.play(steps)
		if f(t, rng, steps, want); t.Failed() {
			return
		}
	}
}

func TestResultsDoNotDependOnHowBatchesAreCut(t *testing.T) {
	eachHistory(t, func(t *testing.T, rng *rand.Rand, steps []step, want *model) {
		for _, longest := range []int{1, 7, 200} {
			r := open(t, plan{function: "script"})
			for rest := steps; len(rest) > 0; {
				if rng.IntN(2) == 0 {
					r.rowsPerCall = 1 + rng.IntN(40)
				}
				rest = r.play(rng, rest, longest)
			}
			r.close()
			r.same(fmt.Sprintf("at most %d rows a batch", longest), want)
		}
	})
}

func TestResultsDoNotDependOnWhenTheInstanceIsReplaced(t *testing.T) {
	eachHistory(t, func(t *testing.T, rng *rand.Rand, steps []step, want *model) {
		replaced := 0
		r := open(t, plan{function: "script", deps: Deps{BeforeCall: func(in *wasmhost.Instance) error {
			if rng.IntN(3) > 0 {
				return nil
			}
			replaced++
			return in.Close(context.Background())
		}}})
		for rest := steps; len(rest) > 0; {
			r.rowsPerCall = 1 + rng.IntN(40)
			rest = r.play(rng, rest, 60)
		}
		r.close()
		r.same(fmt.Sprintf("with %d instances replaced", replaced), want)
		if replaced == 0 {
			t.Error("no instance was replaced")
		}
	})
}

func TestResultsAreTheSameAfterARestoreFromAnyBarrier(t *testing.T) {
	eachHistory(t, func(t *testing.T, rng *rand.Rand, steps []step, want *model) {
		var segments [][]state.Entry
		crash := rng.IntN(len(steps))
		r := open(t, plan{function: "script"})
		rest, replay := steps, steps
		kept := make([][]operatortest.Row, 3)
		keep := func() {
			for i := range kept {
				kept[i] = append(kept[i], r.rows[i]...)
				r.rows[i] = nil
			}
		}
		for len(rest) > 0 && len(steps)-len(rest) < crash {
			rest = r.play(rng, rest, 20)
			r.state.Advance(r.now) // lets the backend drop what holds nothing
			if rng.IntN(4) == 0 {
				segments = append(segments, r.barrier())
				keep()
				replay = rest
			}
		}
		r.close()
		r = open(t, plan{function: "script", segments: segments})
		for len(replay) > 0 {
			replay = r.play(rng, replay, 20)
		}
		keep()
		r.rows = kept
		r.close()
		r.same(fmt.Sprintf("restored from %d segments", len(segments)), want)
	})
}

func TestAFunctionThatRemembersInAGlobalIsFoundByReplacingItsInstance(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "forgetful", deps: Deps{BeforeCall: func(in *wasmhost.Instance) error { return in.Close(context.Background()) }}})
	for range 3 {
		r.send(0, operatortest.Of(1, "a", ""))
	}
	if got := r.texts(0); !slices.Equal(got, []string{"1", "1", "1"}) {
		t.Errorf("got %v: the instance was not replaced", got)
	}
}

func TestColumnsAreTakenByNameAndMayAllowNullsWhereNoneCome(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "pair", inputs: []string{"more:utf8,n:int64,b:int64,extra:int64?,a:utf8"}})
	for i := range int64(4) {
		r.send(0, operatortest.Of(i, "x", i, i%2, nil, "k"), operatortest.Of(i, "y", 10*i, i%2, int64(7), "k"))
	}
	want := []string{
		"+I@0(string:k, int64:0, int64:0)", "+I@0(string:k, int64:0, int64:0)", "+I@1(string:k, int64:1, int64:1)", "+I@1(string:k, int64:1, int64:11)",
		"+I@2(string:k, int64:0, int64:2)", "+I@2(string:k, int64:0, int64:22)", "+I@3(string:k, int64:1, int64:14)", "+I@3(string:k, int64:1, int64:44)",
	}
	for i, row := range r.rows[0] {
		if row.String() != want[i] {
			t.Errorf("row %d is %s, want %s", i, row, want[i])
		}
	}
}

func TestAColumnThatIsMissingOrOfAnotherTypeIsRefusedAtOpen(t *testing.T) {
	alive(t)
	for _, s := range []string{"a:utf8?,n:int64", "a:utf8?,b:int64?,n:int32", "a:utf8?,b:int64?,n:int64?"} {
		if _, err := tryOpen(t, plan{function: "pair", inputs: []string{s}}); err == nil || !strings.Contains(err.Error(), "input 0 of function pair wants ") {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestKeysOfSeveralColumnsTellNullsApart(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "pair"})
	rng := rand.New(rand.NewPCG(1, 1))
	as, bs := []any{nil, "", "a", "a\x00b"}, []any{nil, int64(0), int64(-1)}
	sums := map[string]int64{}
	var want []string
	for range 30 {
		var rows []operatortest.Row
		for range 1 + rng.IntN(20) {
			a, b, n := as[rng.IntN(len(as))], bs[rng.IntN(len(bs))], rng.Int64N(100)
			key := fmt.Sprintf("%#v %#v", a, b)
			sums[key] += n
			rows = append(rows, operatortest.Of(5, a, b, n))
			want = append(want, operatortest.Of(5, a, b, sums[key]).String())
		}
		r.send(0, rows...)
	}
	for i, row := range r.rows[0] {
		if row.String() != want[i] {
			t.Fatalf("row %d is %s, want %s", i, row, want[i])
		}
	}
	if len(r.rows[0]) != len(want) {
		t.Errorf("%d rows, want %d", len(r.rows[0]), len(want))
	}
}

func TestAFunctionThatAsksSeesWhereItsRowsWereRead(t *testing.T) {
	alive(t)
	r := open(t, plan{function: "where"})
	builder := batch.NewBuilder(schema.MustParse("n:int64"))
	for i := range int64(5) {
		builder.Column(0).AppendInt64(i)
		builder.EndRead(i, uint64(100+i/2), int32(i%2))
	}
	b := builder.Finish("topic", 3)
	copy(b.Select(3), []int32{0, 3, 4})
	if err := r.Process(0, b); err != nil {
		t.Fatal(err)
	}
	r.send(0, operatortest.Of(9, int64(9)))
	want := []string{
		"+I@0(int64:0, bool:true, int64:3, int64:100, int64:0)", "+I@3(int64:3, bool:true, int64:3, int64:101, int64:1)",
		"+I@4(int64:4, bool:true, int64:3, int64:102, int64:0)", "+I@9(int64:9, bool:false, int64:0, int64:0, int64:0)",
	}
	for i, row := range r.rows[0] {
		if row.String() != want[i] {
			t.Errorf("row %d is %s, want %s", i, row, want[i])
		}
	}
}
