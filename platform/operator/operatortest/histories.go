package operatortest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/storage/state"
)

// SeedVariable names the environment variable that replays one history.
const SeedVariable = "WEIR_SEED"

// Event is one row that comes by an input.
type Event struct {
	Input int
	Row   Row
}

// Model says what an operator gives for a history.
type Model func(events []Event) []Row

// Comparison says what of the output has to be equal.
type Comparison uint8

// EveryRow wants the model's rows in its order. WhatHolds wants the same rows to
// hold at the end: for output that depends on how batches are cut.
const (
	EveryRow Comparison = iota
	WhatHolds
)

const (
	historiesPerRun = 12
	longestBatch    = 40
	barrierOdds     = 4 // one batch in four is followed by a barrier
)

// Histories runs random histories. Each is run three times beside the model: a
// row a batch; cut at random with rows between that are not meant; and so again
// with barriers, at one of which the operator ends and another one is restored
// from what had been frozen. Nothing may be left alive.
func Histories(t *testing.T, spec Spec, compare Comparison, generate func(*rand.Rand) []Event, model Model) {
	t.Helper()
	alive := batch.Live()
	for range historiesPerRun {
		seed := rand.Uint64()
		if text := os.Getenv(SeedVariable); text != "" {
			seed, _ = strconv.ParseUint(text, 10, 64)
		}
		t.Logf("seed %d (replay it by %s)", seed, SeedVariable)
		r := rand.New(rand.NewPCG(seed, 0))
		events := generate(r)
		want := model(events)
		check := func(how string, got []Row) {
			t.Helper()
			if compare == EveryRow {
				Equal(t, how, got, want)
				return
			}
			SameTexts(t, how, Materialise(t, got), Materialise(t, want))
		}
		check("a row a batch", run(t, spec, nil, events, 1))
		check("cut at random", run(t, spec, r, events, longestBatch))
		check("restored from a barrier", restored(t, spec, r, events))
		if t.Failed() {
			return
		}
	}
	if n := batch.Live(); n != alive {
		t.Errorf("%d batches or buffers are still alive", n-alive)
	}
}

func run(t *testing.T, spec Spec, r *rand.Rand, events []Event, longest int) []Row {
	t.Helper()
	o := Open(t, spec, KeepRows)
	defer o.Close()
	for len(events) > 0 {
		n := 1
		if r != nil {
			n = 1 + r.IntN(longest)
		}
		events = o.feed(r, events, n)
	}
	return o.Rows
}

// feed gives the operator at most n events, of one input, and returns the rest.
func (r *Run) feed(rng *rand.Rand, events []Event, n int) []Event {
	r.t.Helper()
	input := events[0].Input
	var rows []Row
	for len(events) > 0 && len(rows) < n && events[0].Input == input {
		rows = append(rows, events[0].Row)
		events = events[1:]
	}
	if err := r.Operator.Process(input, Batch(rng, r.spec.Inputs[input].Schema, rows)); err != nil {
		r.t.Fatalf("process: %v", err)
	}
	return events
}

// restored ends the operator somewhere behind a barrier, forgets what it emitted
// after that, and goes on from the barrier with another one.
func restored(t *testing.T, spec Spec, r *rand.Rand, events []Event) []Row {
	t.Helper()
	var segments [][]state.Entry
	crashAt := r.IntN(len(events) + 1)
	o := Open(t, spec, KeepRows)
	rest, kept, replay := events, []Row(nil), events
	for len(rest) > 0 && len(events)-len(rest) < crashAt {
		rest = o.feed(r, rest, 1+r.IntN(longestBatch))
		o.Advance(o.Clock) // lets the backend drop what holds nothing
		if r.IntN(barrierOdds) == 0 {
			segments = append(segments, o.Barrier())
			kept, replay = append(kept, o.Rows...), rest
			o.Rows = nil
		}
	}
	o.Close()
	o = Open(t, spec, KeepRows, segments...)
	defer o.Close()
	for len(replay) > 0 {
		replay = o.feed(r, replay, 1+r.IntN(longestBatch))
	}
	return append(kept, o.Rows...)
}

// Equal compares rows, their kinds, times and order.
func Equal(t testing.TB, how string, got, want []Row) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i].String() != want[i].String() {
			t.Errorf("%s: row %d is %s, want %s", how, i, got[i], want[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d rows, want %d", how, len(got), len(want))
	}
}

// SameTexts compares what Materialise gave.
func SameTexts(t testing.TB, how string, got, want []string) {
	t.Helper()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Errorf("%s: %s holds, want %s", how, got[i], want[i])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d rows hold, want %d", how, len(got), len(want))
	}
}
