package server

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/platform/worker"
)

// work brings the worker up and enters it into the cluster.
func (s *Server) work(ctx, running context.Context) error {
	s.agent = agent.New(agent.Options{WorkerID: s.options.WorkerID, Blobs: s.blobs, Log: s.log()})
	var leader cluster.Leader = s.client
	if s.client == nil {
		leader = s.desk // this process is the only controller
	}
	s.session = cluster.NewSession(cluster.SessionOptions{
		Leader: leader, Host: s.agent, Log: s.log(),
		Joining: cluster.Joining{ID: s.options.WorkerID, Address: s.address(), Node: machine(), Slots: s.options.Slots, Version: s.options.Version},
	})
	s.agent.Connect(worker.New(worker.Options{
		ID: s.options.WorkerID, Log: s.log(), Blobs: s.blobs, Clock: s.options.Clock,
		NewOperator: s.newOperator, NewState: newState, Reporter: s.agent,
	}), s.session)
	if _, err := s.session.Join(ctx); err != nil {
		return fmt.Errorf("join as worker %s: %w", s.options.WorkerID, err)
	}
	s.tasks.Go(func() {
		if err := s.session.Run(running); err != nil && !errors.Is(err, context.Canceled) {
			s.refusal = err
			close(s.refused)
		}
	})
	return nil
}

// machine names the host, so that tasks return to where their files are.
func machine() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
