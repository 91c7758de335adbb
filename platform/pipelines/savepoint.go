package pipelines

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	connectors "github.com/weirstream/weir/platform/connector/all"
	"github.com/weirstream/weir/platform/operator/sink"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// positionsKeep is what keeping a savepoint's positions is called at the API.
const positionsKeep = "keep"

// startFrom reads where a pipeline that is applied is to start.
func (s *Service) startFrom(ctx context.Context, p *planned, r *weirv1.ApplyPipelineRequest) (catalog.StartFrom, error) {
	from := catalog.StartFrom{Savepoint: r.GetFromSavepoint(), AllowDuplicates: r.GetAllowDuplicates()}
	what := fmt.Sprintf("apply pipeline %s from savepoint %s", p.File.Name.Value, from.Savepoint)
	switch at := r.GetPositions(); {
	case from.Savepoint == "" && at == "":
		return catalog.StartFrom{}, nil
	case from.Savepoint == "":
		return from, hint(refuse(catalog.ErrInvalid, "apply pipeline %s with positions and no savepoint", p.File.Name.Value), "name one with --from-savepoint ID, or say start: at the source in the file")
	case at == positionsKeep || at == "":
	case at == string(catalog.PositionsStart), at == string(catalog.PositionsEnd):
		from.Positions, p.elsewhere = catalog.Positions(at), true
	default:
		return from, hint(refuse(catalog.ErrInvalid, "%s: positions %q", what, at), "choose %s, %s or %s", positionsKeep, catalog.PositionsStart, catalog.PositionsEnd)
	}
	if err := s.compareWith(ctx, p, from.Savepoint); err != nil {
		return from, err
	}
	if p.old != nil {
		if p.old.Job.State.Active() {
			return from, hint(refuse(ErrRefused, "%s: its job is %s, and only one that is at rest can start elsewhere", what, p.old.Job.State),
				"weir pipeline stop %s returns when it has stopped; then call again", p.old.Name)
		}
		if p.old.Job.Last != nil && !from.AllowDuplicates {
			return from, hint(refuse(ErrRefused, "%s: it has state of its own, up to checkpoint %d, which would go, and what it published behind the savepoint would appear twice", what, p.old.Job.Last.ID),
				"add --allow-duplicates if both is meant, or give the file another pipeline name")
		}
	}
	return from, s.checkPositions(ctx, p, what, from.Positions)
}

// compareWith lets the difference be one to a savepoint instead of the pipeline as it stands.
func (s *Service) compareWith(ctx context.Context, p *planned, id string) error {
	sp, ok := s.view().Savepoint(id)
	if !ok || sp.Namespace != p.namespace {
		return hint(refuse(catalog.ErrNotFound, "savepoint %q: there is none of that id in namespace %s", id, p.namespace), "weir savepoint list shows those that there are")
	}
	graph, err := s.graph(ctx, sp.Graph)
	if err != nil {
		return hint(refuse(catalog.ErrDamaged, "savepoint %s: the graph of its revision %d: %w", id, sp.Revision, err), "import it from an export, or take another savepoint")
	}
	digest := snapshot.Digest(sp.Manifest)
	m, err := snapshot.ReadManifest(ctx, s.options.Blobs, snapshot.SavepointName(sp.UID, sp.Checkpoint, digest), digest)
	if err != nil {
		return hint(refuse(catalog.ErrDamaged, "savepoint %s: %w", id, err), "import it from an export, or take another savepoint")
	}
	p.savepoint, p.saved, p.oldGraph = sp, m, graph
	return nil
}

// checkPositions refuses positions that mean nothing here: of topics of another
// cluster, or of one that was made anew since.
func (s *Service) checkPositions(ctx context.Context, p *planned, what string, policy catalog.Positions) error {
	state := s.view()
	for i := range p.Graph.Stages {
		o := &p.Graph.Stages[i].Operators[0] // a source heads its stage
		if o.Kind != source.Kind {
			continue
		}
		kind, at := connection(o)
		items := p.saved.Items(o.ID, snapshot.KindSplit)
		switch {
		case len(items) == 0:
			continue // it begins where the file says
		case policy == catalog.PositionsEnd && kind != connectors.Topic:
			return hint(refuse(ErrRefused, "%s: source %s reads %s, which has no end to begin at", what, o.ID, endpoint(o)), "say --positions %s or %s", positionsKeep, catalog.PositionsStart)
		case policy != catalog.PositionsKeep || kind != connectors.Topic:
			continue
		}
		if why := s.foreign(ctx, state, p.savepoint, at.Topic, items); why != "" {
			return hint(refuse(ErrRefused, "%s: its positions in topic %s do not hold here: %s", what, at.Topic, why),
				"--positions start reads each topic from its first record, --positions end what comes from now on; state is kept either way")
		}
	}
	return nil
}

// foreign says why positions are of another topic than the one that is there; empty if they are not.
func (s *Service) foreign(ctx context.Context, state *catalog.State, sp *catalog.Savepoint, topic string, items []snapshot.ItemRef) string {
	namespace, name, _ := strings.Cut(topic, "/")
	t, ok := state.Topic(namespace, name)
	switch {
	case sp.Cluster != "" && sp.Cluster != state.Settings.ClusterID && (!ok || t.Origin != sp.Cluster):
		return fmt.Sprintf("the savepoint was made in cluster %s, this is %s", sp.Cluster, state.Settings.ClusterID)
	case !ok:
		return "there is no such topic"
	}
	for _, item := range items {
		b, err := snapshot.OpenItem(ctx, s.options.Blobs, item)
		if err != nil {
			return err.Error()
		}
		var stored struct {
			Position struct {
				Incarnation uint64 `json:"incarnation"`
			} `json:"position"`
		}
		if len(b.Data) != 1 || json.Unmarshal(b.Data[0], &stored) != nil {
			return "split " + item.Key + " cannot be read"
		}
		if n := stored.Position.Incarnation; n != t.Incarnation {
			return fmt.Sprintf("they are of its incarnation %d, it was made anew since as %d", n, t.Incarnation)
		}
	}
	return ""
}

// unsaved is the state that a file sink has: rows of the file that is open.
const unsaved = "open file"

// unsavedRows are those that a savepoint holds of sinks which the new graph does not have.
func (p *planned) unsavedRows() []*weirv1.StateChange {
	if p.saved == nil {
		return nil
	}
	var out []*weirv1.StateChange
	for _, o := range p.saved.Operators {
		if len(p.saved.Items(o.Operator, sink.KindWriterState)) == 0 {
			continue
		}
		c := &weirv1.StateChange{Operator: o.Operator, State: unsaved, Was: "rows that are in no file yet", Kind: weirv1.StateChange_KIND_DROPPED}
		if _, now, ok := p.Graph.Operator(o.Operator); ok && now.Kind == sink.Kind {
			c.Kind, c.Now = weirv1.StateChange_KIND_KEPT, c.Was
		}
		out = append(out, c)
	}
	return out
}

// Shape is a state as people read it.
type Shape struct{ Operator, State, Text string }

// Shapes lists the states of a graph, as a difference shows them.
func Shapes(g *jobgraph.Graph) []Shape {
	var out []Shape
	for _, s := range shapes(g) {
		out = append(out, Shape{s.operator, s.name, s.String()})
	}
	return out
}
