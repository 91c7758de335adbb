// Package controller is the shell around the scheduler: it owns the clock, feeds
// the core with the catalog's moves and the workers' reports, and carries out
// what the core decides. Only while this node leads does the core decide
// anything. It must not know how tasks run.
package controller

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"sync"
	"time"

	"github.com/weirstream/weir/platform/failpoint"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/scheduler"
)

// Limits of the shell.
const (
	tickEvery    = 25 * time.Millisecond
	idleTick     = 500 * time.Millisecond // while no job is active
	maxEvents    = 4096
	proposeLimit = 10 * time.Second
)

// Workers is how the controller reaches workers, by the epoch of their registration.
type Workers interface {
	Trigger(epoch uint64, t scheduler.Trigger)
	Abort(epoch uint64, a scheduler.Abort)
	// Lead says that this node leads now: workers report again what still holds.
	Lead()
}

// Options is what a controller needs.
type Options struct {
	Node    *raftmeta.Node
	Blobs   blob.Store
	Log     *slog.Logger
	Workers Workers
	// Interval is that of checkpoints where a pipeline's file names none; 0: scheduler.DefaultInterval.
	Interval time.Duration
}

// Controller runs a scheduler.Core.
type Controller struct {
	options    Options
	events     chan scheduler.Event
	requests   chan func(*scheduler.Core)
	done       chan struct{} // closed when Run has returned
	jobs       sync.WaitGroup
	start      time.Time
	base       int64
	history    history
	merger     merger
	stuck      stuck
	savepoints savepoints
	outbox     *outbox
}

// New makes a controller; Run starts it.
func New(o Options) *Controller {
	now := time.Now()
	return &Controller{
		options: o, events: make(chan scheduler.Event, maxEvents), requests: make(chan func(*scheduler.Core)),
		done: make(chan struct{}), start: now, base: now.UnixMicro(), outbox: newOutbox(), history: history{reports: map[string]Report{}},
	}
}

// SetWorkers says how workers are reached, before Run.
func (c *Controller) SetWorkers(w Workers) { c.options.Workers = w }

// Tell hands the core a report. It waits only if thousands are queued already.
func (c *Controller) Tell(e scheduler.Event) {
	select {
	case c.events <- e:
	case <-c.done:
	}
}

// Status tells how a job stands beyond the catalog.
func (c *Controller) Status(uid string) (status scheduler.Status, ok bool) {
	answered := make(chan struct{})
	select {
	case c.requests <- func(core *scheduler.Core) { status, ok = core.Status(uid); close(answered) }:
		<-answered
	case <-c.done:
	}
	return status, ok
}

