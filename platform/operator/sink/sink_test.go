package sink

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/connector/file"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/embednats"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/format"
	formats "github.com/weirstream/weir/platform/format/all"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/storage/snapshot"
)

var rowSchema = schema.MustParse("key:utf8,n:int64")

var topic = jetstream.Topic{Name: "out", Partitions: 2, Incarnation: 1}.Normalize()

func serve(t *testing.T) *nats.Conn {
	t.Helper()
	s, err := embednats.Start(t.Context(), embednats.Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	nc, err := s.Connect(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	if err := jetstream.Create(t.Context(), nc, topic); err != nil {
		t.Fatal(err)
	}
	return nc
}

// held lets a test hold Publish back, or make it fail, on its way to the real sink.
type held struct {
	connector.Sink
	gate func(connector.Transaction) error
}

func (h held) Publish(ctx context.Context, t connector.Transaction) error {
	if err := h.gate(t); err != nil {
		return err
	}
	return h.Sink.Publish(ctx, t)
}

type rig struct {
	t  *testing.T
	op *Operator
	nc *nats.Conn

	mu        sync.Mutex
	published []uint64
	failed    error
	changed   chan struct{}
}

type rigOptions struct {
	task         int
	config       string
	restored     []snapshot.Item
	restoredFrom uint64
	gate         func(connector.Transaction) error
}

func openRig(t *testing.T, nc *nats.Conn, o rigOptions) *rig {
	t.Helper()
	if o.config == "" {
		o.config = "{}"
	}
	r := &rig{t: t, nc: nc, changed: make(chan struct{}, 100)}
	r.op = New(Deps{Open: func(_ context.Context, _ string, _ json.RawMessage, rows *schema.Schema, g connector.Guarantee) (connector.Sink, error) {
		s, err := jetstream.NewSink(nc, jetstream.SinkConfig{Topic: topic, Schema: rows, Key: "key", Guarantee: g})
		if err != nil || o.gate == nil {
			return s, err
		}
		return held{s, o.gate}, nil
	}})
	err := r.op.Open(&operator.Context{
		Identity: operator.Identity{PipelineUID: "p1", Operator: "out", Task: o.task, Parallelism: 2},
		Config:   json.RawMessage(o.config), Inputs: []*schema.Schema{rowSchema}, Restored: o.restored, RestoredFrom: o.restoredFrom,
		Log: slog.New(slog.DiscardHandler), Meter: &operator.Meter{},
		Published: func(id uint64) {
			r.mu.Lock()
			r.published = append(r.published, id)
			r.mu.Unlock()
			r.changed <- struct{}{}
		},
		Fail: func(err error) {
			r.mu.Lock()
			r.failed = err
			r.mu.Unlock()
			r.changed <- struct{}{}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r
}

func (r *rig) close() {
	if err := r.op.Close(); err != nil {
		r.t.Error(err)
	}
}

func (r *rig) write(from, count int) {
	r.t.Helper()
	b := batch.NewBuilder(rowSchema)
	for i := from; i < from+count; i++ {
		b.Column(0).AppendString("k" + strconv.Itoa(i%5))
		b.Column(1).AppendInt64(int64(i))
		b.EndRow(int64(i))
	}
	if err := r.op.Process(0, b.Finish("", 0)); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) barrier(id uint64) operator.Snapshot {
	r.t.Helper()
	s, err := r.op.Barrier(element.Barrier{ID: id, Actions: element.Checkpoint})
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// await waits until Published was reported for all of these, in this order.
func (r *rig) await(ids ...uint64) {
	r.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		r.mu.Lock()
		ok := slices.Equal(r.published, ids)
		have := slices.Clone(r.published)
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-r.changed:
		case <-deadline:
			r.t.Fatalf("published %v, want %v; failed %v", have, ids, r.failed)
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// stored lists the numbers that the topic holds, sorted; order per key is checked.
func stored(t *testing.T, nc *nats.Conn) []int64 {
	t.Helper()
	src, err := jetstream.NewSource(nc, jetstream.SourceConfig{Topic: topic, Schema: rowSchema, Bound: connector.UntilEnd})
	if err != nil {
		t.Fatal(err)
	}
	var all []int64
	for p := range topic.Partitions {
		r, err := src.Open(t.Context(), connector.Split{ID: strconv.Itoa(p)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		last := map[string]int64{}
		for {
			f, err := r.Next(t.Context())
			if err != nil {
				break
			}
			if f.Batch == nil {
				continue
			}
			for i := range f.Batch.Len() {
				key, n := string(f.Batch.Columns[0].BytesAt(i)), f.Batch.Columns[1].IntAt(i)
				if was, ok := last[key]; ok && was >= n {
					t.Errorf("key %s: %d behind %d", key, n, was)
				}
				last[key] = n
				all = append(all, n)
			}
			f.Batch.Release()
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(all)
	return all
}

func check(t *testing.T, nc *nats.Conn, count int) {
	t.Helper()
	got := stored(t, nc)
	for i, n := range got {
		if n != int64(i) {
			t.Fatalf("%d numbers, want %d; at %d stands %d", len(got), count, i, n)
		}
	}
	if len(got) != count {
		t.Fatalf("%d numbers, want %d", len(got), count)
	}
}

func TestOutputIsPublishedWhenItsCheckpointIsCommittedAndTheNextWaitsForThat(t *testing.T) {
	nc := serve(t)
	release := make(chan struct{})
	r := openRig(t, nc, rigOptions{gate: func(connector.Transaction) error { <-release; return nil }})
	r.write(0, 100)
	if s := r.barrier(1); s.Ready != nil || len(s.Items) != 1 || s.Items[0].Kind != snapshot.KindTransaction {
		t.Fatalf("%+v", s)
	}
	check(t, nc, 0)
	r.op.Committed(1)
	r.write(100, 50)
	second := r.barrier(2)
	if second.Ready == nil || closed(second.Ready) {
		t.Error("the snapshot of epoch 2 may be acknowledged before epoch 1 is published")
	}
	if txns, _, err := readItems(second.Items, 0, 1); err != nil || len(txns) != 1 || txns[0].Checkpoint != 2 {
		t.Errorf("epoch 2 holds %v, %v", txns, err)
	}
	close(release)
	<-second.Ready
	check(t, nc, 100)
	r.await(1)
	r.op.Committed(2)
	r.op.Committed(2) // as often as anyone likes
	r.await(1, 2)
	check(t, nc, 150)
}

func TestAnEpochWithoutOutputIsReportedAsPublishedToo(t *testing.T) {
	nc := serve(t)
	r := openRig(t, nc, rigOptions{})
	if s := r.barrier(1); len(s.Items) != 0 {
		t.Errorf("%+v", s)
	}
	r.op.Committed(1)
	r.await(1)
}

func TestACheckpointThatWasGivenUpIsCarriedByTheNext(t *testing.T) {
	nc := serve(t)
	r := openRig(t, nc, rigOptions{})
	r.write(0, 10)
	r.barrier(1) // never committed
	r.write(10, 10)
	s := r.barrier(2)
	if s.Ready != nil {
		t.Error("epoch 2 waits for a checkpoint that was given up")
	}
	txns, _, err := readItems(s.Items, 0, 1)
	if err != nil || len(txns) != 2 || txns[0].Checkpoint != 1 || txns[1].Checkpoint != 2 || len(s.Items) != 1 {
		t.Fatalf("%v %v", txns, err)
	}
	check(t, nc, 0)
	r.op.Committed(2)
	r.await(2)
	check(t, nc, 20)
}

func TestRestoredTransactionsArePublishedByWhicheverTaskTheyFallTo(t *testing.T) {
	nc := serve(t)
	var items []snapshot.Item
	for task := range 2 {
		r := openRig(t, nc, rigOptions{task: task})
		r.write(task*10, 10)
		items = append(items, r.barrier(5).Items...)
		r.close() // before the commit is known here
	}
	// One task where there were two.
	r := openRig(t, nc, rigOptions{restored: items, restoredFrom: 5})
	r.write(20, 10)
	s := r.barrier(6)
	if s.Ready != nil {
		<-s.Ready
	}
	check(t, nc, 20)
	r.await(5)
	r.op.Committed(6)
	r.await(5, 6)
	check(t, nc, 30)
	// And once more from the same checkpoint: a zombie.
	openRig(t, nc, rigOptions{restored: items, restoredFrom: 5}).await(5)
	check(t, nc, 30)
}

func TestPublishingIsTriedAgainUntilItSucceedsAndNothingIsDoubled(t *testing.T) {
	nc := serve(t)
	fails := 2
	r := openRig(t, nc, rigOptions{gate: func(connector.Transaction) error {
		if fails--; fails >= 0 {
			return errors.New("no route to host")
		}
		return nil
	}})
	r.write(0, 1000)
	r.barrier(1)
	r.op.Committed(1)
	r.await(1)
	check(t, nc, 1000)
}

func TestDoubtAboutATransactionFailsTheTask(t *testing.T) {
	nc := serve(t)
	r := openRig(t, nc, rigOptions{gate: func(connector.Transaction) error { return connector.ErrInDoubt }})
	r.write(0, 1)
	r.barrier(1)
	r.op.Committed(1)
	<-r.changed
	if !errors.Is(r.failed, connector.ErrInDoubt) || len(r.published) > 0 {
		t.Errorf("%v, published %v", r.failed, r.published)
	}
}

func TestACrashAtEveryPlaceOfACommitLeavesTheOutputOnce(t *testing.T) {
	for _, place := range []string{failpoint.SinkBeforePublish, failpoint.SinkChunkPublished, failpoint.SinkPublished} {
		nc := serve(t)
		next, from := uint64(1), uint64(0)
		var restored []snapshot.Item
		for round := range 6 {
			r := openRig(t, nc, rigOptions{restored: restored, restoredFrom: from})
			if from > 0 {
				r.await(from)
			}
			r.write(round*3000, 3000)
			restored, from = r.barrier(next).Items, next
			disarm := failpoint.Arm(place, 1+round%2, func() error {
				go r.op.stop() // the process is gone
				<-r.op.background.Done()
				return failpoint.ErrInjected
			})
			r.op.Committed(next)
			<-r.op.committer.doneOr(r.changed)
			r.close()
			disarm()
			next++
		}
		r := openRig(t, nc, rigOptions{restored: restored, restoredFrom: from})
		r.await(from)
		check(t, nc, 18000)
	}
}

// doneOr is closed when the committer has ended, or something was reported.
func (c *committer) doneOr(reported <-chan struct{}) <-chan struct{} {
	out := make(chan struct{})
	go func() {
		defer close(out)
		select {
		case <-c.done:
		case <-reported:
		}
	}()
	return out
}

func TestPublishedIsReportedOneSyncIntervalLater(t *testing.T) {
	nc := serve(t)
	r := openRig(t, nc, rigOptions{})
	r.close()
	const interval = 50 * time.Millisecond
	reported := make(chan time.Time, 1)
	ctx := &operator.Context{Published: func(uint64) { reported <- time.Now() }, Meter: &operator.Meter{}}
	c := newCommitter(r.op.sink, ctx, interval, nil)
	stop, cancel := context.WithCancel(t.Context())
	c.start(stop)
	_, _, err := c.barrier(connector.Transaction{Checkpoint: 1})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	c.committed(1)
	if at := <-reported; at.Sub(begin) < interval {
		t.Errorf("reported after %s", at.Sub(begin))
	}
	cancel()
	c.wait()
}

func TestAtLeastOnceOutputIsThereWithoutACheckpointWithinItsLinger(t *testing.T) {
	nc := serve(t)
	r := openRig(t, nc, rigOptions{config: `{"guarantee":"at_least_once","linger_ms":1}`})
	r.write(0, 100)
	for deadline := time.Now().Add(10 * time.Second); ; {
		if n := len(stored(t, nc)); n == 100 {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("%d numbers", n)
		}
	}
	r.write(100, 100)
	if s := r.barrier(1); s.Ready != nil || len(s.Items) > 0 {
		t.Errorf("%+v", s)
	}
	check(t, nc, 200)
	r.op.Committed(1)
	r.await(1)
}

func TestAPipelineThatStopsLeavesNoFileOpen(t *testing.T) {
	folder := t.TempDir() + "/"
	op := New(Deps{Open: func(_ context.Context, _ string, _ json.RawMessage, rows *schema.Schema, g connector.Guarantee) (connector.Sink, error) {
		return file.NewSink(file.SinkConfig{Path: folder, Schema: rows, Guarantee: g, Suffix: ".jsonl", RollAfter: time.Hour,
			NewEncoder: func() (format.Encoder, error) { return formats.NewEncoder("json", rows, format.Options{}) }})
	}})
	published := make(chan uint64, 10)
	err := op.Open(&operator.Context{
		Identity: operator.Identity{PipelineUID: "p1", Operator: "out", Parallelism: 1}, Config: json.RawMessage("{}"), Inputs: []*schema.Schema{rowSchema},
		Log: slog.New(slog.DiscardHandler), Meter: &operator.Meter{}, Published: func(id uint64) { published <- id }, Fail: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := op.Close(); err != nil {
			t.Error(err)
		}
	}()
	r := &rig{t: t, op: op}
	files := func() int {
		names, err := filepath.Glob(folder + "*.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	r.write(0, 10)
	r.barrier(1)
	op.Committed(1)
	<-published
	if n := files(); n != 0 {
		t.Fatalf("%d files, though the first is neither full nor old", n)
	}
	if _, err := op.Barrier(element.Barrier{ID: 2, Actions: element.Checkpoint | element.Drain}); err != nil {
		t.Fatal(err)
	}
	op.Committed(2)
	<-published
	if n := files(); n != 1 {
		t.Errorf("%d files after the last checkpoint, want 1", n)
	}
}

func TestDamagedTransactionItemsAreRefused(t *testing.T) {
	for _, data := range [][][]byte{nil, {[]byte("{")}, {[]byte(`[{"chunks":2}]`), {1}}, {[]byte(`[]`), {1}}, {[]byte(`[{"chunks":-1}]`)}} {
		if _, _, err := readItems([]snapshot.Item{{Kind: snapshot.KindTransaction, Key: "k", Data: data}}, 0, 1); err == nil {
			t.Errorf("%q is accepted", data)
		}
	}
}

func TestAWritersStateFallsToOneTaskWhateverTheParallelism(t *testing.T) {
	var items []snapshot.Item
	for task := range 3 {
		some, err := makeItems(connector.WriterID{Pipeline: "p", Sink: "s", Task: task}, nil, []byte{byte(task)})
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, some...)
	}
	for parallelism := 1; parallelism <= 5; parallelism++ {
		count := map[byte]int{}
		for task := range parallelism {
			_, states, err := readItems(items, task, parallelism)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range states {
				count[s[0]]++
			}
		}
		if count[0] != 1 || count[1] != 1 || count[2] != 1 {
			t.Errorf("parallelism %d: %v", parallelism, count)
		}
	}
}

func FuzzTransactionItems(f *testing.F) {
	f.Add([]byte(`[{"writer":{"Pipeline":"p","Sink":"s","Task":1},"checkpoint":3,"meta":{},"chunks":1}]`), []byte("chunk"))
	f.Fuzz(func(t *testing.T, header, chunk []byte) {
		txns, err := readTransactions(snapshot.Item{Data: [][]byte{header, chunk}})
		if err != nil {
			return
		}
		n := 0
		for _, txn := range txns {
			n += len(txn.Chunks)
		}
		if n != 1 {
			t.Errorf("%d chunks of one", n)
		}
	})
}
