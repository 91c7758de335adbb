package raftmeta

import (
	"context"
	"iter"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// Update is a move of the catalog as a watcher sees it.
type Update struct {
	State *catalog.State
	// Changes since the update before, once per entry. Empty with Resync.
	Changes []catalog.Change
	// Resync means that the changes are not known one by one: compare everything with State.
	Resync bool
}

// Watch yields the catalog's moves after a revision until the context or the node
// ends. A slow watcher misses no final state: moves that pile up are joined into
// one update. Revision 0 begins with everything: change by change, or as a Resync.
func (n *Node) Watch(ctx context.Context, after uint64) iter.Seq[Update] {
	return func(yield func(Update) bool) {
		for ctx.Err() == nil {
			state, changes, resync, moved := n.machine.since(after)
			if state.Revision != after {
				after = state.Revision
				if !yield(Update{State: state, Changes: changes, Resync: resync}) {
					return
				}
				continue
			}
			select {
			case <-moved:
			case <-ctx.Done():
				return
			case <-n.closing:
				return
			}
		}
	}
}