// Run works until ctx ends.
func (c *Controller) Run(ctx context.Context) {
	defer close(c.done)
	core := scheduler.New()
	if c.options.Interval > 0 {
		core.Every(c.options.Interval.Microseconds())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer c.jobs.Wait()
	defer cancel()
	updates := make(chan raftmeta.Update)
	c.jobs.Go(func() { c.outbox.run(ctx) })
	c.jobs.Go(func() {
		for u := range c.options.Node.Watch(ctx, 0) {
			select {
			case updates <- u:
			case <-ctx.Done():
				return
			}
		}
	})
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	active, quick := true, true
	for {
		var event scheduler.Event
		select {
		case leads := <-c.options.Node.LeaderCh():
			event = scheduler.LostLeadership{}
			c.savepoints.resign()
			if leads {
				event = c.becameLeader(ctx)
			}
		case u := <-updates:
			event = scheduler.CatalogChanged{State: u.State, Changes: u.Changes, Resync: u.Resync}
			active = anyActive(u.State)
		case event = <-c.events:
			c.catchUp(ctx, core, event)
		case request := <-c.requests:
			request(core)
			continue
		case <-tick.C:
			event = scheduler.Tick{}
		case <-ctx.Done():
			return
		}
		if event == nil {
			continue
		}
		for _, a := range core.Step(c.now(), event) {
			c.act(ctx, a)
		}
		if _, leads := event.(scheduler.BecameLeader); leads {
			c.outbox.put(c.options.Workers.Lead)
		}
		if active != quick { // an idle cluster does not tick forty times a second
			quick = active
			tick.Reset(map[bool]time.Duration{true: tickEvery, false: idleTick}[quick])
		}
	}
}

// catchUp shows the core the entry that a worker speaks of. Workers follow the
// catalog by watches of their own: one that is faster would speak of an attempt
// that the core does not know yet, and what it says once would be lost.
func (c *Controller) catchUp(ctx context.Context, core *scheduler.Core, event scheduler.Event) {
	uid := ""
	switch e := event.(type) {
	case scheduler.TasksReady:
		uid = e.UID
	case scheduler.TaskFailed:
		uid = e.UID
	case scheduler.SourcesEnded:
		uid = e.UID
	case scheduler.OutputPublished:
		uid = e.UID
	case scheduler.CheckpointHeld:
		uid = e.UID
	default:
		return // an answer to what the core asked
	}
	moved := scheduler.CatalogChanged{State: c.options.Node.View(), Changes: []catalog.Change{{Kind: catalog.KindPipeline, Key: uid}}}
	for _, a := range core.Step(c.now(), moved) {
		c.act(ctx, a)
	}
}

// becameLeader waits until every entry of earlier leaders is applied. It gives up
// only with the leadership: nobody else would take the lead.
func (c *Controller) becameLeader(ctx context.Context) scheduler.Event {
	for {
		err := c.options.Node.Barrier(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil || !c.options.Node.Leads() {
			return nil
		}
		c.options.Log.Warn("the catalog has not caught up yet", "error", err)
		select {
		case <-time.After(tickEvery):
		case <-ctx.Done():
			return nil
		}
	}
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		panic(err) // the operating system has no randomness: nothing can go on
	}
	return scheduler.BecameLeader{Seed: binary.LittleEndian.Uint64(seed[:]), State: c.options.Node.View()}
}

// now is microseconds since the epoch by one monotonic clock.
func (c *Controller) now() int64 { return c.base + time.Since(c.start).Microseconds() }

func anyActive(s *catalog.State) bool {
	for p := range s.Pipelines("") {
		if p.Job.State.Active() || p.Desired == catalog.DesiredRunning && p.Job.State != catalog.JobFailed && p.Job.State != catalog.JobFinished {
			return true
		}
	}
	return false
}

func (c *Controller) act(ctx context.Context, a scheduler.Action) {
	switch a := a.(type) {
	case scheduler.Propose:
		c.jobs.Go(func() { c.propose(ctx, a) })
	case scheduler.Trigger:
		c.history.triggered(a.UID, a.ID)
		for _, w := range a.Workers {
			c.outbox.put(func() { c.options.Workers.Trigger(w, a) })
		}
	case scheduler.Abort:
		for _, w := range a.Workers {
			c.outbox.put(func() { c.options.Workers.Abort(w, a) })
		}
	case scheduler.WriteManifest:
		c.jobs.Go(func() { c.Tell(c.writeManifest(ctx, a)) })
	case scheduler.WriteSavepoint:
		c.jobs.Go(func() { c.Tell(c.writeSavepoint(ctx, a)) })
	case scheduler.SavepointDone:
		c.savepoints.answer(a)
	case scheduler.Notify:
		c.notify(a)
	}
}

func (c *Controller) propose(parent context.Context, a scheduler.Propose) {
	ctx, cancel := context.WithTimeout(parent, proposeLimit)
	defer cancel()
	result, err := c.options.Node.Propose(ctx, a.Command)
	if _, ok := a.Command.(*catalog.PublishCheckpoints); ok && err == nil {
		err = failpoint.Hit(failpoint.PublishedCommit)
	}
	if commit, ok := a.Command.(*catalog.CommitCheckpoints); ok && err == nil {
		err = failpoint.Hit(failpoint.CheckpointCommit)
		c.history.committed(commit)
		for _, item := range commit.Items {
			if p, ok := c.options.Node.View().Pipeline(item.UID); ok && p.Job.Last != nil && p.Job.Last.ID == item.ID {
				c.mergeAfter(parent, item.UID, *p.Job.Last)
			}
		}
	}
	c.Tell(scheduler.Proposed{Token: a.Token, Result: result, Err: err, State: c.options.Node.View()})
}

func (c *Controller) notify(n scheduler.Notify) {
	level := map[scheduler.Level]slog.Level{scheduler.Info: slog.LevelInfo, scheduler.Warning: slog.LevelWarn, scheduler.Problem: slog.LevelError}[n.Level]
	name := n.UID
	if p, ok := c.options.Node.View().Pipeline(n.UID); ok {
		name = catalog.Key(p.Namespace, p.Name)
	}
	c.options.Log.Log(context.Background(), level, n.Text, "pipeline", name)
}
