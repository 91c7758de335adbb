package remote

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/abi"
	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

// raw makes a frame by hand.
func raw(h frame.ExchangeHeader, body []byte) []byte {
	h.Size = len(body)
	return append(h.AppendTo(nil), body...)
}

func openFrame(number uint32, c Channel, s *schema.Schema) []byte {
	o := opening{channel: c, fingerprint: s.Fingerprint()}
	var body [openBytes]byte
	o.put(body[:])
	return raw(frame.ExchangeHeader{Kind: frame.ExchangeOpen, Channel: number, Attempt: job.Attempt}, body[:])
}

func markFrame(sequence uint16) []byte {
	return raw(frame.ExchangeHeader{Kind: frame.ExchangeWatermark, Sequence: sequence, Attempt: job.Attempt}, nil)
}

// receive lets an intake read the bytes, whose sender then closes, and gives what
// the sender was told and what the attempt was.
func receive(bytes []byte, in *local.Inbox) (refusal string, err error) {
	there, here := net.Pipe()
	a := &attempt{id: job, inlets: inlets(in, 1, narrow), conns: map[net.Conn]struct{}{}, taken: map[Channel]bool{}}
	got := make(chan error, 1)
	go func() { got <- (&intake{attempt: a, conn: here, from: sender, wake: make(chan struct{}, 1)}).run() }()
	said := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(there) // until it is closed
		said <- string(text)
	}()
	_, _ = there.Write(bytes) // it may be refused half way
	time.AfterFunc(DeadAfter/4, func() { there.Close() })
	err = <-got
	there.Close()
	return <-said, err
}

func TestWhatBreaksTheProtocolIsRefusedByName(t *testing.T) {
	wide := schema.MustParse("n:int64,s:utf8")
	open := openFrame(0, at(0), narrow)
	h := func(change func(h *frame.ExchangeHeader)) frame.ExchangeHeader {
		h := frame.ExchangeHeader{Kind: frame.ExchangeWatermark, Attempt: job.Attempt}
		change(&h)
		return h
	}
	var overdrawn []byte
	for i := range local.Credits + 1 {
		overdrawn = append(overdrawn, markFrame(uint16(i))...)
	}
	var enc frame.Encoder
	batch := numbers(1, 3).Batch
	defer batch.Release()
	rows := frame.ExchangeRows{Rows: 3, Columns: batch.Columns}
	good := enc.AppendBatch(nil, &frame.ExchangeHeader{Attempt: job.Attempt}, narrow, &rows)
	damaged := append([]byte{}, good...)
	damaged[abi.ExchangeHeaderSize+4] = 9 // nodes of the block
	large := frame.ExchangeHeader{Kind: frame.ExchangeBatch, Size: WindowBytes, Sequence: 1, Attempt: job.Attempt}
	for _, c := range []struct {
		name string
		sent [][]byte
		want string
	}{
		{"garbage", [][]byte{[]byte(strings.Repeat("x", 64))}, "bad exchange frame"},
		{"an element before its channel", [][]byte{markFrame(0)}, "channel 0 of 0"},
		{"a channel that nobody sends to from elsewhere", [][]byte{openFrame(0, at(1), narrow)}, "no channel 1.0[1]"},
		{"other columns", [][]byte{openFrame(0, at(0), wide)}, "the sender's are"},
		{"a channel twice", [][]byte{open, openFrame(1, at(0), narrow)}, "opened twice"},
		{"a number out of turn", [][]byte{openFrame(1, at(0), narrow)}, "channel 1 is opened after 0 others"},
		{"a short opening", [][]byte{raw(h(func(h *frame.ExchangeHeader) { h.Kind = frame.ExchangeOpen }), make([]byte, 8))}, "an opening of 8 bytes"},
		{"a long opening", [][]byte{raw(h(func(h *frame.ExchangeHeader) { h.Kind = frame.ExchangeOpen }), make([]byte, 800))}, "the limit is 24"},
		{"a lost element", [][]byte{open, markFrame(1)}, "is at element 0, got 1"},
		{"a doubled element", [][]byte{open, markFrame(0), markFrame(0)}, "is at element 1, got 0"},
		{"another attempt", [][]byte{open, raw(h(func(h *frame.ExchangeHeader) { h.Attempt++ }), nil)}, "attempt 4"},
		{"an unknown status", [][]byte{open, raw(h(func(h *frame.ExchangeHeader) { h.Rows = 3 }), nil)}, "status 3"},
		{"a credit", [][]byte{open, raw(h(func(h *frame.ExchangeHeader) { h.Kind = frame.ExchangeCredit }), nil)}, "kind 5 from a sender"},
		{"more than the end", [][]byte{open, raw(h(func(h *frame.ExchangeHeader) { h.Kind = frame.ExchangeEnd }), nil), markFrame(1)}, "goes on after its end"},
		{"more elements than credits", [][]byte{open, overdrawn}, "without credit"},
		{"more bytes than the window", [][]byte{open, markFrame(0), large.AppendTo(nil)}, "without credit"},
		{"a short barrier", [][]byte{open, raw(h(func(h *frame.ExchangeHeader) { h.Kind = frame.ExchangeBarrier }), make([]byte, 4))}, "a barrier of 4 bytes"},
		{"a damaged block", [][]byte{open, damaged}, "9 nodes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			balanced(t)
			synctest.Test(t, func(t *testing.T) {
				in := local.NewInbox(1)
				said, err := receive(joined(c.sent), in)
				if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("the attempt is told: %v", err)
				}
				if !strings.Contains(said, c.want) {
					t.Errorf("the sender is told: %q", said)
				}
				in.Drop()
			})
		})
	}
}

