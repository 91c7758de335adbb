package remote

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/batch"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
)

const (
	receiver = 7 // epochs
	sender   = 8
	limit    = 20 * time.Second // of what a test waits for
)

var narrow = schema.MustParse("n:int64")

// rig is two workers: a hub behind a real port, and a dialler.
type rig struct {
	t       *testing.T
	hub     *Hub
	dialer  *Dialer
	address string
	failed  chan error
	server  *http.Server
}

func options(epoch uint64, wrap func(net.Conn) net.Conn) Options {
	return Options{Log: slog.New(slog.DiscardHandler), Self: func() uint64 { return epoch }, wrap: wrap}
}

func newRig(t *testing.T, wrapHub, wrapLink func(net.Conn) net.Conn) *rig {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, hub: NewHub(options(receiver, wrapHub)), dialer: NewDialer(options(sender, wrapLink)),
		address: l.Addr().String(), failed: make(chan error, 16),
	}
	r.server = &http.Server{Handler: r.hub}
	go func() { _ = r.server.Serve(l) }()
	t.Cleanup(func() {
		r.hub.Close()
		_ = r.server.Close()
	})
	return r
}

func (r *rig) context() context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), limit)
	r.t.Cleanup(cancel)
	return ctx
}

func (r *rig) open(a Attempt, inlets map[Channel]Inlet) (end func()) {
	return r.hub.Open(a, inlets, func(err error) { r.failed <- err })
}

func (r *rig) dial(a Attempt) *Link {
	r.t.Helper()
	l, err := r.dialer.Dial(r.context(), r.address, receiver, a)
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// at names channel i of task 0 of stage 1.
func at(i int) Channel { return Channel{Stage: 1, Number: i} }

// inlets lets all channels of an inbox in.
func inlets(in *local.Inbox, n int, s *schema.Schema) map[Channel]Inlet {
	out := map[Channel]Inlet{}
	for i := range n {
		out[at(i)] = Inlet{Inbox: in, Schema: s}
	}
	return out
}

// next takes a message, which has to come.
func next(t *testing.T, in *local.Inbox) local.Message {
	t.Helper()
	select {
	case m := <-in.C:
		return m
	case <-time.After(limit):
		t.Fatal("nothing came")
	}
	panic("unreachable")
}

// numbers makes a batch of n rows of narrow, from first on.
func numbers(first int64, n int) element.Element {
	b := batch.NewBuilder(narrow)
	for i := range n {
		b.Column(0).AppendInt64(first + int64(i))
		b.EndRow(first + int64(i))
	}
	return element.Element{Kind: element.KindBatch, Batch: b.Finish("", 0)}
}

// balanced fails the test unless every batch and buffer is released at its end.
func balanced(t *testing.T) {
	t.Helper()
	before := batch.Live()
	t.Cleanup(func() {
		if now := batch.Live(); now != before {
			t.Errorf("%d batches and buffers are not released", now-before)
		}
	})
}
