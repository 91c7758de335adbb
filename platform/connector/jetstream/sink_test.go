package jetstream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/format"
)

var rowSchema = schema.MustParse("key:utf8,n:int64")

// makeRows gives rows (key i mod keys, n = from + i).
func makeRows(from, count, keys int) *batch.Batch {
	b := batch.NewBuilder(rowSchema)
	for i := range count {
		b.Column(0).AppendString(fmt.Sprint("k", (from+i)%keys))
		b.Column(1).AppendInt64(int64(from + i))
		b.EndRow(int64(from + i))
	}
	return b.Finish("", 0)
}

// plainEncoder stands in for a format: the row's number as text.
type plainEncoder struct{}

func (plainEncoder) Append(dst []byte, cols []frame.Column, row int) []byte {
	return fmt.Append(dst, cols[1].IntAt(row))
}

func sinkOf(t testing.TB, nc *nats.Conn, cfg SinkConfig) *Sink {
	t.Helper()
	if cfg.Schema == nil {
		cfg.Schema = rowSchema
	}
	s, err := NewSink(nc, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func writerOf(t testing.TB, s *Sink, task int) connector.Writer {
	t.Helper()
	w, err := s.Open(t.Context(), connector.WriterID{Pipeline: "p.1", Sink: "out", Task: task})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func writeRows(t testing.TB, w connector.Writer, b *batch.Batch) {
	t.Helper()
	if err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	b.Release()
}

func prepare(t testing.TB, w connector.Writer, checkpoint uint64) connector.Transaction {
	t.Helper()
	txn, err := w.Prepare(t.Context(), checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	return txn
}

func publish(t testing.TB, s *Sink, txn connector.Transaction) {
	t.Helper()
	if err := s.Publish(t.Context(), txn); err != nil {
		t.Fatal(err)
	}
}

// numbers gives what a topic holds, per key in the order of its partition.
func numbers(t testing.TB, nc *nats.Conn, topic Topic, typed bool) map[string][]int64 {
	t.Helper()
	cfg := SourceConfig{Topic: topic, Bound: connector.UntilEnd}
	if typed {
		cfg.Schema = rowSchema
	}
	src := sourceOf(t, nc, cfg)
	out := map[string][]int64{}
	for p := range topic.Partitions {
		r := openSplit(t, src, p, nil)
		for {
			f, err := r.Next(within(t))
			if err != nil {
				break
			}
			if f.Batch == nil {
				continue
			}
			for i := range f.Batch.Len() {
				c := f.Batch.Columns
				key, n := string(c[0].BytesAt(i)), int64(0)
				if typed {
					n = c[1].IntAt(i)
				} else if _, err := fmt.Sscan(c[1].StringAt(i), &n); err != nil {
					n = -1
				}
				if p != Partition([]byte(key), topic.Partitions) {
					t.Errorf("key %s stands in partition %d", key, p)
				}
				out[key] = append(out[key], n)
			}
			f.Batch.Release()
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	return out
}

// modelRows is what makeRows(from, count, keys) comes to per key.
func modelRows(from, count, keys int) map[string][]int64 {
	out := map[string][]int64{}
	for i := from; i < from+count; i++ {
		key := fmt.Sprint("k", i%keys)
		out[key] = append(out[key], int64(i))
	}
	return out
}

func checkNumbers(t testing.TB, got, want map[string][]int64) {
	t.Helper()
	for key := range want {
		if !slices.Equal(got[key], want[key]) {
			t.Errorf("key %s: %d numbers, want %d; first ones %v, want %v", key, len(got[key]), len(want[key]),
				got[key][:min(len(got[key]), 8)], want[key][:min(len(want[key]), 8)])
		}
	}
	if len(got) != len(want) {
		t.Errorf("keys %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
	}
}

func TestPreparedOutputIsInvisibleUntilItIsPublishedAndThenStandsOnce(t *testing.T) {
	nc := serve(t)
	for _, c := range []struct {
		name   string
		layout Layout
		format bool
		codec  frame.Codec
	}{
		{"columns", Frames, false, frame.CodecNone}, {"s2", Frames, false, frame.CodecS2},
		{"encoded", Frames, true, frame.CodecNone}, {"records", Records, true, frame.CodecNone},
	} {
		topic := create(t, nc, Topic{Name: c.name, Partitions: 3, Layout: c.layout})
		cfg := SinkConfig{Topic: topic, Key: "key", Codec: c.codec}
		if c.format {
			cfg.NewEncoder = func() format.Encoder { return plainEncoder{} }
		}
		sink := sinkOf(t, nc, cfg)
		w := writerOf(t, sink, 0)
		const each = 300
		for epoch := range 3 {
			writeRows(t, w, makeRows(epoch*each, each, 7))
			txn := prepare(t, w, uint64(epoch*10+1))
			if got := numbers(t, nc, topic, !c.format); len(got["k0"]) != len(modelRows(0, epoch*each, 7)["k0"]) {
				t.Errorf("%s: %d numbers of k0 before epoch %d is published", c.name, len(got["k0"]), epoch)
			}
			for range 3 { // as often as anyone likes
				publish(t, sink, txn)
			}
			publish(t, sinkOf(t, nc, cfg), txn) // and from another process
			w.Recycle(txn)
		}
		checkNumbers(t, numbers(t, nc, topic, !c.format), modelRows(0, 3*each, 7))
		if txn := prepare(t, w, 99); len(txn.Chunks) != 0 {
			t.Errorf("%s: an epoch without output has %d chunks", c.name, len(txn.Chunks))
		}
	}
	if n := batch.Live(); n != 0 {
		t.Errorf("%d live buffers", n)
	}
}

// bigTransaction spans several chunks in each partition.
func bigTransaction(t testing.TB, w connector.Writer, checkpoint uint64, from int) (connector.Transaction, map[string][]int64) {
	t.Helper()
	const rows = 30_000
	for i := 0; i < rows; i += 1000 {
		writeRows(t, w, makeRows(from+i, 1000, 5))
	}
	txn := prepare(t, w, checkpoint)
	if len(txn.Chunks) < 6 {
		t.Fatalf("%d chunks: too few for the test to mean anything", len(txn.Chunks))
	}
	return txn, modelRows(from, rows, 5)
}

func TestATransactionStandsOnceWhereverItsPublisherFailed(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 2})
	cfg := SinkConfig{Topic: topic, Key: "key"}
	w := writerOf(t, sinkOf(t, nc, cfg), 0)
	want := map[string][]int64{}
	checkpoint, from := uint64(0), 0
	for _, place := range []string{failpoint.SinkChunkPublished, failpoint.SinkAckLost} {
		for n := 1; n <= 6; n++ {
			checkpoint++
			txn, rows := bigTransaction(t, w, checkpoint, from)
			from += 30_000
			for k, v := range rows {
				want[k] = append(want[k], v...)
			}
			// Every try dies there: each brings one chunk more at least.
			ctx, cancel := context.WithCancel(t.Context())
			disarm := failpoint.Arm(place, n, func() error { cancel(); return failpoint.ErrInjected })
			err := sinkOf(t, nc, cfg).Publish(ctx, txn)
			disarm()
			if err == nil {
				t.Fatalf("%s %d: no failure", place, n)
			}
			publish(t, sinkOf(t, nc, cfg), txn)
			w.Recycle(txn)
		}
	}
	checkNumbers(t, numbers(t, nc, topic, true), want)
}

func TestALostAcknowledgementIsFoundOutByTheSameTry(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 2})
	sink := sinkOf(t, nc, SinkConfig{Topic: topic, Key: "key"})
	txn, want := bigTransaction(t, writerOf(t, sink, 0), 1, 0)
	defer failpoint.Fail(failpoint.SinkAckLost, 2)()
	publish(t, sink, txn)
	checkNumbers(t, numbers(t, nc, topic, true), want)
}

func TestTwoPublishersOfOneTransactionDoNotDoubleIt(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 2})
	cfg := SinkConfig{Topic: topic, Key: "key"}
	w := writerOf(t, sinkOf(t, nc, cfg), 0)
	want := map[string][]int64{}
	for cp := range 5 {
		txn, rows := bigTransaction(t, w, uint64(cp+1), cp*30_000)
		for k, v := range rows {
			want[k] = append(want[k], v...)
		}
		errs := make(chan error, 3)
		for range 3 {
			go func() { errs <- sinkOf(t, nc, cfg).Publish(t.Context(), txn) }()
		}
		done := 0
		for range 3 {
			if err := <-errs; err == nil {
				done++
			}
		}
		publish(t, sinkOf(t, nc, cfg), txn) // whoever gave up tries again
		if done == 0 {
			t.Log("all three got in each other's way and gave up")
		}
	}
	checkNumbers(t, numbers(t, nc, topic, true), want)
}

func TestAZombieWithAnOlderTransactionChangesNothing(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 2})
	cfg := SinkConfig{Topic: topic, Key: "key"}
	sink := sinkOf(t, nc, cfg)
	w := writerOf(t, sink, 0)
	first, want := bigTransaction(t, w, 1, 0)
	publish(t, sink, first)
	second, rows := bigTransaction(t, w, 2, 30_000)
	publish(t, sink, second)
	publish(t, sinkOf(t, nc, cfg), first)
	for k, v := range rows {
		want[k] = append(want[k], v...)
	}
	checkNumbers(t, numbers(t, nc, topic, true), want)
}

