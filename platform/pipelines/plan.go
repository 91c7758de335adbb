package pipelines

import (
	"context"
	"fmt"
	"strings"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// planned is a file that can be applied.
type planned struct {
	*planner.Plan
	namespace string
	text      []byte
	encoded   []byte // the graph as it is stored
	graph     catalog.Digest
	spec      catalog.Digest
	modules   []catalog.Digest
	old       *catalog.Pipeline // as it stands; nil: it is new
	oldGraph  *jobgraph.Graph
	// savepoint is what it is to start from, if anything; oldGraph is then that of the savepoint.
	savepoint *catalog.Savepoint
	saved     *snapshot.Manifest
	elsewhere bool // sources begin at their topics' start or end, whatever their positions were
}

// plan reads a file and plans it against what is there. What is wrong with the
// file is a *ProblemsError.
func (s *Service) plan(ctx context.Context, namespace, text string) (*planned, error) {
	file, problems := pipelinefile.Parse([]byte(text))
	if len(problems) > 0 {
		return nil, &ProblemsError{Pipeline: nameOf(file), Problems: problems}
	}
	p := &planned{namespace: topics.Namespace(namespace), text: []byte(text)}
	if own := file.Namespace; own.Value != "" {
		if namespace != "" && namespace != catalog.DefaultNamespace && namespace != own.Value {
			return nil, problem(file, own.Pos, "take one of them away", "the file is for the namespace %s, the call for %s", own.Value, namespace)
		}
		p.namespace = own.Value
	}
	file.Namespace.Value = p.namespace
	state := s.view()
	if _, ok := state.Namespace(p.namespace); !ok {
		return nil, problem(file, file.Namespace.Pos, "create it first: weir namespace create "+p.namespace, "there is no namespace %q", p.namespace)
	}
	w := &world{ctx: func() context.Context { return ctx }, state: state, namespace: p.namespace, store: s.options.Modules}
	plan, problems := planner.Make(file, w)
	if w.err != nil {
		return nil, w.err
	}
	if len(problems) > 0 {
		return nil, &ProblemsError{Pipeline: file.Name.Value, Problems: problems}
	}
	p.Plan = plan
	if err := deadLetterTopic(state, p); err != nil {
		return nil, err
	}
	if err := functionTopics(state, p); err != nil {
		return nil, err
	}
	if err := s.typesFree(ctx, state, p); err != nil {
		return nil, err
	}
	return p, s.finish(ctx, state, p)
}

// finish computes what is stored and reads what is there.
func (s *Service) finish(ctx context.Context, state *catalog.State, p *planned) (err error) {
	if p.encoded, err = jobgraph.Encode(p.Graph); err != nil {
		return fmt.Errorf("plan pipeline %s: %w", p.File.Name.Value, err)
	}
	p.graph, p.spec = jobgraph.DigestOf(p.encoded), jobgraph.DigestOf(p.text)
	for _, m := range p.Modules {
		d, err := catalogDigest(m)
		if err != nil {
			return err
		}
		p.modules = append(p.modules, d)
	}
	old, ok := state.PipelineNamed(p.namespace, p.File.Name.Value)
	if !ok {
		return nil
	}
	p.old = old
	p.oldGraph, err = s.graph(ctx, old.Current.Graph)
	return err
}

// deadLetterTopic holds the topic of dead letters, if it is there, against what is written to it.
func deadLetterTopic(state *catalog.State, p *planned) error {
	if p.DeadLetters == "" {
		return nil
	}
	t, ok := state.Topic(p.namespace, p.DeadLetters)
	switch {
	case ok && t.Layout != catalog.LayoutFrames:
		return problem(p.File, p.File.DeadLetters.Pos, "name another with dead_letters:, which is made by itself",
			"dead letters go to topic %s, whose layout is %s; they need frames", t.Name, t.Layout)
	case !pipelinefile.ValidName(p.DeadLetters):
		return problem(p.File, p.File.DeadLetters.Pos, fmt.Sprintf("use letters, digits, _ and -, beginning with a letter, at most %d", pipelinefile.MaxNameBytes),
			"%q cannot be a topic", p.DeadLetters)
	}
	return nil
}

func problem(f *pipelinefile.File, at pipelinefile.Pos, hint, format string, args ...any) error {
	return &ProblemsError{Pipeline: nameOf(f), Problems: []pipelinefile.Problem{{Pos: at, Message: fmt.Sprintf(format, args...), Hint: hint}}}
}

func nameOf(f *pipelinefile.File) string {
	if f == nil {
		return ""
	}
	return f.Name.Value
}

func catalogDigest(text string) (catalog.Digest, error) {
	return jobgraph.ParseDigest(strings.TrimPrefix(text, "sha256:"))
}

// Problems makes messages of problems.
func Problems(list []pipelinefile.Problem) []*weirv1.Problem {
	var out []*weirv1.Problem
	for _, p := range list {
		out = append(out, &weirv1.Problem{Message: p.Message, Hint: p.Hint, Line: uint32(p.Pos.Line), Column: uint32(p.Pos.Column)})
	}
	return out
}