func joined(parts [][]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func TestASenderOfOtherColumnsIsToldSo(t *testing.T) {
	balanced(t)
	r := newRig(t, nil, nil)
	in := local.NewInbox(1)
	end := r.open(job, inlets(in, 1, narrow))
	l := r.dial(job)
	o := l.Channel(at(0), blobs)
	var err error
	for err == nil {
		err = o.Send(r.context(), heavy(10, 20_000))
	}
	if !errors.Is(err, ErrProtocol) || !strings.Contains(err.Error(), "has columns n:int64") {
		t.Errorf("the sender is told: %v", err)
	}
	if err := <-r.failed; !errors.Is(err, ErrProtocol) {
		t.Errorf("the attempt is told: %v", err)
	}
	l.Close()
	end()
}

func TestAFrameCutShortIsALoss(t *testing.T) {
	balanced(t)
	var enc frame.Encoder
	batch := numbers(1, 3).Batch
	defer batch.Release()
	rows := frame.ExchangeRows{Rows: 3, Columns: batch.Columns}
	whole := append(openFrame(0, at(0), narrow), enc.AppendBatch(nil, &frame.ExchangeHeader{Attempt: job.Attempt}, narrow, &rows)...)
	for n := range len(whole) {
		synctest.Test(t, func(t *testing.T) {
			in := local.NewInbox(1)
			if _, err := receive(whole[:n], in); !errors.Is(err, ErrLost) || errors.Is(err, ErrProtocol) {
				t.Errorf("after %d bytes: %v", n, err)
			}
			if len(in.C) != 0 {
				t.Errorf("after %d bytes an element came", n)
			}
		})
	}
}

func TestASilentPeerIsGivenUpOnBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		_, here := net.Pipe()
		a := &attempt{id: job, inlets: inlets(local.NewInbox(1), 1, narrow), taken: map[Channel]bool{}}
		err := (&intake{attempt: a, conn: here, wake: make(chan struct{}, 1)}).run()
		if !errors.Is(err, ErrLost) || time.Since(begin) > DeadAfter {
			t.Errorf("the receiver after %s: %v", time.Since(begin), err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		there, here := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, there) }()
		defer there.Close()
		l := newLink(here, job, receiver)
		o := l.Channel(at(0), narrow)
		var err error
		for err == nil { // until no credit is left, and then for good
			err = o.Send(t.Context(), element.Element{Kind: element.KindWatermark})
		}
		if !errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "silent") || time.Since(begin) > DeadAfter {
			t.Errorf("the sender after %s: %v", time.Since(begin), err)
		}
		l.Close()
	})
}

func TestIdleEndsKeepEachOtherAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there, here := net.Pipe()
		in := local.NewInbox(1)
		a := &attempt{id: job, inlets: inlets(in, 1, narrow), taken: map[Channel]bool{}}
		got := make(chan error, 1)
		go func() { got <- (&intake{attempt: a, conn: here, wake: make(chan struct{}, 1)}).run() }()
		l := newLink(there, job, receiver)
		o := l.Channel(at(0), narrow)
		time.Sleep(time.Hour) // of the bubble's time
		if err := o.Send(t.Context(), element.Element{Kind: element.KindEndOfInput}); err != nil {
			t.Error(err)
		}
		in.Done(<-in.C)
		l.Close()
		if err := <-got; err != nil {
			t.Error(err)
		}
	})
}

func FuzzIntake(f *testing.F) {
	open := openFrame(0, at(0), narrow)
	var enc frame.Encoder
	batch := numbers(1, 3).Batch
	rows := frame.ExchangeRows{Rows: 3, Columns: batch.Columns, Times: batch.Times, Kinds: []byte{0, 1, 2}, Hashes: []uint64{1, 2, 3},
		Origin: &frame.ExchangeOriginRows{Topic: "t", Sequences: []uint64{1, 2, 3}, Rows: []int32{0, 1, 2}}}
	f.Add(append(open, enc.AppendBatch(nil, &frame.ExchangeHeader{Attempt: job.Attempt}, narrow, &rows)...))
	batch.Release()
	f.Add(joined([][]byte{open, markFrame(0), raw(frame.ExchangeHeader{Kind: frame.ExchangeBarrier, Sequence: 1, Attempt: job.Attempt}, make([]byte, barrierBytes))}))
	f.Fuzz(func(t *testing.T, sent []byte) {
		in := local.NewInbox(1)
		a := &attempt{id: job, inlets: inlets(in, 1, narrow), taken: map[Channel]bool{}}
		i := &intake{attempt: a, conn: &recorded{rest: sent}, wake: make(chan struct{}, 1)}
		_ = i.read()
		for len(in.C) > 0 {
			m := <-in.C
			if b := m.Element.Batch; b != nil {
				for row := range b.Len() {
					_, _, _ = b.Time(row), b.Kind(row), show(&b.Columns[0], row)
				}
				b.Release()
			}
			in.Done(m)
		}
	})
}

// FuzzCredits lets a link read what a receiver may say.
func FuzzCredits(f *testing.F) {
	f.Add(raw(frame.ExchangeHeader{Kind: frame.ExchangeCredit, Rows: 1, Value: 32}, nil))
	f.Add(raw(frame.ExchangeHeader{Kind: frame.ExchangeRefusal}, []byte("no")))
	f.Fuzz(func(t *testing.T, said []byte) {
		l := &Link{conn: &recorded{rest: said}, attempt: job, down: make(chan struct{})}
		o := &Outlet{link: l, wake: make(chan struct{}, 1), out: credits{elements: 3, bytes: 96}}
		l.outlets = []*Outlet{o}
		l.running.Add(1)
		l.read()
		if o.out.elements < 0 || o.out.bytes < 0 || l.err == nil {
			t.Errorf("%+v, %v", o.out, l.err)
		}
	})
}

// recorded is a connection that says what was recorded.
type recorded struct {
	net.Conn
	rest []byte
}

func (r *recorded) Read(b []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *recorded) SetReadDeadline(time.Time) error { return nil }
func (r *recorded) Close() error                    { return nil }
