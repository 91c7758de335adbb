package sim

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/weirstream/weir/platform/runtime/runtimetest"
	"github.com/weirstream/weir/platform/server/agent"
	"github.com/weirstream/weir/platform/storage/blob"
	"github.com/weirstream/weir/raftmeta/catalog"
	"github.com/weirstream/weir/raftmeta/jobgraph"
)

func sinkOf(i int) string { return fmt.Sprintf("sink-%d", i) }

// graph is a source, a counter behind it, an operator that passes on behind
// that, and a sink: two edges by key, so that records cross between workers twice.
func graph(i, parallelism int) *jobgraph.Graph {
	columns, outside := []string{runtimetest.Columns}, []jobgraph.Port{{Operator: -1}}
	name := func(s string) string { return fmt.Sprintf("%s-%d", s, i) }
	return &jobgraph.Graph{Version: jobgraph.FormatVersion, Stages: []jobgraph.Stage{
		{ID: 0, Name: name("source"), Parallelism: min(parallelism, splits), Operators: []jobgraph.Operator{
			{ID: name("source"), Kind: runtimetest.Source, Outputs: columns},
		}},
		{ID: 1, Name: name("count"), Parallelism: parallelism, Operators: []jobgraph.Operator{{
			ID: name("count"), Kind: runtimetest.Count, Inputs: columns, Outputs: columns, Upstream: outside,
			Key: [][]string{{"key"}}, State: []jobgraph.State{{Name: "n", Kind: "value", Form: "framed", Codec: "bytes"}},
		}}},
		{ID: 2, Name: name("sink"), Parallelism: parallelism, Operators: []jobgraph.Operator{
			{ID: name("pass"), Kind: runtimetest.Pass, Inputs: columns, Outputs: columns, Upstream: outside},
			{ID: sinkOf(i), Kind: runtimetest.Sink, Inputs: columns, Upstream: []jobgraph.Port{{}}},
		}},
	}, Edges: []jobgraph.Edge{
		{From: 0, To: 1, Partitioning: jobgraph.Hash, Key: []string{"key"}, Schema: runtimetest.Columns},
		{From: 1, To: 2, Partitioning: jobgraph.Hash, Key: []string{"seq"}, Schema: runtimetest.Columns},
	}}
}

// apply makes a pipeline or gives it another parallelism.
func (c *Cluster) apply(ctx context.Context, i, parallelism int) error {
	g := graph(i, parallelism)
	b, err := jobgraph.Encode(g)
	if err != nil {
		return err
	}
	digest := catalog.Digest(sha256.Sum256(b))
	if _, err := c.blobs.Put(ctx, agent.GraphName(digest), bytes.NewReader(b)); err != nil && !errors.Is(err, blob.ErrExists) {
		return err
	}
	interval := []int64{20, 100, 500}[c.plan.intn(3)]
	r, err := c.propose(ctx, func() catalog.Command {
		return &catalog.ApplyPipeline{
			At: time.Now().UnixMicro(), Namespace: catalog.DefaultNamespace, Name: fmt.Sprintf("p%d", i),
			Revision: catalog.Revision{
				Graph: digest, Spec: digest, Widths: catalog.Widths(g), Delivery: catalog.ExactlyOnce,
				IntervalMs: interval, PauseMs: 1, TimeoutMs: 30_000, Retain: 1,
			},
		}
	})
	if err == nil && i == len(c.uids) {
		c.uids = append(c.uids, r.UID)
	}
	return err
}

// view is the object store as one process reaches it: slow, and wrong at times.
func (c *Cluster) view() blob.Store { return &store{c: c, inner: c.blobs} }

type store struct {
	c     *Cluster
	inner blob.Store
}

// wrong waits as long as the access takes and says whether it fails.
func (s *store) wrong(ctx context.Context) bool {
	s.c.mu.Lock()
	rate := s.c.blobRate
	s.c.mu.Unlock()
	most := 3 * time.Millisecond
	if s.c.rng.chance(0.01) {
		most = 500 * time.Millisecond
	}
	sleep(ctx, s.c.rng.between(time.Millisecond, most))
	return rate > 0 && s.c.rng.chance(rate)
}

func (s *store) Put(ctx context.Context, name string, r io.Reader) (blob.Info, error) {
	if !s.wrong(ctx) {
		return s.inner.Put(ctx, name, r)
	}
	if s.c.rng.chance(0.5) { // it comes through, and nobody hears
		if _, err := s.inner.Put(ctx, name, r); err != nil {
			return blob.Info{}, err
		}
	}
	return blob.Info{}, fmt.Errorf("put object %s: %w", name, errInjected)
}

func (s *store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if s.wrong(ctx) {
		return nil, fmt.Errorf("get object %s: %w", name, errInjected)
	}
	return s.inner.Get(ctx, name, offset, length)
}

func (s *store) Stat(ctx context.Context, name string) (blob.Info, error) {
	if s.wrong(ctx) {
		return blob.Info{}, fmt.Errorf("stat object %s: %w", name, errInjected)
	}
	return s.inner.Stat(ctx, name)
}

func (s *store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return s.inner.List(ctx, prefix)
}

func (s *store) Delete(ctx context.Context, name string) error {
	if s.wrong(ctx) {
		return fmt.Errorf("delete object %s: %w", name, errInjected)
	}
	return s.inner.Delete(ctx, name)
}

func (s *store) Close() error { return nil }
