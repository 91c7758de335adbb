package raftmeta

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// proposal is what one caller wants applied, in order and in one entry.
type proposal struct {
	commands []catalog.Command
	answered chan answer // takes one answer and never blocks the sender
}

// Propose applies a command through Raft and returns what the catalog answered.
// It is refused with *NotLeaderError on a follower. When the context ends first,
// the command may still take effect.
func (n *Node) Propose(ctx context.Context, c catalog.Command) (catalog.Result, error) {
	outcomes, err := n.ProposeAll(ctx, c)
	if err != nil {
		return catalog.Result{}, err
	}
	return outcomes[0].Result, outcomes[0].Err
}

// ProposeAll applies commands one after the other in one entry, which they may
// share with those of other callers. Each has its own outcome: a refused one does not undo the others.
func (n *Node) ProposeAll(ctx context.Context, commands ...catalog.Command) ([]Outcome, error) {
	if len(commands) == 0 {
		return nil, nil
	}
	p := &proposal{commands: commands, answered: make(chan answer, 1)}
	select {
	case n.proposals <- p:
	case <-n.closing:
		return nil, n.closedError()
	case <-ctx.Done():
		return nil, fmt.Errorf("propose %s: %w", catalog.Name(commands[0]), ctx.Err())
	}
	select {
	case a := <-p.answered:
		return a.outcomes, a.err
	case <-n.ended:
		// Whatever got an answer has it by now; the rest came after the last one was taken.
		select {
		case a := <-p.answered:
			return a.outcomes, a.err
		default:
			return nil, n.closedError()
		}
	case <-ctx.Done():
		return nil, fmt.Errorf("propose %s: %w: %w", catalog.Name(commands[0]), ErrUnknownOutcome, ctx.Err())
	}
}

// group collects proposals into entries: at once while nothing is under way,
// otherwise when the entry under way has landed or the window is over. So a lone
// proposal waits for nobody, and a thousand pipelines cost one entry per window.
func (n *Node) group() {
	defer n.tasks.Done()
	var queue []*proposal
	size, flying := 0, 0
	landed := make(chan struct{}, 1024)
	window := time.NewTimer(time.Hour)
	window.Stop()
	flush := func() {
		window.Stop()
		flying++
		n.send(queue, landed)
		queue, size = nil, 0
	}
	for {
		select {
		case p := <-n.proposals:
			if size > 0 && size+len(p.commands) > maxGroup {
				flush()
			}
			if len(queue) == 0 {
				window.Reset(n.options.GroupWindow)
			}
			queue = append(queue, p)
			size += len(p.commands)
			if flying == 0 || size >= maxGroup {
				flush()
			}
		case <-landed:
			flying--
			if flying == 0 && len(queue) > 0 {
				flush()
			}
		case <-window.C:
			if len(queue) > 0 {
				flush()
			}
		case <-n.closing:
			for _, p := range queue {
				p.answered <- answer{err: n.closedError()}
			}
			for {
				select {
				case p := <-n.proposals:
					p.answered <- answer{err: n.closedError()}
				default:
					return
				}
			}
		}
	}
}

// send hands one entry to Raft and, beside the grouping loop, waits for it.
func (n *Node) send(queue []*proposal, landed chan<- struct{}) {
	var all []catalog.Command
	for _, p := range queue {
		all = append(all, p.commands...)
	}
	entry, err := catalog.EncodeEntry(all...)
	if err != nil && len(queue) > 1 {
		// One of them is too large or cannot be encoded: alone, each gets its own answer.
		n.spawn(func() {
			for _, p := range queue {
				alone, err := catalog.EncodeEntry(p.commands...)
				n.commit([]*proposal{p}, alone, err)
			}
			n.land(landed)
		})
		return
	}
	var future raft.ApplyFuture
	if err == nil {
		// Called from the loop, so that entries enter the log in the order of their proposals.
		future = n.raft.Apply(entry, n.options.ApplyTimeout)
	}
	n.spawn(func() {
		n.deliver(queue, future, err)
		n.land(landed)
	})
}

func (n *Node) land(landed chan<- struct{}) {
	select {
	case landed <- struct{}{}:
	case <-n.closing:
	}
}

func (n *Node) commit(queue []*proposal, entry []byte, err error) {
	var future raft.ApplyFuture
	if err == nil {
		future = n.raft.Apply(entry, n.options.ApplyTimeout)
	}
	n.deliver(queue, future, err)
}

func (n *Node) deliver(queue []*proposal, future raft.ApplyFuture, err error) {
	a := answer{err: err}
	if err == nil {
		if err := n.settled(future); err != nil {
			a.err = n.proposeError(err)
		} else if got, ok := future.Response().(answer); ok {
			a = got
		} else {
			a.err = fmt.Errorf("propose: %w: the entry was answered with %T", ErrDamaged, future.Response())
		}
	}
	at := 0
	for _, p := range queue {
		one := answer{err: a.err}
		if a.err == nil {
			one.outcomes = a.outcomes[at : at+len(p.commands) : at+len(p.commands)]
		}
		at += len(p.commands)
		p.answered <- one
	}
	n.imageIfGrown()
}

// settled waits for Raft's answer. Raft forgets entries that are on their way to
// the machine when it shuts down: no answer comes for them, ever.
func (n *Node) settled(future raft.ApplyFuture) error {
	answered := make(chan error, 1)
	go func() { answered <- future.Error() }() // Raft owns it; one that it forgot stays behind
	select {
	case err := <-answered:
		return err
	case <-n.down:
	}
	select {
	case err := <-answered:
		return err
	default:
		return raft.ErrRaftShutdown
	}
}

func (n *Node) proposeError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		address, id := n.raft.LeaderWithID()
		return &NotLeaderError{Leader: string(id), Address: string(address)}
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return fmt.Errorf("propose: the log took no entry for %s; the disk or the other voters are slow: %w", n.options.ApplyTimeout, err)
	case errors.Is(err, raft.ErrRaftShutdown):
		if failed := n.machine.failure(); failed != nil {
			return failed
		}
		return fmt.Errorf("propose: %w: %w", ErrUnknownOutcome, ErrClosed)
	}
	return fmt.Errorf("propose: %w: %w", ErrUnknownOutcome, err)
}