func TestPlainClientsWriteToTheSameTopicThroughout(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 2})
	sink := sinkOf(t, nc, SinkConfig{Topic: topic, Key: "key"})
	w := writerOf(t, sink, 0)
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		js, sent := natsJS(t, nc), 0
		for ; ; sent++ {
			select {
			case <-stop:
				stopped <- sent
				return
			default:
			}
			if _, err := js.Publish(t.Context(), topic.PublicSubject(fmt.Sprint("k", sent%5)), []byte("foreign")); err != nil {
				t.Error(err)
			}
		}
	}()
	want := map[string][]int64{}
	for cp := range 10 {
		txn, rows := bigTransaction(t, w, uint64(cp+1), cp*30_000)
		publish(t, sink, txn)
		w.Recycle(txn)
		for k, v := range rows {
			want[k] = append(want[k], v...)
		}
	}
	close(stop)
	if <-stopped == 0 {
		t.Fatal("the plain client sent nothing")
	}
	checkNumbers(t, numbers(t, nc, topic, true), want)
}

func TestAnEmptySubjectBehindAPurgeIsInDoubt(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 2})
	cfg := SinkConfig{Topic: topic, Key: "key"}
	sink := sinkOf(t, nc, cfg)
	w := writerOf(t, sink, 0)
	stream, err := natsJS(t, nc).Stream(t.Context(), topic.Stream)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := natsJS(t, nc).Publish(t.Context(), topic.PublicSubject("x"), nil); err != nil {
		t.Fatal(err)
	}
	// Purged before Prepare: nothing of the transaction can have been there.
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	txn, want := bigTransaction(t, w, 1, 0)
	publish(t, sink, txn)
	checkNumbers(t, numbers(t, nc, topic, true), want)
	// Purged behind it: whether it was published nobody can tell any more.
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := sinkOf(t, nc, cfg).Publish(t.Context(), txn); !errors.Is(err, connector.ErrInDoubt) || !strings.Contains(err.Error(), "begins at") {
		t.Errorf("after a purge: %v", err)
	}
	// The user decides: left out, then published again, which a second time changes nothing.
	decided := txn
	decided.Doubt = connector.AssumePublished
	publish(t, sinkOf(t, nc, cfg), decided)
	checkNumbers(t, numbers(t, nc, topic, true), nil)
	decided.Doubt = connector.PublishAgain
	publish(t, sinkOf(t, nc, cfg), decided)
	publish(t, sinkOf(t, nc, cfg), decided)
	checkNumbers(t, numbers(t, nc, topic, true), want)
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The same process remembers its sequence, and must not trust it.
	next, _ := bigTransaction(t, w, 2, 0)
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, sink, next) // nothing was stored since Prepare, so the purge took nothing of it
	// Recreated.
	if err := Delete(t.Context(), nc, topic); err != nil {
		t.Fatal(err)
	}
	recreated := topic
	recreated.Incarnation++
	create(t, nc, recreated)
	if err := sinkOf(t, nc, cfg).Publish(t.Context(), txn); !errors.Is(err, connector.ErrInDoubt) || !strings.Contains(err.Error(), "recreated") {
		t.Errorf("recreated: %v", err)
	}
	writeRows(t, w, makeRows(0, 10, 2))
	if _, err := w.Prepare(t.Context(), 9); !errors.Is(err, ErrUnfit) {
		t.Errorf("prepare on a recreated stream: %v", err)
	}
}

