// Package workertest drives a real worker as a leader would, step by step: it
// starts attempts, asks for checkpoints, commits them and kills. It must not
// know the catalog nor what the operators do.
package workertest

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
	"github.com/weirstream/weir/platform/worker"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// UID is the pipeline that a Run runs.
const UID = "pipeline"

// Run is one pipeline on one worker.
type Run struct {
	Worker *worker.Worker
	Blobs  blob.Store

	// NewState opens backends; arenas unless it is set before Start.
	NewState func(state.Options) (state.Backend, error)

	t     testing.TB
	graph *jobgraph.Graph
	next  uint64 // checkpoint id

	Attempt  uint64
	Last     *snapshot.Manifest // of the last commit
	LastSeen bool               // its output is published, and the catalog knows

	mu   sync.Mutex // guards heard
	seen Heard
}

// Heard is what the worker has reported of the present attempt.
type Heard struct {
	Running   bool
	Ended     bool
	Acks      map[uint64]worker.Ack
	Published []uint64
	Stuck     []string
	Failures  []worker.Failure
}

// New makes a run; Start begins its first attempt.
func New(t testing.TB, g *jobgraph.Graph, blobs blob.Store, newOperator func(kind string) (operator.Operator, error)) *Run {
	r := &Run{t: t, graph: g, Blobs: blobs, NewState: func(o state.Options) (state.Backend, error) { return arena.Open(o) }}
	r.Worker = worker.New(worker.Options{
		ID: "worker", Log: slog.New(slog.DiscardHandler), Blobs: blobs, Clock: time.Now, NewOperator: newOperator,
		NewState: func(_ jobgraph.Backend, o state.Options) (state.Backend, error) { return r.NewState(o) },
		Reporter: (*reporter)(r),
	})
	return r
}

// Start begins the next attempt from the last commit.
func (r *Run) Start() {
	r.t.Helper()
	r.Attempt++
	r.mu.Lock()
	r.seen = Heard{Acks: map[uint64]worker.Ack{}}
	r.mu.Unlock()
	s := worker.Start{Pipeline: "test", UID: UID, Attempt: r.Attempt, Graph: r.graph, Manifest: r.Last, Published: r.LastSeen}
	if r.Last != nil {
		s.RestoredFrom = r.Last.Meta.Checkpoint
	}
	if err := r.Worker.Start(s); err != nil {
		r.t.Fatal(err)
	}
}

// SetGraph gives the next attempt another graph.
func (r *Run) SetGraph(g *jobgraph.Graph) { r.graph = g }

// Kill ends the attempt at once.
func (r *Run) Kill() { r.Worker.Stop(UID) }

// Trigger asks for a checkpoint and gives its id.
func (r *Run) Trigger() uint64 {
	r.t.Helper()
	r.next++
	if err := r.Worker.Trigger(UID, element.Barrier{ID: r.next, Attempt: r.Attempt, Actions: element.Checkpoint}); err != nil {
		r.t.Fatal(err)
	}
	return r.next
}

// Commit makes an acknowledged checkpoint the last one; false if it is not acknowledged.
func (r *Run) Commit(id uint64) bool {
	r.t.Helper()
	ack, ok := r.Heard().Acks[id]
	if !ok {
		return false
	}
	part, err := snapshot.UnmarshalPart(ack.Part.Marshal())
	if err != nil {
		r.t.Fatal(err)
	}
	m, err := snapshot.BuildManifest(r.Last, snapshot.Meta{Pipeline: UID, Checkpoint: id, Attempt: r.Attempt, Kind: snapshot.Checkpoint}, []*snapshot.Part{part})
	if err != nil {
		r.t.Fatal(err)
	}
	name, digest, err := snapshot.WriteManifest(r.t.Context(), r.Blobs, m)
	if err != nil {
		r.t.Fatal(err)
	}
	if r.Last, err = snapshot.ReadManifest(r.t.Context(), r.Blobs, name, digest); err != nil {
		r.t.Fatal(err)
	}
	r.LastSeen = false
	return true
}

// Notice tells the worker of the last commit.
func (r *Run) Notice() { r.Worker.Committed(UID, r.Attempt, r.Last.Meta.Checkpoint) }

// Heard gives what was reported so far.
func (r *Run) Heard() Heard {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.seen
	out.Acks = map[uint64]worker.Ack{}
	for id, a := range r.seen.Acks {
		out.Acks[id] = a
	}
	out.Published = append([]uint64{}, out.Published...)
	out.Stuck = append([]string{}, out.Stuck...)
	out.Failures = append([]worker.Failure{}, out.Failures...)
	return out
}

// reporter is the side of a Run that its worker sees.
type reporter Run

func (p *reporter) note(attempt uint64, change func(*Heard)) {
	r := (*Run)(p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if attempt != r.Attempt {
		r.t.Errorf("a report of attempt %d during attempt %d", attempt, r.Attempt)
	}
	change(&r.seen)
}

func (p *reporter) Running(_ string, attempt uint64) {
	p.note(attempt, func(h *Heard) { h.Running = true })
}

func (p *reporter) Acknowledged(a worker.Ack) {
	p.note(a.Attempt, func(h *Heard) { h.Acks[a.Checkpoint] = a })
}

func (p *reporter) Stuck(_ string, attempt, _ uint64, text string) {
	p.note(attempt, func(h *Heard) { h.Stuck = append(h.Stuck, text) })
}

func (p *reporter) Published(_ string, attempt, checkpoint uint64) {
	p.note(attempt, func(h *Heard) { h.Published = append(h.Published, checkpoint) })
}

func (p *reporter) Ended(_ string, attempt uint64) {
	p.note(attempt, func(h *Heard) { h.Ended = true })
}

func (p *reporter) Failed(f worker.Failure) {
	p.note(f.Attempt, func(h *Heard) { h.Failures = append(h.Failures, f) })
}
