package raftmeta

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// maxHistory is how many changed revisions a watcher may be behind before it is told to look at everything.
const maxHistory = 4096

// machine is the raft.FSM around the catalog. It never panics on a bad entry:
// it stops where it stands, because going on would make this node differ from the others.
type machine struct {
	view    atomic.Pointer[catalog.State]
	written atomic.Int64 // bytes applied since the last image

	mu      sync.Mutex
	history []step        // the newest maxHistory steps, oldest first
	moved   chan struct{} // closed when the view moves, then replaced
	err     error
	stopped chan struct{} // closed when an entry could not be applied
}

type step struct {
	revision uint64
	changes  []catalog.Change
}

// answer is what Apply gives the proposer: an outcome per command, or why the whole entry was not applied.
type answer struct {
	outcomes []Outcome
	err      error
}

// Outcome is what became of one command.
type Outcome struct {
	Result catalog.Result
	Err    error
}

func newMachine() *machine {
	m := &machine{moved: make(chan struct{}), stopped: make(chan struct{})}
	m.view.Store(catalog.New())
	return m
}

// Apply implements raft.FSM.
func (m *machine) Apply(log *raft.Log) (response any) {
	if err := m.failure(); err != nil {
		return answer{err: err}
	}
	defer func() {
		if r := recover(); r != nil {
			response = answer{err: m.stop(fmt.Errorf("apply raft entry %d: %w: %v", log.Index, ErrDamaged, r))}
		}
	}()
	commands, err := catalog.DecodeEntry(log.Data)
	if err != nil {
		return answer{err: m.stop(fmt.Errorf("apply raft entry %d: %w", log.Index, err))}
	}
	state := m.view.Load()
	outcomes := make([]Outcome, len(commands))
	var steps []step
	for i, c := range commands {
		next, result, err := state.Apply(c)
		outcomes[i] = Outcome{Result: result, Err: err}
		if next != state {
			steps = append(steps, step{next.Revision, result.Changes})
		}
		state = next
	}
	m.written.Add(int64(len(log.Data)))
	if len(steps) > 0 {
		m.publish(state, steps)
	}
	return answer{outcomes: outcomes}
}

func (m *machine) publish(state *catalog.State, steps []step) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.history = append(m.history, steps...)
	if len(m.history) > 2*maxHistory {
		m.history = append([]step(nil), m.history[len(m.history)-maxHistory:]...)
	}
	m.view.Store(state)
	close(m.moved)
	m.moved = make(chan struct{})
}

func (m *machine) stop(err error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
		close(m.stopped)
	}
	return m.err
}

func (m *machine) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// since returns the view, what changed after a revision, and a channel that closes at the next move.
func (m *machine) since(revision uint64) (state *catalog.State, changes []catalog.Change, resync bool, moved <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	state = m.view.Load()
	if revision == state.Revision {
		return state, nil, false, m.moved
	}
	if revision > state.Revision || len(m.history) == 0 || m.history[0].revision > revision+1 {
		return state, nil, true, m.moved
	}
	seen := make(map[string]int)
	for _, s := range m.history {
		if s.revision <= revision {
			continue
		}
		for _, c := range s.changes {
			key := string(c.Kind) + " " + c.Key
			if at, ok := seen[key]; ok {
				changes[at] = c
				continue
			}
			seen[key] = len(changes)
			changes = append(changes, c)
		}
	}
	return state, changes, false, m.moved
}

// Snapshot implements raft.FSM. A State is immutable, so keeping a pointer is enough.
func (m *machine) Snapshot() (raft.FSMSnapshot, error) {
	if err := m.failure(); err != nil {
		// An image of a stopped machine would let Raft drop the entry that stopped it.
		return nil, err
	}
	m.written.Store(0)
	return &image{m.view.Load()}, nil
}

// Restore implements raft.FSM.
func (m *machine) Restore(r io.ReadCloser) error {
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		return m.stop(fmt.Errorf("restore image: %w", err))
	}
	state, err := catalog.DecodeImage(b)
	if err != nil {
		return m.stop(fmt.Errorf("restore image: %w: %w", ErrDamaged, err))
	}
	m.mu.Lock()
	m.history = nil
	m.mu.Unlock()
	m.written.Store(0)
	m.publish(state, nil)
	return nil
}

type image struct{ state *catalog.State }

// Persist implements raft.FSMSnapshot.
func (i *image) Persist(sink raft.SnapshotSink) error {
	b, err := catalog.EncodeImage(i.state)
	if err == nil {
		_, err = sink.Write(b)
	}
	if err != nil {
		_ = sink.Cancel() // the first error is the one that counts
		return fmt.Errorf("write image %s: %w", sink.ID(), err)
	}
	return sink.Close()
}

// Release implements raft.FSMSnapshot.
func (i *image) Release() {}
