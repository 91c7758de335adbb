package backup

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/weirstream/weir/platform/backup/archive"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// records makes the archive's catalog of the view, and lists the savepoints in their order in it.
func (t *savepointSet) records() (*archive.Catalog, []*catalog.Savepoint) {
	only, view := t.request.GetOnlyNamespace(), t.view
	out := &archive.Catalog{Incarnations: view.Incarnations()}
	wanted := func(namespace string) bool { return only == "" || only == namespace }
	for n := range view.Namespaces() {
		if wanted(n.Name) {
			out.Namespaces = append(out.Namespaces, archive.Namespace{
				Name: n.Name, Created: n.Created, Slots: n.Limits.Slots, Pipelines: n.Limits.Pipelines, Modules: n.Limits.Modules,
				ModuleBytes: n.Limits.ModuleBytes, GuestShare: n.Limits.Guests.Share, GuestMemory: n.Limits.Guests.MemoryBytes,
			})
		}
	}
	now := t.service.now()
	for k := range view.Tokens() {
		if k.Live(now) && wanted(k.Namespace) {
			out.Tokens = append(out.Tokens, archive.Token{ID: k.ID, Role: string(k.Role), Namespace: k.Namespace, Hash: k.Hash, Label: k.Label, Created: k.Created, Expires: k.Expires})
		}
	}
	for v := range view.Secrets(only) {
		out.Secrets = append(out.Secrets, archive.Secret{Namespace: v.Namespace, Name: v.Name, Key: v.Key, Sealed: v.Sealed})
	}
	for m := range view.Modules(only) {
		r := archive.Module{Namespace: m.Namespace, Name: m.Name}
		for _, v := range m.Versions {
			r.Versions = append(r.Versions, archive.ModuleVersion(v))
		}
		out.Modules = append(out.Modules, r)
	}
	for p := range view.Topics(only) {
		out.Topics = append(out.Topics, archive.Topic{
			Namespace: p.Namespace, Name: p.Name, Incarnation: p.Incarnation, Partitions: p.Partitions, Layout: string(p.Layout), Stream: p.Stream,
			Subject: p.Subject, Replicas: p.Replicas, MaxAgeMs: p.Retention.MaxAgeMs, MaxBytes: p.Retention.MaxBytes, MaxMessages: p.Retention.MaxMessages,
			System: p.System, Created: p.Created,
		})
	}
	numbers := &numbered{ids: map[string]int{}, records: &out.Savepoints}
	for p := range view.Pipelines(only) {
		out.Pipelines = append(out.Pipelines, t.pipeline(p, numbers))
	}
	if t.request.GetAllSavepoints() {
		var kept []*catalog.Savepoint
		for sp := range view.Savepoints() {
			if wanted(sp.Namespace) && !strings.HasPrefix(sp.Label, labelPrefix) {
				kept = append(kept, sp)
			}
		}
		slices.SortFunc(kept, func(a, b *catalog.Savepoint) int { return cmp.Compare(number(a.ID), number(b.ID)) })
		for _, sp := range kept {
			numbers.number(sp)
		}
	}
	return out, numbers.list
}

// number is that of an id such as s12.
func number(id string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(id, "s"), 10, 64) // the catalog numbers them
	return n
}

func (t *savepointSet) pipeline(p *catalog.Pipeline, numbers *numbered) archive.Pipeline {
	r, got := &p.Current, t.of[p.UID]
	out := archive.Pipeline{
		Namespace: p.Namespace, Name: p.Name, Created: p.Created, Running: p.Desired == catalog.DesiredRunning || t.ran[p.UID],
		Revision: archive.Revision{
			Number: r.Number, Graph: r.Graph, Spec: r.Spec, Modules: r.Modules, FileSlots: r.FileSlots, Delivery: string(r.Delivery),
			IntervalMs: r.IntervalMs, PauseMs: r.PauseMs, TimeoutMs: r.TimeoutMs, Retain: r.Retain, MaxRestart: r.MaxRestart,
		},
		RanOn: got.ranOn, Positions: string(got.positions), NoState: got.why,
	}
	if got.savepoint != nil {
		out.Savepoint = numbers.number(got.savepoint)
	}
	return out
}

// numbered gives savepoints their numbers, each once.
type numbered struct {
	ids     map[string]int
	list    []*catalog.Savepoint
	records *[]archive.Savepoint
}

func (n *numbered) number(sp *catalog.Savepoint) int {
	if at, ok := n.ids[sp.ID]; ok {
		return at
	}
	n.list = append(n.list, sp)
	at := len(n.list)
	n.ids[sp.ID] = at
	*n.records = append(*n.records, archive.Savepoint{
		Number: at, Namespace: sp.Namespace, Pipeline: sp.Pipeline, Revision: sp.Revision, Checkpoint: sp.Checkpoint, Label: sp.Label, Created: sp.Created, Cluster: sp.Cluster,
	})
	return at
}
