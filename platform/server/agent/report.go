package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/weirstream/weir/abi/key"
	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/connector"
	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/runtime"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/worker"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/scheduler"
)

// update changes what is known of an attempt, if it is still the one.
func (a *Agent) update(uid string, attempt uint64, change func(*job)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	j := a.jobs[uid]
	if j == nil || j.attempt != attempt {
		return false
	}
	change(j)
	return true
}

// Running reports that every task is open.
func (a *Agent) Running(uid string, attempt uint64) {
	if a.update(uid, attempt, func(j *job) { j.ready = true }) {
		a.leader.Tell(scheduler.TasksReady{Worker: a.leader.Epoch(), UID: uid, Attempt: attempt})
	}
}

// Acknowledged reports a part; one that is too large for a message goes by an object.
func (a *Agent) Acknowledged(ack worker.Ack) {
	a.leader.Measured(cluster.Measure{UID: ack.UID, Checkpoint: ack.Checkpoint, Align: ack.AlignTook, Freeze: ack.FreezeTook})
	part := scheduler.Part{Inline: ack.Part.Marshal(), Prepared: ack.Prepared}
	if len(part.Inline) > scheduler.MaxPartBytes {
		var random [8]byte
		_, _ = rand.Read(random[:])
		part.Object = fmt.Sprintf("%s/%020d/%010d/%s/%s", ack.UID, ack.Checkpoint, ack.Attempt, a.options.WorkerID, hex.EncodeToString(random[:]))
		part.Digest = sha256.Sum256(part.Inline)
		if _, err := a.options.Blobs.Put(context.Background(), part.Object, bytes.NewReader(part.Inline)); err != nil {
			a.leader.Tell(scheduler.Decline{Worker: a.leader.Epoch(), UID: ack.UID, Attempt: ack.Attempt, ID: ack.Checkpoint, Reason: err.Error()})
			return
		}
		part.Inline = nil
	}
	a.leader.Tell(scheduler.Ack{Worker: a.leader.Epoch(), UID: ack.UID, Attempt: ack.Attempt, ID: ack.Checkpoint, Part: part})
}

// Stuck keeps why a part cannot be written, for status and metrics.
func (a *Agent) Stuck(uid string, attempt, checkpoint uint64, text string) {
	a.mu.Lock()
	before := a.stuck[uid]
	if text == "" {
		delete(a.stuck, uid)
	} else {
		a.stuck[uid] = text
	}
	a.mu.Unlock()
	if text != "" {
		if before == "" {
			a.options.Log.Error("a checkpoint cannot be written", "pipeline", a.name(uid), "checkpoint", checkpoint, "error", text)
		}
		a.leader.Tell(scheduler.Holding{Worker: a.leader.Epoch(), UID: uid, Attempt: attempt, ID: checkpoint, Tasks: []string{text}})
	}
}

// StuckText is why a pipeline's checkpoint cannot be written; empty if it can.
func (a *Agent) StuckText(uid string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stuck[uid]
}

// Published reports that a checkpoint's output is visible.
func (a *Agent) Published(uid string, attempt, checkpoint uint64) {
	known := a.update(uid, attempt, func(j *job) { j.published = max(j.published, checkpoint) })
	if known && failpoint.Hit(failpoint.PublishedNoticed) == nil {
		a.leader.Tell(scheduler.OutputPublished{Worker: a.leader.Epoch(), UID: uid, Attempt: attempt, ID: checkpoint})
	}
}

// Ended reports that every task has seen the end of its inputs.
func (a *Agent) Ended(uid string, attempt uint64) {
	if a.update(uid, attempt, func(j *job) { j.ended = true }) {
		a.leader.Tell(scheduler.SourcesEnded{Worker: a.leader.Epoch(), UID: uid, Attempt: attempt})
	}
}

// Failed reports the first failure of an attempt, with whose fault it is.
func (a *Agent) Failed(f worker.Failure) {
	event := scheduler.TaskFailed{
		Worker: a.leader.Epoch(), UID: f.UID, Attempt: f.Attempt, Class: classOf(f.Err), Text: firstLine(f.Err.Error()),
	}
	known := a.update(f.UID, f.Attempt, func(j *job) {
		event.Region = regionOf(j, f.Task)
		if event.Region < len(j.regions) {
			event.Attempt = j.regions[event.Region]
		}
		j.failed, j.failure = true, event
	})
	if !known {
		return
	}
	a.options.Log.Error("the job failed", "pipeline", a.name(f.UID), "attempt", f.Attempt, "class", string(event.Class), "error", f.Err)
	a.leader.Tell(event)
}

func (a *Agent) name(uid string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if j := a.jobs[uid]; j != nil {
		return j.name
	}
	return uid
}

func regionOf(j *job, id runtime.TaskID) int {
	if j.graph == nil {
		return 0
	}
	for i, r := range j.graph.Regions() {
		for _, s := range r.Stages {
			if s == id.Stage {
				return i
			}
		}
	}
	return 0
}

// userFault is implemented by errors that only the user can mend.
type userFault interface{ UserFault() bool }

// classOf says whose fault a failure is. What is unknown may pass by itself.
func classOf(err error) catalog.ErrorClass {
	var user userFault
	var lost *connector.DataLost
	var damage *snapshot.DamageError
	var bug *runtime.PanicError
	switch {
	case errors.As(err, &user) && user.UserFault(), errors.As(err, &lost), errors.As(err, &damage),
		errors.Is(err, key.ErrTooLong), errors.Is(err, connector.ErrInDoubt), errors.Is(err, connector.ErrPermanent):
		return catalog.ErrorUser
	case errors.As(err, &bug):
		return catalog.ErrorBug
	}
	return catalog.ErrorRetryable
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
