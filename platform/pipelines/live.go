package pipelines

import (
	"context"
	"sync"
	"time"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/worker"
)

// Rates are of the last few seconds.
const (
	sampleEvery = time.Second
	sampleKept  = 5
)

// live keeps samples of the jobs that run here, for rates.
type live struct {
	mu   sync.Mutex // guards jobs
	jobs map[string]*history
}

// history is the newest samples of an attempt, oldest first.
type history struct {
	attempt uint64
	samples []sample
}

// sample is the time that tasks had spent at some moment.
type sample struct {
	at     time.Time
	busy   map[runtime.TaskID]time.Duration
	waited map[runtime.TaskID]time.Duration
}

// waiter is a task that tells how long it has waited for those it sends to.
type waiter interface{ Waited() time.Duration }

func take(j *worker.Job, at time.Time) sample {
	s := sample{at: at, busy: map[runtime.TaskID]time.Duration{}, waited: map[runtime.TaskID]time.Duration{}}
	for _, t := range j.Tasks() {
		s.busy[t.ID()] = t.Busy()
		if w, ok := any(t).(waiter); ok {
			s.waited[t.ID()] = w.Waited()
		}
	}
	return s
}

// Run takes samples until ctx ends.
func (s *Service) Run(ctx context.Context) {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.sample()
		}
	}
}

func (s *Service) sample() {
	seen := map[string]bool{}
	for p := range s.view().Pipelines("") {
		if !p.Job.State.HasTasks() {
			continue
		}
		if j := s.options.Worker.Job(p.UID); j != nil {
			seen[p.UID] = true
			s.live.note(p.UID, j.Attempt(), take(j, s.options.Clock()))
		}
	}
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	for uid := range s.live.jobs {
		if !seen[uid] {
			delete(s.live.jobs, uid)
		}
	}
}

func (l *live) note(uid string, attempt uint64, s sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.jobs[uid]
	if h == nil || h.attempt != attempt {
		h = &history{attempt: attempt}
		l.jobs[uid] = h
	}
	if len(h.samples) == sampleKept {
		h.samples = append(h.samples[:0], h.samples[1:]...)
	}
	h.samples = append(h.samples, s)
}

func (l *live) forget(uid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.jobs, uid)
}

// rates is the share of the time since the oldest kept sample that tasks were busy, and waited.
func (l *live) rates(uid string, attempt uint64, now sample) (busy, waited map[runtime.TaskID]float64) {
	busy, waited = map[runtime.TaskID]float64{}, map[runtime.TaskID]float64{}
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.jobs[uid]
	if h == nil || h.attempt != attempt || len(h.samples) == 0 {
		return busy, waited
	}
	old := h.samples[0]
	span := now.at.Sub(old.at)
	if span <= 0 {
		return busy, waited
	}
	for id, d := range now.busy {
		busy[id] = ratio(d-old.busy[id], span)
		waited[id] = ratio(now.waited[id]-old.waited[id], span)
		// Waiting for others is no work, though a task that waits is at it.
		busy[id] = max(busy[id]-waited[id], 0)
	}
	return busy, waited
}

func ratio(d, span time.Duration) float64 { return min(max(float64(d)/float64(span), 0), 1) }

// hasWatermark tells a time from none, and from the end of all input.
func hasWatermark(micros int64) bool {
	return micros != 0 && micros != element.MinTime && micros != element.MaxTime
}
