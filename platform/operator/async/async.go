// Package async runs calls to the outside beside a task, and hands their results
// back to it: the task never waits for one. It must not know what is called, nor
// what becomes of a result.
package async

import (
	"context"
	"sync"
)

// Calls are those of one operator. Start, Take and Close belong to its task's goroutine.
type Calls[T any] struct {
	limit  int
	wake   func()
	ctx    context.Context
	cancel context.CancelFunc
	flying int
	ended  sync.WaitGroup

	mu    sync.Mutex // guards what follows
	done  []T
	spare []T
}

// New allows limit calls at a time, and calls wake when there is a result to take.
func New[T any](limit int, wake func()) *Calls[T] {
	c := &Calls[T]{limit: limit, wake: wake}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// Room says whether another call may start.
func (c *Calls[T]) Room() bool { return c.flying < c.limit }

// Flying is how many calls have not been taken.
func (c *Calls[T]) Flying() int { return c.flying }

// Start runs a call in a goroutine of its own; its context ends with Close.
func (c *Calls[T]) Start(call func(ctx context.Context) T) {
	c.flying++
	c.ended.Go(func() {
		result := call(c.ctx)
		c.mu.Lock()
		first := len(c.done) == 0
		c.done = append(c.done, result)
		c.mu.Unlock()
		if first {
			c.wake()
		}
	})
}

// Take gives the results that are there, in the order they came. The slice is
// the caller's until the next call.
func (c *Calls[T]) Take() []T {
	c.mu.Lock()
	results := c.done
	c.done, c.spare = c.spare[:0], results
	c.mu.Unlock()
	c.flying -= len(results)
	return results
}

// Close gives the calls up and waits for them.
func (c *Calls[T]) Close() {
	c.cancel()
	c.ended.Wait()
}
