package raftmeta

import (
	"context"
	"fmt"
	"net"

	"github.com/hashicorp/raft"
)

// Member is a node of the cluster as Raft has it.
type Member struct {
	ID      string
	Address string
	Voter   bool
}

// Members lists the cluster's nodes.
func (n *Node) Members() ([]Member, error) {
	future := n.raft.GetConfiguration()
	if err := future.Error(); err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	var list []Member
	for _, s := range future.Configuration().Servers {
		list = append(list, Member{string(s.ID), string(s.Address), s.Suffrage == raft.Voter})
	}
	return list, nil
}

// AddVoter adds a node that was opened with StartJoin, or changes a voter's address.
func (n *Node) AddVoter(ctx context.Context, id, address string) error {
	if n.options.Bind == "" && n.options.Transport == nil {
		return fmt.Errorf("add voter %s: %w: this node has no Raft address; start it with one", id, ErrOptions)
	}
	return n.await(ctx, "add voter "+id, n.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(address), 0, n.options.ApplyTimeout))
}

// RemoveMember removes a node. A leader that removes itself steps down.
func (n *Node) RemoveMember(ctx context.Context, id string) error {
	return n.await(ctx, "remove member "+id, n.raft.RemoveServer(raft.ServerID(id), 0, n.options.ApplyTimeout))
}

// HandOver gives leadership to another voter, before a planned stop.
func (n *Node) HandOver(ctx context.Context) error {
	return n.await(ctx, "hand over leadership", n.raft.LeadershipTransfer())
}

func (n *Node) await(ctx context.Context, what string, future raft.Future) error {
	done := make(chan error, 1)
	n.spawn(func() { done <- future.Error() })
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w", what, n.proposeError(err))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
}

func resolve(address string) (net.Addr, error) { return net.ResolveTCPAddr("tcp", address) }
