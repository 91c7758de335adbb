package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// How much of a partition is asked for ahead of the reader.
const (
	feedBytes   = 2 << 20
	minFeed     = 16
	maxFeed     = 2048
	firstFeed   = 64  // before the size of messages is known
	assumedSize = 256 // bytes a message has besides its data
)

// feed delivers a partition's messages in order, each once, from an ephemeral
// consumer without acknowledgements. If a message is missed on the way, or the
// consumer is gone, it begins anew behind the last message given.
type feed struct {
	nc        *nats.Conn
	topic     Topic
	partition int

	consumer consumer
	sub      *nats.Subscription
	inbox    string
	msgs     chan *nats.Msg
	requests int // number of the last request
	asked    int // messages that open requests may still bring
	expect   uint64
	avgSize  int
	last     uint64    // the stream's sequence of the last message given
	heard    time.Time // when something came last, or a wait for it began
	busy     bool      // something came without waiting since then
	timer    *time.Timer

	reconnects uint64 // of the connection, when the consumer was made
}

// errQuiet says that nothing came for a while.
var errQuiet = errors.New("nothing came")

func openFeed(ctx context.Context, nc *nats.Conn, t Topic, partition int, from startAt) (*feed, error) {
	f := &feed{nc: nc, topic: t, partition: partition, timer: time.NewTimer(time.Hour)}
	if err := f.start(ctx, from); err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

func (f *feed) start(ctx context.Context, from startAt) error {
	f.stop()
	c, err := createConsumer(ctx, f.nc, f.topic, f.partition, from)
	if err != nil {
		return err
	}
	f.consumer, f.last, f.expect, f.asked = c, c.before, 1, 0
	f.inbox = nats.NewInbox() + "."
	// Room for everything asked for and for the status of each request.
	f.msgs = make(chan *nats.Msg, 2*maxFeed+64)
	if f.sub, err = f.nc.ChanSubscribe(f.inbox+"*", f.msgs); err != nil {
		return fmt.Errorf("open partition %d of topic %s: %w", f.partition, f.topic.Name, err)
	}
	f.heard, f.reconnects = time.Now(), f.nc.Stats().Reconnects
	return f.ask()
}

func (f *feed) stop() {
	if f.sub == nil {
		return
	}
	_ = f.sub.Unsubscribe() // fails only if the connection is closed, which does the same
	f.consumer.delete(f.nc)
	f.sub = nil
}

func (f *feed) close() {
	f.stop()
	f.timer.Stop()
}

// ask keeps at least half a batch of messages on their way.
func (f *feed) ask() error {
	batch := firstFeed
	if f.avgSize > 0 {
		batch = min(max(feedBytes/f.avgSize, minFeed), maxFeed)
	}
	if f.asked > batch/2 {
		return nil
	}
	f.requests++
	if err := f.consumer.pull(f.nc, f.inbox+strconv.Itoa(f.requests), batch); err != nil {
		return fmt.Errorf("read partition %d of topic %s: %w", f.partition, f.topic.Name, err)
	}
	f.asked += batch
	return nil
}

// next gives the next message. With wait 0 it does not wait; errQuiet says that
// nothing came in that time.
func (f *feed) next(ctx context.Context, wait time.Duration) (*nats.Msg, delivery, error) {
	for {
		m, err := f.receive(ctx, wait)
		if err != nil {
			return nil, delivery{}, err
		}
		d, ok := parseDelivery(m.Reply)
		if !ok {
			if err := f.status(ctx, m); err != nil {
				return nil, delivery{}, err
			}
			continue
		}
		if d.consumer != f.expect {
			// A message was missed on the way: begin again behind the last one.
			if err := f.restart(ctx); !errors.Is(err, errQuiet) || wait <= 0 {
				return nil, delivery{}, err
			}
			continue
		}
		f.expect++
		f.asked--
		f.last = d.stream
		f.avgSize += (len(m.Data) + assumedSize - f.avgSize) / 8
		return m, d, f.ask()
	}
}

func (f *feed) receive(ctx context.Context, wait time.Duration) (*nats.Msg, error) {
	select {
	case m := <-f.msgs:
		f.busy = true
		return m, nil
	default:
	}
	if wait <= 0 {
		return nil, errQuiet
	}
	if f.busy {
		f.busy, f.heard = false, time.Now()
	}
	f.timer.Reset(wait)
	select {
	case m := <-f.msgs:
		f.heard = time.Now()
		return m, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-f.timer.C:
	}
	if time.Since(f.heard) > 3*pullHeartbeat || f.nc.Stats().Reconnects != f.reconnects {
		// The consumer is gone, or its server was: consumers live in its memory.
		return nil, f.restart(ctx)
	}
	return nil, errQuiet
}

// status handles a message of the server about a request of ours.
func (f *feed) status(ctx context.Context, m *nats.Msg) error {
	switch m.Header.Get("Status") {
	case "100": // heartbeat
		return nil
	case "404", "408", "409":
		if m.Header.Get("Description") == "Consumer Deleted" {
			return f.restart(ctx)
		}
		left, err := strconv.Atoi(m.Header.Get("Nats-Pending-Messages"))
		if err != nil || left < 0 || left > f.asked {
			left = f.asked
		}
		f.asked -= left
		return f.ask()
	case "503": // nobody answers: the consumer is gone
		return f.restart(ctx)
	}
	return nil
}

// restart begins again behind the last message given. If the server does not
// answer it is tried again after the next wait, and the reader's checks say so;
// a stream that is gone is an error. It never returns nil.
func (f *feed) restart(ctx context.Context) error {
	err := f.start(ctx, startAt{sequence: f.last + 1})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, ErrNoTopic) {
		return err
	}
	return errQuiet
}
