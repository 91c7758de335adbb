package pipelines

import (
	"context"
	"fmt"
	"strings"

	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/modules"
	"github.com/weirstream/weir/platform/planner"
	"github.com/weirstream/weir/platform/topics"
	"github.com/weirstream/weir/raftmeta/catalog"
)

// world is one version of the catalog as the planner sees it.
type world struct {
	ctx       func() context.Context // of the call that plans
	state     *catalog.State
	namespace string
	store     *modules.Store
	err       error // why a module's manifest could not be read
}

// Module finds the latest version of a module, or the one that name@sha256:<hex> names.
func (w *world) Module(name string) (planner.Module, bool) {
	name, version, pinned := strings.Cut(name, "@")
	m, ok := w.state.Module(w.namespace, name)
	if !ok {
		return planner.Module{}, false
	}
	v := m.Latest()
	if pinned {
		d, err := catalogDigest(version)
		if err != nil {
			return planner.Module{}, false
		}
		if v, ok = m.Version(d); !ok {
			return planner.Module{}, false
		}
	}
	manifest, err := w.store.Manifest(w.ctx(), v.Digest.String())
	if err != nil {
		w.err = fmt.Errorf("read manifest of module %s: %w", name, err)
		return planner.Module{}, false
	}
	return planner.Module{Name: name, Digest: v.Digest.String(), Manifest: manifest}, true
}

func (w *world) ModuleNames() []string {
	var names []string
	for m := range w.state.Modules(w.namespace) {
		names = append(names, m.Name)
	}
	return names
}

func (w *world) Topic(name string) (jetstream.Topic, bool) {
	t, ok := w.state.Topic(w.namespace, name)
	if !ok {
		return jetstream.Topic{}, false
	}
	return topics.Convert(t), true
}

func (w *world) HasSecret(name string) bool {
	_, ok := w.state.Secret(w.namespace, name)
	return ok
}

func (w *world) TopicNames() []string {
	var names []string
	for t := range w.state.Topics(w.namespace) {
		names = append(names, t.Name)
	}
	return names
}
