package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/deadletter"
	"github.com/weirstream/weir/platform/storage/snapshot"
)

var rowSchema = schema.MustParse("at:timestamp?,n:int64")

// script is a source whose splits give what the test puts into them. A position
// is the number of fetches that were given.
type script struct {
	mu      sync.Mutex
	splits  [][]connector.Fetch // what a split gives, in order
	ends    bool                // io.EOF behind the last one
	moved   chan struct{}
	readers int
}

func newScript(n int) *script {
	return &script{splits: make([][]connector.Fetch, n), moved: make(chan struct{})}
}

func (s *script) put(split int, f connector.Fetch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.splits[split] = append(s.splits[split], f)
	f.After = nil
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *script) Splits(context.Context) ([]connector.Split, error) {
	out := make([]connector.Split, len(s.splits))
	for i := range out {
		out[i].ID = fmt.Sprint(i)
	}
	return out, nil
}

func (s *script) Open(_ context.Context, split connector.Split, after connector.Position) (connector.Reader, error) {
	r := &scriptReader{script: s}
	if _, err := fmt.Sscan(split.ID, &r.split); err != nil {
		return nil, err
	}
	if after != nil {
		if err := json.Unmarshal(after, &r.next); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	s.readers++
	s.mu.Unlock()
	return r, nil
}

func (s *script) Close() error { return nil }

type scriptReader struct {
	*script
	split, next int
}

func (r *scriptReader) Next(ctx context.Context) (connector.Fetch, error) {
	for {
		r.mu.Lock()
		all, moved, ends := r.splits[r.split], r.moved, r.ends
		r.mu.Unlock()
		if r.next < len(all) {
			f := all[r.next]
			r.next++
			f.After = r.Position()
			if f.Batch != nil {
				f.Batch.Retain()
			}
			return f, nil
		}
		if ends {
			return connector.Fetch{}, io.EOF
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return connector.Fetch{}, ctx.Err()
		}
	}
}

func (r *scriptReader) Position() connector.Position { return fmt.Append(nil, r.next) }

func (r *scriptReader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.readers--
	return nil
}

// rig runs the operator by hand.
type rig struct {
	t      *testing.T
	op     *Operator
	ctx    *operator.Context
	clock  int64
	woken  chan struct{}
	rows   []int64 // column n of what was emitted
	dead   []string
	marks  []element.Watermark
	source *script
}

func (r *rig) Emit(output int, b *batch.Batch) error {
	for i := range b.Len() {
		if output == DeadLetters {
			r.dead = append(r.dead, string(b.Columns[3].BytesAt(b.Row(i))))
			continue
		}
		r.rows = append(r.rows, b.Columns[1].IntAt(b.Row(i)))
	}
	b.Release()
	return nil
}

func (r *rig) Watermark(w element.Watermark) error {
	r.marks = append(r.marks, w)
	return nil
}

func (r *rig) last() element.Watermark {
	if len(r.marks) == 0 {
		return element.Watermark{Time: element.MinTime}
	}
	return r.marks[len(r.marks)-1]
}

func openRig(t *testing.T, s *script, config string, restored []snapshot.Item) *rig {
	t.Helper()
	r := &rig{t: t, woken: make(chan struct{}, 1), clock: 1_000_000, source: s}
	r.op = New(Deps{Open: func(context.Context, string, json.RawMessage, *schema.Schema) (connector.Source, error) {
		return s, nil
	}})
	r.ctx = &operator.Context{
		Identity: operator.Identity{Pipeline: "p", Operator: "in", Parallelism: 1},
		Config:   json.RawMessage(config), Outputs: []*schema.Schema{rowSchema, deadletter.Schema}, Restored: restored,
		Output: r, Log: slog.New(slog.DiscardHandler), Meter: &operator.Meter{},
		Clock: func() int64 { return r.clock },
		Wake: func() {
			select {
			case r.woken <- struct{}{}:
			default:
			}
		},
		Fail: func(err error) { t.Error(err) },
	}
	if err := r.op.Open(r.ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() {
	if err := r.op.Close(); err != nil {
		r.t.Error(err)
	}
	if r.source.readers != 0 {
		r.t.Errorf("%d readers are open", r.source.readers)
	}
}

// until polls until the condition holds.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		more, err := r.op.Poll()
		if err != nil {
			r.t.Fatal(err)
		}
		if cond() {
			return
		}
		if more {
			continue
		}
		select {
		case <-r.woken:
		case <-deadline:
			r.t.Fatalf("%s did not come about: rows %v, watermarks %v", what, r.rows, r.marks)
		}
	}
}

func (r *rig) barrier(actions element.Action) []snapshot.Item {
	r.t.Helper()
	s, err := r.op.Barrier(element.Barrier{ID: 1, Actions: actions})
	if err != nil {
		r.t.Fatal(err)
	}
	return s.Items
}

// rows makes a fetch of rows (time, n); time -1 is null.
func rows(pairs ...int64) connector.Fetch {
	b := batch.NewBuilder(rowSchema)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i] < 0 {
			b.Column(0).AppendNull()
		} else {
			b.Column(0).AppendInt64(pairs[i])
		}
		b.Column(1).AppendInt64(pairs[i+1])
		b.EndRead(pairs[i]+7, 9, int32(i/2))
	}
	return connector.Fetch{Batch: b.Finish("t", 0), Bytes: 10}
}

