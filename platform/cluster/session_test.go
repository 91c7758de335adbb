package cluster_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/scheduler"
)

// leader is one that a test moves by hand.
type leader struct {
	mu      sync.Mutex // guards what follows
	epoch   uint64
	silent  bool // reports go nowhere
	refuses error
	reports []cluster.Report
	words   chan cluster.Word
	broken  chan error
}

func newLeader() *leader {
	return &leader{words: make(chan cluster.Word), broken: make(chan error)}
}

func (l *leader) Join(context.Context, cluster.Joining) (cluster.Joined, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.refuses != nil {
		return cluster.Joined{}, l.refuses
	}
	l.epoch++
	return cluster.Joined{Epoch: l.epoch}, nil
}

func (l *leader) Follow(ctx context.Context, _ uint64, hear func(cluster.Word) error) error {
	for {
		select {
		case w := <-l.words:
			if err := hear(w); err != nil {
				return err
			}
		case err := <-l.broken:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *leader) Report(ctx context.Context, r cluster.Report) error {
	l.mu.Lock()
	silent := l.silent
	if !silent {
		l.reports = append(l.reports, r)
	}
	l.mu.Unlock()
	if silent {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (l *leader) Drain(context.Context, uint64) error         { return nil }
func (l *leader) Leave(context.Context, uint64, string) error { return nil }

func (l *leader) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

// events are those of all reports that arrived.
func (l *leader) events() (out []scheduler.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.reports {
		out = append(out, r.Events...)
	}
	return out
}

// host is a worker that only notes what it is told.
type host struct {
	mu       sync.Mutex // guards what follows
	assigned []cluster.Update
	triggers []scheduler.Trigger
	stopped  []time.Time
}

func (h *host) Assign(_ uint64, u cluster.Update) {
	h.note(func() { h.assigned = append(h.assigned, u) })
}
func (h *host) Trigger(_ uint64, t scheduler.Trigger) {
	h.note(func() { h.triggers = append(h.triggers, t) })
}
func (h *host) Abort(uint64, scheduler.Abort) {}
func (h *host) Progress() []scheduler.Progress {
	return []scheduler.Progress{{UID: "p", Attempt: 1, Count: 7}}
}
func (h *host) Numbers() []cluster.JobNumbers { return []cluster.JobNumbers{} }
func (h *host) StopAll(string)                { h.note(func() { h.stopped = append(h.stopped, time.Now()) }) }
func (h *host) Holding(e uint64) []scheduler.Event {
	return []scheduler.Event{scheduler.TasksReady{Worker: e, UID: "p", Attempt: 1}}
}

func (h *host) note(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *host) stops() []time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.stopped)
}

// run starts a session in a bubble; what test sees has joined once.
func run(t *testing.T, test func(t *testing.T, l *leader, h *host, s *cluster.Session)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l, h := newLeader(), &host{}
		s := cluster.NewSession(cluster.SessionOptions{Leader: l, Host: h, Log: slog.New(slog.DiscardHandler), Joining: cluster.Joining{ID: "w"}})
		if _, err := s.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		test(t, l, h, s)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if len(h.stops()) == 0 {
			t.Error("the session ended and the tasks did not")
		}
	})
}

func TestTasksStopBeforeTheLeaseOfASilentLeaderIsOverForIt(t *testing.T) {
	run(t, func(t *testing.T, l *leader, h *host, s *cluster.Session) {
		<-time.After(10 * time.Second)
		if n := len(h.stops()); n != 0 {
			t.Fatalf("stopped %d times while the leader answered", n)
		}
		l.set(func() { l.silent = true })
		last := time.Now() // every answered report was sent before
		<-time.After(2 * cluster.Lease)
		stops := h.stops()
		if len(stops) == 0 || stops[0].Sub(last) > cluster.Lease {
			t.Fatalf("stopped at %v, the lease of %s began at %v at the latest", stops, cluster.Lease, last)
		}
		if s.Epoch() == 1 {
			t.Error("it did not join again")
		}
	})
}

func TestWhatALeaderDidNotTakeReachesTheNextOnceAndInOrder(t *testing.T) {
	run(t, func(t *testing.T, l *leader, _ *host, s *cluster.Session) {
		l.set(func() { l.silent = true })
		for id := range uint64(3) {
			s.Tell(scheduler.OutputPublished{Worker: 1, UID: "p", Attempt: 1, ID: id})
			<-time.After(300 * time.Millisecond)
		}
		l.set(func() { l.silent = false })
		<-time.After(3 * time.Second)
		var got []uint64
		for _, e := range l.events() {
			if p, ok := e.(scheduler.OutputPublished); ok {
				got = append(got, p.ID)
			}
		}
		if !slices.Equal(got, []uint64{0, 1, 2}) {
			t.Errorf("arrived: %v", got)
		}
	})
}

func TestEveryConnectionBeginsWithWhatStillHolds(t *testing.T) {
	run(t, func(t *testing.T, l *leader, h *host, s *cluster.Session) {
		ready := func() (n int) {
			for _, e := range l.events() {
				if r, ok := e.(scheduler.TasksReady); ok && r.Worker == 1 {
					n++
				}
			}
			return n
		}
		for want := 1; want <= 3; want++ {
			l.words <- cluster.Word{Update: &cluster.Update{Resync: true}}
			synctest.Wait()
			if ready() != want {
				t.Fatalf("connection %d: said %d times that its tasks are ready", want, ready())
			}
			l.broken <- errors.New("the connection broke")
		}
		l.words <- cluster.Word{Trigger: &scheduler.Trigger{UID: "p", ID: 5}}
		synctest.Wait()
		if len(h.triggers) != 1 || h.triggers[0].ID != 5 || len(h.stops()) != 0 || s.Epoch() != 1 {
			t.Errorf("triggers %v, stopped %v, epoch %d", h.triggers, h.stops(), s.Epoch())
		}
	})
}

func TestARegistrationThatIsOverIsLeftAtOnce(t *testing.T) {
	run(t, func(t *testing.T, l *leader, h *host, s *cluster.Session) {
		l.broken <- cluster.ErrUnknownWorker
		synctest.Wait()
		if len(h.stops()) != 1 || s.Epoch() != 2 {
			t.Errorf("stopped %v, epoch %d", h.stops(), s.Epoch())
		}
	})
}

func TestAWorkerThatIsRefusedGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, h := newLeader(), &host{}
		s := cluster.NewSession(cluster.SessionOptions{Leader: l, Host: h, Log: slog.New(slog.DiscardHandler)})
		if _, err := s.Join(t.Context()); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- s.Run(t.Context()) }()
		l.set(func() { l.refuses = cluster.ErrRefused })
		l.broken <- cluster.ErrUnknownWorker
		if err := <-ended; !errors.Is(err, cluster.ErrRefused) {
			t.Errorf("ended with %v", err)
		}
	})
}
