package controller_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirstream/weir/platform/cluster"
	"github.com/weirstream/weir/platform/runtime/runtimetest"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/platform/server/controller"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/platform/storage/blob/memblob"
	"github.com/weirstream/weir/platform/storage/snapshot"
	"github.com/weirstream/weir/platform/storage/state"
	"github.com/weirstream/weir/platform/storage/state/arena"
	"github.com/weirstream/weir/platform/worker"
	"github.com/weirstream/weir/raftmeta"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

// house is a server without its edges: a real catalog node, controller, agent
// and worker; operators are those of runtimetest.
type house struct {
	t       *testing.T
	world   *runtimetest.World
	node    *raftmeta.Node
	blobs   blob.Store
	control *controller.Controller
	desk    *cluster.Desk
	agent   *agent.Agent
	session *cluster.Session
	log     *lines

	stop  context.CancelFunc
	tasks sync.WaitGroup
}

// open starts a house in a bubble of its own time and closes it behind the test.
func open(t *testing.T, w *runtimetest.World, blobs blob.Store, test func(*testing.T, *house)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		node, err := raftmeta.Open(t.Context(), raftmeta.Options{NodeID: "node", DataDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		defer node.Close()
		if err := node.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		h := move(t, w, blobs, node)
		defer h.leave()
		test(t, h)
	})
}