func TestAForeignMessageOnAWritersSubjectIsInDoubt(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1})
	cfg := SinkConfig{Topic: topic, Key: "key"}
	sink := sinkOf(t, nc, cfg)
	w := writerOf(t, sink, 0)
	txn, _ := bigTransaction(t, w, 1, 0)
	publish(t, sink, txn)
	subject := topic.writerSubject(0, writerToken(connector.WriterID{Pipeline: "p.1", Sink: "out"}))
	if _, err := natsJS(t, nc).Publish(t.Context(), subject, []byte("foreign")); err != nil {
		t.Fatal(err)
	}
	txn, _ = bigTransaction(t, w, 2, 0)
	if err := sink.Publish(t.Context(), txn); !errors.Is(err, connector.ErrInDoubt) || !strings.Contains(err.Error(), "not its own") {
		t.Error(err)
	}
	// What was left out stands in nobody's way.
	txn.Doubt = connector.AssumePublished
	publish(t, sink, txn)
	next, _ := bigTransaction(t, w, 3, 0)
	publish(t, sink, next)
}

func TestATransactionWithTheSameIdAndOtherContentIsInDoubt(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1})
	sink := sinkOf(t, nc, SinkConfig{Topic: topic, Key: "key"})
	txn, _ := bigTransaction(t, writerOf(t, sink, 0), 1, 0)
	publish(t, sink, txn)
	other, _ := bigTransaction(t, writerOf(t, sink, 0), 1, 7)
	if err := sinkOf(t, nc, SinkConfig{Topic: topic, Key: "key"}).Publish(t.Context(), other); !errors.Is(err, connector.ErrInDoubt) {
		t.Error(err)
	}
}

