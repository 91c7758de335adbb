package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/failpoint"
)

// ClusterChaosOptions describe a run over several processes.
type ClusterChaosOptions struct {
	Seed                 uint64
	Records, Keys        int
	Partitions           int
	Parallelism          int
	Widths               []int // parallelisms to rescale to
	Controllers, Workers int
	Slots                int
	Faults               int
	Suspended            time.Duration // how long SIGSTOP lasts
	Interval             time.Duration
	Dir, Binary, Module  string
	State                string // backend of keyed state; empty: memory
	Out                  io.Writer
}

// faultTime is about how long a fault lasts and how long things then go on.
const faultTime = 4 * time.Second

// clusterChaos is such a run under way.
type clusterChaos struct {
	chaos
	o       ClusterChaosOptions
	cluster *Cluster
	rng     *rand.Rand
	done    map[string]int
}

// clusterFaults are the ways in which processes fail, weighted.
var clusterFaults = []struct {
	name   string
	weight int
	do     func(*clusterChaos, context.Context) error
}{
	{"kill a worker", 3, (*clusterChaos).killWorker},
	{"kill a worker at a place", 4, (*clusterChaos).aimAtWorker},
	{"kill the leading controller", 2, (*clusterChaos).killLeader},
	{"kill a controller at a place", 2, (*clusterChaos).aimAtController},
	{"kill the log", 1, (*clusterChaos).killLog},
	{"suspend a worker", 2, (*clusterChaos).suspendWorker},
	{"suspend the leading controller", 2, (*clusterChaos).suspendLeader},
	{"a worker leaves and comes back", 1, (*clusterChaos).leave},
	{"rescale", 2, (*clusterChaos).rescaleNow},
	{"kill all workers and controllers", 1, (*clusterChaos).killAll},
}

// RunClusterChaos feeds a cluster, lets its processes fail, and checks. A nil
// error means that everything held.
func RunClusterChaos(ctx context.Context, o ClusterChaosOptions) (ChaosReport, error) {
	begin := time.Now()
	c := &clusterChaos{o: o, rng: rand.New(rand.NewPCG(o.Seed, 5)), done: map[string]int{}}
	c.chaos = chaos{
		o:     ChaosOptions{Seed: o.Seed, Records: o.Records, Keys: o.Keys, Partitions: o.Partitions, Parallelism: o.Parallelism, Interval: o.Interval, State: o.State, Dir: o.Dir, Module: o.Module, Out: o.Out},
		setup: Setup{Dir: o.Dir}, streams: map[string]string{}, w: NewWorkload(o.Seed, o.Records, o.Keys, o.Partitions),
	}
	var err error
	c.cluster, err = NewCluster(ClusterSetup{
		Binary: o.Binary, Dir: o.Dir, Controllers: o.Controllers, Workers: o.Workers, Slots: o.Slots, BlobDir: c.setup.BlobDir(), WorkerArgs: stateArgs(o.State),
	})
	if err != nil {
		return c.report, err
	}
	c.halt = c.cluster.Stop
	defer c.cluster.Kill()
	err = c.run(ctx)
	if c.nc != nil {
		c.nc.Close()
	}
	c.report.Took = time.Since(begin)
	c.say("faults: %v", c.done)
	return c.report, err
}

func (c *clusterChaos) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := c.cluster.Start(ctx); err != nil {
		return err
	}
	c.client = NewClient(c.cluster.URLs[0])
	if err := c.prepare(ctx); err != nil {
		return err
	}
	var err error
	if c.nc, err = DialNATS(c.cluster.NATSURL); err != nil {
		return err
	}
	beside, hush := context.WithCancel(ctx)
	c.hush = hush
	if c.neighbour, err = StartNeighbour(beside, c.nc, "reached"); err != nil {
		return err
	}
	if c.feed, err = StartFeed(ctx, c.nc, c.streams["steps"], "steps", c.w); err != nil {
		return err
	}
	for i := range c.o.Faults {
		if err := c.next(ctx, i); err != nil {
			return err
		}
	}
	if err := c.heal(ctx); err != nil {
		return err
	}
	c.feed.Allow(1)
	if err := c.feed.Wait(); err != nil {
		return fmt.Errorf("feed: %w", err)
	}
	c.say("all %d records are fed; waiting for their output", c.o.Records)
	return c.judge(ctx)
}

// next lets one thing fail while its share of the records is fed.
func (c *clusterChaos) next(ctx context.Context, i int) error {
	sum := 0
	for _, f := range clusterFaults {
		sum += f.weight
	}
	at := c.rng.IntN(sum)
	for _, f := range clusterFaults {
		if at -= f.weight; at >= 0 {
			continue
		}
		c.say("fault %d/%d: %s; %d records fed", i+1, c.o.Faults, f.name, c.feed.Fed.Load())
		c.done[f.name]++
		feeding, stop := context.WithCancel(ctx)
		fed := make(chan struct{})
		go func() {
			defer close(fed)
			c.share(feeding, i)
		}()
		err := f.do(c, ctx)
		if err == nil {
			err = pause(ctx, time.Duration(c.rng.Int64N(int64(faultTime))))
		}
		stop()
		<-fed
		c.feed.Allow(float64(i+1) / float64(c.o.Faults+1))
		if err == nil {
			err = c.heal(ctx)
		}
		if err != nil {
			return fmt.Errorf("fault %d, %s: %w", i+1, f.name, err)
		}
		return nil
	}
	return nil
}

