// Package sim runs a whole cluster in one process on one seed: controllers with
// real catalogs and real Raft over a network that cuts, real schedulers, desks
// and sessions over one that loses and delays, real agents, workers and tasks
// over object stores that fail, and made-up sources and sinks of which is known
// what must come out. It is meant for a bubble of testing/synctest, in which time
// costs nothing: a minute of a cluster takes a fraction of a second. The seed
// decides what goes wrong, when and to whom; goroutines that are ready at the
// same instant may still run in any order. It must not know NATS, Wasm or HTTP.
package sim

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/weirstream/weir/platform/runtime/runtimetest"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/memnet"
)

// Options describe a run.
type Options struct {
	Seed        uint64
	Controllers int // one or three
	Workers     int
	Slots       int // of each worker
	Pipelines   int
	Rows        int64 // of each split
	Faults      int
	Dir         string // where the controllers' logs are
	Log         *slog.Logger
}

// Defaults are a run of middling size.
func Defaults(seed uint64, dir string) Options {
	return Options{Seed: seed, Controllers: 3, Workers: 4, Slots: 4, Pipelines: 2, Rows: 120, Faults: 12, Dir: dir, Log: slog.New(slog.DiscardHandler)}
}

const (
	splits    = 3
	patience  = 10 * time.Minute // of the bubble's time, for all to end once nothing goes wrong any more
	pollEvery = 20 * time.Millisecond
)

// Cluster is a run under way.
type Cluster struct {
	o       Options
	rng     *random // what happens by chance, in whatever order goroutines ask
	plan    *random // what goes wrong, and when: one goroutine asks
	net     *network
	raft    *memnet.Net
	fabric  *fabric
	blobs   blob.Store // the truth behind the processes' faulty views
	world   *runtimetest.World
	voters  []*controllerProcess
	workers []*workerProcess
	uids    []string
	parts   sync.WaitGroup // everything that runs on after the call that began it
	faults  []string       // what went wrong, for the report

	mu       sync.Mutex // guards failing
	failing  int        // batches whose operator fails
	blobRate float64    // how likely an access to objects goes wrong
}

// random is a source that several goroutines may use.
type random struct {
	mu  sync.Mutex // guards rng
	rng *rand.Rand
}

func (r *random) intn(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.IntN(n)
}

func (r *random) chance(p float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.Float64() < p
}

func (r *random) between(least, most time.Duration) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return least + time.Duration(r.rng.Int64N(int64(most-least)))
}

// Run does a whole run, within a bubble. An error says what did not hold, and
// what had gone wrong before.
func Run(ctx context.Context, o Options) error {
	c := &Cluster{o: o, rng: &random{rng: rand.New(rand.NewPCG(o.Seed, 7))}, plan: &random{rng: rand.New(rand.NewPCG(o.Seed, 8))}, blobs: memblob.New(memblob.Options{}), world: runtimetest.NewWorld(splits, o.Rows)}
	c.world.SetBefore(c.before)
	c.net, c.raft = newNetwork(c.rng), memnet.New()
	c.fabric = newFabric(c.net)
	ctx, cancel := context.WithCancel(ctx)
	err := c.run(ctx)
	for _, w := range c.workers {
		w.kill()
	}
	for _, v := range c.voters {
		v.kill()
	}
	cancel()
	c.parts.Wait()
	if err != nil {
		return fmt.Errorf("seed %d: %w\nfaults: %v", o.Seed, err, c.faults)
	}
	return nil
}

func (c *Cluster) run(ctx context.Context) error {
	if err := c.start(ctx); err != nil {
		return err
	}
	for i := range c.o.Pipelines {
		if err := c.apply(ctx, i, 2+c.plan.intn(3)); err != nil {
			return err
		}
	}
	for i := range c.o.Faults {
		c.world.Allow(c.o.Rows * int64(i) / int64(c.o.Faults+1))
		if err := c.fault(ctx); err != nil {
			return err
		}
		sleep(ctx, c.plan.between(200*time.Millisecond, 6*time.Second))
	}
	c.heal(ctx)
	c.world.Allow(c.o.Rows)
	return c.judge(ctx)
}

// start brings controllers and workers up.
func (c *Cluster) start(ctx context.Context) error {
	for i := range c.o.Controllers {
		c.voters = append(c.voters, c.newController(i))
	}
	for _, v := range c.voters {
		if err := v.start(ctx); err != nil {
			return err
		}
	}
	for i := range c.o.Workers {
		w := c.newWorker(i)
		c.workers = append(c.workers, w)
		w.start(ctx)
	}
	return nil
}

