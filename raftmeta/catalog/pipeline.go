package catalog

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Limits of a pipeline's entry.
const (
	// MaxPipelineBytes bounds the stored entry: graphs, positions and history are blobs named by digest.
	MaxPipelineBytes = 2 << 10
	MaxModules       = 8
	MaxRegions       = 16
	MaxRetained      = 3 // checkpoints kept besides the last one
	MaxNonceBytes    = 16
)

// Desired is what a user wants of a pipeline.
type Desired string

// The desired states.
const (
	DesiredRunning Desired = "running"
	DesiredStopped Desired = "stopped"
)

// Delivery is the strongest promise among a revision's sinks.
type Delivery string

// The deliveries.
const (
	ExactlyOnce Delivery = "exactly_once"
	AtLeastOnce Delivery = "at_least_once"
)

// Pipeline is a named definition and the job that runs it. The uid is never
// given again; object names, barriers and sink transactions carry it.
type Pipeline struct {
	UID       string   `json:"uid"`
	Namespace string   `json:"ns"`
	Name      string   `json:"name"`
	Created   int64    `json:"created"`
	Changed   uint64   `json:"changed"` // the catalog's revision that touched it last
	Desired   Desired  `json:"desired"`
	Current   Revision `json:"rev"`
	Job       Job      `json:"job"`
}

// Revision is one version of a pipeline's definition.
type Revision struct {
	Number  uint64   `json:"n"`
	Graph   Digest   `json:"graph"`
	Spec    Digest   `json:"spec"` // the file as the user gave it
	Modules []Digest `json:"modules,omitempty"`
	// Widths is the highest parallelism per region, in the order of jobgraph.Regions:
	// region r has a task in slots 0 to Widths[r]-1.
	Widths []int `json:"widths"`
	// FileSlots is how many slots the file alone would take, where a rescale chose others; else zero.
	FileSlots int      `json:"file_slots,omitempty"`
	Delivery  Delivery `json:"delivery"`
	// IntervalMs, PauseMs and TimeoutMs are those of checkpoints; zero means the scheduler's default.
	IntervalMs int64 `json:"interval_ms,omitempty"`
	PauseMs    int64 `json:"pause_ms,omitempty"`
	TimeoutMs  int64 `json:"timeout_ms,omitempty"`
	Retain     int   `json:"retain,omitempty"`       // checkpoints kept besides the last
	MaxRestart int   `json:"max_restarts,omitempty"` // restarts in a row before the job fails; zero means no bound
	Applied    int64 `json:"applied"`
}

// Slots is the number of slots that the revision needs: its highest parallelism.
func (r *Revision) Slots() int { return slices.Max(r.Widths) }

// Widths computes Revision.Widths of a graph.
func Widths(g *jobgraph.Graph) []int {
	var widths []int
	for _, region := range g.Regions() {
		width := 0
		for _, s := range region.Stages {
			width = max(width, g.Stages[s].Parallelism)
		}
		widths = append(widths, width)
	}
	return widths
}

// StartFrom chooses where a job that does not run starts; the zero value is the last checkpoint.
type StartFrom struct {
	Checkpoint uint64 `json:"checkpoint,omitempty"` // one that the pipeline retains
	Savepoint  string `json:"savepoint,omitempty"`
	Empty      bool   `json:"empty,omitempty"` // no state at all
	// Positions goes with a savepoint.
	Positions Positions `json:"positions,omitempty"`
	// AllowDuplicates accepts that exactly-once sinks show again what they showed after that point.
	AllowDuplicates bool `json:"allow_duplicates,omitempty"`
}