// share feeds a fault's share of the records, evenly.
func (c *clusterChaos) share(ctx context.Context, i int) {
	begin := time.Now()
	for pause(ctx, pollEvery) == nil {
		part := min(float64(time.Since(begin))/float64(faultTime), 1)
		c.feed.Allow((float64(i) + part) / float64(c.o.Faults+1))
	}
}

// heal brings back whoever is not there.
func (c *clusterChaos) heal(ctx context.Context) error {
	for _, m := range c.cluster.Members() {
		if err := m.Continue(); err != nil {
			return err
		}
	}
	if !c.cluster.Log.Up() {
		if err := c.cluster.Log.Start(ctx); err != nil {
			return err
		}
	}
	if err := startAll(ctx, c.cluster.Controllers); err != nil {
		return err
	}
	return startAll(ctx, c.cluster.Workers)
}

func (c *clusterChaos) anyWorker() *Member {
	return c.cluster.Workers[c.rng.IntN(len(c.cluster.Workers))]
}

// leader asks who leads; the first controller if nobody knows.
func (c *clusterChaos) leader(ctx context.Context) *Member {
	for _, url := range c.cluster.URLs {
		limited, cancel := context.WithTimeout(ctx, time.Second)
		r, err := NewClient(url).Workers.ListControllers(limited, connect.NewRequest(&weirv1.ListControllersRequest{}))
		cancel()
		if err != nil {
			continue
		}
		for _, m := range r.Msg.GetControllers() {
			for i, u := range c.cluster.URLs {
				if m.GetLeads() && m.GetUrl() == u {
					return c.cluster.Controllers[i]
				}
			}
		}
	}
	return c.cluster.Controllers[0]
}

func (c *clusterChaos) killWorker(ctx context.Context) error {
	c.report.Random++
	c.anyWorker().Kill()
	return pause(ctx, time.Duration(c.rng.Int64N(int64(2*time.Second))))
}

func (c *clusterChaos) killLeader(ctx context.Context) error {
	c.report.Random++
	c.leader(ctx).Kill()
	return pause(ctx, time.Duration(c.rng.Int64N(int64(2*time.Second))))
}

func (c *clusterChaos) killAll(context.Context) error {
	c.report.Random++
	for _, m := range append(append([]*Member{}, c.cluster.Workers...), c.cluster.Controllers...) {
		m.Kill()
	}
	return nil
}

func (c *clusterChaos) killLog(ctx context.Context) error {
	c.report.Random++
	c.cluster.Log.Kill()
	return pause(ctx, time.Duration(c.rng.Int64N(int64(2*time.Second))))
}

// Places where a worker, and a controller, is killed.
var (
	workerPlaces = []string{
		failpoint.SinkPrepared, failpoint.SinkBeforePublish, failpoint.SinkChunkPublished, failpoint.SinkAckLost, failpoint.SinkPublished,
		failpoint.PartWritten, failpoint.CommitNoticed, failpoint.PublishedNoticed, failpoint.AttemptStarting, failpoint.BlobAside,
	}
	controllerPlaces = []string{
		failpoint.ManifestBuilt, failpoint.CheckpointWritten, failpoint.CheckpointCommit, failpoint.PublishedCommit, failpoint.MergeWritten, failpoint.SweepDeleted,
	}
)

func (c *clusterChaos) aimAtWorker(ctx context.Context) error {
	return c.aim(ctx, c.anyWorker(), workerPlaces[c.rng.IntN(len(workerPlaces))])
}

// aimAtController arms the leader: it is started anew, and may not lead any more;
// then the death comes when it does, or at the end of the fault.
func (c *clusterChaos) aimAtController(ctx context.Context) error {
	return c.aim(ctx, c.leader(ctx), controllerPlaces[c.rng.IntN(len(controllerPlaces))])
}

func (c *clusterChaos) aim(ctx context.Context, m *Member, place string) error {
	c.report.Aimed++
	m.Kill()
	d := Death{Place: place, Nth: 1 + c.rng.IntN(3)}
	if err := m.Start(ctx, d.env()...); err != nil && !errors.Is(err, ErrDied) {
		return err
	}
	select {
	case <-m.process.Ended():
		c.report.Reached++
		if !m.process.Killed() {
			return fmt.Errorf("%s ended by itself: %w; see %s", m.Name, orNil(m.process.err), m.Log)
		}
	case <-time.After(faultTime):
		m.Kill()
	case <-ctx.Done():
	}
	return nil
}

func (c *clusterChaos) suspendWorker(ctx context.Context) error {
	m := c.anyWorker()
	if err := m.Suspend(); err != nil {
		return err
	}
	if err := pause(ctx, c.o.Suspended); err != nil {
		return err
	}
	return m.Continue()
}

func (c *clusterChaos) suspendLeader(ctx context.Context) error {
	m := c.leader(ctx)
	if err := m.Suspend(); err != nil {
		return err
	}
	if err := pause(ctx, c.o.Suspended); err != nil {
		return err
	}
	return m.Continue()
}

func (c *clusterChaos) leave(context.Context) error { return c.anyWorker().Stop() }

func (c *clusterChaos) rescaleNow(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, faultTime)
	defer cancel()
	if err := c.client.Rescale(limited, "chaos", c.o.Widths[c.rng.IntN(len(c.o.Widths))]); err == nil {
		c.report.Rescales++
	}
	return nil
}

// Logs gives the ends of all members' logs, for the report of a failure.
func (c ClusterChaosOptions) Logs() string {
	files, _ := filepath.Glob(filepath.Join(c.Dir, "*.log")) // the pattern is ours
	return "logs: " + strings.Join(files, " ")
}
