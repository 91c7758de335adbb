package pipelines

import (
	"context"
	"sync"
	"time"

	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/element"
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
	busy   map[taskID]time.Duration
	waited map[taskID]time.Duration
}

type taskID struct{ stage, index int }

func idOf(t *cluster.TaskNumbers) taskID { return taskID{t.Stage, t.Index} }

func take(tasks []cluster.TaskNumbers, at time.Time) sample {
	s := sample{at: at, busy: map[taskID]time.Duration{}, waited: map[taskID]time.Duration{}}
	for i := range tasks {
		id := idOf(&tasks[i])
		s.busy[id], s.waited[id] = tasks[i].Busy, tasks[i].Waited
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
		if tasks := s.options.Tasks.Tasks(p.UID, p.Job.Attempt); len(tasks) > 0 {
			seen[p.UID] = true
			s.live.note(p.UID, p.Job.Attempt, take(tasks, s.options.Clock()))
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
func (l *live) rates(uid string, attempt uint64, now sample) (busy, waited map[taskID]float64) {
	busy, waited = map[taskID]float64{}, map[taskID]float64{}
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
