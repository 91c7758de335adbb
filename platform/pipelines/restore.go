package pipelines

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	connectors "github.com/weirstream/weir/platform/connector/all"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// Typing is what others hold from TypeTaken until the catalog has the pipeline.
func (s *Service) Typing() sync.Locker { return &s.typing }

// TypeTaken finds another pipeline of the namespace that has one of the types of
// stateful functions in a graph; empty if none has.
func (s *Service) TypeTaken(ctx context.Context, state *catalog.State, namespace, pipeline string, g *jobgraph.Graph) (other, taken string, err error) {
	return s.typeTaken(ctx, state, namespace, pipeline, g)
}

// Definition gives the graph and the file of a revision, as they are kept.
func (s *Service) Definition(ctx context.Context, r *catalog.Revision) (graph, file []byte, err error) {
	if graph, err = s.object(ctx, s.options.GraphName(r.Graph), r.Graph); err != nil {
		return nil, nil, err
	}
	file, err = s.object(ctx, SpecName(r.Spec), r.Spec)
	return graph, file, err
}

// KeepDefinition takes what Definition gave elsewhere. The caller holds Naming until the catalog names both.
func (s *Service) KeepDefinition(ctx context.Context, graph, file []byte) error {
	if err := s.keep(ctx, s.options.GraphName(jobgraph.DigestOf(graph)), graph); err != nil {
		return fmt.Errorf("keep graph: %w", err)
	}
	if err := s.keep(ctx, SpecName(jobgraph.DigestOf(file)), file); err != nil {
		return fmt.Errorf("keep pipeline file: %w", err)
	}
	return nil
}

// TopicsOf lists the topics, by namespace/name, that a graph reads and writes.
func TopicsOf(g *jobgraph.Graph) (reads, writes []string) {
	u := topicsOf(g)
	return u.reads, u.writes
}

// Reading is where a source stands in one partition of a topic.
type Reading struct {
	Topic     string // namespace/name
	Partition int
	Position  json.RawMessage
}

// Readings lists where the sources of a graph that read topics stand in a savepoint.
func (s *Service) Readings(ctx context.Context, g *jobgraph.Graph, m *snapshot.Manifest) ([]Reading, error) {
	var out []Reading
	for i := range g.Stages {
		o := &g.Stages[i].Operators[0] // a source heads its stage
		kind, at := connection(o)
		if o.Kind != source.Kind || kind != connectors.Topic {
			continue
		}
		for _, ref := range m.Items(o.ID, snapshot.KindSplit) {
			item, err := snapshot.OpenItem(ctx, s.options.Blobs, ref)
			if err != nil {
				return nil, fmt.Errorf("read a position of source %s: %w", o.ID, err)
			}
			var stored struct {
				Position json.RawMessage `json:"position"`
			}
			if len(item.Data) != 1 || json.Unmarshal(item.Data[0], &stored) != nil {
				return nil, refuse(catalog.ErrDamaged, "read a position of source %s: split %.50q cannot be read", o.ID, item.Key)
			}
			partition, _ := strconv.Atoi(item.Key) // it only stands in texts
			out = append(out, Reading{at.Topic, partition, stored.Position})
		}
	}
	return out, nil
}
