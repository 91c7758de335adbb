package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
)

const (
	// followerIdle is how long the stored answers of a pipeline are read on when no call waits for one.
	followerIdle = time.Minute
	// lookBackSlack is how much earlier than the deduplication window a lost answer is looked for.
	lookBackSlack = 30 * time.Second
)

// follower reads the stored answers of one pipeline for all calls that wait for some.
type follower struct {
	users int
	idle  *time.Timer
	stop  context.CancelFunc
}

// repliesTopic is where a pipeline's stored answers are.
func (g *Gateway) repliesTopic(p *catalog.Pipeline) (jetstream.Topic, error) {
	name := planner.RepliesTopic(p.Name)
	t, ok := g.options.Node.View().Topic(p.Namespace, name)
	if !ok || t.System != topics.SystemReplies {
		return jetstream.Topic{}, hint(refuse(catalog.ErrNotFound, "topic %s, which its answers go through, is gone", name), "apply the pipeline again: weir pipeline apply FILE")
	}
	return topics.Convert(t), nil
}

// follow has stored answers of a pipeline delivered, from now on until release.
func (g *Gateway) follow(ctx context.Context, p *catalog.Pipeline) (release func(), err error) {
	if release := g.join(p.UID); release != nil {
		return release, nil
	}
	t, err := g.repliesTopic(p)
	if err != nil {
		return nil, err
	}
	last, err := jetstream.LastSequence(ctx, g.options.Topics.Conn(), t, 0)
	if err != nil {
		return nil, err
	}
	if err := g.begin(p, t, last+1); err != nil {
		return nil, err
	}
	if release := g.join(p.UID); release != nil {
		return release, nil
	}
	return nil, fmt.Errorf("read the answers of pipeline %s: %w", p.Name, ErrUnread)
}

// begin starts a follower unless another call was quicker.
func (g *Gateway) begin(p *catalog.Pipeline, t jetstream.Topic, from uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	if g.followers[p.UID] != nil {
		return nil
	}
	reading, stop := context.WithCancel(g.ending)
	f := &follower{stop: stop}
	g.followers[p.UID] = f
	g.tasks.Go(func() { g.read(reading, p, f, t, from) })
	return nil
}

// join uses the follower that there is, if there is one.
func (g *Gateway) join(uid string) (release func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.followers[uid]
	if f == nil {
		return nil
	}
	f.users++
	if f.idle != nil {
		f.idle.Stop()
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if f.users--; f.users > 0 {
			return
		}
		f.idle = time.AfterFunc(followerIdle, func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			if f.users == 0 && g.followers[uid] == f {
				delete(g.followers, uid)
				f.stop()
			}
		})
	}
}

// read delivers stored answers until its context ends or they cannot be read.
func (g *Gateway) read(ctx context.Context, p *catalog.Pipeline, f *follower, t jetstream.Topic, from uint64) {
	err := g.options.Topics.Scan(ctx, t, topics.Range{From: from}, func(m topics.Message) error {
		return answersOf(m, func(call functions.CallID, r functions.Reply) { g.deliverStored(call, r) })
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.followers[p.UID] == f {
		delete(g.followers, p.UID)
	}
	f.stop()
	if ctx.Err() == nil {
		g.options.Log.Warn("the stored answers of a pipeline cannot be read; calls that wait for one will time out", "pipeline", catalog.Key(p.Namespace, p.Name), "error", err)
	}
}

// lookBack looks for the answer of a call that was made before, and gives it to the
// one that comes again.
func (g *Gateway) lookBack(ctx context.Context, p *catalog.Pipeline, call string, c chan<- answer) error {
	t, err := g.repliesTopic(p)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrClosed
	}
	since := g.options.Clock().Add(-topics.DeduplicationWindow - lookBackSlack)
	g.tasks.Go(func() {
		err := g.options.Topics.Scan(ctx, t, topics.Range{Since: since}, func(m topics.Message) error {
			return answersOf(m, func(id functions.CallID, r functions.Reply) {
				if id.Call == call {
					offer(c, answer{reply: r})
				}
			})
		})
		if err != nil && ctx.Err() == nil {
			offer(c, answer{err: err})
		}
	})
	return nil
}

// answersOf gives the answers that a message of a topic of replies holds.
func answersOf(m topics.Message, give func(functions.CallID, functions.Reply)) error {
	if !frame.IsStored(m.Data) {
		return nil // nobody's: not ours
	}
	stored, _, err := frame.DecodeStored(m.Data, nil)
	if err == nil {
		err = frame.ValidateUTF8(stored.Columns)
	}
	if err != nil {
		return fmt.Errorf("answers at sequence %d: %w", m.Sequence, err)
	}
	if !stored.Schema.Equal(functions.Message) {
		return errors.New("the topic holds something else than answers")
	}
	c := stored.Columns
	for row := range stored.Rows {
		id, err := functions.ParseCallID(c[functions.MessageID].StringAt(row))
		if err != nil {
			continue // a function can send to any id
		}
		r := functions.Reply{
			Call: id.String(), Typename: clone(&c[functions.MessageTypename], row),
			From: functions.Address{Type: clone(&c[functions.MessageCallerType], row), ID: clone(&c[functions.MessageCallerID], row)},
		}
		if v := &c[functions.MessageValue]; !v.Null(row) {
			r.Value = bytes.Clone(v.BytesAt(row))
			if r.Value == nil {
				r.Value = []byte{}
			}
		}
		give(id, r)
	}
	return nil
}

func clone(c *frame.Column, row int) string { return string(c.BytesAt(row)) }
