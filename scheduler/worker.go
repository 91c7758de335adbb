package scheduler

import (
	"fmt"
	"slices"

	"github.com/weirstream/weir/raftmeta/catalog"
)

// worker is what the leader knows of a registration beyond the catalog.
type worker struct {
	seen     int64
	lost     bool // and its removal proposed
	retryAt  int64
	id, node string // remembered when the registration is gone, for locality
	gone     bool   // no longer in the catalog
}

// maxRemembered bounds the registrations that are remembered after they are gone.
const maxRemembered = 1024

func (c *Core) connected(epoch uint64) {
	if w := c.workers[epoch]; w != nil && !w.lost {
		w.seen = c.now
	}
}

func (c *Core) seen(e WorkerSeen) {
	w := c.workers[e.Worker]
	if w == nil || w.lost {
		return
	}
	w.seen = c.now
	for _, p := range e.Progress {
		c.report(p.UID, p.Attempt, func(j *job) {
			j.progress[e.Worker] = max(j.progress[e.Worker], p.Count)
		})
	}
}

// syncWorkers takes over registrations that came, and those that went.
func (c *Core) syncWorkers() {
	for w := range c.view.Workers() {
		if c.workers[w.Epoch] == nil {
			c.workers[w.Epoch] = &worker{seen: c.now, id: w.ID, node: w.Node}
		}
	}
	var gone []uint64
	for epoch, w := range c.workers {
		if _, ok := c.view.Worker(epoch); !ok {
			w.gone = true
			gone = append(gone, epoch)
		}
	}
	if len(gone) > maxRemembered {
		slices.Sort(gone)
		for _, epoch := range gone[:len(gone)-maxRemembered] {
			delete(c.workers, epoch)
		}
	}
}

// expire loses workers that have been silent for longer than their lease.
func (c *Core) expire() {
	var silent []uint64
	for epoch, w := range c.workers {
		if !w.gone && (!w.lost && c.now-w.seen > Lease || w.lost && c.now >= w.retryAt) {
			silent = append(silent, epoch)
		}
	}
	slices.Sort(silent)
	for _, epoch := range silent {
		c.workers[epoch].lost = false
		c.lose(epoch, fmt.Sprintf("it was silent for %d ms", (c.now-c.workers[epoch].seen)/millisecond))
	}
}

// lose gives a worker up: its registration goes, and every job that has tasks on it restarts.
func (c *Core) lose(epoch uint64, reason string) {
	w := c.workers[epoch]
	if w == nil || w.lost || w.gone {
		return
	}
	w.lost = true
	w.retryAt = c.now + Lease // should the proposal be lost
	c.propose(forWorker, "", &catalog.RemoveWorker{At: c.now, Epoch: epoch, Reason: reason})
	for _, uid := range slices.Clone(c.order) {
		if j := c.jobs[uid]; j != nil && slices.Contains(j.workers, epoch) {
			c.reconcile(j)
		}
	}
}

// alive tells whether a worker can hold tasks.
func (c *Core) alive(epoch uint64) bool {
	w := c.workers[epoch]
	return w != nil && !w.lost && !w.gone
}

// offers lists what is free for a job, by epoch: what other jobs hold, or have been promised, is not.
func (c *Core) offers(forUID string) []Offer {
	used := make(map[uint64]int)
	for _, uid := range c.order {
		j := c.jobs[uid]
		if uid == forUID {
			continue
		}
		held, count := j.holds()
		for i := range count {
			used[held.Worker(i)]++
		}
	}
	var list []Offer
	for w := range c.view.Workers() {
		if free := w.Slots - used[w.Epoch]; c.alive(w.Epoch) && !w.Draining && free > 0 {
			list = append(list, Offer{Worker: w.Epoch, ID: w.ID, Node: w.Node, Free: free})
		}
	}
	return list
}

// heldBy counts the slots that the jobs of a namespace hold, or have been promised, without one of them.
func (c *Core) heldBy(namespace, without string) int {
	total := 0
	for uid, j := range c.jobs {
		if uid != without && j.p.Namespace == namespace {
			_, count := j.holds()
			total += count
		}
	}
	return total
}

// holds is what a job has of slots, from the first, or has been promised.
func (j *job) holds() (catalog.Slots, int) {
	if j.claimed != nil {
		return j.claimed, j.claimed.Len()
	}
	return j.p.Job.Slots, holds(j.p)
}

// holds counts the slots, from the first, that regions of a job use. One that is
// down holds none: two jobs that each wait for the other's slots would wait for ever.
func holds(p *catalog.Pipeline) int {
	count := 0
	for r, width := range p.Current.Widths {
		if p.Job.Runs(r) {
			count = max(count, width)
		}
	}
	if p.Job.Revision != p.Current.Number && p.Job.State.Active() {
		return p.Job.Slots.Len() // the widths are not those that it runs with
	}
	return min(count, p.Job.Slots.Len())
}

func (c *Core) wishes(j *job) []Wish {
	list := make([]Wish, j.p.Current.Slots())
	at := 0
	for _, r := range j.p.Job.Slots {
		for range r.Count {
			if at < len(list) {
				list[at] = Wish{Worker: r.Worker}
				if w := c.workers[r.Worker]; w != nil {
					list[at].ID, list[at].Node = w.id, w.node
				}
			}
			at++
		}
	}
	return list
}
