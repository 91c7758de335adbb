package remote

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// ledger is an operator that notes what it is given, and the epochs it is cut into.
type ledger struct {
	epoch  []int64
	epochs chan []int64
	marks  chan element.Watermark
	ended  chan struct{} // closed at the end of the input
}

func (l *ledger) Open(*operator.Context) error { return nil }

func (l *ledger) Process(_ int, b *batch.Batch) error {
	l.epoch = append(l.epoch, b.Columns[0].Int64s()...)
	b.Release()
	return nil
}

func (l *ledger) Watermark(_ int, w element.Watermark) error { l.marks <- w; return nil }

func (l *ledger) Barrier(element.Barrier) (operator.Snapshot, error) {
	slices.Sort(l.epoch)
	l.epochs <- l.epoch
	l.epoch = nil
	return operator.Snapshot{}, nil
}

func (l *ledger) EndOfInput(int) error { close(l.ended); return nil }
func (l *ledger) Timers(int64) error   { return nil }
func (l *ledger) Close() error         { return nil }

// told is what a task reports; failures are a test's end.
type told struct{ t *testing.T }

func (told) Opened(runtime.TaskID)                    {}
func (told) Snapshot(runtime.TaskSnapshot)            {}
func (told) Ended(runtime.TaskID)                     {}
func (e told) Failed(_ runtime.TaskID, err error)     { e.t.Error(err) }
func (told) Published(runtime.TaskID, string, uint64) {}

// await takes what has to come.
func await[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(limit):
		t.Fatal("nothing came")
	}
	return v
}

func TestATaskAlignsOnLocalAndRemoteChannelsAlike(t *testing.T) {
	balanced(t)
	r := newRig(t, nil, nil)
	in := local.NewInbox(2)
	end := r.open(job, map[Channel]Inlet{at(1): {in, narrow}})
	l := r.dial(job)
	notes := &ledger{epochs: make(chan []int64, 8), marks: make(chan element.Watermark, 8), ended: make(chan struct{})}
	stage := &jobgraph.Stage{ID: 1, Name: "ledger", Parallelism: 1, Operators: []jobgraph.Operator{
		{ID: "ledger", Kind: "ledger", Inputs: []string{narrow.String()}, Upstream: []jobgraph.Port{{Operator: -1}}},
	}}
	task := runtime.NewTask(runtime.TaskSpec{Stage: stage, Inbox: in, Inputs: []int{0, 0}}, runtime.Services{
		Log: slog.New(slog.DiscardHandler), Clock: time.Now,
		NewOperator: func(string) (operator.Operator, error) { return notes, nil },
		NewState:    func(*jobgraph.Operator, runtime.Groups) (state.Backend, error) { return nil, nil },
		Items:       func(*jobgraph.Operator, int, int) ([]snapshot.Item, uint64, error) { return nil, 0, nil },
	}, told{t})
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		task.Run(ctx)
		close(over)
	}()
	near, far := in.Channel(0), l.Channel(at(1), narrow)
	send := func(s runtime.Sender, elements ...element.Element) {
		t.Helper()
		for _, e := range elements {
			if err := s.Send(r.context(), e); err != nil {
				t.Fatal(err)
			}
		}
	}
	mark := func(at int64) element.Element {
		return element.Element{Kind: element.KindWatermark, Watermark: element.Watermark{Time: at}}
	}
	barrier := func(id uint64) element.Element {
		return element.Element{Kind: element.KindBarrier, Barrier: element.Barrier{ID: id}}
	}
	// The far side's barrier comes first, and what is behind it waits for the near side's.
	send(far, numbers(10, 2), mark(50), barrier(1), numbers(20, 1))
	send(near, numbers(0, 2), mark(40), barrier(1), numbers(1, 1))
	if got := await(t, notes.epochs); !slices.Equal(got, []int64{0, 1, 10, 11}) {
		t.Errorf("the first epoch has %v", got)
	}
	if got := await(t, notes.marks); got.Time != 40 {
		t.Errorf("watermark %+v, want the slower of both", got)
	}
	// The other way round: more behind the near barrier than the far side has credits for.
	send(near, barrier(2), numbers(100, 1))
	for i := range 3 * local.Credits {
		send(far, numbers(int64(200+i), 1))
	}
	send(far, barrier(2), numbers(300, 1))
	want := []int64{1, 20}
	for i := range 3 * local.Credits {
		want = append(want, int64(200+i))
	}
	if got := await(t, notes.epochs); !slices.Equal(got, want) {
		t.Errorf("the second epoch has %v, want %v", got, want)
	}
	endOf := element.Element{Kind: element.KindEndOfInput}
	send(far, endOf) // an ended channel is not waited for
	send(near, barrier(3), endOf)
	if got := await(t, notes.epochs); !slices.Equal(got, []int64{100, 300}) {
		t.Errorf("the third epoch has %v", got)
	}
	await(t, notes.ended)
	stop()
	<-over
	l.Close()
	end()
	if len(r.failed) > 0 {
		t.Error(fmt.Errorf("told of %w", <-r.failed))
	}
}
