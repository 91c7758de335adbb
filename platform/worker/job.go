package worker

import (
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/platform/element"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/snapshot"
)

// Retries of a part that cannot be written.
const (
	firstRetry = 200 * time.Millisecond
	mostRetry  = 5 * time.Second
)

// pending is the checkpoint whose snapshots are being collected.
type pending struct {
	barrier element.Barrier
	got     []runtime.TaskSnapshot
}

func (j *Job) run() {
	for _, t := range j.tasks {
		j.running.Go(func() { t.Run(j.ctx) })
	}
	for _, l := range j.links {
		j.running.Go(func() { j.dial(l) })
	}
}

// stop ends the tasks and waits for them and for parts that are being written.
func (j *Job) stop() {
	j.cancel()
	j.running.Wait()
	for _, l := range j.links {
		if l.link != nil {
			l.link.Close()
		}
	}
	if j.unexchange != nil {
		j.unexchange()
	}
	for _, in := range j.inboxes {
		in.Drop()
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.pending != nil {
		releaseAll(j.pending.got)
		j.pending = nil
	}
	releaseAll(j.early)
	j.early = nil
}

// trigger begins a checkpoint. The same one again, from a leader that finishes what
// another began, is answered as before and begins nothing.
func (j *Job) trigger(b element.Barrier) error {
	j.mu.Lock()
	if b.ID == j.latest.ID {
		acked := j.acked
		j.mu.Unlock()
		if acked != nil && acked.Checkpoint == b.ID {
			j.options.Reporter.Acknowledged(*acked)
		}
		return nil
	}
	if j.pending != nil {
		defer j.mu.Unlock()
		return fmt.Errorf("trigger checkpoint %d: %d is in progress", b.ID, j.pending.barrier.ID)
	}
	j.pending, j.latest = &pending{barrier: b}, b
	early := j.early
	j.early = nil
	for _, s := range early {
		j.collect(s)
	}
	j.mu.Unlock()
	for _, t := range j.tasks {
		if err := t.Trigger(b); err != nil {
			return err
		}
	}
	return nil
}

func (j *Job) committed(checkpoint uint64) {
	j.mu.Lock()
	if checkpoint <= j.lastCommit {
		j.mu.Unlock()
		return
	}
	j.lastCommit = checkpoint
	if j.acked != nil && j.acked.Checkpoint <= checkpoint {
		j.acked = nil
	}
	none := j.committers == 0
	j.mu.Unlock()
	if none {
		j.options.Reporter.Published(j.start.UID, j.start.Attempt, checkpoint)
		return
	}
	for _, t := range j.tasks {
		t.Committed(checkpoint)
	}
}

// write puts the part where it lasts, trying again for as long as the attempt lives.
func (j *Job) write(p *pending) {
	defer releaseAll(p.got)
	ack := Ack{UID: j.start.UID, Attempt: j.start.Attempt, Checkpoint: p.barrier.ID}
	var ops []snapshot.OperatorSnapshot
	for _, s := range p.got {
		ops = append(ops, s.Operators...)
		ack.Prepared = ack.Prepared || prepared(s.Operators)
		ack.AlignTook = max(ack.AlignTook, s.AlignTook)
		ack.FreezeTook = max(ack.FreezeTook, s.FreezeTook)
	}
	id := snapshot.PartID{Pipeline: j.start.UID, Checkpoint: p.barrier.ID, Attempt: j.start.Attempt, Worker: j.options.ID}
	begin, wait, stuck := time.Now(), firstRetry, false
	for {
		part, err := snapshot.WritePart(j.ctx, j.options.Blobs, id, ops)
		if err == nil {
			err = failpoint.Hit(failpoint.PartWritten)
		}
		if err == nil {
			ack.Part, ack.WriteTook = part, time.Since(begin)
			break
		}
		if j.ctx.Err() != nil {
			return
		}
		stuck = true
		j.options.Reporter.Stuck(j.start.UID, j.start.Attempt, p.barrier.ID, stuckText(err))
		select {
		case <-time.After(wait):
		case <-j.ctx.Done():
			return
		}
		wait = min(2*wait, mostRetry)
	}
	if stuck {
		j.options.Reporter.Stuck(j.start.UID, j.start.Attempt, p.barrier.ID, "")
	}
	j.mu.Lock()
	j.acked = &ack
	j.mu.Unlock()
	j.options.Reporter.Acknowledged(ack)
}

// prepared says whether any sink has output that waits for the commit.
func prepared(ops []snapshot.OperatorSnapshot) bool {
	for _, op := range ops {
		for _, it := range op.Items {
			if it.Kind == snapshot.KindTransaction {
				return true
			}
		}
	}
	return false
}

func stuckText(err error) string {
	if errors.Is(err, blob.ErrFull) {
		return fmt.Sprintf("%v; free space in the data directory, the checkpoint goes on by itself", err)
	}
	return err.Error()
}

func releaseAll(snaps []runtime.TaskSnapshot) {
	for _, s := range snaps {
		for _, op := range s.Operators {
			if op.Keyed != nil {
				op.Keyed.Release()
			}
		}
	}
}

// jobEvents is the side of a Job that its tasks see.
type jobEvents Job

// Opened reports the attempt as running once every task is open.
func (e *jobEvents) Opened(id runtime.TaskID) {
	j := (*Job)(e)
	committers := 0
	for _, t := range j.tasks {
		if t.ID() == id {
			committers = len(t.Committers())
		}
	}
	j.partOpened(committers)
}

// parts are the tasks, and the links to other workers.
func (j *Job) parts() int { return len(j.tasks) + len(j.links) }

// partOpened counts what is open.
func (j *Job) partOpened(committers int) {
	j.mu.Lock()
	j.opened++
	j.committers += committers
	all := j.opened == j.parts()
	restored := j.start.RestoredFrom
	shown := all && restored > 0 && j.published[restored] == j.committers
	j.mu.Unlock()
	if !all {
		return
	}
	j.options.Reporter.Running(j.start.UID, j.start.Attempt)
	// Sinks may have shown the restored epoch while others were still opening.
	if shown {
		j.options.Reporter.Published(j.start.UID, j.start.Attempt, restored)
	}
}

// Snapshot collects; the last one of a checkpoint starts the writing.
func (e *jobEvents) Snapshot(s runtime.TaskSnapshot) {
	j := (*Job)(e)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.collect(s)
}

// collect takes a task's snapshot; the lock is held. A barrier may come from a
// task of another worker before the trigger comes from the leader: its snapshots
// wait for that.
func (j *Job) collect(s runtime.TaskSnapshot) {
	p := j.pending
	switch {
	case j.ctx.Err() != nil || s.Barrier.ID < j.latest.ID || s.Barrier.ID == j.latest.ID && p == nil:
		releaseAll([]runtime.TaskSnapshot{s})
		return
	case s.Barrier.ID > j.latest.ID:
		if len(j.early) > 0 && j.early[0].Barrier.ID != s.Barrier.ID {
			releaseAll(j.early) // of one that was given up before its trigger came
			j.early = nil
		}
		j.early = append(j.early, s)
		return
	}
	p.got = append(p.got, s)
	if len(p.got) < len(j.tasks) {
		return
	}
	j.pending = nil
	j.running.Go(func() { j.write(p) })
}

func (e *jobEvents) Ended(runtime.TaskID) {
	j := (*Job)(e)
	j.mu.Lock()
	j.ended++
	all := j.ended == len(j.tasks)
	j.mu.Unlock()
	if all {
		j.options.Reporter.Ended(j.start.UID, j.start.Attempt)
	}
}

// Published counts sinks; every one of them reports each checkpoint once, a
// restored one included.
func (e *jobEvents) Published(_ runtime.TaskID, _ string, checkpoint uint64) {
	j := (*Job)(e)
	j.mu.Lock()
	j.published[checkpoint]++
	all := j.opened == j.parts() && j.published[checkpoint] == j.committers
	if all {
		delete(j.published, checkpoint)
	}
	j.mu.Unlock()
	if all {
		j.options.Reporter.Published(j.start.UID, j.start.Attempt, checkpoint)
	}
}

// Failed reports the first failure; those that follow from it are not news.
func (e *jobEvents) Failed(id runtime.TaskID, err error) {
	j := (*Job)(e)
	j.mu.Lock()
	first := !j.failed
	j.failed = true
	j.mu.Unlock()
	if first {
		j.options.Reporter.Failed(Failure{UID: j.start.UID, Attempt: j.start.Attempt, Task: id, Err: err})
	}
}

// Waiting names the tasks that a checkpoint in progress waits for.
func (j *Job) Waiting() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.pending == nil {
		return nil
	}
	got := map[runtime.TaskID]bool{}
	for _, s := range j.pending.got {
		got[s.Task] = true
	}
	var out []string
	for _, t := range j.tasks {
		if !got[t.ID()] {
			out = append(out, fmt.Sprintf("%s/%d", t.Stage().Name, t.ID().Index))
		}
	}
	return out
}
