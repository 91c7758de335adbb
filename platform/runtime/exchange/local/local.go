// Package local carries elements between tasks of one process: a queue per
// receiving task and credits per channel, so that one slow receiver holds back
// only those who send to it. It must not know what an operator is.
package local

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/weirstream/weir/platform/element"
)

// Credits is how many elements of one channel may wait at the receiver. With
// batches of about a thousand rows that is some ten milliseconds of work.
const Credits = 8

// Message is an element and the channel it came by.
type Message struct {
	Channel int
	Element element.Element
	// Bytes is what the element weighs for whoever sent it from another process.
	Bytes int
}

// Inbox is the queue of one task. Its capacity is the sum of the credits of its
// channels, so that putting into it never waits.
type Inbox struct {
	C        chan Message
	channels []*Channel
}

// NewInbox makes the inbox of a task with n channels.
func NewInbox(n int) *Inbox {
	in := &Inbox{C: make(chan Message, n*Credits), channels: make([]*Channel, n)}
	for i := range in.channels {
		in.channels[i] = &Channel{inbox: in, number: i, credits: make(chan struct{}, Credits)}
	}
	return in
}

// Channel gives the sending end of a channel.
func (in *Inbox) Channel(i int) *Channel { return in.channels[i] }

// Feed says that a channel's elements come from elsewhere by Put. returned is
// told the bytes of each one that has been handled, by the task's goroutine.
func (in *Inbox) Feed(i int, returned func(bytes int)) *Channel {
	in.channels[i].returned = returned
	return in.channels[i]
}

// Done gives back the credit of a message that has been handled.
func (in *Inbox) Done(m Message) {
	c := in.channels[m.Channel]
	<-c.credits
	if c.returned != nil {
		c.returned(m.Bytes)
	}
}

// Drop releases what is still queued; for use after both ends have stopped.
func (in *Inbox) Drop() {
	for {
		select {
		case m := <-in.C:
			if m.Element.Batch != nil {
				m.Element.Batch.Release()
			}
		default:
			return
		}
	}
}

// Channel is the sending end from one task to another. One goroutine sends.
type Channel struct {
	inbox   *Inbox
	number  int
	credits chan struct{}
	waited  atomic.Int64

	returned func(bytes int) // nil: the sender is in this process
}

// Send queues an element, waiting for credit; it takes over the batch's
// reference, also when it gives up with ctx's error.
func (c *Channel) Send(ctx context.Context, e element.Element) error {
	select {
	case c.credits <- struct{}{}:
	default:
		start := time.Now()
		select {
		case c.credits <- struct{}{}:
			c.waited.Add(int64(time.Since(start)))
		case <-ctx.Done():
			if e.Batch != nil {
				e.Batch.Release()
			}
			return context.Cause(ctx)
		}
	}
	c.inbox.C <- Message{Channel: c.number, Element: e}
	return nil
}

// Put queues an element without ever waiting, and takes over the batch's
// reference; false: the channel has no credit left, and the element is not taken.
func (c *Channel) Put(e element.Element, bytes int) bool {
	select {
	case c.credits <- struct{}{}:
		c.inbox.C <- Message{Channel: c.number, Element: e, Bytes: bytes}
		return true
	default:
		return false
	}
}

// Waited is the time spent waiting for credit: the backpressure on the sender.
func (c *Channel) Waited() time.Duration { return time.Duration(c.waited.Load()) }

// Queued is the number of elements that wait at the receiver.
func (c *Channel) Queued() int { return len(c.credits) }
