package raftmeta

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weirstream/weir/raftmeta/catalog"
)

const patience = 20 * time.Second

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func open(t *testing.T, o Options) *Node {
	t.Helper()
	n, err := Open(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func alone(t *testing.T, dir string) *Node {
	t.Helper()
	n := open(t, Options{NodeID: "a", DataDir: dir})
	if err := n.Ready(within(t)); err != nil {
		t.Fatal(err)
	}
	return n
}

func topic(i int) *catalog.CreateTopic {
	return &catalog.CreateTopic{At: int64(i + 1), Namespace: catalog.DefaultNamespace, Name: fmt.Sprintf("t%d", i), Partitions: 1, Layout: catalog.LayoutFrames}
}

func TestANodeAloneLeadsAnEmptyDirectoryWithin150Milliseconds(t *testing.T) {
	best := time.Hour
	for range 5 { // the machine is shared: the best of a few shows what the node itself takes
		start := time.Now()
		n := alone(t, t.TempDir())
		best = min(best, time.Since(start))
		n.Close()
	}
	t.Logf("open to leader: %v", best)
	if best > 150*time.Millisecond {
		t.Errorf("open to leader took %v at best", best)
	}
}

func TestWhatWasProposedIsThereAfterReopeningInTheSameProcess(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir)
	for i := range 50 {
		if _, err := n.Propose(within(t), topic(i)); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := n.Backup()
	if err := n.Image(within(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Propose(within(t), topic(50)); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Propose(within(t), topic(51)); !errors.Is(err, ErrClosed) {
		t.Errorf("propose on a closed node: %v", err)
	}
	n = alone(t, dir)
	if got := n.View().Revision; got != 51 {
		t.Errorf("revision %d after reopening, want 51", got)
	}
	if after, _ := n.Backup(); string(after) == string(before) {
		t.Error("the entry after the image is missing")
	}
}

func TestARefusalByTheCatalogReachesItsProposer(t *testing.T) {
	n := alone(t, t.TempDir())
	if _, err := n.Propose(within(t), topic(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Propose(within(t), topic(1)); !errors.Is(err, catalog.ErrExists) {
		t.Errorf("got %v", err)
	}
	outcomes, err := n.ProposeAll(within(t), topic(1), topic(2))
	if err != nil || !errors.Is(outcomes[0].Err, catalog.ErrExists) || outcomes[1].Err != nil {
		t.Errorf("got %v, %v", outcomes, err)
	}
}

func TestAnEntryThatCannotBeReadStopsTheNodeByNameAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir)
	if _, err := n.Propose(within(t), topic(0)); err != nil {
		t.Fatal(err)
	}
	n.raft.Apply([]byte("\x01[{\"op\":\"pipeline.teleport\",\"body\":{}}]"), 0)
	select {
	case <-n.Failed():
	case <-within(t).Done():
		t.Fatal("the node went on")
	}
	if !errors.Is(n.Err(), catalog.ErrUnknownCommand) {
		t.Errorf("it stopped by %v", n.Err())
	}
	if _, err := n.Propose(within(t), topic(1)); !errors.Is(err, catalog.ErrUnknownCommand) && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrUnknownOutcome) {
		t.Errorf("a proposal got %v", err)
	}
	if _, ok := n.View().Topic("default", "t0"); !ok {
		t.Error("reads end with the node")
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	// Opened again, it stops at the same entry: an image must not have hidden it.
	again := open(t, Options{NodeID: "a", DataDir: dir})
	if err := again.Ready(within(t)); !errors.Is(err, catalog.ErrUnknownCommand) {
		select {
		case <-again.Failed():
		case <-within(t).Done():
			t.Errorf("reopened, it goes on: %v", err)
		}
	}
}

func TestADamagedImageIsRefusedOnOpen(t *testing.T) {
	dir := t.TempDir()
	n := alone(t, dir)
	if _, err := n.Propose(within(t), topic(0)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Image(within(t)), n.Close()); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "snapshots", "*", "state.bin"))
	if err != nil || len(files) != 1 {
		t.Fatalf("images %v: %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(within(t), Options{NodeID: "a", DataDir: dir}); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v", err)
	}
}

func TestProposalsOfManyShareEntriesAndKeepTheirOwnAnswers(t *testing.T) {
	n := alone(t, t.TempDir())
	ctx := within(t)
	before := n.raft.LastIndex()
	const callers, each = 100, 5
	var all sync.WaitGroup
	for c := range callers {
		all.Go(func() {
			for i := range each {
				r, err := n.Propose(ctx, topic(c*each+i))
				if err != nil {
					t.Error(err)
					return
				}
				got, ok := n.View().Topic("default", topic(c*each+i).Name)
				if !ok || got.Incarnation != r.Number {
					t.Errorf("caller %d was answered with another's incarnation %d", c, r.Number)
				}
			}
		})
	}
	all.Wait()
	entries := n.raft.LastIndex() - before
	t.Logf("%d commands in %d entries", callers*each, entries)
	if entries > callers*each/3 {
		t.Errorf("%d commands took %d entries", callers*each, entries)
	}
}

func TestAWatcherSeesEveryChangeOnceAndASlowOneTheFinalState(t *testing.T) {
	n := alone(t, t.TempDir())
	ctx := within(t)
	const total = 200
	seen := make(map[string]int)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for u := range n.Watch(ctx, 0) {
			for _, c := range u.Changes {
				seen[c.Key]++
			}
			if u.State.Revision == total {
				return
			}
		}
	}()
	for i := range total {
		if _, err := n.Propose(ctx, topic(i)); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	if len(seen) != total {
		t.Errorf("%d of %d changes were seen", len(seen), total)
	}
	for u := range n.Watch(ctx, 10) { // late: everything at once
		if len(u.Changes) != total-10 || u.Resync {
			t.Errorf("a late watcher saw %d changes, resync %t", len(u.Changes), u.Resync)
		}
		break
	}
	n.machine.mu.Lock()
	n.machine.history = n.machine.history[total-5:]
	n.machine.mu.Unlock()
	for u := range n.Watch(ctx, 10) {
		if !u.Resync {
			t.Error("a watcher behind the history was not told to look at everything")
		}
		break
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	for range n.Watch(short, total) {
		t.Error("an ended context yields")
	}
}

func TestAnImageIsWrittenWhenTheLogHasGrownAndEndsIt(t *testing.T) {
	dir := t.TempDir()
	n := open(t, Options{NodeID: "a", DataDir: dir, ImageBytes: 10_000, TrailingLogs: 5})
	ctx := within(t)
	if err := n.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if _, err := n.Propose(ctx, topic(i)); err != nil {
			t.Fatal(err)
		}
	}
	for ctx.Err() == nil {
		if first, _ := n.store.FirstIndex(); first > 100 {
			break
		}
		settle(ctx)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if got := alone(t, dir).View().Revision; got != 300 {
		t.Errorf("revision %d after the log was cut, want 300", got)
	}
}

func TestOptionsThatCannotWorkAreRefused(t *testing.T) {
	dir := t.TempDir()
	for name, o := range map[string]Options{
		"no id":               {DataDir: dir},
		"no directory":        {NodeID: "a"},
		"two voters":          {NodeID: "a", DataDir: dir, Bind: "x:1", Peers: []Peer{{"a", "x:1"}, {"b", "x:2"}}},
		"not among its peers": {NodeID: "a", DataDir: dir, Bind: "x:1", Peers: []Peer{{"b", "x:2"}}},
		"three without port":  {NodeID: "a", DataDir: dir, Peers: []Peer{{"a", "x:1"}, {"b", "x:2"}, {"c", "x:3"}}},
	} {
		if _, err := Open(within(t), o); !errors.Is(err, ErrOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkProposeAlone(b *testing.B) {
	n, err := Open(context.Background(), Options{NodeID: "a", DataDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	if err := n.Ready(context.Background()); err != nil {
		b.Fatal(err)
	}
	i := 0
	for b.Loop() {
		if _, err := n.Propose(context.Background(), topic(i)); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
