// Package memnet connects Raft nodes inside one process, by connections that can
// be cut: for tests and for the simulation. It must not know what nodes agree on.
package memnet

import (
	"sync"

	"github.com/hashicorp/raft"
)

// Net is a network of nodes. Everybody reaches everybody until a cut.
type Net struct {
	mu    sync.Mutex // guards what follows
	nodes map[string]*raft.InmemTransport
	cuts  map[[2]string]bool
}

// New makes a network without nodes.
func New() *Net { return &Net{nodes: map[string]*raft.InmemTransport{}, cuts: map[[2]string]bool{}} }

// Join gives a node's transport; its address is its id. A node that joins again,
// after a restart, replaces the one before.
func (n *Net) Join(id string) raft.Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, t := raft.NewInmemTransport(raft.ServerAddress(id))
	n.nodes[id] = t
	for other := range n.nodes {
		n.wire(id, other)
	}
	return t
}

// Leave takes a node away, as a crash does.
func (n *Net) Leave(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if t := n.nodes[id]; t != nil {
		t.DisconnectAll()
	}
	delete(n.nodes, id)
	for _, t := range n.nodes {
		t.Disconnect(raft.ServerAddress(id))
	}
}

// Cut breaks the connection between two nodes, and Heal mends it.
func (n *Net) Cut(a, b string) { n.set(a, b, true) }

// Heal mends what Cut broke.
func (n *Net) Heal(a, b string) { n.set(a, b, false) }

func (n *Net) set(a, b string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts[pair(a, b)] = cut
	n.wire(a, b)
}

// wire makes the connections between two nodes what they should be.
func (n *Net) wire(a, b string) {
	ta, tb := n.nodes[a], n.nodes[b]
	if ta == nil || tb == nil || a == b {
		return
	}
	if n.cuts[pair(a, b)] {
		ta.Disconnect(raft.ServerAddress(b))
		tb.Disconnect(raft.ServerAddress(a))
		return
	}
	ta.Connect(raft.ServerAddress(b), tb)
	tb.Connect(raft.ServerAddress(a), ta)
}

func pair(a, b string) [2]string {
	if a > b {
		a, b = b, a
	}
	return [2]string{a, b}
}