func drained(f connector.Fetch) connector.Fetch { f.Drained = true; return f }

const eventTime = `{"event_time":"at","lateness_ms":1,"idle_ms":100}`

func TestTheWatermarkIsThatOfTheSlowestSplitMinusLateness(t *testing.T) {
	s := newScript(2)
	r := openRig(t, s, eventTime, nil)
	s.put(0, rows(10_000, 1, 9_000, 2))
	r.until("the first split", func() bool { return len(r.rows) == 2 })
	if len(r.marks) != 0 {
		t.Errorf("a watermark before the second split has given anything: %v", r.marks)
	}
	s.put(1, rows(5_000, 3))
	r.until("the second split", func() bool { return len(r.rows) == 3 })
	if r.last() != (element.Watermark{Time: 5_000 - 1_000 - 1}) {
		t.Errorf("watermark %v", r.last())
	}
}

func TestOnlyADrainedSplitBecomesIdleAndHoldsNothingBack(t *testing.T) {
	s := newScript(2)
	r := openRig(t, s, eventTime, nil)
	s.put(0, rows(10_000, 1)) // it has a backlog: not drained
	s.put(1, connector.Fetch{Drained: true})
	r.until("the first split", func() bool { return len(r.rows) == 1 })
	r.until("the drained split", func() bool { return r.op.splits[1].drainedAt != 0 })
	r.clock += 99_000
	if err := r.op.Timers(r.clock); err != nil || len(r.marks) != 0 {
		t.Errorf("after 99 ms: %v %v", r.marks, err)
	}
	r.clock += 1_000
	if err := r.op.Timers(r.clock); err != nil || r.last() != (element.Watermark{Time: 8_999}) {
		t.Errorf("after 100 ms: %v %v", r.marks, err)
	}
	r.clock += 10_000_000
	if err := r.op.Timers(r.clock); err != nil || r.last().Status != element.Active {
		t.Errorf("a split with a backlog became idle: %v %v", r.marks, err)
	}
	// It comes back, behind: the watermark does not run back.
	s.put(1, rows(2_000, 2))
	r.until("the split that was idle", func() bool { return len(r.rows) == 2 })
	if r.last().Time != 8_999 || r.op.splits[1].Idle {
		t.Errorf("%v", r.last())
	}
}

func TestAllSplitsIdleIsToldDownstream(t *testing.T) {
	s := newScript(1)
	r := openRig(t, s, eventTime, nil)
	s.put(0, drained(rows(10_000, 1)))
	r.until("the row", func() bool { return len(r.rows) == 1 })
	r.clock += 100_000
	if err := r.op.Timers(r.clock); err != nil || r.last() != (element.Watermark{Time: 8_999, Status: element.Idle}) {
		t.Errorf("%v %v", r.last(), err)
	}
}