// move starts everything but the node.
func move(t *testing.T, w *runtimetest.World, blobs blob.Store, node *raftmeta.Node) *house {
	t.Helper()
	h := &house{t: t, world: w, blobs: blobs, node: node, log: &lines{}}
	log := slog.New(slog.NewTextHandler(h.log, nil))
	h.control = controller.New(controller.Options{Node: h.node, Blobs: blobs, Log: log})
	h.desk = cluster.NewDesk(cluster.DeskOptions{Node: h.node, Scheduler: h.control, About: func() cluster.Joined { return cluster.Joined{} }})
	h.control.SetWorkers(h.desk)
	h.agent = agent.New(agent.Options{WorkerID: "worker", Blobs: blobs, Log: log})
	h.session = cluster.NewSession(cluster.SessionOptions{
		Leader: h.desk, Host: h.agent, Log: log, Joining: cluster.Joining{ID: "worker", Address: "here:1", Slots: 8},
	})
	h.agent.Connect(worker.New(worker.Options{
		ID: "worker", Log: log, Blobs: blobs, Clock: time.Now, NewOperator: w.NewOperator, Reporter: h.agent,
		NewState: func(_ jobgraph.Backend, o state.Options) (state.Backend, error) { return arena.Open(o) },
	}), h.session)
	if _, err := h.session.Join(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	h.stop = stop
	h.tasks.Go(func() { h.control.Run(ctx) })
	h.tasks.Go(func() {
		if err := h.session.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *house) leave() {
	h.stop()
	h.tasks.Wait()
	h.agent.Close()
}

// lines keeps a log.
type lines struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func graph() *jobgraph.Graph {
	columns, outside := []string{runtimetest.Columns}, []jobgraph.Port{{Operator: -1}}
	return &jobgraph.Graph{Version: jobgraph.FormatVersion, Stages: []jobgraph.Stage{
		{ID: 0, Name: "source", Parallelism: 2, Operators: []jobgraph.Operator{{ID: "source", Kind: runtimetest.Source, Outputs: columns}}},
		{ID: 1, Name: "count", Parallelism: 2, Operators: []jobgraph.Operator{
			{
				ID: "count", Kind: runtimetest.Count, Inputs: columns, Outputs: columns, Upstream: outside,
				Key: [][]string{{"key"}}, State: []jobgraph.State{{Name: "n", Kind: "value", Form: "framed", Codec: "bytes"}},
			},
			{ID: "sink", Kind: runtimetest.Sink, Inputs: columns, Upstream: []jobgraph.Port{{}}},
		}},
	}, Edges: []jobgraph.Edge{{From: 0, To: 1, Partitioning: jobgraph.Hash, Key: []string{"key"}, Schema: runtimetest.Columns}}}
}

// apply makes or changes the pipeline and gives its uid.
func (h *house) apply(change func(*catalog.Revision)) string {
	h.t.Helper()
	g := graph()
	b, err := json.Marshal(g)
	if err != nil {
		h.t.Fatal(err)
	}
	digest := catalog.Digest(sha256.Sum256(b))
	if _, err := h.blobs.Put(h.t.Context(), agent.GraphName(digest), bytes.NewReader(b)); err != nil {
		h.t.Fatal(err)
	}
	r := catalog.Revision{Graph: digest, Spec: digest, Widths: catalog.Widths(g), Delivery: catalog.ExactlyOnce, IntervalMs: 100, PauseMs: 1}
	if change != nil {
		change(&r)
	}
	return h.propose(&catalog.ApplyPipeline{At: time.Now().UnixMicro(), Namespace: "default", Name: "p", Revision: r}).UID
}

func (h *house) propose(c catalog.Command) catalog.Result {
	h.t.Helper()
	r, err := h.node.Propose(h.t.Context(), c)
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

func (h *house) desire(uid string, d catalog.Desired, from catalog.StartFrom) {
	h.t.Helper()
	h.propose(&catalog.SetDesired{At: time.Now().UnixMicro(), UID: uid, Desired: d, From: from})
}

func (h *house) job(uid string) catalog.Job {
	h.t.Helper()
	p, ok := h.node.View().Pipeline(uid)
	if !ok {
		h.t.Fatalf("pipeline %s is gone", uid)
	}
	return p.Job
}

// patience is in the bubble's time: it costs nothing.
const patience = 5 * time.Minute

// until waits, in steps of the bubble's time, for something to come true.
func (h *house) until(uid, what string, true func(catalog.Job) bool) catalog.Job {
	h.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		j := h.job(uid)
		if true(j) {
			return j
		}
		if time.Now().After(deadline) {
			status, _ := h.control.Status(uid)
			h.t.Fatalf("%s did not come true: %+v, %+v\n%s", what, j, status, h.log)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func (h *house) state(uid string, s catalog.JobState) catalog.Job {
	h.t.Helper()
	return h.until(uid, "state "+string(s), func(j catalog.Job) bool { return j.State == s })
}

// shown waits until everything that sources may read has been shown, and checks that it is right.
func (h *house) shown(uid string) {
	h.t.Helper()
	want := int(h.world.Allowed()) * h.world.Splits
	h.until(uid, fmt.Sprint(want, " visible rows"), func(catalog.Job) bool { return len(h.visible()) >= want })
	h.exact(want)
}

func (h *house) visible() (all []runtimetest.Row) {
	for _, rows := range h.world.Visible("sink") {
		all = append(all, rows...)
	}
	return all
}

// exact wants each row once and every key numbered without a gap.
func (h *house) exact(want int) {
	h.t.Helper()
	rows := h.visible()
	if len(rows) != want {
		h.t.Fatalf("%d rows are visible, want %d", len(rows), want)
	}
	slices.SortFunc(rows, func(a, b runtimetest.Row) int { return int(a.Seq - b.Seq) })
	next := map[int64]int64{}
	for _, row := range rows {
		if next[row.Key]++; row.N != next[row.Key] {
			h.t.Fatalf("key %d, row %d has the number %d, want %d", row.Key, row.Seq, row.N, next[row.Key])
		}
	}
}

// manifest reads a committed checkpoint.
func (h *house) manifest(uid string, cp catalog.Checkpoint) *snapshot.Manifest {
	h.t.Helper()
	m, err := snapshot.ReadManifest(h.t.Context(), h.blobs, controller.ManifestName(uid, cp), snapshot.Digest(cp.Manifest))
	if err != nil {
		h.t.Fatal(err)
	}
	return m
}

// names lists the pipeline's objects.
func (h *house) names(uid string) (names []string) {
	h.t.Helper()
	for info, err := range h.blobs.List(h.t.Context(), uid+"/") {
		if err != nil {
			h.t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

// sweep deletes what nothing names, as the server's housekeeping does.
func (h *house) sweep(uid string) {
	h.t.Helper()
	j := h.job(uid)
	roots := snapshot.Roots{Pipeline: uid, Newest: j.Last.ID}
	if j.State.HasTasks() {
		roots.Live, roots.InFlight = []uint64{j.Attempt}, h.control.MergesInFlight(uid)
	}
	for _, cp := range append([]catalog.Checkpoint{*j.Last}, j.Retained...) {
		roots.Kept = append(roots.Kept, h.manifest(uid, cp))
		roots.KeptNames = append(roots.KeptNames, controller.ManifestName(uid, cp))
	}
	if _, err := snapshot.Sweep(h.t.Context(), h.blobs, roots); err != nil {
		h.t.Fatal(err)
	}
}

func inMemory() blob.Store { return memblob.New(memblob.Options{}) }

func mentions(text string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(text, p) {
			return false
		}
	}
	return true
}
