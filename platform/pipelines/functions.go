package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirstream/weir/abi/manifest"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/functions"
	"github.com/weirstream/weir/platform/operator/dispatch"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/planner/pipelinefile"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// How long the topics of a pipeline's functions keep what is in them. A pipeline
// that stands still for longer loses messages, and says so.
const (
	keepMessages = 7 * 24 * time.Hour
	keepReplies  = time.Hour
)

// maxTypes bounds the types whose pipeline is remembered.
const maxTypes = 100_000

// ownTopic is a topic that a pipeline has for itself.
type ownTopic struct {
	name, system string
	keep         time.Duration // 0: for ever
}

// ownTopics lists the topics that applying makes, but that of dead letters, which others may share.
func ownTopics(pipeline string) []ownTopic {
	return []ownTopic{
		{planner.MessagesTopic(pipeline), topics.SystemMessages, keepMessages},
		{planner.RepliesTopic(pipeline), topics.SystemReplies, keepReplies},
	}
}

// makeTopics makes the topics that a plan needs and nobody else makes.
func (s *Service) makeTopics(ctx context.Context, p *planned) error {
	if p.DeadLetters != "" {
		if _, err := s.options.Topics.CreateSystem(ctx, p.namespace, p.DeadLetters, topics.SystemDeadLetters, catalog.Retention{}); err != nil {
			return fmt.Errorf("make its topic of dead letters: %w", err)
		}
	}
	if p.Messages == "" {
		return nil
	}
	for _, t := range ownTopics(p.File.Name.Value) {
		if _, err := s.options.Topics.CreateSystem(ctx, p.namespace, t.name, t.system, catalog.Retention{MaxAgeMs: t.keep.Milliseconds()}); err != nil {
			return fmt.Errorf("make topic %s of its functions: %w", t.name, err)
		}
	}
	return nil
}

// dropTopics removes the topics of a deleted pipeline's functions: another of its
// name must not be given its messages.
func (s *Service) dropTopics(ctx context.Context, namespace, pipeline string) error {
	var errs []error
	for _, t := range ownTopics(pipeline) {
		found, ok := s.view().Topic(namespace, t.name)
		if !ok || found.System != t.system {
			continue
		}
		if _, err := s.options.Topics.Delete(ctx, &weirv1.DeleteTopicRequest{Namespace: namespace, Name: t.name}); err != nil && !errors.Is(err, catalog.ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// functionTopics refuses a pipeline whose own topics are somebody else's.
func functionTopics(state *catalog.State, p *planned) error {
	if p.Messages == "" {
		return nil
	}
	for _, t := range ownTopics(p.File.Name.Value) {
		if found, ok := state.Topic(p.namespace, t.name); ok && found.System != t.system {
			return problem(p.File, p.File.Name.Pos, "give the pipeline another name, or delete the topic",
				"the functions of pipeline %s need the topic %s for themselves, and somebody else made one of that name", p.File.Name.Value, t.name)
		}
	}
	return nil
}

// typesOf lists the types of stateful functions in a graph.
func typesOf(g *jobgraph.Graph) []string {
	_, o, ok := g.Operator(planner.DispatchID)
	if !ok || o.Kind != dispatch.Kind {
		return nil
	}
	var c dispatch.Config
	if json.Unmarshal(o.Config, &c) != nil {
		return nil
	}
	return c.Types
}

// typesFree refuses types that another pipeline of the namespace has: an address
// would be in two places.
func (s *Service) typesFree(ctx context.Context, state *catalog.State, p *planned) error {
	if p.Messages == "" {
		return nil
	}
	other, taken, err := s.typeTaken(ctx, state, p.namespace, p.File.Name.Value, p.Graph)
	if err != nil || other == "" {
		return err
	}
	return problem(p.File, typePos(p.File, taken), fmt.Sprintf("take it out of one of them by types:, or delete the other: weir pipeline delete %s", other),
		"pipeline %s has the functions of type %s already", other, taken)
}

// typeTaken finds another pipeline of the namespace that has one of a graph's types; empty if none has.
func (s *Service) typeTaken(ctx context.Context, state *catalog.State, namespace, pipeline string, g *jobgraph.Graph) (other, taken string, err error) {
	mine := typesOf(g)
	if len(mine) == 0 {
		return "", "", nil
	}
	for other := range state.Pipelines(namespace) {
		if other.Name == pipeline {
			continue
		}
		u, err := s.usesOf(ctx, other)
		if err != nil {
			return "", "", fmt.Errorf("read types of pipeline %s: %w", other.Name, err)
		}
		for _, t := range mine {
			if slices.ContainsFunc(u.types, func(o string) bool { return functions.Overlap(o, t) }) {
				return other.Name, t, nil
			}
		}
	}
	return "", "", nil
}

// typePos is where a file takes a type.
func typePos(f *pipelinefile.File, name string) pipelinefile.Pos {
	for _, t := range f.Functions.Types {
		if t.Value == name {
			return t.Pos
		}
	}
	for _, r := range f.Functions.Remote {
		for _, t := range r.Types {
			if t.Value == name {
				return t.Pos
			}
		}
	}
	return f.Functions.Pos
}

// WithType finds the pipeline of a namespace that has a type. Its answer is
// remembered and looked at again, so that finding costs the same however many
// pipelines there are.
func (s *Service) WithType(ctx context.Context, namespace, name string) (*catalog.Pipeline, bool, error) {
	state, key := s.view(), catalog.Key(namespace, name)
	s.mu.Lock()
	uid, known := s.types[key]
	s.mu.Unlock()
	if p, ok := state.Pipeline(uid); known && ok {
		u, err := s.usesOf(ctx, p)
		if err != nil {
			return nil, false, err
		}
		if functions.Covers(u.types, name) {
			return p, true, nil
		}
	}
	for p := range state.Pipelines(namespace) {
		u, err := s.usesOf(ctx, p)
		if err != nil {
			return nil, false, fmt.Errorf("read types of pipeline %s: %w", p.Name, err)
		}
		if !functions.Covers(u.types, name) {
			continue
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.types) >= maxTypes {
			clear(s.types)
		}
		s.types[key] = p.UID
		return p, true, nil
	}
	return nil, false, nil
}

// FunctionType is a type and the pipeline that has it.
type FunctionType struct {
	Name     string
	Pipeline *catalog.Pipeline
}

// Types lists a namespace's types by name.
func (s *Service) Types(ctx context.Context, namespace string) ([]FunctionType, error) {
	var out []FunctionType
	for p := range s.view().Pipelines(namespace) {
		u, err := s.usesOf(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("read types of pipeline %s: %w", p.Name, err)
		}
		for _, t := range u.types {
			out = append(out, FunctionType{t, p})
		}
	}
	slices.SortFunc(out, func(a, b FunctionType) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Graph reads the graph of a pipeline's current revision.
func (s *Service) Graph(ctx context.Context, p *catalog.Pipeline) (*jobgraph.Graph, error) {
	return s.graph(ctx, p.Current.Graph)
}

// Manifest is what a module says of itself, by its digest.
func (s *Service) Manifest(ctx context.Context, digest string) (*manifest.Manifest, error) {
	return s.options.Modules.Manifest(ctx, digest)
}

// TopicOf names the topic that a source or sink of a graph is connected to, as
// namespace/name; empty: it is connected to none.
func TopicOf(o *jobgraph.Operator) string {
	_, at := connection(o)
	return at.Topic
}
