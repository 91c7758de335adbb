package cluster

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/scheduler"
)

// Limits of a desk.
const (
	// MaxWords may wait for a worker; one that does not take them in is given up.
	MaxWords = 4096
	// pingEvery is how often a worker hears that the leader lives.
	pingEvery = 500 * time.Millisecond
)

// Scheduler takes what workers report: the shell of the scheduler's core.
type Scheduler interface {
	Tell(scheduler.Event)
	Measured(uid string, checkpoint uint64, align, freeze time.Duration)
}

// DeskOptions is what a desk needs.
type DeskOptions struct {
	Node      *raftmeta.Node
	Scheduler Scheduler
	// About is what a worker that joins is told beside its epoch.
	About func() Joined
	// Lines takes log lines of pipelines; nil: they are dropped.
	Lines func([]Line)
	Clock func() time.Time
}

// Desk is the leader's side.
type Desk struct {
	options DeskOptions

	mu      sync.Mutex // guards what follows
	lines   map[uint64]*line
	numbers map[uint64][]JobNumbers // by epoch, of those that are connected
}

// line is the open connection of a worker.
type line struct {
	words chan Word
	over  chan struct{} // closed when another connection replaced it, or it took no more words
	once  sync.Once
}

func (l *line) end() { l.once.Do(func() { close(l.over) }) }

// NewDesk makes a desk.
func NewDesk(o DeskOptions) *Desk {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Desk{options: o, lines: map[uint64]*line{}, numbers: map[uint64][]JobNumbers{}}
}

// Join enters a worker into the catalog.
func (d *Desk) Join(ctx context.Context, j Joining) (Joined, error) {
	if !d.options.Node.Leads() {
		return Joined{}, ErrNotLeader
	}
	if j.Protocol < OldestProtocol || j.Protocol > Protocol {
		return Joined{}, fmt.Errorf("%w: worker %s of version %s speaks protocol %d, this controller speaks %d to %d; upgrade the older of the two",
			ErrRefused, j.ID, j.Version, j.Protocol, OldestProtocol, Protocol)
	}
	// A worker that comes back after a crash has no connection any more; one that
	// hangs loses it with its lease. Two of one name would push each other out for ever.
	if old, ok := d.options.Node.View().WorkerNamed(j.ID); ok && old.Address != j.Address && d.Connected()[old.Epoch] {
		return Joined{}, fmt.Errorf("register worker %s: %w: one of that name is connected from %s; give this one another --id", j.ID, ErrNotConnected, old.Address)
	}
	r, err := d.options.Node.Propose(ctx, &catalog.RegisterWorker{
		At: d.options.Clock().UnixMicro(), ID: j.ID, Address: j.Address, Node: j.Node, Slots: j.Slots, Version: j.Version,
	})
	if err != nil {
		return Joined{}, fmt.Errorf("register worker %s: %w", j.ID, err)
	}
	out := d.options.About()
	out.Epoch = r.Number
	return out, nil
}

// Follow serves a worker's connection. When it ends, and not because another
// replaced it, the worker is gone.
func (d *Desk) Follow(ctx context.Context, epoch uint64, hear func(Word) error) error {
	if !d.options.Node.Leads() {
		return ErrNotLeader
	}
	if _, known := d.options.Node.View().Worker(epoch); !known {
		return ErrUnknownWorker
	}
	l := &line{words: make(chan Word, MaxWords), over: make(chan struct{})}
	d.open(epoch, l)
	d.options.Scheduler.Tell(scheduler.WorkerConnected{Worker: epoch})
	err := d.serve(ctx, epoch, l, hear)
	if d.close(epoch, l) && d.options.Node.Leads() {
		d.options.Scheduler.Tell(scheduler.WorkerClosed{Worker: epoch})
	}
	return err
}

func (d *Desk) open(epoch uint64, l *line) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.lines[epoch]; old != nil {
		old.end()
	}
	d.lines[epoch] = l
}

// close says whether the line was still the worker's.
func (d *Desk) close(epoch uint64, l *line) bool {
	l.end()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.lines[epoch] != l {
		return false
	}
	delete(d.lines, epoch)
	delete(d.numbers, epoch)
	return true
}

func (d *Desk) serve(parent context.Context, epoch uint64, l *line, hear func(Word) error) error {
	ctx, cancel := context.WithCancel(parent)
	updates := make(chan *Update)
	var watching sync.WaitGroup
	watching.Go(func() {
		d.watch(ctx, epoch, updates)
	})
	defer watching.Wait()
	defer cancel()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		var w Word
		select {
		case w.Update = <-updates:
		case w = <-l.words:
		case <-ping.C:
			if _, known := d.options.Node.View().Worker(epoch); !known {
				return ErrUnknownWorker
			}
		case <-l.over:
			return ErrNotConnected
		case <-ctx.Done():
			return ctx.Err()
		}
		if !d.options.Node.Leads() {
			return ErrNotLeader
		}
		if err := hear(w); err != nil {
			return err
		}
	}
}

// watch begins with everything: a worker that comes back may hold what is over.
func (d *Desk) watch(ctx context.Context, epoch uint64, updates chan<- *Update) {
	held := map[string]bool{}
	now := d.options.Node.View()
	update := assignments(raftmeta.Update{State: now, Resync: true}, epoch, held)
	moves, stop := iter.Pull(d.options.Node.Watch(ctx, now.Revision))
	defer stop()
	for {
		if update != nil {
			select {
			case updates <- update:
			case <-ctx.Done():
				return
			}
		}
		u, ok := moves()
		if !ok {
			return
		}
		update = assignments(u, epoch, held)
	}
}

