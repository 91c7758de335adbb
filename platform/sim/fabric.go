package sim

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/runtime/exchange/local"
	"github.com/weirstream/weir/platform/runtime/exchange/remote"
	"github.com/weirstream/weir/platform/worker"
)

var errLinkBroken = errors.New("the connection to the other worker broke")

// fabric carries records between workers.
type fabric struct {
	net *network

	mu   sync.Mutex // guards open
	open map[string]map[remote.Attempt]*gate
}

func newFabric(n *network) *fabric {
	return &fabric{net: n, open: map[string]map[remote.Attempt]*gate{}}
}

// gate is the receiving side of an attempt at one worker.
type gate struct {
	ctx     context.Context
	cancel  context.CancelFunc
	inlets  map[remote.Channel]remote.Inlet
	failed  func(error)
	senders sync.WaitGroup

	mu     sync.Mutex // guards closed
	closed bool
}

// enter says whether the gate is open, and keeps it until leave.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.senders.Add(1)
	return true
}

// exchange is the fabric as one worker sees it.
type exchange struct {
	f     *fabric
	self  string
	parts *sync.WaitGroup
}

// Open implements worker.Exchange.
func (x *exchange) Open(a remote.Attempt, inlets map[remote.Channel]remote.Inlet, failed func(error)) func() {
	g := &gate{inlets: inlets, failed: failed}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	x.f.mu.Lock()
	if x.f.open[x.self] == nil {
		x.f.open[x.self] = map[remote.Attempt]*gate{}
	}
	x.f.open[x.self][a] = g
	x.f.mu.Unlock()
	return func() {
		x.f.mu.Lock()
		delete(x.f.open[x.self], a)
		x.f.mu.Unlock()
		g.mu.Lock()
		g.closed = true
		g.mu.Unlock()
		g.cancel()
		g.senders.Wait()
	}
}

// Dial implements worker.Exchange.
func (x *exchange) Dial(ctx context.Context, to worker.Peer, a remote.Attempt) (worker.Link, error) {
	for {
		x.f.mu.Lock()
		g := x.f.open[to.Address][a]
		x.f.mu.Unlock()
		down, cut, _ := x.f.net.state(x.self, to.Address)
		if g != nil && !down && !cut {
			return x.link(to.Address, g), nil
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// link is a connection. It breaks for both ends when the processes are parted.
type link struct {
	gate   *gate
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (x *exchange) link(to string, g *gate) *link {
	l := &link{gate: g}
	l.ctx, l.cancel = context.WithCancelCause(g.ctx)
	x.parts.Go(func() {
		x.f.net.watch(l.ctx, x.self, to, func(error) {
			l.cancel(errLinkBroken)
			if g.enter() {
				defer g.senders.Done()
				g.failed(errLinkBroken)
			}
		})
	})
	return l
}

func (l *link) Close() { l.cancel(errLinkBroken) }

func (l *link) Channel(c remote.Channel, _ *schema.Schema) runtime.Sender {
	inlet, ok := l.gate.inlets[c]
	if !ok {
		panic("sim: no inlet for channel " + c.String() + ": the workers number differently")
	}
	return &wire{link: l, to: inlet.Inbox.Channel(c.Number)}
}

// wire is one channel of a link.
type wire struct {
	link *link
	to   *local.Channel
}

// Send implements runtime.Sender.
func (w *wire) Send(ctx context.Context, e element.Element) error {
	if w.link.ctx.Err() != nil || !w.link.gate.enter() {
		if e.Batch != nil {
			e.Batch.Release()
		}
		return errLinkBroken
	}
	defer w.link.gate.senders.Done()
	both, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(w.link.ctx, func() { cancel(errLinkBroken) })
	defer stop()
	return w.to.Send(both, e)
}
