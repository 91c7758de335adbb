package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirstream/weir/platform/operator"
	"github.com/weirstream/weir/raftmeta/catalog"
)

var errInjected = errors.New("injected failure")

// ways are what may go wrong, or be done by a user, and how often relative to each other.
var ways = []struct {
	weight int
	do     func(c *Cluster, ctx context.Context) (string, error)
}{
	{4, (*Cluster).killWorker},
	{3, (*Cluster).killController},
	{3, (*Cluster).cutWorkerFromControllers},
	{2, (*Cluster).cutWorkersApart},
	{2, (*Cluster).cutControllersApart},
	{2, (*Cluster).spoilBlobs},
	{2, (*Cluster).failOperators},
	{2, (*Cluster).loseCalls},
	{1, (*Cluster).drainWorker},
	{2, (*Cluster).stopAndResume},
	{2, (*Cluster).rescale},
	{1, (*Cluster).killEverybody},
}

// fault lets one thing go wrong. Most of them mend by themselves after a while.
func (c *Cluster) fault(ctx context.Context) error {
	sum := 0
	for _, w := range ways {
		sum += w.weight
	}
	at := c.plan.intn(sum)
	for _, w := range ways {
		if at -= w.weight; at < 0 {
			text, err := w.do(c, ctx)
			c.faults = append(c.faults, text)
			c.o.Log.Info("fault", "what", text)
			return err
		}
	}
	return nil
}

// later does something after a while, beside what else goes on.
func (c *Cluster) later(ctx context.Context, least, most time.Duration, do func()) {
	after := c.plan.between(least, most)
	c.parts.Go(func() {
		sleep(ctx, after)
		if ctx.Err() == nil {
			do()
		}
	})
}

func (c *Cluster) anyWorker() *workerProcess { return c.workers[c.plan.intn(len(c.workers))] }

func (c *Cluster) anyController() *controllerProcess { return c.voters[c.plan.intn(len(c.voters))] }

func (c *Cluster) killWorker(ctx context.Context) (string, error) {
	w := c.anyWorker()
	w.kill()
	sleep(ctx, c.plan.between(time.Millisecond, 4*time.Second))
	w.start(ctx)
	return "kill " + w.id, nil
}

func (c *Cluster) killController(ctx context.Context) (string, error) {
	v := c.anyController()
	if leads := c.leader(); leads != nil && c.plan.chance(0.7) {
		v = leads
	}
	v.kill()
	sleep(ctx, c.plan.between(time.Millisecond, 4*time.Second))
	return "kill " + v.id, v.start(ctx)
}

// killEverybody is a power cut that disks survive.
func (c *Cluster) killEverybody(ctx context.Context) (string, error) {
	for _, w := range c.workers {
		w.kill()
	}
	for _, v := range c.voters {
		v.kill()
	}
	sleep(ctx, time.Second)
	for _, v := range c.voters {
		if err := v.start(ctx); err != nil {
			return "kill everybody", err
		}
	}
	for _, w := range c.workers {
		w.start(ctx)
	}
	return "kill everybody", nil
}

// cutWorkerFromControllers leaves a worker with its tasks, objects and neighbours, and nobody to tell.
func (c *Cluster) cutWorkerFromControllers(ctx context.Context) (string, error) {
	w := c.anyWorker()
	for _, v := range c.voters {
		c.net.cut(w.id, v.id, true)
	}
	c.later(ctx, 100*time.Millisecond, 10*time.Second, func() {
		for _, v := range c.voters {
			c.net.cut(w.id, v.id, false)
		}
	})
	return "cut " + w.id + " from the controllers", nil
}

func (c *Cluster) cutWorkersApart(ctx context.Context) (string, error) {
	a, b := c.anyWorker(), c.anyWorker()
	if a == b {
		return "nothing", nil
	}
	c.net.cut(a.id, b.id, true)
	c.later(ctx, 100*time.Millisecond, 10*time.Second, func() { c.net.cut(a.id, b.id, false) })
	return "cut " + a.id + " from " + b.id, nil
}

