// Package pipelines serves pipelines: it checks and applies their files, tells
// how their jobs do, and shows their logs, checkpoints and dead letters. It must
// not know how tasks run, how a checkpoint is decided, nor how calls reach it.
package pipelines

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/logbook"
	"github.com/weirstream/weir/platform/modules"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
	"github.com/weirstream/weir/scheduler"
)

// MaxListed bounds a list of pipelines.
const MaxListed = 10000

// Jobs tells how jobs stand beyond the catalog: the scheduler's shell.
type Jobs interface {
	Status(uid string) (scheduler.Status, bool)
}

// Tasks gives the newest meters of an attempt's tasks, wherever they run.
type Tasks interface {
	Tasks(uid string, attempt uint64) []cluster.TaskNumbers
}

// Report is what is known of a pipeline's last checkpoint beyond the catalog.
type Report struct {
	ID         uint64
	Took       time.Duration
	SizeBytes  int64 // what it added
	TotalBytes int64 // what its manifest names
}

// Options is what a service needs. The functions from Report on may be nil.
type Options struct {
	Node    *raftmeta.Node
	Blobs   blob.Store
	Modules *modules.Store
	Topics  *topics.Service
	Logs    *logbook.Book
	Jobs    Jobs
	Tasks   Tasks
	// GraphName and ManifestName say where graphs and manifests are kept,
	// TotalBytes how large everything is that a manifest names.
	GraphName    func(catalog.Digest) string
	ManifestName func(uid string, cp catalog.Checkpoint) string
	TotalBytes   func(*snapshot.Manifest) int64
	Report       func(uid string) (Report, bool)
	// Stuck says why a pipeline's checkpoint cannot be written; empty if it can.
	Stuck func(uid string) string
	// Deleted removes the objects of a pipeline that is gone.
	Deleted func(ctx context.Context, uid string) error
	// Warnings are what every status of a pipeline with that delivery should say of the server.
	Warnings func(catalog.Delivery) []string
	Clock    func() time.Time
}

// Service serves pipelines.
type Service struct {
	options Options
	live    live

	// naming is held, shared, from keeping a graph or a file until the catalog names
	// it, and alone by the sweep while it deletes one.
	naming  sync.RWMutex
	orphans map[string]time.Time // objects that nothing names, since when; of Sweep alone

	typing sync.Mutex // held while a pipeline with stateful functions is applied

	mu    sync.Mutex // guards what follows
	uses  map[catalog.Digest]uses
	types map[string]string // type with its namespace -> uid of the pipeline that had it when it was last looked for
}

// New makes a service. Run keeps its rates.
func New(o Options) *Service {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Report == nil {
		o.Report = func(string) (Report, bool) { return Report{}, false }
	}
	if o.Stuck == nil {
		o.Stuck = func(string) string { return "" }
	}
	if o.Warnings == nil {
		o.Warnings = func(catalog.Delivery) []string { return nil }
	}
	return &Service{options: o, live: live{jobs: map[string]*history{}}, uses: map[catalog.Digest]uses{}, types: map[string]string{}}
}

// ProblemsError says what is wrong with a pipeline file, with places and hints.
type ProblemsError struct {
	Pipeline string
	Problems []pipelinefile.Problem
}

func (e *ProblemsError) Error() string {
	text := fmt.Sprintf("the pipeline file has %d problems, the first: %s", len(e.Problems), e.Problems[0].Error())
	if len(e.Problems) == 1 {
		text = "the pipeline file is refused: " + e.Problems[0].Error()
	}
	return text
}

// Unwrap makes it an invalid value.
func (e *ProblemsError) Unwrap() error { return catalog.ErrInvalid }

// ErrRefused says that a pipeline's state forbids what was asked.
var ErrRefused = errors.New("refused")

// hinted is an error with what to do next.
type hinted struct {
	error
	hint string
}

func (h *hinted) Unwrap() error { return h.error }

// Hint is what to do next.
func (h *hinted) Hint() string { return h.hint }

func hint(err error, text string, args ...any) error { return &hinted{err, fmt.Sprintf(text, args...)} }

func refuse(kind error, format string, args ...any) error {
	return fmt.Errorf("%w: %w", fmt.Errorf(format, args...), kind)
}

func (s *Service) now() int64 { return s.options.Clock().UnixMicro() }

func (s *Service) view() *catalog.State { return s.options.Node.View() }

func (s *Service) find(what, namespace, name string) (*catalog.Pipeline, error) {
	p, ok := s.view().PipelineNamed(topics.Namespace(namespace), name)
	if !ok {
		return nil, hint(refuse(catalog.ErrNotFound, "%s pipeline %q: there is no such pipeline in namespace %s", what, name, topics.Namespace(namespace)),
			"weir pipeline list shows those that there are; weir pipeline apply FILE makes one")
	}
	return p, nil
}

