// Package raftmeta keeps the catalog on one, three or five nodes by hashicorp/raft:
// it stores the log, groups proposals into entries, writes images, and lets any
// part of a process read and watch the state. What commands mean is the business
// of package catalog. The package must not know Wasm, NATS or blobs.
package raftmeta

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// Node is one Raft member.
type Node struct {
	options   Options
	raft      *raft.Raft
	machine   *machine
	store     *store
	proposals chan *proposal
	leading   chan bool

	down     chan struct{} // closed when Raft has ended by Close
	closing  chan struct{} // closed when no further proposal is taken
	ended    chan struct{} // closed when every task of the node has returned
	once     sync.Once
	closeErr error
	imaging  atomic.Bool

	mu     sync.Mutex
	closed bool           // no task is added once this is set
	tasks  sync.WaitGroup // every goroutine of the node
}

// Open starts a node on its directory: a new cluster on an empty one, otherwise
// what it was. It returns before there is a leader; see Ready.
func Open(ctx context.Context, o Options) (*Node, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open node %s: %w", o.NodeID, err)
	}
	if err := os.MkdirAll(o.DataDir, 0o700); err != nil {
		return nil, fmt.Errorf("open node %s: %w", o.NodeID, err)
	}
	logs, err := openStore(filepath.Join(o.DataDir, "raft.db"))
	if err != nil {
		return nil, err
	}
	n := &Node{
		options: o, machine: newMachine(), store: logs,
		proposals: make(chan *proposal, maxGroup), leading: make(chan bool, 1), down: make(chan struct{}), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	if err := n.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("open node %s: %w", o.NodeID, err), logs.Close())
	}
	n.tasks.Add(2)
	go n.group()
	go n.tend()
	return n, nil
}

func (n *Node) start() error {
	o := &n.options
	logger := newLogger(o.Logger)
	images, err := raft.NewFileSnapshotStoreWithLogger(o.DataDir, keptImages, logger)
	if err != nil {
		return err
	}
	if err := n.restore(images); err != nil {
		return err
	}
	transport, self, err := n.transport()
	if err != nil {
		return err
	}
	config := raft.DefaultConfig()
	config.LocalID = raft.ServerID(o.NodeID)
	config.HeartbeatTimeout, config.ElectionTimeout, config.LeaderLeaseTimeout = o.HeartbeatTimeout, o.HeartbeatTimeout, o.HeartbeatTimeout
	config.CommitTimeout = max(o.HeartbeatTimeout/10, time.Millisecond)
	config.MaxAppendEntries = 256
	config.SnapshotThreshold, config.TrailingLogs, config.SnapshotInterval = o.ImageEntries, o.TrailingLogs, imageCheckInterval
	config.Logger = logger
	// The image was restored above, where a damaged one is an error; Raft itself
	// would take an older one and panic over the entries that are gone.
	config.NoSnapshotRestoreOnStart = true
	err = n.bootstrap(config, images, transport, self)
	if err == nil {
		n.raft, err = raft.NewRaft(config, n.machine, n.store, n.store, images, transport)
	}
	if err != nil {
		if closer, ok := transport.(raft.WithClose); ok {
			err = errors.Join(err, closer.Close())
		}
	}
	return err
}

func (n *Node) restore(images *raft.FileSnapshotStore) error {
	list, err := images.List()
	if err != nil || len(list) == 0 {
		return err
	}
	_, r, err := images.Open(list[0].ID)
	if err != nil {
		return fmt.Errorf("open image %s: %w: %w; restore a backup", list[0].ID, ErrDamaged, err)
	}
	return n.machine.Restore(r)
}

func (n *Node) transport() (raft.Transport, raft.ServerAddress, error) {
	o := &n.options
	switch {
	case o.Transport != nil:
		return o.Transport, o.Transport.LocalAddr(), nil
	case o.Bind == "":
		self, t := raft.NewInmemTransport(raft.ServerAddress(o.NodeID))
		return t, self, nil
	}
	advertise, err := resolve(o.Advertise)
	if err != nil {
		return nil, "", fmt.Errorf("resolve raft address %s: %w", o.Advertise, err)
	}
	var t raft.Transport
	if o.TLS != nil {
		t, err = secureTransport(o, advertise)
	} else {
		t, err = raft.NewTCPTransportWithLogger(o.Bind, advertise, transportConnections, transportTimeout, newLogger(o.Logger))
	}
	if err != nil {
		return nil, "", fmt.Errorf("listen on raft address %s: %w", o.Bind, err)
	}
	return t, raft.ServerAddress(o.Advertise), nil
}

