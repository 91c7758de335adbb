package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/platform/worker"
)

// work brings the worker up and enters it into the cluster.
func (s *Server) work(ctx, running context.Context) error {
	s.agent = agent.New(agent.Options{WorkerID: s.options.WorkerID, Blobs: s.blobs, Log: s.log()})
	s.session = cluster.NewSession(cluster.SessionOptions{
		Leader: s.leader(), Host: s.agent, Log: s.log(),
		Joining: cluster.Joining{ID: s.options.WorkerID, Address: s.advertised(), Node: machine(), Slots: s.options.Slots, Version: s.options.Version},
	})
	s.agent.Connect(worker.New(worker.Options{
		ID: s.options.WorkerID, Log: s.log(), Blobs: s.blobs, Clock: s.options.Clock,
		NewOperator: s.newOperator, NewState: newState, Reporter: discreet{s.agent, s.hidden},
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

// Drain leaves the cluster in order: it asks that the tasks go elsewhere and
// waits, at most for patience or until abandon closes, until none is here.
func (s *Server) Drain(patience time.Duration, abandon <-chan struct{}, say func(jobs int)) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-abandon:
			cancel()
		case <-stop:
		}
	}()
	leader, epoch := s.leader(), s.session.Epoch()
	if err := leader.Drain(ctx, epoch); err != nil {
		return fmt.Errorf("drain worker %s: %w", s.options.WorkerID, err)
	}
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	told := -1
	for {
		jobs := len(s.agent.Numbers())
		if jobs == 0 {
			break
		}
		if jobs != told {
			told = jobs
			say(jobs)
		}
		select {
		case <-tick.C:
			continue
		case <-ctx.Done():
			s.log().Warn("left before others took every task over; the jobs restart from their last checkpoint", "jobs", jobs)
		}
		break
	}
	last, done := context.WithTimeout(context.Background(), leaveLimit)
	defer done()
	if err := leader.Leave(last, epoch, "it left"); err != nil && !errors.Is(err, cluster.ErrUnknownWorker) {
		return fmt.Errorf("leave: %w", err)
	}
	return nil
}

// Times of leaving.
const (
	drainPoll  = 100 * time.Millisecond
	leaveLimit = 2 * time.Second
)

// WorkerID is the worker's name in the cluster.
func (s *Server) WorkerID() string { return s.options.WorkerID }

// leader is whom the worker reports to.
func (s *Server) leader() cluster.Leader {
	if s.client == nil {
		return s.desk // this process is the only controller
	}
	return s.client
}

// machine names the host, so that tasks return to where their files are.
func machine() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
