package sim

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
	"github.com/weirstream/weir/platform/worker"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// raftTimeout is a voter's; virtual time has no stalls, and fewer heartbeats run faster.
const raftTimeout = 500 * time.Millisecond

// controllerProcess is a controller, which lives several times.
type controllerProcess struct {
	c   *Cluster
	id  string
	dir string

	node *raftmeta.Node // of the life under way

	mu      sync.Mutex // guards what follows
	alive   bool
	desk    *cluster.Desk
	control *controller.Controller
	ctx     context.Context //nolint:containedctx // of the life under way
	cancel  context.CancelFunc
	tasks   *sync.WaitGroup
}

func (c *Cluster) newController(i int) *controllerProcess {
	id := fmt.Sprintf("c%d", i)
	return &controllerProcess{c: c, id: id, dir: filepath.Join(c.o.Dir, id)}
}

func (v *controllerProcess) up() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.alive
}

// front is where calls arrive; nil while the process is down.
func (v *controllerProcess) front() *cluster.Desk {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.alive {
		return nil
	}
	return v.desk
}

func (v *controllerProcess) start(ctx context.Context) error {
	o := raftmeta.Options{NodeID: v.id, DataDir: v.dir, HeartbeatTimeout: raftTimeout}
	if v.c.o.Controllers > 1 {
		o.Transport = v.c.raft.Join(v.id)
		for i := range v.c.o.Controllers {
			id := fmt.Sprintf("c%d", i)
			o.Peers = append(o.Peers, raftmeta.Peer{ID: id, Address: id})
		}
	}
	node, err := raftmeta.Open(ctx, o)
	if err != nil {
		return err
	}
	log := v.c.o.Log.With("process", v.id)
	control := controller.New(controller.Options{Node: node, Blobs: v.c.view(), Log: log})
	desk := cluster.NewDesk(cluster.DeskOptions{Node: node, Scheduler: control, About: func() cluster.Joined { return cluster.Joined{} }})
	control.SetWorkers(desk)
	life, cancel := context.WithCancel(context.Background())
	tasks := &sync.WaitGroup{}
	tasks.Go(func() { control.Run(life) })
	v.mu.Lock()
	v.node, v.alive, v.desk, v.control, v.ctx, v.cancel, v.tasks = node, true, desk, control, life, cancel, tasks
	v.mu.Unlock()
	v.c.net.setDown(v.id, false)
	return nil
}

// kill ends the process: nobody hears of it, and nothing more is said.
func (v *controllerProcess) kill() {
	v.mu.Lock()
	alive := v.alive
	v.alive = false
	v.mu.Unlock()
	if !alive {
		return
	}
	v.c.net.setDown(v.id, true)
	if v.c.o.Controllers > 1 {
		v.c.raft.Leave(v.id)
	}
	v.cancel()
	v.tasks.Wait()
	// Alone, it answers or gives up every proposal; Raft forgets what it has not when it is closed.
	<-time.After(4 * raftTimeout)
	_ = v.node.Close() // a crash closes files, too
}

// workerProcess is a worker, which lives several times.
type workerProcess struct {
	c  *Cluster
	id string

	mu      sync.Mutex // guards what follows
	alive   bool
	session *cluster.Session
	agent   *agent.Agent
	cancel  context.CancelFunc
	tasks   *sync.WaitGroup
	lives   int
}

func (c *Cluster) newWorker(i int) *workerProcess {
	return &workerProcess{c: c, id: fmt.Sprintf("w%d", i)}
}

func (w *workerProcess) start(context.Context) {
	if w.up() {
		return
	}
	log := w.c.o.Log.With("process", w.id)
	blobs := w.c.view()
	a := agent.New(agent.Options{WorkerID: w.id, Blobs: blobs, Log: log})
	s := cluster.NewSession(cluster.SessionOptions{
		Leader: &remoteLeader{c: w.c, self: w.id, at: w.c.rng.intn(len(w.c.voters))}, Host: a, Log: log,
		Joining: cluster.Joining{ID: w.id, Address: w.id, Node: w.id, Slots: w.c.o.Slots},
	})
	a.Connect(worker.New(worker.Options{
		ID: w.id, Log: log, Blobs: blobs, Clock: time.Now, NewOperator: w.c.world.NewOperator, Reporter: a,
		NewState: func(_ jobgraph.Backend, o state.Options) (state.Backend, error) { return arena.Open(o) },
		Exchange: &exchange{f: w.c.fabric, self: w.id, parts: &w.c.parts},
	}), s)
	life, cancel := context.WithCancel(context.Background())
	tasks := &sync.WaitGroup{}
	w.c.net.setDown(w.id, false)
	tasks.Go(func() {
		if _, err := s.Join(life); err == nil {
			_ = s.Run(life) // it ends with the process
		}
	})
	w.mu.Lock()
	w.alive, w.session, w.agent, w.cancel, w.tasks = true, s, a, cancel, tasks
	w.lives++
	w.mu.Unlock()
}

func (w *workerProcess) up() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.alive
}

// kill ends the process.
func (w *workerProcess) kill() {
	w.mu.Lock()
	alive := w.alive
	w.alive = false
	w.mu.Unlock()
	if !alive {
		return
	}
	w.c.net.setDown(w.id, true)
	w.cancel()
	w.tasks.Wait()
	w.agent.Close()
}