func (n *Node) bootstrap(config *raft.Config, images raft.SnapshotStore, t raft.Transport, self raft.ServerAddress) error {
	if n.options.Start == StartJoin {
		return nil
	}
	started, err := raft.HasExistingState(n.store, n.store, images)
	if err != nil || started {
		return err
	}
	var voters raft.Configuration
	for _, p := range n.options.Peers {
		voters.Servers = append(voters.Servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Address)})
	}
	if len(voters.Servers) == 0 {
		voters.Servers = []raft.Server{{ID: config.LocalID, Address: self}}
	}
	return raft.BootstrapCluster(config, n.store, n.store, images, t, voters)
}

// tend passes leadership on and stops Raft when the machine stops.
func (n *Node) tend() {
	defer n.tasks.Done()
	for {
		select {
		case lead := <-n.raft.LeaderCh():
			select { // the newest word replaces one that nobody has read
			case <-n.leading:
			default:
			}
			n.leading <- lead
		case <-n.machine.stopped:
			n.options.Logger.Error("the catalog stopped", "error", n.machine.failure())
			n.raft.Shutdown()
			<-n.closing
			return
		case <-n.closing:
			return
		}
	}
}

// View returns the state that this node has applied. It never changes.
func (n *Node) View() *catalog.State { return n.machine.view.Load() }

// LeaderCh tells when this node becomes or ceases to be the leader; only the
// newest word is kept, for one reader. A new leader calls Barrier before it decides anything.
func (n *Node) LeaderCh() <-chan bool { return n.leading }

// Leads tells whether this node believes to be the leader.
func (n *Node) Leads() bool { return n.raft.State() == raft.Leader }

// Leader names the leader that this node knows, or nothing.
func (n *Node) Leader() (id, address string) {
	a, i := n.raft.LeaderWithID()
	return string(i), string(a)
}

// Term is Raft's current term; it differs for every leader.
func (n *Node) Term() uint64 { return n.raft.CurrentTerm() }

// Barrier returns when everything that was committed before it is in View. Only the leader can.
func (n *Node) Barrier(ctx context.Context) error {
	future := n.raft.Barrier(n.options.ApplyTimeout)
	done := make(chan error, 1)
	n.spawn(func() { done <- future.Error() })
	select {
	case err := <-done:
		if err != nil {
			return n.proposeError(err)
		}
		return n.machine.failure()
	case <-ctx.Done():
		return fmt.Errorf("barrier: %w", ctx.Err())
	}
}

// readyPoll is how often Ready looks whether a leader is known.
const readyPoll = 2 * time.Millisecond

// Ready returns when a leader is known and, if this node leads, its View is whole.
func (n *Node) Ready(ctx context.Context) error {
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	for {
		if n.Leads() {
			if err := n.Barrier(ctx); !errors.Is(err, ErrNotLeader) {
				return err
			}
		} else if id, _ := n.Leader(); id != "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-n.machine.stopped:
			return n.machine.failure()
		case <-n.closing:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("wait for a leader: %w", ctx.Err())
		}
	}
}

// Failed closes when an entry or an image could not be applied; Err says why. The node then only answers reads.
func (n *Node) Failed() <-chan struct{} { return n.machine.stopped }

// Err is why the node stopped by itself, or nil.
func (n *Node) Err() error { return n.machine.failure() }

// Close stops the node and releases its directory and port; it can be opened again in the same process.
func (n *Node) Close() error {
	n.once.Do(func() {
		n.mu.Lock()
		n.closed = true
		n.mu.Unlock()
		close(n.closing)
		err := n.raft.Shutdown().Error()
		close(n.down)
		n.tasks.Wait()
		close(n.ended)
		n.closeErr = errors.Join(err, n.store.Close())
	})
	return n.closeErr
}

// spawn runs a task that Close waits for. On a closed node it runs in the caller: Raft answers at once then.
func (n *Node) spawn(task func()) {
	n.mu.Lock()
	closed := n.closed
	if !closed {
		n.tasks.Add(1)
	}
	n.mu.Unlock()
	if closed {
		task()
		return
	}
	go func() {
		defer n.tasks.Done()
		task()
	}()
}

func (n *Node) closedError() error {
	if err := n.machine.failure(); err != nil {
		return err
	}
	return ErrClosed
}
