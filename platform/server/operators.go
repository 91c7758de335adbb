package server

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"

	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/platform/operator/all"
	"github.com/weirstream/weir/platform/operator/sink"
	"github.com/weirstream/weir/platform/operator/source"
	"github.com/weirstream/weir/platform/operator/udf"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
	"github.com/weirstream/weir/platform/storage/state/pebble"
	"github.com/weirstream/weir/raftmeta/jobgraph"
	"github.com/weirstream/weir/wasmhost"
)

// newOperator makes an operator of a kind: the table of all kinds that there are.
func (s *Server) newOperator(kind string) (operator.Operator, error) {
	table := map[string]func() operator.Operator{
		source.Kind: func() operator.Operator { return source.New(source.Deps{Open: s.openSource}) },
		sink.Kind: func() operator.Operator {
			return sink.New(sink.Deps{Open: s.openSink, SyncInterval: s.syncInterval()})
		},
		udf.Kind: func() operator.Operator {
			return udf.New(udf.Deps{Modules: s.modules, Metrics: s.users, Quotas: &s.quotas, BeforeCall: s.resetInstances()})
		},
	}
	for kind, n := range all.Natives {
		table[kind] = n.New
	}
	maps.Copy(table, all.Placed)
	build, ok := table[kind]
	if !ok {
		var kinds []string
		for k := range table {
			kinds = append(kinds, k)
		}
		slices.Sort(kinds)
		return nil, fmt.Errorf("no operator kind %q in this version; there are %v", kind, kinds)
	}
	return build(), nil
}

// openDisk makes an empty place for state on disk. What a former process left there
// is deleted: it belonged to attempts that have ended.
func (s *Server) openDisk() (err error) {
	s.disk, err = pebble.OpenStore(pebble.StoreOptions{
		Dir: filepath.Join(s.options.DataDir, "cache", "state"), MemoryBytes: s.options.StateBytes, Log: s.log(),
	})
	return err
}

// newState opens a backend where the graph wants the state.
func (s *Server) newState(at jobgraph.Backend, o state.Options) (state.Backend, error) {
	if at == jobgraph.OnDisk {
		return s.disk.Open(o)
	}
	return arena.Open(o)
}

// resetInstances closes instances at random before calls, for tests of the rule
// that nothing survives a call.
func (s *Server) resetInstances() func(*wasmhost.Instance) error {
	if s.options.ResetInstances <= 0 {
		return nil
	}
	return func(in *wasmhost.Instance) error {
		if rand.Float64() < s.options.ResetInstances {
			return in.Close(context.Background())
		}
		return nil
	}
}
