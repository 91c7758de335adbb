package raftmeta

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// Image writes an image now and drops the log before it, as far as followers need none of it.
func (n *Node) Image(ctx context.Context) error {
	future := n.raft.Snapshot()
	done := make(chan error, 1)
	n.spawn(func() { done <- future.Error() })
	select {
	case err := <-done:
		if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
			return fmt.Errorf("write image: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("write image: %w", ctx.Err())
	}
}

// Backup returns the whole catalog as bytes that catalog.DecodeImage reads.
func (n *Node) Backup() ([]byte, error) { return catalog.EncodeImage(n.View()) }

// imageIfGrown asks for an image when the log has grown by more bytes than one entry count would tell.
func (n *Node) imageIfGrown() {
	if n.machine.written.Load() < n.options.ImageBytes || !n.imaging.CompareAndSwap(false, true) {
		return
	}
	n.spawn(func() {
		defer n.imaging.Store(false)
		if err := n.raft.Snapshot().Error(); err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) && !errors.Is(err, raft.ErrRaftShutdown) {
			n.options.Logger.Warn("write image", "error", err)
		}
	})
}