// ApplyPipeline makes a pipeline or gives it a new revision. Result.UID is its
// uid and Result.Number the revision. Applying what is current already changes nothing.
type ApplyPipeline struct {
	At        int64  `json:"at"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Nonce makes the uid of a new pipeline unique also across catalogs restored from a
	// backup: lower-case letters and digits. The counter in front of it is enough within one.
	Nonce string `json:"nonce,omitempty"`
	// Revision holds the definition; its Number and Applied are set by the catalog.
	Revision Revision `json:"revision"`
	Desired  Desired  `json:"desired,omitempty"` // empty: running for a new pipeline, else as it was
	// Expect, when set, is the revision number that the change was made against.
	Expect uint64    `json:"expect,omitempty"`
	From   StartFrom `json:"from"`
}

func (c *ApplyPipeline) apply(tx *txn) error {
	what := "apply pipeline " + c.Name
	if err := c.check(tx, what); err != nil {
		return err
	}
	old, exists := tx.PipelineNamed(c.Namespace, c.Name)
	if !exists {
		return c.create(tx, what)
	}
	if c.Expect != 0 && c.Expect != old.Current.Number {
		return refuse(ErrConflict, "%s: it is at revision %d, the change was made against %d; look at the difference again", what, old.Current.Number, c.Expect)
	}
	next := old.clone()
	next.Current = c.Revision
	next.Current.Number, next.Current.Applied = old.Current.Number, old.Current.Applied
	if c.Desired != "" {
		next.Desired = c.Desired
	}
	revised := !sameRevision(&next.Current, &old.Current)
	if revised {
		next.Current.Number, next.Current.Applied = old.Current.Number+1, c.At
	}
	if err := next.startFrom(tx, what, c.From); err != nil {
		return err
	}
	if revised && next.Desired == DesiredRunning {
		next.Job.again(c.At)
	}
	tx.result.UID, tx.result.Number = next.UID, next.Current.Number
	if !revised && next.Desired == old.Desired && c.From == (StartFrom{}) {
		return nil
	}
	return tx.putWithin(what, next)
}

func (c *ApplyPipeline) create(tx *txn, what string) error {
	if c.Expect != 0 {
		return refuse(ErrNotFound, "%s at revision %d: it was deleted", what, c.Expect)
	}
	tx.counters.UID++
	p := &Pipeline{
		UID: fmt.Sprintf("p%d", tx.counters.UID), Namespace: c.Namespace, Name: c.Name, Created: c.At,
		Desired: c.Desired, Current: c.Revision, Job: Job{State: JobCreated, Since: c.At},
	}
	if c.Nonce != "" {
		p.UID += "-" + c.Nonce
	}
	if p.Desired == "" {
		p.Desired = DesiredRunning
	}
	p.Current.Number, p.Current.Applied = 1, c.At
	if err := p.startFrom(tx, what, c.From); err != nil {
		return err
	}
	before := tx.Used(c.Namespace)
	tx.names = tx.names.with(Key(c.Namespace, c.Name), p.UID)
	tx.result.UID, tx.result.Number = p.UID, 1
	if err := tx.putPipeline(what, p); err != nil {
		return err
	}
	return tx.within(what, c.Namespace, before)
}

func (c *ApplyPipeline) check(tx *txn, what string) error {
	if err := checkName("pipeline", c.Name); err != nil {
		return err
	}
	if err := tx.requireNamespace(what, c.Namespace); err != nil {
		return err
	}
	if c.Desired != "" && c.Desired != DesiredRunning && c.Desired != DesiredStopped {
		return refuse(ErrInvalid, "%s: desired state %q is neither %s nor %s", what, c.Desired, DesiredRunning, DesiredStopped)
	}
	if len(c.Nonce) > MaxNonceBytes || checkNonce(c.Nonce) != nil {
		return refuse(ErrInvalid, "%s: nonce of %d bytes: use at most %d lower-case letters and digits", what, len(c.Nonce), MaxNonceBytes)
	}
	r := &c.Revision
	if r.Graph.IsZero() || r.Spec.IsZero() {
		return refuse(ErrInvalid, "%s: it needs the digests of its graph and its specification", what)
	}
	if len(r.Widths) < 1 || len(r.Widths) > MaxRegions {
		return refuse(ErrInvalid, "%s: it has %d regions, 1 to %d are allowed; split it at a topic", what, len(r.Widths), MaxRegions)
	}
	for _, w := range r.Widths {
		if w < 1 || w > jobgraph.MaxParallelism {
			return refuse(ErrInvalid, "%s with parallelism %d: choose 1 to %d", what, w, jobgraph.MaxParallelism)
		}
	}
	if r.Delivery != ExactlyOnce && r.Delivery != AtLeastOnce {
		return refuse(ErrInvalid, "%s: delivery %q is neither %s nor %s", what, r.Delivery, ExactlyOnce, AtLeastOnce)
	}
	if r.FileSlots < 0 || r.FileSlots > jobgraph.MaxParallelism {
		return refuse(ErrInvalid, "%s: its file asks for %d slots: choose 1 to %d", what, r.FileSlots, jobgraph.MaxParallelism)
	}
	if r.IntervalMs < 0 || r.PauseMs < 0 || r.TimeoutMs < 0 || r.MaxRestart < 0 {
		return refuse(ErrInvalid, "%s: a negative number among its checkpoint and restart options", what)
	}
	if r.Retain < 0 || r.Retain > MaxRetained {
		return refuse(ErrInvalid, "%s: it retains %d checkpoints, at most %d are kept; make savepoints to keep more", what, r.Retain, MaxRetained)
	}
	if len(r.Modules) > MaxModules {
		return refuse(ErrTooLarge, "%s: it uses %d modules, the limit is %d; put several functions into one module", what, len(r.Modules), MaxModules)
	}
	for i, d := range r.Modules {
		if slices.Contains(r.Modules[:i], d) {
			return refuse(ErrInvalid, "%s: module %s is named twice", what, d.Short())
		}
		if !tx.hasModule(c.Namespace, d) {
			return refuse(ErrNotFound, "%s: namespace %s has no module %s; push it first", what, c.Namespace, d.Short())
		}
	}
	return nil
}

// SetDesired starts or stops a pipeline. From applies when the job does not run.
type SetDesired struct {
	At      int64     `json:"at"`
	UID     string    `json:"uid"`
	Desired Desired   `json:"desired"`
	From    StartFrom `json:"from"`
	// Doubt, when set, is decided about the last checkpoint's output where nothing tells whether it is visible.
	Doubt Doubt `json:"doubt,omitempty"`
}

func (c *SetDesired) apply(tx *txn) error {
	p, what, err := tx.need("set desired state of pipeline", c.UID)
	if err != nil {
		return err
	}
	if c.Desired != DesiredRunning && c.Desired != DesiredStopped {
		return refuse(ErrInvalid, "%s: %q is neither %s nor %s", what, c.Desired, DesiredRunning, DesiredStopped)
	}
	next := p.clone()
	tx.result.UID = p.UID
	if err := next.startFrom(tx, what, c.From); err != nil {
		return err
	}
	if err := next.decide(what, c.Doubt, c.From); err != nil {
		return err
	}
	again := c.Desired == DesiredRunning && next.Job.again(c.At)
	if p.Desired == c.Desired && c.From == (StartFrom{}) && c.Doubt == "" && !again {
		return nil
	}
	next.Desired = c.Desired
	return tx.putWithin(what, next)
}

// DeletePipeline removes a pipeline whose job does not run. Its blobs become the sweeper's.
type DeletePipeline struct {
	At  int64  `json:"at"`
	UID string `json:"uid"`
}

func (c *DeletePipeline) apply(tx *txn) error {
	p, what, err := tx.need("delete pipeline", c.UID)
	if err != nil {
		return err
	}
	if p.Job.State.Active() {
		return refuse(ErrInUse, "%s: its job is %s; stop it first", what, p.Job.State)
	}
	tx.pipelines = tx.pipelines.without(p.UID)
	tx.names = tx.names.without(Key(p.Namespace, p.Name))
	tx.result.UID = p.UID
	tx.result.Dropped = p.Job.kept()
	tx.deleted(KindPipeline, p.UID)
	return nil
}

// need finds a pipeline, and says what was wanted with its name in it.
func (s *State) need(what, uid string) (*Pipeline, string, error) {
	p, ok := s.Pipeline(uid)
	if !ok {
		return nil, "", refuse(ErrNotFound, "%s %q: it was deleted or never was", what, uid[:min(len(uid), MaxNameBytes)])
	}
	return p, what + " " + p.Name, nil
}

// putWithin stores what may make the pipeline need more slots.
func (tx *txn) putWithin(what string, p *Pipeline) error {
	before := tx.Used(p.Namespace)
	if err := tx.putPipeline(what, p); err != nil {
		return err
	}
	return tx.within(what, p.Namespace, before)
}

func (tx *txn) putPipeline(what string, p *Pipeline) error {
	p.Changed = tx.Revision
	if n := p.worstBytes(); n > MaxPipelineBytes {
		return refuse(ErrTooLarge, "%s: its entry may grow to %d bytes, the limit is %d; use fewer modules or regions, a shorter name, or fewer and larger workers", what, n, MaxPipelineBytes)
	}
	tx.pipelines = tx.pipelines.with(p.UID, p)
	tx.changed(KindPipeline, p.UID)
	return nil
}

// worstBytes is the size that the entry can reach by checkpoints and errors
// alone. It is held at a limit when the definition or the slots change, so that
// neither a commit nor a failure is ever refused for its size.
func (p *Pipeline) worstBytes() int {
	full := *p
	worst := Checkpoint{ID: 1 << 36, Attempt: 1 << 31, Manifest: Digest{1}, Revision: 1 << 31, Time: 1 << 52, NextTimer: 1 << 52}
	full.Job.Last = &worst
	full.Job.Retained = slices.Repeat([]Checkpoint{worst}, p.Current.Retain)
	full.Job.Error, full.Job.Failures, full.Job.RetryAt, full.Job.Restarts = nil, 1<<20, 1<<52, 1<<31
	full.Job.Doubt, full.Job.Left = AssumePublished, true
	full.Job.Reserved, full.Job.Newest, full.Job.Publish = Range{First: 1 << 36, Last: 1 << 36}, 1<<36, 1<<36
	b, err := json.Marshal(&full)
	if err != nil {
		return MaxPipelineBytes + 1
	}
	return len(b) + maxErrorEntryBytes
}

// clone copies the entry as far as commands change it in place.
func (p *Pipeline) clone() *Pipeline {
	next := *p
	next.Job.Regions = slices.Clone(p.Job.Regions)
	next.Job.Retained = slices.Clone(p.Job.Retained)
	return &next
}

func sameRevision(a, b *Revision) bool {
	x, y := *a, *b
	x.Modules, y.Modules, x.Widths, y.Widths = nil, nil, nil, nil
	ax, err1 := json.Marshal(x)
	by, err2 := json.Marshal(y)
	return err1 == nil && err2 == nil && string(ax) == string(by) && slices.Equal(a.Modules, b.Modules) && slices.Equal(a.Widths, b.Widths)
}

func checkNonce(s string) error {
	for i := range len(s) {
		if b := s[i]; !(b >= 'a' && b <= 'z' || b >= '0' && b <= '9') {
			return ErrInvalid
		}
	}
	return nil
}
