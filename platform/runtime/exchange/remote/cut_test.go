package remote

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

// fragile breaks at its n-th write, of which it lets a half through.
type fragile struct {
	net.Conn
	mu   sync.Mutex // guards left
	left int
	hit  *bool
}

var errCut = errors.New("cut by the test")

func (f *fragile) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left--; f.left > 0 {
		return f.Conn.Write(b)
	}
	*f.hit = true
	n, _ := f.Conn.Write(b[:len(b)/2])
	_ = f.Conn.Close()
	return n, errCut
}

// outcome is what became of a transfer over a connection that breaks.
type outcome struct {
	sent    [2]error
	arrived [2][]int64 // rows by channel; -1: the end of input
	told    []error
}

const cutElements = 12 // of rows, by channel

// transfer sends rows and an end on two channels, and takes them until they have
// ended or the receiver is told that they will not.
func transfer(t *testing.T, wrapHub, wrapLink func(net.Conn) net.Conn) (out outcome) {
	r := newRig(t, wrapHub, wrapLink)
	in := local.NewInbox(2)
	end := r.open(job, inlets(in, 2, narrow))
	l := r.dial(job)
	var senders sync.WaitGroup
	for c := range 2 {
		o := l.Channel(at(c), narrow)
		senders.Go(func() {
			for i := range cutElements {
				if out.sent[c] = o.Send(r.context(), numbers(int64(i), 200*c+1)); out.sent[c] != nil {
					return
				}
			}
			out.sent[c] = o.Send(r.context(), element.Element{Kind: element.KindEndOfInput})
		})
	}
	take := func(m local.Message) {
		value := int64(-1)
		if b := m.Element.Batch; b != nil {
			value = b.Columns[0].Int64s()[0]
			b.Release()
		}
		out.arrived[m.Channel] = append(out.arrived[m.Channel], value)
		in.Done(m)
	}
	timeout := time.After(limit)
	for len(out.told) == 0 && len(out.arrived[0])+len(out.arrived[1]) < 2*(cutElements+1) {
		select {
		case m := <-in.C:
			take(m)
		case err := <-r.failed:
			out.told = append(out.told, err)
		case <-timeout:
			t.Fatalf("neither the rest came nor a word: %+v", out)
		}
	}
	for len(in.C) > 0 { // what had arrived before the cut
		take(<-in.C)
	}
	senders.Wait()
	l.Close()
	end()
	for len(r.failed) > 0 {
		out.told = append(out.told, <-r.failed)
	}
	return out
}

func check(t *testing.T, name string, out outcome) {
	t.Helper()
	whole := true
	for c, rows := range out.arrived {
		for i, got := range rows {
			want := int64(i)
			if i == cutElements {
				want = -1
			}
			if got != want {
				t.Fatalf("%s: channel %d: element %d is %d, want %d", name, c, i, got, want)
			}
		}
		whole = whole && len(rows) == cutElements+1
		if err := out.sent[c]; err != nil && !errors.Is(err, ErrLost) {
			t.Errorf("%s: channel %d: %v", name, c, err)
		}
	}
	switch {
	case whole && len(out.told) > 0:
		t.Errorf("%s: everything came, and yet: %v", name, out.told)
	case !whole && (len(out.told) != 1 || !errors.Is(out.told[0], ErrLost)):
		t.Errorf("%s: something is missing, and the receiver was told %v", name, out.told)
	}
}

func TestAConnectionThatIsCutAtAnyWriteLosesNothingSilently(t *testing.T) {
	for _, side := range []string{"sender", "receiver"} {
		t.Run("of the "+side, func(t *testing.T) {
			balanced(t)
			// How much shares a write is a matter of timing, so a run may have fewer of
			// them than the one before: it ends when several in a row were not cut.
			cuts, whole := 0, 0
			for n := 1; whole < 3; n++ {
				hit := false
				wrap := func(c net.Conn) net.Conn { return &fragile{Conn: c, left: n, hit: &hit} }
				var out outcome
				if side == "sender" {
					out = transfer(t, nil, wrap)
				} else {
					out = transfer(t, wrap, nil)
				}
				check(t, fmt.Sprintf("cut at write %d", n), out)
				if hit {
					cuts, whole = cuts+1, 0
					continue
				}
				whole++
				if out.sent != [2]error{} || len(out.told) > 0 {
					t.Errorf("without a cut: %+v", out)
				}
			}
			if cuts == 0 { // a channel has fewer credits than elements, so each end writes
				t.Error("nothing was cut")
			}
			t.Logf("%d writes were cut", cuts)
		})
	}
}
