package server

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/weirstream/weir/abi/schema"
	"github.com/weirstream/weir/platform/auth"
	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/runtime/exchange/remote"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/platform/worker"
)

// farExchange is the exchange with other workers over the network.
type farExchange struct {
	hub    *remote.Hub
	dialer *remote.Dialer
}

// Open implements worker.Exchange.
func (x farExchange) Open(a remote.Attempt, inlets map[remote.Channel]remote.Inlet, failed func(error)) func() {
	return x.hub.Open(a, inlets, failed)
}

// Dial implements worker.Exchange.
func (x farExchange) Dial(ctx context.Context, to worker.Peer, a remote.Attempt) (worker.Link, error) {
	l, err := x.dialer.Dial(ctx, to.Address, to.Epoch, a)
	if err != nil {
		return nil, err
	}
	return farLink{l}, nil
}

type farLink struct{ *remote.Link }

// Channel implements worker.Link.
func (l farLink) Channel(c remote.Channel, s *schema.Schema) runtime.Sender {
	return l.Link.Channel(c, s)
}

// exchangeOptions is how this process exchanges records with other workers.
func (s *Server) exchangeOptions() remote.Options {
	o := remote.Options{Log: s.log(), Self: func() uint64 { return s.session.Epoch() }, Authorization: s.exchangeKey}
	if s.trust != nil {
		o.TLS = func() *tls.Config { return s.trust.ClientConfig("http/1.1") }
	}
	return o
}

// exchangeKey is the header that workers show to each other.
func (s *Server) exchangeKey() string {
	key := s.about.ExchangeKey
	if s.node != nil {
		key = s.node.View().Settings.ExchangeKey
	}
	if key == "" {
		return ""
	}
	return auth.Bearer(key)
}

// exchange takes connections of other workers, of this cluster only.
func (s *Server) exchange(w http.ResponseWriter, r *http.Request) {
	key := s.exchangeKey()
	if key != "" && subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte(key)) != 1 {
		http.Error(w, "this worker exchanges records with workers of its own cluster only", http.StatusForbidden)
		return
	}
	s.hub.ServeHTTP(w, r)
}

// engage makes the worker's parts, before the port opens by which others reach them.
func (s *Server) engage() {
	s.agent = agent.New(agent.Options{WorkerID: s.options.WorkerID, Blobs: s.blobs, Log: s.log(), Quotas: &s.quotas})
	s.session = cluster.NewSession(cluster.SessionOptions{
		Leader: s.leader(), Host: s.agent, Log: s.log(),
		Joining: cluster.Joining{ID: s.options.WorkerID, Address: s.advertised(), Node: machine(), Slots: s.options.Slots, Version: s.options.Version},
	})
	exchange := s.exchangeOptions()
	s.hub = remote.NewHub(exchange)
	s.agent.Connect(worker.New(worker.Options{
		ID: s.options.WorkerID, Log: s.log(), Blobs: s.blobs, Clock: s.options.Clock,
		NewOperator: s.newOperator, NewState: s.newState, Reporter: discreet{s.agent, s.hidden},
		EagerBytes: s.options.EagerBytes, Exchange: farExchange{s.hub, remote.NewDialer(exchange)},
	}), s.session)
}

// work enters the worker into the cluster and lets it take tasks.
func (s *Server) work(ctx, running context.Context) error {
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
