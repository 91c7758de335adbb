package backup

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weirstream/weir/platform/backup/archive"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/pipelines"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// savepoint enters a staged savepoint, unless an earlier try has.
func (p *plan) savepoint(sp *archive.Savepoint) {
	staged := p.r.staged[sp.Number]
	want := staged.Command(sp.Namespace, p.r.service.options.Clock())
	for old := range p.view.Savepoints() {
		if old.Namespace == want.Namespace && old.Pipeline == want.Pipeline && old.Cluster == want.Cluster && old.Checkpoint == want.Checkpoint &&
			old.Revision == want.Revision && old.Graph == want.Graph && old.Spec == want.Spec && old.Label == want.Label {
			p.ids[sp.Number] = old.ID
			p.add("savepoint", sp.Namespace, old.ID, doneThere, step{}).entry.Note = "of pipeline " + sp.Pipeline
			return
		}
	}
	s := p.add("savepoint", sp.Namespace, "", doneMade, step{
		before: func(ctx context.Context) error {
			if _, err := p.r.service.options.Savepoints.Keep(ctx, staged, sp.Namespace); err != nil {
				return err
			}
			p.r.entered[sp.Number] = true // from now on it may be, whatever becomes of the proposal
			return nil
		},
		command: func() catalog.Command { return staged.Command(sp.Namespace, p.r.service.options.Clock()) },
	})
	s.entry.Note = fmt.Sprintf("of pipeline %s, checkpoint %d", sp.Pipeline, sp.Checkpoint)
	s.entered = func(r catalog.Result) {
		p.ids[sp.Number] = fmt.Sprintf("s%d", r.Number)
		s.entry.Name = p.ids[sp.Number]
	}
}

// pipeline makes a stopped pipeline that goes on from its savepoint.
func (p *plan) pipeline(ctx context.Context, d *archive.Pipeline, topics map[string]*restoredTopic) error {
	key, service := catalog.Key(d.Namespace, d.Name), p.r.service.options.Pipelines
	graph := p.r.graphs[d.Revision.Graph]
	revision := catalog.Revision{
		Graph: d.Revision.Graph, Spec: d.Revision.Spec, Modules: d.Revision.Modules, Widths: catalog.Widths(graph), FileSlots: d.Revision.FileSlots,
		Delivery: catalog.Delivery(d.Revision.Delivery), IntervalMs: d.Revision.IntervalMs, PauseMs: d.Revision.PauseMs, TimeoutMs: d.Revision.TimeoutMs,
		Retain: d.Revision.Retain, MaxRestart: d.Revision.MaxRestart,
	}
	if old, ok := p.view.PipelineNamed(d.Namespace, d.Name); ok {
		if why := p.differs(old, &revision, d); why != "" {
			p.clash("pipeline", key, why)
			return nil
		}
		p.uids[key] = old.UID
		p.add("pipeline", d.Namespace, d.Name, doneThere, step{})
		return p.positions(ctx, d, topics)
	}
	other, taken, err := service.TypeTaken(ctx, p.view, d.Namespace, d.Name, graph)
	if err != nil {
		return err
	}
	if other != "" {
		p.bad = append(p.bad, refuse(catalog.ErrExists, "pipeline %s: pipeline %s of this cluster has the functions of type %s", key, other, taken))
		return nil
	}
	if err := p.positions(ctx, d, topics); err != nil {
		return err
	}
	from, note := catalog.Positions(d.Positions), d.NoState
	if len(p.lost[key]) > 0 && p.r.request.GetPositions() == string(catalog.PositionsStart) {
		from, note = catalog.PositionsStart, "all its sources begin at their first record"
		delete(p.lost, key)
	}
	nonce := newNonce()
	s := p.add("pipeline", d.Namespace, d.Name, doneMade, step{
		before: func(ctx context.Context) error {
			return service.KeepDefinition(ctx, p.r.texts[d.Revision.Graph], p.r.texts[d.Revision.Spec])
		},
		command: func() catalog.Command {
			c := &catalog.ApplyPipeline{At: p.now(), Namespace: d.Namespace, Name: d.Name, Nonce: nonce, Revision: revision, Desired: catalog.DesiredStopped}
			if d.Savepoint != 0 {
				c.From = catalog.StartFrom{Savepoint: p.ids[d.Savepoint], Positions: from}
			}
			return c
		},
	})
	s.entry.Note = note
	s.entered = func(r catalog.Result) {
		p.uids[key] = r.UID
		if d.Savepoint != 0 && note == "" {
			s.entry.Note = "stopped, goes on from savepoint " + p.ids[d.Savepoint]
		}
	}
	return nil
}

