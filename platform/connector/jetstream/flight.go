package jetstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Limits of what a publisher has sent and not seen acknowledged.
const (
	MaxPendingBytes    = 16 << 20
	maxPendingMessages = 16 << 10
	ackTimeout         = 10 * time.Second // without any progress
)

// flight sends messages without waiting for each acknowledgement, bounded by
// bytes and by number. Any number of goroutines may use it.
type flight struct {
	nc    *nats.Conn
	sub   *nats.Subscription
	reply string // prefix of reply subjects; the message's number follows

	mu      sync.Mutex
	moved   chan struct{} // closed and replaced whenever the oldest message is acknowledged
	pending [maxPendingMessages]sent
	oldest  uint64 // number of the oldest message that is not acknowledged
	next    uint64
	bytes   int
	err     error // the first failure; it stays
}

type sent struct {
	bytes int
	acked bool
}

func newFlight(nc *nats.Conn) (*flight, error) {
	f := &flight{nc: nc, reply: nats.NewInbox() + ".", moved: make(chan struct{})}
	sub, err := nc.Subscribe(f.reply+"*", f.acknowledged)
	if err != nil {
		return nil, fmt.Errorf("subscribe to acknowledgements: %w", err)
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, fmt.Errorf("subscribe to acknowledgements: %w", err)
	}
	f.sub = sub
	return f, nil
}

// send publishes one message; it waits while too much is on its way.
func (f *flight) send(ctx context.Context, subject string, h nats.Header, data []byte) error {
	size := len(data) + 64
	f.mu.Lock()
	for f.err == nil && f.next > f.oldest &&
		(f.bytes+size > MaxPendingBytes || f.next-f.oldest == maxPendingMessages) {
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
	if f.err != nil {
		defer f.mu.Unlock()
		return f.err
	}
	number := f.next
	f.pending[number%maxPendingMessages] = sent{bytes: size}
	f.next++
	f.bytes += size
	// The order on the connection is that of the numbers: sending stays inside.
	err := f.nc.PublishMsg(&nats.Msg{Subject: subject, Reply: f.reply + strconv.FormatUint(number, 36), Header: h, Data: data})
	if err != nil {
		f.fail(fmt.Errorf("publish to %s: %w", subject, err))
	}
	err = f.err
	f.mu.Unlock()
	return err
}

// wait gives up the lock until there is progress. On an error the lock is not held.
func (f *flight) wait(ctx context.Context) error {
	moved := f.moved
	f.mu.Unlock()
	timer := time.NewTimer(ackTimeout)
	defer timer.Stop()
	select {
	case <-moved:
		f.mu.Lock()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail(fmt.Errorf("%d messages were sent and none acknowledged for %s: is the NATS server reachable?", f.next-f.oldest, ackTimeout))
	return f.err
}

// flush waits until everything sent is acknowledged.
func (f *flight) flush(ctx context.Context) error {
	f.mu.Lock()
	for f.err == nil && f.next > f.oldest {
		if err := f.wait(ctx); err != nil {
			return err
		}
	}
	defer f.mu.Unlock()
	return f.err
}

func (f *flight) acknowledged(m *nats.Msg) {
	number, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, f.reply), 36, 64)
	if err != nil {
		return
	}
	err = ackError(m)
	f.mu.Lock()
	defer f.mu.Unlock()
	if number < f.oldest || number >= f.next {
		return
	}
	if err != nil {
		f.fail(err)
		return
	}
	f.pending[number%maxPendingMessages].acked = true
	if number != f.oldest {
		return
	}
	for f.oldest < f.next && f.pending[f.oldest%maxPendingMessages].acked {
		f.bytes -= f.pending[f.oldest%maxPendingMessages].bytes
		f.oldest++
	}
	close(f.moved)
	f.moved = make(chan struct{})
}

// fail keeps the first error and wakes whoever waits. The lock is held.
func (f *flight) fail(err error) {
	if f.err == nil {
		f.err = err
		close(f.moved)
		f.moved = make(chan struct{})
	}
}

func (f *flight) close() error {
	f.mu.Lock()
	f.fail(errors.New("publisher is closed"))
	f.mu.Unlock()
	return f.sub.Unsubscribe()
}

var plainAck = []byte(`{"stream":`)

// ackError reads an acknowledgement.
func ackError(m *nats.Msg) error {
	if bytes.HasPrefix(m.Data, plainAck) && !bytes.Contains(m.Data, []byte(`"error"`)) {
		return nil
	}
	_, err := readAck(m)
	return err
}

// readAck gives the sequence under which a message was stored.
func readAck(m *nats.Msg) (uint64, error) {
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return 0, fmt.Errorf("nothing stores what is published: %w", ErrNoTopic)
	}
	var ack struct {
		apiError
		Stream   string `json:"stream"`
		Sequence uint64 `json:"seq"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return 0, fmt.Errorf("read acknowledgement: %w", err)
	}
	if ack.Error != nil {
		return 0, fmt.Errorf("stream refused a message: %w", ack.Error)
	}
	if ack.Stream == "" {
		return 0, errors.New("read acknowledgement: it names no stream")
	}
	return ack.Sequence, nil
}
