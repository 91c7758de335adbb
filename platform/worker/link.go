package worker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/runtime/exchange/remote"
)

// Exchange connects the tasks of an attempt with those on other workers.
type Exchange interface {
	// Open lets the attempt's channels in from now on; failed is told when one of
	// them breaks. The returned function ends it and waits until nothing of it runs.
	Open(a remote.Attempt, inlets map[remote.Channel]remote.Inlet, failed func(error)) (end func())
	// Dial opens the way to another worker, waiting until that runs the attempt.
	Dial(ctx context.Context, to Peer, a remote.Attempt) (Link, error)
}

// Link leads to the tasks of one attempt on one other worker.
type Link interface {
	Channel(c remote.Channel, s *schema.Schema) runtime.Sender
	Close()
}

// uplink is a link that tasks may name before it is there.
type uplink struct {
	peer Peer
	up   chan struct{} // closed when link is set
	link Link
}

// dial brings a link up. It is a part of the attempt like a task: without it nothing is ready.
func (j *Job) dial(l *uplink) {
	link, err := j.options.Exchange.Dial(j.ctx, l.peer, j.attempt())
	if err != nil {
		if j.ctx.Err() == nil {
			j.exchangeFailed(fmt.Errorf("reach worker of epoch %d at %s: %w", l.peer.Epoch, l.peer.Address, err))
		}
		return
	}
	l.link = link
	close(l.up)
	j.partOpened(0)
}

func (j *Job) attempt() remote.Attempt {
	return remote.Attempt{UID: j.start.UID, Attempt: j.start.Attempt}
}

// exchangeFailed ends the attempt: what was under way on the link is lost.
func (j *Job) exchangeFailed(err error) {
	if j.ctx.Err() == nil {
		(*jobEvents)(j).Failed(runtime.TaskID{}, err)
	}
}

// farSender is the sending end of a channel to another worker.
type farSender struct {
	link    *uplink
	channel remote.Channel
	schema  *schema.Schema

	once sync.Once
	far  runtime.Sender
}

// Send waits for the link first.
func (s *farSender) Send(ctx context.Context, e element.Element) error {
	select {
	case <-s.link.up:
	default:
		select {
		case <-s.link.up:
		case <-ctx.Done():
			if e.Batch != nil {
				e.Batch.Release()
			}
			return context.Cause(ctx)
		}
	}
	return s.sender().Send(ctx, e)
}

func (s *farSender) sender() runtime.Sender {
	s.once.Do(func() { s.far = s.link.link.Channel(s.channel, s.schema) })
	return s.far
}

// Waited is the time spent waiting for the receiver.
func (s *farSender) Waited() time.Duration {
	select {
	case <-s.link.up:
	default:
		return 0
	}
	if w, ok := s.sender().(interface{ Waited() time.Duration }); ok {
		return w.Waited()
	}
	return 0
}