func TestASplitIsNotReadFurtherThanTheDriftAheadOfTheSlowest(t *testing.T) {
	s := newScript(2)
	r := openRig(t, s, `{"event_time":"at","max_drift_ms":10,"idle_ms":100}`, nil)
	s.put(0, rows(1_000, 1))
	s.put(1, rows(1_000, 10))
	r.until("both", func() bool { return len(r.rows) == 2 })
	for i := range int64(5) {
		s.put(0, rows(1_000+(i+1)*8_000, i+2))
	}
	// 9 ms is within the drift, 17 ms is beyond it once it was read.
	r.until("the drift", func() bool { return len(r.rows) == 4 })
	for range 10 {
		if more, err := r.op.Poll(); more || err != nil {
			t.Fatalf("read on beyond the drift: %v %v", r.rows, err)
		}
	}
	s.put(1, rows(40_000, 11))
	r.until("the rest", func() bool { return len(r.rows) == 8 })
	slices.Sort(r.rows)
	if !slices.Equal(r.rows, []int64{1, 2, 3, 4, 5, 6, 10, 11}) {
		t.Errorf("rows %v", r.rows)
	}
}

func TestSplitsAreReadInTurn(t *testing.T) {
	s := newScript(3)
	for i := range int64(20) {
		for split := range 3 {
			s.put(split, rows(1, int64(split)*100+i))
		}
	}
	r := openRig(t, s, `{}`, nil)
	for _, sp := range r.op.splits { // the readers run ahead
		for deadline := time.Now().Add(10 * time.Second); len(sp.queue) < 3; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatal("a reader does not run ahead")
			}
		}
	}
	for range 9 {
		if more, err := r.op.Poll(); !more || err != nil {
			t.Fatal(more, err)
		}
	}
	count := map[int64]int{}
	for _, n := range r.rows {
		count[n/100]++
	}
	if count[0] != 3 || count[1] != 3 || count[2] != 3 {
		t.Errorf("of nine batches: %v", count)
	}
}

func TestARestoreGoesOnAtTheBarrierWithWatermarkAndIdleness(t *testing.T) {
	s := newScript(2)
	r := openRig(t, s, eventTime, nil)
	first := r.barrier(0)
	if len(first) != 2 || first[0].Kind != snapshot.KindSplit || !strings.Contains(string(first[0].Data[0]), `"position":0`) {
		t.Fatalf("before anything was read a checkpoint holds %s", first)
	}
	s.put(0, rows(10_000, 1))
	s.put(0, rows(11_000, 2))
	s.put(1, connector.Fetch{Drained: true})
	r.until("rows", func() bool { return len(r.rows) == 2 && r.op.splits[1].drainedAt > 0 })
	r.clock += 200_000
	r.until("idle", func() bool { return r.op.splits[1].Idle })
	items := r.barrier(0)
	s.put(0, rows(12_000, 3))
	r.until("one row behind the barrier", func() bool { return len(r.rows) == 3 })
	r.close()

	again := openRig(t, s, eventTime, items)
	again.until("rows behind the barrier", func() bool { return len(again.rows) == 1 })
	if again.rows[0] != 3 || again.marks[0] != (element.Watermark{Time: 9_999}) && again.marks[0] != (element.Watermark{Time: 10_999}) {
		t.Errorf("rows %v, watermarks %v", again.rows, again.marks)
	}
}

func TestSplitsFallToTasksByTheirNumber(t *testing.T) {
	s := newScript(5)
	r := &rig{t: t, source: s}
	op := New(Deps{Open: func(context.Context, string, json.RawMessage, *schema.Schema) (connector.Source, error) {
		return s, nil
	}})
	if err := op.Open(&operator.Context{Identity: operator.Identity{Parallelism: 2, Task: 1}, Config: json.RawMessage(`{}`),
		Outputs: []*schema.Schema{rowSchema}, Output: r, Wake: func() {}, Meter: &operator.Meter{}, Clock: func() int64 { return 0 }}); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, sp := range op.splits {
		ids = append(ids, sp.id)
	}
	if !slices.Equal(ids, []string{"1", "3"}) {
		t.Errorf("splits %v", ids)
	}
	if err := op.Close(); err != nil || s.readers != 0 {
		t.Error(err, s.readers)
	}
}

func TestABoundedSourceIsDoneOnceEverySplitHasEndedAndBeenEmitted(t *testing.T) {
	s := newScript(2)
	s.ends = true
	s.splits[0] = []connector.Fetch{rows(1, 1), rows(2, 2)}
	r := openRig(t, s, eventTime, nil)
	if r.op.Done() {
		t.Error("done before it began")
	}
	r.until("the end", r.op.Done)
	if !slices.Equal(r.rows, []int64{1, 2}) {
		t.Errorf("rows %v", r.rows)
	}
	items := r.barrier(0)
	r.close()
	again := openRig(t, s, eventTime, items)
	if !again.op.Done() {
		t.Error("a restored source reads ended splits again")
	}
}