func TestAtLeastOnceOutputIsVisibleAfterAFlushWithoutACheckpoint(t *testing.T) {
	nc := serve(t)
	for _, layout := range []Layout{Frames, Records} {
		topic := create(t, nc, Topic{Name: string(layout), Partitions: 3, Layout: layout})
		cfg := SinkConfig{Topic: topic, Key: "key", Guarantee: connector.AtLeastOnce}
		if layout == Records {
			cfg.NewEncoder = func() format.Encoder { return plainEncoder{} }
		}
		w := writerOf(t, sinkOf(t, nc, cfg), 0)
		for i := 0; i < 5000; i += 500 {
			writeRows(t, w, makeRows(i, 500, 7))
		}
		if err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		checkNumbers(t, numbers(t, nc, topic, layout == Frames), modelRows(0, 5000, 7))
		if txn := prepare(t, w, 1); len(txn.Chunks) != 0 {
			t.Errorf("%s: %d chunks", layout, len(txn.Chunks))
		}
	}
}

func TestAStreamThatBecameUnfitStopsTheSink(t *testing.T) {
	nc := serve(t)
	topic := create(t, nc, Topic{Name: "t", Partitions: 1})
	sink := sinkOf(t, nc, SinkConfig{Topic: topic, Key: "key"})
	w := writerOf(t, sink, 0)
	cfg := topic.config()
	cfg.MaxMsgsPerSubject = 3
	if _, err := natsJS(t, nc).UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	writeRows(t, w, makeRows(0, 10, 2))
	if _, err := w.Prepare(t.Context(), 1); !errors.Is(err, ErrUnfit) {
		t.Error(err)
	}
	if _, err := sink.Open(t.Context(), connector.WriterID{}); !errors.Is(err, ErrUnfit) {
		t.Error(err)
	}
}

func TestASinksConfigurationIsRefusedWithAWayOut(t *testing.T) {
	nc := serve(t)
	topic := Topic{Name: "t", Incarnation: 1}
	for _, c := range []struct {
		cfg  SinkConfig
		want string
	}{
		{SinkConfig{Topic: topic, Schema: rowSchema, Key: "kex"}, "not one of its columns [key n]"},
		{SinkConfig{Topic: topic, Schema: rowSchema, Guarantee: "twice"}, "choose exactly_once or at_least_once"},
		{SinkConfig{Topic: Topic{Name: "t", Layout: Records}, Schema: rowSchema}, "choose format"},
		{SinkConfig{Topic: topic, Schema: rowSchema, Raw: true}, "format raw needs the columns"},
		{SinkConfig{Topic: topic, Schema: schema.MustParse("k:list<int8>"), Key: "k"}, "is no key"},
		{SinkConfig{Topic: topic}, "no schema"},
	} {
		if _, err := NewSink(nc, c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestAWritersNameBecomesASubjectWhateverItsCharacters(t *testing.T) {
	if got := writerToken(connector.WriterID{Pipeline: "a b.>", Sink: "*é", Task: 7}); got != "a=20b=2E=3E.=2A=C3=A9.7" {
		t.Error(got)
	}
}
