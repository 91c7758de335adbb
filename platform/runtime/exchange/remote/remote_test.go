package remote

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

var job = Attempt{UID: "orders", Attempt: 3}

func TestEveryKindOfElementArrivesInOrder(t *testing.T) {
	balanced(t)
	r := newRig(t, nil, nil)
	in := local.NewInbox(2)
	defer r.open(job, inlets(in, 2, narrow))()
	l := r.dial(job)
	defer l.Close()
	o := l.Channel(at(1), narrow)
	sent := []element.Element{
		numbers(5, 3),
		{Kind: element.KindWatermark, Watermark: element.Watermark{Time: -4, Status: element.Idle}},
		{Kind: element.KindBarrier, Barrier: element.Barrier{ID: 1 << 40, Attempt: 3, Actions: element.Checkpoint | element.Drain}},
		numbers(8, 1),
		{Kind: element.KindEndOfInput},
	}
	for _, e := range sent {
		if err := o.Send(r.context(), e); err != nil {
			t.Fatal(err)
		}
	}
	var rows []int64
	for i, want := range sent {
		m := next(t, in)
		if m.Channel != 1 || m.Element.Kind != want.Kind || m.Element.Watermark != want.Watermark || m.Element.Barrier != want.Barrier {
			t.Fatalf("element %d is %+v, want %+v", i, m, want)
		}
		if b := m.Element.Batch; b != nil {
			rows = append(rows, b.Columns[0].Int64s()...)
			if b.Time(0) != b.Columns[0].Int64s()[0] {
				t.Errorf("event time %d", b.Time(0))
			}
			b.Release()
		}
		in.Done(m)
	}
	if len(rows) != 4 || rows[0] != 5 || rows[2] != 7 || rows[3] != 8 {
		t.Errorf("rows %v", rows)
	}
}

func TestALinkThatEndedIsNoFailureAndOneThatDidNotIs(t *testing.T) {
	for _, ended := range []bool{true, false} {
		balanced(t)
		r := newRig(t, nil, nil)
		in := local.NewInbox(2)
		end := r.open(job, inlets(in, 2, narrow))
		l := r.dial(job)
		for i := range 2 {
			o := l.Channel(at(i), narrow)
			if i == 0 || ended {
				if err := o.Send(r.context(), element.Element{Kind: element.KindEndOfInput}); err != nil {
					t.Fatal(err)
				}
			} else if err := o.Send(r.context(), element.Element{Kind: element.KindWatermark}); err != nil {
				t.Fatal(err)
			}
		}
		next(t, in)
		next(t, in)
		l.Close()
		if ended {
			end() // waits for the connection
			if len(r.failed) > 0 {
				t.Errorf("told of %v", <-r.failed)
			}
			continue
		}
		if err := <-r.failed; !errors.Is(err, ErrLost) {
			t.Errorf("told of %v", err)
		}
		end()
	}
}

func TestASlowReceiverHoldsUpNoOtherChannel(t *testing.T) {
	balanced(t)
	r := newRig(t, nil, nil)
	slow, quick := local.NewInbox(1), local.NewInbox(1)
	other := Channel{Stage: 1, Task: 1}
	end := r.open(job, map[Channel]Inlet{at(0): {slow, narrow}, other: {quick, narrow}})
	l := r.dial(job)
	toSlow, toQuick := l.Channel(at(0), narrow), l.Channel(other, narrow)
	for range local.Credits {
		if err := toSlow.Send(r.context(), numbers(0, 10)); err != nil {
			t.Fatal(err)
		}
	}
	for toSlow.Queued() != local.Credits || len(slow.C) != local.Credits {
		runtime.Gosched() // until all of them stand in the inbox
	}
	full, give := context.WithCancelCause(r.context())
	refused := make(chan error, 1)
	go func() { refused <- toSlow.Send(full, numbers(0, 10)) }()
	const many = 500
	go func() {
		for i := range many {
			if err := toQuick.Send(r.context(), numbers(int64(i), 1)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	for i := range many {
		m := next(t, quick)
		if got := m.Element.Batch.Columns[0].Int64s()[0]; got != int64(i) {
			t.Fatalf("got %d, want %d", got, i)
		}
		m.Element.Batch.Release()
		quick.Done(m)
	}
	stop := errors.New("stop")
	give(stop)
	if err := <-refused; !errors.Is(err, stop) {
		t.Errorf("a send without credit: %v", err)
	}
	if toSlow.Waited() == 0 {
		t.Error("the wait was not counted")
	}
	if len(slow.C) != local.Credits {
		t.Errorf("%d elements at the slow receiver", len(slow.C))
	}
	l.Close()
	end()
	slow.Drop()
}

func TestAttemptsAreFenced(t *testing.T) {
	r := newRig(t, nil, nil)
	in := local.NewInbox(1)
	older, newer := Attempt{"orders", 2}, Attempt{"orders", 4}
	end := r.open(job, inlets(in, 1, narrow))
	if _, err := r.dialer.Dial(r.context(), r.address, receiver, older); !errors.Is(err, ErrSuperseded) {
		t.Errorf("an older attempt: %v", err)
	}
	if _, err := r.dialer.Dial(r.context(), r.address, receiver+1, job); !errors.Is(err, ErrOtherWorker) {
		t.Errorf("another worker: %v", err)
	}
	old := r.dial(job)
	sent := old.Channel(at(0), narrow)
	if err := sent.Send(r.context(), element.Element{Kind: element.KindWatermark}); err != nil {
		t.Fatal(err)
	}
	next(t, in)
	dialled := make(chan *Link)
	go func() {
		l, err := r.dialer.Dial(r.context(), r.address, receiver, newer) // waits until it is open
		if err != nil {
			t.Error(err)
		}
		dialled <- l
	}()
	again := local.NewInbox(1)
	endNewer := r.open(newer, inlets(again, 1, narrow))
	<-old.down
	if err := sent.Send(r.context(), numbers(0, 1)); !errors.Is(err, ErrLost) {
		t.Errorf("a send of an attempt that is over: %v", err)
	}
	l := <-dialled
	if err := l.Channel(at(0), narrow).Send(r.context(), element.Element{Kind: element.KindEndOfInput}); err != nil {
		t.Fatal(err)
	}
	if m := next(t, again); m.Element.Kind != element.KindEndOfInput {
		t.Errorf("got %+v", m)
	}
	l.Close()
	old.Close()
	end()
	endNewer()
	if _, err := r.dialer.Dial(r.context(), r.address, receiver, newer); !errors.Is(err, ErrSuperseded) {
		t.Errorf("an attempt that has ended: %v", err)
	}
	if len(r.failed) > 0 {
		t.Errorf("told of %v", <-r.failed)
	}
}