// differs says why a pipeline is not what an earlier try made of the backup; empty if it is.
func (p *plan) differs(old *catalog.Pipeline, r *catalog.Revision, d *archive.Pipeline) string {
	switch {
	case old.Current.Graph != r.Graph || old.Current.Spec != r.Spec || !slices.Equal(old.Current.Modules, r.Modules):
		return "its definition is another"
	case old.Job.Attempt != 0 || old.Desired != catalog.DesiredStopped:
		return "it was started since"
	case (d.Savepoint != 0) != (old.Job.Base != nil):
		return "it starts from other state"
	case d.Savepoint != 0 && old.Job.Base.Savepoint != p.ids[d.Savepoint]:
		return "it starts from savepoint " + old.Job.Base.Savepoint
	}
	return ""
}

// maxLostShown bounds the partitions whose loss is told of one pipeline.
const maxLostShown = 8

// positions finds out which positions of a pipeline do not hold in the topics that
// are here, by the rule by which its sources will.
func (p *plan) positions(ctx context.Context, d *archive.Pipeline, topics map[string]*restoredTopic) error {
	if len(p.bad) > 0 {
		return nil // it is refused anyway, and topics may be others'
	}
	key, options := catalog.Key(d.Namespace, d.Name), &p.r.service.options
	_, writes := pipelines.TopicsOf(p.r.graphs[d.Revision.Graph])
	if d.RanOn {
		for _, name := range writes {
			if t := topics[name]; t != nil && !t.empty {
				p.notes = append(p.notes, fmt.Sprintf("pipeline %s ran on behind its savepoint: what it has published into topic %s since appears there again (weir backup create --stop avoids that)", key, name))
			}
		}
	}
	if d.Savepoint == 0 || d.Positions != "" {
		return nil
	}
	sp := &p.r.catalog.Savepoints[slices.IndexFunc(p.r.catalog.Savepoints, func(s archive.Savepoint) bool { return s.Number == d.Savepoint })]
	readings, err := options.Pipelines.Readings(ctx, p.r.graphs[d.Revision.Graph], p.r.staged[sp.Number].Manifest())
	if err != nil {
		return fmt.Errorf("savepoint of pipeline %s: %w", key, err)
	}
	var lost []string
	for _, at := range readings {
		t := topics[at.Topic]
		if t == nil { // of a namespace that is not restored
			namespace, name, _ := strings.Cut(at.Topic, "/")
			here, ok := p.view.Topic(namespace, name)
			if !ok || here.Origin != p.r.header.Cluster {
				lost = append(lost, fmt.Sprintf("partition %d of topic %s: the topic is not restored, nor was it before", at.Partition, at.Topic))
				continue
			}
			t = &restoredTopic{topic: here}
		}
		if t.empty {
			lost = append(lost, fmt.Sprintf("partition %d of topic %s: its stream is not here, and the topic begins empty", at.Partition, at.Topic))
			continue
		}
		err := options.Topics.Lost(ctx, t.topic, at.Partition, connector.Position(at.Position))
		var data *connector.DataLost
		switch {
		case errors.As(err, &data):
			lost = append(lost, fmt.Sprintf("partition %d of topic %s: %s", at.Partition, at.Topic, data.Reason))
		case err != nil:
			return fmt.Errorf("look whether positions of pipeline %s hold: %w", key, err)
		}
	}
	if len(lost) > maxLostShown {
		lost = append(lost[:maxLostShown], fmt.Sprintf("and %d partitions more", len(lost)-maxLostShown))
	}
	if len(lost) > 0 {
		p.lost[key] = lost
	}
	return nil
}

func newNonce() string {
	var b [4]byte
	rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}