// cutControllersApart cuts one off from the others, the leader more often than not.
func (c *Cluster) cutControllersApart(ctx context.Context) (string, error) {
	if len(c.voters) < 2 {
		return "nothing", nil
	}
	v := c.anyController()
	if leads := c.leader(); leads != nil && c.plan.chance(0.6) {
		v = leads
	}
	for _, other := range c.voters {
		if other != v {
			c.raft.Cut(v.id, other.id)
		}
	}
	c.later(ctx, 100*time.Millisecond, 8*time.Second, func() {
		for _, other := range c.voters {
			if other != v {
				c.raft.Heal(v.id, other.id)
			}
		}
	})
	return "cut " + v.id + " from the other controllers", nil
}

func (c *Cluster) spoilBlobs(ctx context.Context) (string, error) {
	rate := 0.05
	if c.plan.chance(0.3) {
		rate = 1 // the store is away
	}
	c.setBlobRate(rate)
	c.later(ctx, 100*time.Millisecond, 6*time.Second, func() { c.setBlobRate(0) })
	return fmt.Sprintf("objects fail at %.2f", rate), nil
}

func (c *Cluster) setBlobRate(rate float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blobRate = rate
}

func (c *Cluster) failOperators(context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failing = 1 + c.plan.intn(3)
	return fmt.Sprintf("%d batches fail", c.failing), nil
}

// before fails batches as long as some are to fail.
func (c *Cluster) before(operator.Identity, int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failing == 0 || !c.rng.chance(0.2) {
		return nil
	}
	c.failing--
	return errInjected
}

func (c *Cluster) loseCalls(ctx context.Context) (string, error) {
	c.net.change(func() { c.net.lossy = true })
	c.later(ctx, time.Second, 8*time.Second, func() { c.net.change(func() { c.net.lossy = false }) })
	return "calls are lost and late", nil
}

func (c *Cluster) drainWorker(ctx context.Context) (string, error) {
	w := c.anyWorker()
	v := c.leader()
	if v == nil || !w.up() {
		return "nothing", nil
	}
	limited, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_ = v.front().Drain(limited, w.session.Epoch())   // it may be gone, or the leader
	c.later(ctx, time.Second, 8*time.Second, func() { // whoever is drained takes tasks again when it joins anew
		w.kill()
		w.start(ctx)
	})
	return "drain " + w.id, nil
}

func (c *Cluster) stopAndResume(ctx context.Context) (string, error) {
	uid := c.uids[c.plan.intn(len(c.uids))]
	desire := func(d catalog.Desired) error {
		_, err := c.propose(ctx, func() catalog.Command {
			return &catalog.SetDesired{At: time.Now().UnixMicro(), UID: uid, Desired: d}
		})
		return err
	}
	if err := desire(catalog.DesiredStopped); err != nil {
		return "stop " + uid, err
	}
	sleep(ctx, c.plan.between(10*time.Millisecond, 4*time.Second))
	return "stop and resume " + uid, desire(catalog.DesiredRunning)
}

func (c *Cluster) rescale(ctx context.Context) (string, error) {
	i, parallelism := c.plan.intn(len(c.uids)), 1+c.plan.intn(5)
	return fmt.Sprintf("rescale %s to %d", c.uids[i], parallelism), c.apply(ctx, i, parallelism)
}

// heal mends everything that does not mend by itself.
func (c *Cluster) heal(ctx context.Context) {
	c.net.heal()
	c.setBlobRate(0)
	c.mu.Lock()
	c.failing = 0
	c.mu.Unlock()
	for _, a := range c.voters {
		for _, b := range c.voters {
			if a != b {
				c.raft.Heal(a.id, b.id)
			}
		}
	}
	sleep(ctx, 11*time.Second) // whatever was to mend later has by now
}
