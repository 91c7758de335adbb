package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/weirstream/weir/scheduler"
)

// Times and limits of a session.
const (
	// Lease is how long a worker goes on without the leader's answer. It is the
	// scheduler's, counted from when the answered report was sent, so that the
	// tasks have stopped by the time that they are given away.
	Lease = time.Duration(scheduler.Lease) * time.Microsecond
	// heartbeat is how often the leader hears of progress: often enough that a
	// checkpoint is not late by it, and far below the lease.
	heartbeat     = 50 * time.Millisecond
	idleHeartbeat = time.Second // without jobs
	numbersEvery  = time.Second
	reportLimit   = time.Second // for one report
	joinLimit     = 10 * time.Second
	firstRetry    = 20 * time.Millisecond
	mostRetry     = time.Second
	// MaxQueued is how many events may wait for a leader, and MaxLines how many log lines.
	MaxQueued = 4096
	MaxLines  = 1024
)

// Host is the worker behind a session.
type Host interface {
	// Assign, Trigger and Abort are told one at a time and must not block for long.
	Assign(epoch uint64, u Update)
	Trigger(epoch uint64, t scheduler.Trigger)
	Abort(epoch uint64, a scheduler.Abort)
	// Holding says anew what holds, for a leader that begins with nothing.
	Holding(epoch uint64) []scheduler.Event
	Progress() []scheduler.Progress
	Numbers() []JobNumbers
	// StopAll ends every task and returns when none runs.
	StopAll(reason string)
}

// SessionOptions is what a session needs.
type SessionOptions struct {
	Leader  Leader
	Joining Joining
	Host    Host
	Log     *slog.Logger
}

// Session keeps a worker in its cluster. Tell queues what the leader has to know.
type Session struct {
	options SessionOptions
	wake    chan struct{}

	mu       sync.Mutex // guards what follows
	joined   Joined
	events   []scheduler.Event
	measures []Measure
	lines    []Line
	renewed  time.Time // when the last answered report was sent
}

// NewSession makes a session; Join and Run start it.
func NewSession(o SessionOptions) *Session {
	o.Joining.Protocol = Protocol
	return &Session{options: o, wake: make(chan struct{}, 1)}
}

// Epoch is the registration, 0 before there is one.
func (s *Session) Epoch() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.joined.Epoch
}

// Tell queues a report of what happened.
func (s *Session) Tell(e scheduler.Event) {
	s.mu.Lock()
	if len(s.events) < MaxQueued {
		s.events = append(s.events, e)
	} else {
		s.renewed = time.Time{} // what is not said would be missed: better to begin anew
	}
	s.mu.Unlock()
	s.Wake()
}

// Measured queues how long tasks took for a checkpoint.
func (s *Session) Measured(m Measure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.measures) < MaxQueued {
		s.measures = append(s.measures, m)
	}
}

// Line queues a log line; when too many wait, the newest are dropped.
func (s *Session) Line(l Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.lines) < MaxLines {
		s.lines = append(s.lines, l)
	}
}

// Wake makes the next report due now.
func (s *Session) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Join registers the worker, trying for as long as ctx lives unless it is refused.
func (s *Session) Join(ctx context.Context) (Joined, error) {
	for wait := firstRetry; ; wait = min(2*wait, mostRetry) {
		attempt, cancel := context.WithTimeout(ctx, joinLimit)
		joined, err := s.options.Leader.Join(attempt, s.options.Joining)
		cancel()
		if err == nil {
			s.mu.Lock()
			s.joined, s.renewed = joined, time.Now()
			s.events, s.measures = nil, nil // of a registration that is over
			s.mu.Unlock()
			return joined, nil
		}
		if errors.Is(err, ErrRefused) || ctx.Err() != nil {
			return joined, err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return joined, fmt.Errorf("join: %w", errors.Join(ctx.Err(), err))
		}
	}
}

// Run works until ctx ends, or a leader refuses the worker for good. Every task
// has ended when it returns.
func (s *Session) Run(ctx context.Context) error {
	for {
		reason := s.hold(ctx)
		if ctx.Err() != nil {
			s.options.Host.StopAll("the worker stops")
			return nil
		}
		s.options.Log.Warn("the worker was given up, stops its tasks and joins again", "epoch", s.Epoch(), "reason", reason)
		s.options.Host.StopAll(reason.Error())
		if _, err := s.Join(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// errLapsed ends a registration from the worker's side.
var errLapsed = errors.New("no leader has answered for as long as the lease lasts")

// hold keeps one registration until it is over, and says why it is.
func (s *Session) hold(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() { s.guard(ctx, cancel) })
	parts.Go(func() { s.report(ctx) })
	epoch := s.Epoch()
	for wait := firstRetry; ; {
		err := s.options.Leader.Follow(ctx, epoch, func(w Word) error {
			wait = firstRetry
			s.hear(epoch, w)
			return nil
		})
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, ErrUnknownWorker):
			cancel(err)
			return err
		}
		s.options.Log.Debug("the connection to the leader ended", "error", err)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		wait = min(2*wait, mostRetry)
	}
}

func (s *Session) hear(epoch uint64, w Word) {
	switch {
	case w.Update != nil:
		s.options.Host.Assign(epoch, *w.Update)
		if w.Update.Resync { // a connection begins: this leader may know nothing yet
			s.again(epoch)
		}
	case w.Trigger != nil:
		s.options.Host.Trigger(epoch, *w.Trigger)
	case w.Abort != nil:
		s.options.Host.Abort(epoch, *w.Abort)
	case w.Again:
		s.again(epoch)
	}
}

func (s *Session) again(epoch uint64) {
	for _, e := range s.options.Host.Holding(epoch) {
		s.Tell(e)
	}
	s.Wake()
}

// guard ends the registration when the lease lapses. A process that was
// suspended finds it lapsed when it comes back.
func (s *Session) guard(ctx context.Context, cancel context.CancelCauseFunc) {
	for {
		s.mu.Lock()
		left := Lease - time.Since(s.renewed)
		s.mu.Unlock()
		if left <= 0 {
			cancel(errLapsed)
			return
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return
		}
	}
}

// report sends what is queued, and a sign of life when nothing is.
func (s *Session) report(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var numbered time.Time
	for {
		select {
		case <-s.wake:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		r := s.collect()
		if now := time.Now(); now.Sub(numbered) >= numbersEvery {
			r.Jobs, numbered = s.options.Host.Numbers(), now
		}
		next := heartbeat
		if len(r.Progress) == 0 {
			next = idleHeartbeat
		}
		if !s.send(ctx, r) {
			next = heartbeat
		}
		timer.Reset(next)
	}
}

func (s *Session) collect() Report {
	progress := s.options.Host.Progress()
	s.mu.Lock()
	defer s.mu.Unlock()
	r := Report{Epoch: s.joined.Epoch, Progress: progress, Events: s.events, Measures: s.measures, Lines: s.lines}
	s.events, s.measures, s.lines = nil, nil, nil
	return r
}

// send delivers a report; what was not taken is queued again in front.
func (s *Session) send(ctx context.Context, r Report) bool {
	begin := time.Now()
	limited, cancel := context.WithTimeout(ctx, reportLimit)
	err := s.options.Leader.Report(limited, r)
	cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Epoch != s.joined.Epoch {
		return false
	}
	if err == nil {
		s.renewed = begin
		return true
	}
	s.events = append(r.Events, s.events...)
	s.measures = append(r.Measures, s.measures...)
	if room := MaxLines - len(s.lines); room > 0 {
		s.lines = append(r.Lines[:min(room, len(r.Lines))], s.lines...)
	}
	return false
}