// assignments makes of a move of the catalog what one worker has to know of it;
// nil if that is nothing. held are the pipelines that it was told of.
func assignments(u raftmeta.Update, epoch uint64, held map[string]bool) *Update {
	out := &Update{Resync: u.Resync}
	if u.Resync {
		clear(held)
		for p := range u.State.Pipelines("") {
			out.add(u.State, p, epoch, held)
		}
		return out
	}
	seen := map[string]bool{}
	for _, c := range u.Changes {
		if c.Kind == catalog.KindNamespace { // its limits may be others: they travel with what is held
			for p := range u.State.Pipelines(c.Key) {
				if held[p.UID] && !seen[p.UID] {
					seen[p.UID] = true
					out.add(u.State, p, epoch, held)
				}
			}
			continue
		}
		if c.Kind != catalog.KindPipeline || seen[c.Key] {
			continue
		}
		seen[c.Key] = true
		if p, ok := u.State.Pipeline(c.Key); ok {
			out.add(u.State, p, epoch, held)
		} else if held[c.Key] {
			delete(held, c.Key)
			out.Gone = append(out.Gone, c.Key)
		}
	}
	if len(out.Assigned) == 0 && len(out.Gone) == 0 {
		return nil
	}
	return out
}

func (u *Update) add(state *catalog.State, p *catalog.Pipeline, epoch uint64, held map[string]bool) {
	if !p.Job.State.HasTasks() || len(p.Job.Slots.Of(epoch)) == 0 {
		if held[p.UID] {
			delete(held, p.UID)
			u.Gone = append(u.Gone, p.UID)
		}
		return
	}
	a := Assigned{Pipeline: p, Workers: map[uint64]string{}}
	if n, ok := state.Namespace(p.Namespace); ok {
		a.Guests = n.Limits.Guests
	}
	for _, e := range p.Job.Slots.Workers() {
		if w, ok := state.Worker(e); ok {
			a.Workers[e] = w.Address
		}
	}
	held[p.UID] = true
	u.Assigned = append(u.Assigned, a)
}

// Report hands a worker's report on.
func (d *Desk) Report(_ context.Context, r Report) error {
	if !d.options.Node.Leads() {
		return ErrNotLeader
	}
	d.mu.Lock()
	connected := d.lines[r.Epoch] != nil
	if connected && r.Jobs != nil {
		d.numbers[r.Epoch] = r.Jobs
	}
	d.mu.Unlock()
	if !connected {
		return ErrNotConnected
	}
	for _, m := range r.Measures {
		d.options.Scheduler.Measured(m.UID, m.Checkpoint, m.Align, m.Freeze)
	}
	for _, e := range r.Events {
		d.options.Scheduler.Tell(e)
	}
	d.options.Scheduler.Tell(scheduler.WorkerSeen{Worker: r.Epoch, Progress: r.Progress})
	if d.options.Lines != nil && len(r.Lines) > 0 {
		d.options.Lines(r.Lines)
	}
	return nil
}

// Drain says that a worker gives its tasks up.
func (d *Desk) Drain(ctx context.Context, epoch uint64) error {
	_, err := d.options.Node.Propose(ctx, &catalog.DrainWorker{At: d.options.Clock().UnixMicro(), Epoch: epoch})
	return err
}

// Leave ends a registration.
func (d *Desk) Leave(ctx context.Context, epoch uint64, reason string) error {
	_, err := d.options.Node.Propose(ctx, &catalog.RemoveWorker{At: d.options.Clock().UnixMicro(), Epoch: epoch, Reason: reason, Left: true})
	return err
}

// Trigger tells a worker to begin a checkpoint.
func (d *Desk) Trigger(epoch uint64, t scheduler.Trigger) { d.say(epoch, Word{Trigger: &t}) }

// Abort tells a worker that a checkpoint will never be committed.
func (d *Desk) Abort(epoch uint64, a scheduler.Abort) { d.say(epoch, Word{Abort: &a}) }

// Lead says that this node leads now: who is connected reports anew.
func (d *Desk) Lead() {
	d.mu.Lock()
	var epochs []uint64
	for e := range d.lines {
		epochs = append(epochs, e)
	}
	d.mu.Unlock()
	for _, e := range epochs {
		d.options.Scheduler.Tell(scheduler.WorkerConnected{Worker: e})
		d.say(e, Word{Again: true})
	}
}

// say queues a word. Whom it cannot reach is gone, or is given up here.
func (d *Desk) say(epoch uint64, w Word) {
	d.mu.Lock()
	l := d.lines[epoch]
	d.mu.Unlock()
	if l == nil {
		return
	}
	select {
	case l.words <- w:
	default:
		l.end()
	}
}

// Numbers are the newest meters of an attempt's tasks, of all workers that
// report them but one, whose own are at hand where it runs.
func (d *Desk) Numbers(uid string, attempt, except uint64) []TaskNumbers {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []TaskNumbers
	for epoch, jobs := range d.numbers {
		for _, j := range jobs {
			if epoch != except && j.UID == uid && j.Attempt == attempt {
				out = append(out, j.Tasks...)
			}
		}
	}
	slices.SortFunc(out, func(a, b TaskNumbers) int { return cmp.Or(a.Stage-b.Stage, a.Index-b.Index) })
	return out
}

// Connected lists the workers with an open connection.
func (d *Desk) Connected() map[uint64]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make(map[uint64]bool, len(d.lines))
	for e := range d.lines {
		out[e] = true
	}
	return out
}
