package controller

import (
	"sync"
	"time"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// Report is what is known of a pipeline's last checkpoint beyond the catalog.
type Report struct {
	ID         uint64
	Triggered  time.Time
	Took       time.Duration // from trigger to commit
	SizeBytes  int64         // what it added
	TotalBytes int64         // what its manifest names
	Align      time.Duration
	Freeze     time.Duration
}

// history keeps one report a pipeline. It is lost with the leader, like all that
// only people look at.
type history struct {
	mu      sync.Mutex // guards what follows
	pending map[string]Report
	reports map[string]Report
}

func (h *history) triggered(uid string, id uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pending == nil {
		h.pending = map[string]Report{}
	}
	h.pending[uid] = Report{ID: id, Triggered: time.Now()}
}

func (h *history) note(uid string, id uint64, change func(*Report)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r, ok := h.pending[uid]; ok && r.ID == id {
		change(&r)
		h.pending[uid] = r
	}
}

func (h *history) committed(c *catalog.CommitCheckpoints) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, item := range c.Items {
		if r, ok := h.pending[item.UID]; ok && r.ID == item.ID {
			r.Took = time.Since(r.Triggered)
			h.reports[item.UID] = r
			delete(h.pending, item.UID)
		}
	}
}

// Report gives the last committed checkpoint's report.
func (c *Controller) Report(uid string) (Report, bool) {
	c.history.mu.Lock()
	defer c.history.mu.Unlock()
	r, ok := c.history.reports[uid]
	return r, ok
}

// Measured notes a worker's share of a checkpoint.
func (c *Controller) Measured(uid string, id uint64, align, freeze time.Duration) {
	c.history.note(uid, id, func(r *Report) {
		r.Align, r.Freeze = max(r.Align, align), max(r.Freeze, freeze)
	})
}

// stuck says of pipelines why a manifest cannot be written.
type stuck struct {
	mu    sync.Mutex // guards texts
	texts map[string]string
}

// set notes or, with an empty text, takes back; true if it was not noted before.
func (s *stuck) set(uid, text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.texts[uid]
	if text == "" {
		delete(s.texts, uid)
		return false
	}
	if s.texts == nil {
		s.texts = map[string]string{}
	}
	s.texts[uid] = text
	return !known
}

// StuckText is why a pipeline's manifest cannot be written; empty if it can.
func (c *Controller) StuckText(uid string) string {
	c.stuck.mu.Lock()
	defer c.stuck.mu.Unlock()
	return c.stuck.texts[uid]
}
