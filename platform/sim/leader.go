package sim

import (
	"context"
	"errors"
	"sync"

	"github.com/weirstream/weir/platform/cluster"
)

// remoteLeader is the leader as a worker reaches it: over the network, at one of
// the controllers.
type remoteLeader struct {
	c    *Cluster
	self string

	mu sync.Mutex // guards at
	at int        // the controller that is asked
}

func (l *remoteLeader) current() *controllerProcess {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.c.voters[l.at%len(l.c.voters)]
}

func (l *remoteLeader) next(failed *controllerProcess) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.c.voters[l.at%len(l.c.voters)] == failed {
		l.at++
	}
}

// ask calls a controller, and turns to the next if it does not answer or lead.
func (l *remoteLeader) ask(ctx context.Context, do func(context.Context, *cluster.Desk) error) error {
	v := l.current()
	err := l.c.net.call(ctx, l.self, v.id, func(ctx context.Context) error {
		desk := v.front()
		if desk == nil {
			return errRefused
		}
		return do(ctx, desk)
	})
	if errors.Is(err, cluster.ErrNotLeader) || errors.Is(err, errRefused) || errors.Is(err, errTimeout) {
		l.next(v)
	}
	return err
}

// Join implements cluster.Leader.
func (l *remoteLeader) Join(ctx context.Context, j cluster.Joining) (out cluster.Joined, err error) {
	err = l.ask(ctx, func(ctx context.Context, d *cluster.Desk) error {
		out, err = d.Join(ctx, j)
		return err
	})
	return out, err
}

// Report implements cluster.Leader.
func (l *remoteLeader) Report(ctx context.Context, r cluster.Report) error {
	return l.ask(ctx, func(ctx context.Context, d *cluster.Desk) error { return d.Report(ctx, r) })
}

// Drain implements cluster.Leader.
func (l *remoteLeader) Drain(ctx context.Context, epoch uint64) error {
	return l.ask(ctx, func(ctx context.Context, d *cluster.Desk) error { return d.Drain(ctx, epoch) })
}

// Leave implements cluster.Leader.
func (l *remoteLeader) Leave(ctx context.Context, epoch uint64, reason string) error {
	return l.ask(ctx, func(ctx context.Context, d *cluster.Desk) error { return d.Leave(ctx, epoch, reason) })
}

// Follow implements cluster.Leader. Words that were said while the two were cut
// apart are lost with the connection; the leader's end lives on until the leader
// itself gives the worker up, as a TCP connection does whose other end is silent.
func (l *remoteLeader) Follow(ctx context.Context, epoch uint64, hear func(cluster.Word) error) error {
	v := l.current()
	down, cut, _ := l.c.net.state(l.self, v.id)
	desk := v.front()
	if down || desk == nil {
		l.next(v)
		return errRefused
	}
	if cut {
		sleep(ctx, silence)
		l.next(v)
		return errTimeout
	}
	here, broken := context.WithCancelCause(ctx)
	defer broken(nil)
	there, reset := context.WithCancel(v.ctx)
	answer := make(chan error, 1)
	l.c.parts.Go(func() {
		defer reset()
		answer <- desk.Follow(there, epoch, func(w cluster.Word) error {
			down, cut, _ := l.c.net.state(l.self, v.id)
			switch {
			case down:
				return errRefused
			case cut || here.Err() != nil:
				return nil // it goes nowhere, and the leader does not know
			}
			sleep(here, l.c.rng.between(quickest, slowest))
			return hear(w)
		})
	})
	l.c.parts.Go(func() { l.c.net.watch(here, l.self, v.id, func(err error) { broken(err) }) })
	select {
	case err := <-answer:
		if errors.Is(err, cluster.ErrNotLeader) {
			l.next(v)
		}
		return err
	case <-here.Done():
		err := context.Cause(here)
		if ctx.Err() != nil || errors.Is(err, errRefused) {
			reset() // a process that ends closes its connections
		}
		if ctx.Err() == nil {
			l.next(v)
		}
		return err
	}
}