// message is a pipeline as the catalog has it.
func (s *Service) message(state *catalog.State, p *catalog.Pipeline) *weirv1.Pipeline {
	out := &weirv1.Pipeline{
		Namespace: p.Namespace, Name: p.Name, Uid: p.UID, Revision: p.Current.Number, Desired: string(p.Desired), State: string(p.Job.State),
		Attempt: p.Job.Attempt, Parallelism: uint32(p.Current.Slots()), Created: stamp(p.Created), Updated: stamp(p.Current.Applied),
		Restarts: p.Job.Restarts, RunningRevision: p.Job.Revision, FileParallelism: uint32(p.Current.Slots()),
	}
	if p.Job.State.Active() {
		out.RunningParallelism = uint32(p.Job.Slots.Len())
	}
	if p.Current.FileSlots != 0 {
		out.FileParallelism = uint32(p.Current.FileSlots)
	}
	if e := p.Job.Error; e != nil {
		out.Error, out.ErrorHint = e.Text, errorHint(p, e)
	}
	for _, d := range p.Current.Modules {
		out.Modules = append(out.Modules, ModuleName(state, p.Namespace, d)+"@sha256:"+d.String())
	}
	return out
}

// dataLost begins the text of every connector.DataLost; the catalog keeps only texts.
const dataLost = "data_lost in split "

// errorHint says what a failure of a class wants of whoever reads it.
func errorHint(p *catalog.Pipeline, e *catalog.JobError) string {
	switch {
	case strings.Contains(e.Text, dataLost):
		return fmt.Sprintf("to read on behind what is gone: options: {on_data_lost: skip} at the source, weir pipeline apply FILE; "+
			"or start where records still are: weir checkpoint list %s, then weir pipeline resume %s --from-checkpoint ID --allow-duplicates", p.Name, p.Name)
	case strings.Contains(e.Text, connector.ErrInDoubt.Error()):
		return fmt.Sprintf("look into the topic whether the output of that checkpoint is there, then: weir pipeline resume %s --assume-published (leaves it out: lost if it is not there) "+
			"or --publish-again (publishes it: twice if it is there)", p.Name)
	case e.Class == catalog.ErrorUser:
		return fmt.Sprintf("correct the function, the file or the data, then: weir pipeline apply FILE, or weir pipeline resume %s", p.Name)
	case p.Job.State == catalog.JobFailed:
		return fmt.Sprintf("it restarted as often as it may; when the cause is gone: weir pipeline resume %s", p.Name)
	case e.Class == catalog.ErrorBug:
		return fmt.Sprintf("this is a fault of Weir; weir pipeline logs %s has the evidence, please report it", p.Name)
	}
	return fmt.Sprintf("it restarts by itself; weir pipeline logs %s and weir doctor tell more", p.Name)
}

func stamp(micros int64) *timestamppb.Timestamp {
	if micros == 0 {
		return nil
	}
	return timestamppb.New(time.UnixMicro(micros))
}

// ModuleName finds the name under which a module is kept.
func ModuleName(state *catalog.State, namespace string, d catalog.Digest) string {
	for m := range state.Modules(namespace) {
		if _, ok := m.Version(d); ok {
			return m.Name
		}
	}
	return d.Short()
}

// List gives a namespace's pipelines by name.
func (s *Service) List(_ context.Context, r *weirv1.ListPipelinesRequest) (*weirv1.ListPipelinesResponse, error) {
	out, state := &weirv1.ListPipelinesResponse{}, s.view()
	for p := range state.Pipelines(topics.Namespace(r.GetNamespace())) {
		if len(out.Pipelines) == MaxListed {
			return nil, refuse(catalog.ErrTooLarge, "list pipelines: namespace %s has more than %d, the limit of a list; use several namespaces", topics.Namespace(r.GetNamespace()), MaxListed)
		}
		out.Pipelines = append(out.Pipelines, s.message(state, p))
	}
	return out, nil
}

// object reads an object and holds it against its digest.
func (s *Service) object(ctx context.Context, name string, want catalog.Digest) ([]byte, error) {
	b, err := blob.ReadRange(ctx, s.options.Blobs, name, 0, -1)
	if err != nil {
		return nil, err
	}
	if sha256.Sum256(b) != [sha256.Size]byte(want) {
		return nil, fmt.Errorf("object %s is damaged: its digest is another; restore it from a backup, or apply the file again", name)
	}
	return b, nil
}

// graph reads a revision's graph.
func (s *Service) graph(ctx context.Context, d catalog.Digest) (*jobgraph.Graph, error) {
	b, err := s.object(ctx, s.options.GraphName(d), d)
	if err != nil {
		return nil, fmt.Errorf("read graph %s: %w", d.Short(), err)
	}
	return jobgraph.Decode(b)
}

// SpecName is where a pipeline file is kept as it was applied.
func SpecName(d catalog.Digest) string { return specFolder + d.String() }

// The folders of definitions.
const (
	graphFolder = "graphs/"
	specFolder  = "specs/"
)
