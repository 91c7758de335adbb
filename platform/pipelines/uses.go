package pipelines

import (
	"context"
	"fmt"
	"slices"

	connectors "github.com/weirstream/weir/platform/connector/all"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// maxUses bounds the graphs whose topics are remembered.
const maxUses = 4096

// uses are the topics, by namespace/name, that a graph reads and writes, and its
// types of stateful functions.
type uses struct{ reads, writes, types []string }

// Users names the pipelines that use a topic: by their names, or, in another
// namespace than the topic's, as namespace/name.
func (s *Service) Users(ctx context.Context, namespace, topic string) (topics.Users, error) {
	var out topics.Users
	key := catalog.Key(namespace, topic)
	for p := range s.view().Pipelines("") {
		u, err := s.usesOf(ctx, p)
		if err != nil {
			return out, fmt.Errorf("pipeline %s: %w", catalog.Key(p.Namespace, p.Name), err)
		}
		name := p.Name
		if p.Namespace != namespace {
			name = catalog.Key(p.Namespace, p.Name)
		}
		reads, writes := slices.Contains(u.reads, key), slices.Contains(u.writes, key)
		if reads {
			out.Readers = append(out.Readers, name)
		}
		if writes {
			out.Writers = append(out.Writers, name)
		}
		if (reads || writes) && runs(p) {
			out.Running = append(out.Running, name)
		}
	}
	return out, nil
}

// runs tells whether a pipeline has tasks, or will have without anybody's doing.
func runs(p *catalog.Pipeline) bool {
	return p.Job.State.Active() || p.Desired == catalog.DesiredRunning && p.Job.State != catalog.JobFailed && p.Job.State != catalog.JobFinished
}

func (s *Service) usesOf(ctx context.Context, p *catalog.Pipeline) (uses, error) {
	s.mu.Lock()
	u, ok := s.uses[p.Current.Graph]
	s.mu.Unlock()
	if ok {
		return u, nil
	}
	g, err := s.graph(ctx, p.Current.Graph)
	if err != nil {
		return u, err
	}
	u = topicsOf(g)
	u.types = typesOf(g)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.uses) >= maxUses {
		clear(s.uses)
	}
	s.uses[p.Current.Graph] = u
	return u, nil
}

func topicsOf(g *jobgraph.Graph) uses {
	var u uses
	for i := range g.Stages {
		for j := range g.Stages[i].Operators {
			o := &g.Stages[i].Operators[j]
			kind, at := connection(o)
			if kind != connectors.Topic {
				continue
			}
			if o.Kind == source.Kind {
				u.reads = append(u.reads, at.Topic)
			} else {
				u.writes = append(u.writes, at.Topic)
			}
		}
	}
	return u
}