func TestADrainStopsReading(t *testing.T) {
	s := newScript(1)
	r := openRig(t, s, eventTime, nil)
	r.barrier(element.Checkpoint | element.Drain)
	s.put(0, rows(1, 1))
	<-r.woken
	for range 5 {
		if more, err := r.op.Poll(); more || err != nil || len(r.rows) > 0 {
			t.Fatalf("%v %v %v", more, err, r.rows)
		}
	}
}

func TestUndecodableRecordsGoToDeadLettersOrFailTheJobAsConfigured(t *testing.T) {
	bad := connector.Fetch{Rejected: []connector.Rejected{{Reason: "no number", Position: "t partition 0 sequence 4 row 2"}}}
	s := newScript(1)
	r := openRig(t, s, `{"event_time":"at","dead_letters":true}`, nil)
	s.put(0, bad)
	s.put(0, rows(5, 1, -1, 2, 6, 3)) // the second has no event time
	r.until("rows", func() bool { return len(r.rows) == 2 })
	if !slices.Equal(r.dead, []string{"no number", nullTime}) || !slices.Equal(r.rows, []int64{1, 3}) {
		t.Errorf("dead %v, rows %v", r.dead, r.rows)
	}
	for _, f := range []connector.Fetch{bad, rows(-1, 1)} {
		s := newScript(1)
		r := openRig(t, s, `{"event_time":"at"}`, nil)
		s.put(0, f)
		<-r.woken
		var err error
		for deadline := time.Now().Add(10 * time.Second); err == nil && time.Now().Before(deadline); {
			_, err = r.op.Poll()
		}
		if err == nil || !strings.Contains(err.Error(), "dead") {
			t.Errorf("not failed: %v", err)
		}
		// Only the user can mend it: restarts would go on for ever.
		if user, ok := err.(interface{ UserFault() bool }); !ok || !user.UserFault() {
			t.Errorf("%v is not marked as the user's", err)
		}
	}
}

func TestAReadersErrorFailsTheTask(t *testing.T) {
	lost := &connector.DataLost{Split: "t/0", From: 3, To: 9, Reason: "purged"}
	op := New(Deps{Open: func(context.Context, string, json.RawMessage, *schema.Schema) (connector.Source, error) {
		return failing{lost}, nil
	}})
	woken := make(chan struct{}, 10)
	if err := op.Open(&operator.Context{Identity: operator.Identity{Parallelism: 1}, Config: json.RawMessage(`{}`),
		Outputs: []*schema.Schema{rowSchema}, Output: &rig{}, Wake: func() { woken <- struct{}{} }, Meter: &operator.Meter{}, Clock: func() int64 { return 0 }}); err != nil {
		t.Fatal(err)
	}
	<-woken
	<-woken
	var data *connector.DataLost
	if _, err := op.Poll(); !errors.As(err, &data) || data != lost {
		t.Error(err)
	}
	if err := op.Close(); err != nil {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Splits(context.Context) ([]connector.Split, error) {
	return []connector.Split{{ID: "0"}}, nil
}
func (f failing) Open(context.Context, connector.Split, connector.Position) (connector.Reader, error) {
	return f, nil
}
func (f failing) Next(context.Context) (connector.Fetch, error) { return connector.Fetch{}, f.err }
func (f failing) Position() connector.Position                  { return nil }
func (f failing) Close() error                                  { return nil }

func TestCloseWaitsForReadersAndDropsWhatTheyBrought(t *testing.T) {
	before := runtime.NumGoroutine()
	live := batch.Live()
	s := newScript(4)
	for split := range 4 {
		for range 40 {
			f := rows(1, 1)
			s.put(split, f)
		}
	}
	r := openRig(t, s, `{}`, nil)
	r.until("some rows", func() bool { return len(r.rows) > 3 })
	r.close()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
	for _, split := range s.splits {
		for _, f := range split {
			f.Batch.Release()
		}
	}
	if n := batch.Live() - live; n != 0 {
		t.Errorf("%d live buffers", n)
	}
}