// propose applies a command through whoever leads, for as long as it takes.
func (c *Cluster) propose(ctx context.Context, command func() catalog.Command) (catalog.Result, error) {
	deadline := time.Now().Add(patience)
	var last error
	for time.Now().Before(deadline) {
		if v := c.leader(); v != nil {
			limited, cancel := context.WithTimeout(ctx, 5*time.Second)
			r, err := v.node.Propose(limited, command())
			cancel()
			if err == nil {
				return r, nil
			}
			last = err
		}
		sleep(ctx, 10*pollEvery)
	}
	return catalog.Result{}, fmt.Errorf("nobody took %s in: %w", catalog.Name(command()), last)
}

// leader is a controller that believes to lead, and that a majority believes.
func (c *Cluster) leader() *controllerProcess {
	for _, v := range c.voters {
		if v.up() && v.node.Leads() {
			return v
		}
	}
	return nil
}

// judge waits until every job has finished and holds what came out against what must.
func (c *Cluster) judge(ctx context.Context) error {
	deadline := time.Now().Add(patience)
	for _, uid := range c.uids {
		for {
			p, ok := c.pipeline(uid)
			if ok && p.Job.State == catalog.JobFinished {
				break
			}
			if time.Now().After(deadline) {
				if !ok {
					return fmt.Errorf("pipeline %s is gone", uid)
				}
				return fmt.Errorf("pipeline %s has not finished: %+v; %s", uid, p.Job, c.standing(uid))
			}
			sleep(ctx, pollEvery)
		}
	}
	if late := c.world.Late(); len(late) > 0 {
		return fmt.Errorf("rows behind their watermark: %v", late)
	}
	for i := range c.o.Pipelines {
		if err := c.exact(sinkOf(i)); err != nil {
			return err
		}
	}
	return c.agree(ctx)
}

// standing tells what the leader knows of a job.
func (c *Cluster) standing(uid string) string {
	v := c.leader()
	if v == nil {
		return "nobody leads"
	}
	status, known := v.control.Status(uid)
	text := fmt.Sprintf("%s leads, known %v, %+v, connected %v;", v.id, known, status, v.front().Connected())
	for _, w := range c.workers {
		text += fmt.Sprintf(" %s: epoch %d, holds %v;", w.id, w.session.Epoch(), w.agent.Holding(w.session.Epoch()))
	}
	return text
}

// exact wants each row once, and every key numbered without a gap.
func (c *Cluster) exact(sink string) error {
	var rows []runtimetest.Row
	for _, r := range c.world.Visible(sink) {
		rows = append(rows, r...)
	}
	if want := int(c.o.Rows) * splits; len(rows) != want {
		return fmt.Errorf("%s shows %d rows, want %d", sink, len(rows), want)
	}
	slices.SortFunc(rows, func(a, b runtimetest.Row) int { return int(a.Seq - b.Seq) })
	next := map[int64]int64{}
	for _, row := range rows {
		if next[row.Key]++; row.N != next[row.Key] {
			return fmt.Errorf("%s: key %d, row %d has the number %d, want %d", sink, row.Key, row.Seq, row.N, next[row.Key])
		}
	}
	return nil
}

// agree wants all controllers to have come to the same catalog.
func (c *Cluster) agree(ctx context.Context) error {
	deadline := time.Now().Add(patience)
	for {
		revisions := map[uint64]bool{}
		for _, v := range c.voters {
			revisions[v.node.View().Revision] = true
		}
		if len(revisions) == 1 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("controllers stay at different revisions: %v", revisions)
		}
		sleep(ctx, pollEvery)
	}
	var first []byte
	for i, v := range c.voters {
		image, err := catalog.EncodeImage(v.node.View())
		if err != nil {
			return err
		}
		if i == 0 {
			first = image
		} else if !slices.Equal(first, image) {
			return fmt.Errorf("controllers %s and %s have different catalogs at one revision", c.voters[0].id, v.id)
		}
	}
	return nil
}

func (c *Cluster) pipeline(uid string) (*catalog.Pipeline, bool) {
	if v := c.leader(); v != nil {
		return v.node.View().Pipeline(uid)
	}
	return nil, true
}

// sleep lets the bubble's time pass.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
