package e2e

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	neighbourEvery = 10 * time.Millisecond
	neighbourWaits = 300 * time.Millisecond // for an answer; then it goes on with the next record
)

// Neighbour is a plain NATS client that writes to a sink's topic all the while.
// What it was told to be stored must be there once, what it was not told once or never.
type Neighbour struct {
	mu       sync.Mutex
	acked    map[string]bool // payload -> acknowledged
	finished chan struct{}   // closed when it writes no more
}

// StartNeighbour begins to write to the topic until ctx ends.
func StartNeighbour(ctx context.Context, nc *nats.Conn, topic string) (*Neighbour, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	n := &Neighbour{acked: map[string]bool{}, finished: make(chan struct{})}
	go func() {
		defer close(n.finished)
		for i := 0; pause(ctx, neighbourEvery) == nil; i++ {
			payload := fmt.Sprintf("plain %d", i)
			n.note(payload, false)
			try, cancel := context.WithTimeout(ctx, neighbourWaits)
			_, err := js.Publish(try, fmt.Sprintf("%s.n%d", topic, i%97), []byte(payload), jetstream.WithRetryAttempts(0))
			cancel()
			if err == nil {
				n.note(payload, true)
			}
		}
	}()
	return n, nil
}

func (n *Neighbour) note(payload string, acked bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.acked[payload] = acked
}

// Sent gives what was written, once it writes no more, and whether each was acknowledged.
func (n *Neighbour) Sent() map[string]bool {
	<-n.finished
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.acked)
}
