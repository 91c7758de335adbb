// Package catalog is what a cluster has agreed on: topics, modules, pipelines and
// their jobs, checkpoints, savepoints, workers and nodes, as a pure state machine.
// A State is immutable; Apply gives the next one, so a command takes effect whole
// or not at all, and a view is read without locks. Commands carry their own time
// and ids, so every node that applies the same log holds the same bytes. The
// package must not know Raft, clocks, the network, Wasm, NATS or blobs.
package catalog

import (
	"encoding/binary"
	"iter"
	"strings"

	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Digest names a blob: a graph, a specification, a module, a manifest.
type Digest = jobgraph.Digest

// DefaultNamespace exists from the beginning and cannot be deleted.
const DefaultNamespace = "default"

// State is one version of the catalog. The zero value is not usable; see New.
type State struct {
	// Revision counts the commands that changed something.
	Revision uint64
	Settings Settings

	counters   counters
	namespaces tree[*Namespace]
	topics     tree[*Topic]    // by namespace/name
	modules    tree[*Module]   // by namespace/name
	pipelines  tree[*Pipeline] // by uid
	names      tree[string]    // namespace/name of a pipeline to its uid
	savepoints tree[*Savepoint]
	workers    tree[*Worker] // by epoch
	nodes      tree[*Node]
	tokens     tree[*Token]
	secrets    tree[*Secret] // by namespace/name
}

// counters never run back, so what they number is never numbered again.
type counters struct {
	Incarnation uint64 `json:"incarnation"`
	UID         uint64 `json:"uid"`
	Epoch       uint64 `json:"epoch"`
	Savepoint   uint64 `json:"savepoint"`
}

// New returns the empty catalog.
func New() *State {
	s := new(State)
	s.namespaces = s.namespaces.with(DefaultNamespace, &Namespace{Name: DefaultNamespace})
	return s
}

// Kind says what a Change is about.
type Kind string

// The kinds of entries.
const (
	KindSettings  Kind = "settings"
	KindNamespace Kind = "namespace"
	KindTopic     Kind = "topic"
	KindModule    Kind = "module"
	KindPipeline  Kind = "pipeline"
	KindSavepoint Kind = "savepoint"
	KindWorker    Kind = "worker"
	KindNode      Kind = "node"
	KindToken     Kind = "token"
	KindSecret    Kind = "secret"
)

// Change names an entry that a command touched. Key is the namespace and name of
// a topic or module, a pipeline's uid, a savepoint's or node's id, a worker's epoch.
type Change struct {
	Kind    Kind
	Key     string
	Deleted bool
}

// Result is what a command answers. Fields that do not concern it are zero.
type Result struct {
	Revision uint64 // of the state after the command
	Changes  []Change
	UID      string // of the pipeline made or changed
	Number   uint64 // incarnation, revision number, attempt, worker epoch: whatever the command numbers
	Range    Range  // the checkpoint ids reserved
	// Dropped are checkpoints that nothing in the catalog keeps any more.
	Dropped []Checkpoint
	// Refused are the items of a grouped command that did not fit; the others took effect.
	Refused []Refusal
	// Unchanged tells that the state already was as asked.
	Unchanged bool
}

// Refusal is one item of a grouped command that was refused.
type Refusal struct {
	UID string
	ID  uint64
	Err error
}

// Command is one wish to change the catalog. The table in command.go lists them all.
type Command interface {
	apply(tx *txn) error
}

// txn is a draft of the next state: copied roots, thrown away on a refusal.
type txn struct {
	*State
	result Result
}

func (tx *txn) changed(kind Kind, key string) {
	tx.result.Changes = append(tx.result.Changes, Change{Kind: kind, Key: key})
}

func (tx *txn) deleted(kind Kind, key string) {
	tx.result.Changes = append(tx.result.Changes, Change{Kind: kind, Key: key, Deleted: true})
}

// Apply returns the state after the command, or the receiver and the reason for
// its refusal. The receiver never changes.
func (s *State) Apply(c Command) (*State, Result, error) {
	draft := *s
	draft.Revision++
	tx := &txn{State: &draft}
	if err := c.apply(tx); err != nil {
		return s, Result{Revision: s.Revision}, err
	}
	if len(tx.result.Changes) == 0 {
		tx.result.Revision = s.Revision
		tx.result.Unchanged = true
		return s, tx.result, nil
	}
	tx.result.Revision = draft.Revision
	return &draft, tx.result, nil
}

// Namespace finds a namespace.
func (s *State) Namespace(name string) (*Namespace, bool) { return s.namespaces.get(name) }

// Namespaces yields all namespaces by name.
func (s *State) Namespaces() iter.Seq[*Namespace] { return values(s.namespaces, "") }

// Topic finds a topic.
func (s *State) Topic(namespace, name string) (*Topic, bool) {
	return s.topics.get(Key(namespace, name))
}

// Topics yields a namespace's topics by name; an empty namespace means all.
func (s *State) Topics(namespace string) iter.Seq[*Topic] { return values(s.topics, prefix(namespace)) }

// Module finds a module.
func (s *State) Module(namespace, name string) (*Module, bool) {
	return s.modules.get(Key(namespace, name))
}

// Modules yields a namespace's modules by name; an empty namespace means all.
func (s *State) Modules(namespace string) iter.Seq[*Module] {
	return values(s.modules, prefix(namespace))
}

// Pipeline finds a pipeline by its uid.
func (s *State) Pipeline(uid string) (*Pipeline, bool) { return s.pipelines.get(uid) }

// PipelineNamed finds a pipeline by its name.
func (s *State) PipelineNamed(namespace, name string) (*Pipeline, bool) {
	uid, ok := s.names.get(Key(namespace, name))
	if !ok {
		return nil, false
	}
	return s.pipelines.get(uid)
}

// Pipelines yields a namespace's pipelines by name; an empty namespace means all.
func (s *State) Pipelines(namespace string) iter.Seq[*Pipeline] {
	return func(yield func(*Pipeline) bool) {
		for uid := range values(s.names, prefix(namespace)) {
			if p, ok := s.pipelines.get(uid); ok && !yield(p) {
				return
			}
		}
	}
}

// Savepoint finds a savepoint by its id.
func (s *State) Savepoint(id string) (*Savepoint, bool) { return s.savepoints.get(id) }

// Savepoints yields all savepoints by id.
func (s *State) Savepoints() iter.Seq[*Savepoint] { return values(s.savepoints, "") }

// Worker finds a registration by its epoch.
func (s *State) Worker(epoch uint64) (*Worker, bool) { return s.workers.get(epochKey(epoch)) }

// WorkerNamed finds the current registration of a worker id.
func (s *State) WorkerNamed(id string) (*Worker, bool) {
	for w := range s.Workers() {
		if w.ID == id {
			return w, true
		}
	}
	return nil, false
}

// Workers yields all registrations by epoch.
func (s *State) Workers() iter.Seq[*Worker] { return values(s.workers, "") }

// Node finds a Raft member.
func (s *State) Node(id string) (*Node, bool) { return s.nodes.get(id) }

// Nodes yields the Raft members by id.
func (s *State) Nodes() iter.Seq[*Node] { return values(s.nodes, "") }

// Key joins a namespace and a name; neither can hold a slash.
func Key(namespace, name string) string { return namespace + "/" + name }

func prefix(namespace string) string {
	if namespace == "" {
		return ""
	}
	return namespace + "/"
}

func epochKey(epoch uint64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], epoch) // so that keys stand in the order of epochs
	return string(b[:])
}

func values[V any](t tree[V], prefix string) iter.Seq[V] {
	return func(yield func(V) bool) {
		for key, v := range t.from(prefix) {
			if !strings.HasPrefix(key, prefix) || !yield(v) {
				return
			}
		}
	}
}
