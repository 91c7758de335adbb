package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/api/weir/v1/weirv1connect"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/e2e"
)

// clusterOf starts a log, controllers and workers as processes, and a rig that speaks to them.
func clusterOf(ctx context.Context, controllers, workers, slots int, workerArgs ...string) (*rig, *e2e.Cluster, error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return nil, nil, err
	}
	binary := filepath.Join(dir, "weir")
	if out, err := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", binary, "./platform/cmd/weir").CombinedOutput(); err != nil {
		return nil, nil, fmt.Errorf("build weir: %w: %s", err, out)
	}
	c, err := e2e.NewCluster(e2e.ClusterSetup{Binary: binary, Dir: dir, Controllers: controllers, Workers: workers, Slots: slots, BlobDir: filepath.Join(dir, "blobs"), WorkerArgs: workerArgs})
	if err != nil {
		return nil, nil, err
	}
	r := &rig{dir: dir, topics: weirv1connect.NewTopicServiceClient(http.DefaultClient, c.URLs[0]),
		modules:   weirv1connect.NewModuleServiceClient(http.DefaultClient, c.URLs[0]),
		pipelines: weirv1connect.NewPipelineServiceClient(http.DefaultClient, c.URLs[0])}
	r.halt = func() error { c.Kill(); return nil }
	if err := c.Start(ctx); err != nil {
		return nil, nil, errors.Join(err, r.close())
	}
	if r.conn, err = nats.Connect(c.NATSURL); err != nil {
		return nil, nil, errors.Join(err, r.close())
	}
	return r, c, nil
}

// runWorkers runs the same four tasks in one worker and in two, in turns.
func runWorkers(ctx context.Context, c *config) error {
	rates := map[int][]float64{}
	for round := range c.rounds {
		for _, workers := range []int{1, 2} {
			rate, err := flowOver(ctx, c, workers)
			if err != nil {
				return err
			}
			fmt.Printf("  round %d  %d workers  %8.0f records/s\n", round+1, workers, rate)
			rates[workers] = append(rates[workers], rate)
		}
	}
	one, two := median(rates[1]), median(rates[2])
	fmt.Printf("the same 4 tasks a stage, C guest: in one worker %.0f records/s, in two %.0f: %.0f %% lost (medians of %d)\n", one, two, 100*(1-two/one), c.rounds)
	return nil
}

func flowOver(ctx context.Context, c *config, workers int) (rate float64, err error) {
	r, _, err := clusterOf(ctx, 1, workers, 4/workers)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	in, err := r.topic(ctx, "in", weirv1.Layout_LAYOUT_FRAMES)
	if err != nil {
		return 0, err
	}
	if err := r.push(ctx, "count_sum", "sdk/c/bench/count_sum.wasm"); err != nil {
		return 0, err
	}
	records := min(c.records, 4_000_000)
	if err := fill(ctx, r, in, records, uniformly); err != nil {
		return 0, err
	}
	if _, err := r.topic(ctx, "out", weirv1.Layout_LAYOUT_FRAMES); err != nil {
		return 0, err
	}
	file := strings.Replace(plan{name: "out", operator: cOperator}.file(), "parallelism: 2", "parallelism: 4", 1)
	if err := r.apply(ctx, file); err != nil {
		return 0, err
	}
	total := uint64(records)
	var from, to time.Time
	var first, last uint64
	err = r.until(ctx, "out", func(s *weirv1.PipelineStatus) bool {
		n := taken(s, "sink.out")
		switch {
		case from.IsZero() && n >= total/10:
			from, first = time.Now(), n
		case !from.IsZero() && to.IsZero() && n >= total*9/10:
			to, last = time.Now(), n
		}
		return n >= total
	})
	if err != nil || last <= first {
		return 0, errors.Join(err, errors.New("the flow was too short to be measured"))
	}
	return float64(last-first) / to.Sub(from).Seconds(), nil
}

// failoverKills is how often a worker is killed, and then the leader.
const failoverKills = 12

// runFailover kills workers, and leading controllers, under a steady 20,000 records a second.
func runFailover(ctx context.Context, _ *config) error {
	r, c, err := clusterOf(ctx, 3, 3, 2)
	if err != nil {
		return err
	}
	defer r.close()
	in, err := r.topic(ctx, "in", weirv1.Layout_LAYOUT_FRAMES)
	if err != nil {
		return err
	}
	out, err := r.topic(ctx, "out", weirv1.Layout_LAYOUT_FRAMES)
	if err != nil {
		return err
	}
	if err := r.push(ctx, "count_sum", "sdk/c/bench/count_sum.wasm"); err != nil {
		return err
	}
	if err := r.apply(ctx, strings.Replace(plan{name: "out", operator: cOperator}.file(), "parallelism: 2", "parallelism: 4", 1)); err != nil {
		return err
	}
	feeding, stop := context.WithCancel(ctx)
	defer stop()
	go steadily(feeding, r, in)
	seen, err := watchOutput(feeding, r, out)
	if err != nil {
		return err
	}
	if err := r.until(ctx, "out", func(s *weirv1.PipelineStatus) bool { return taken(s, "sink.out") > 0 }); err != nil {
		return err
	}
	var worker, leader []float64
	for i := range failoverKills {
		m := c.Workers[i%len(c.Workers)]
		gap, err := seen.after(ctx, func() { m.Kill() })
		if err != nil {
			return err
		}
		worker = append(worker, gap.Seconds())
		if err := m.Start(ctx); err != nil {
			return err
		}
		rest(ctx, 3*time.Second)
	}
	for range failoverKills / 2 {
		m := leading(ctx, c)
		before := m
		begin := time.Now()
		m.Kill()
		for before == m || before == nil { // nobody knows for a while
			rest(ctx, 20*time.Millisecond)
			before = leading(ctx, c)
		}
		elected := time.Since(begin)
		gap := seen.longest(ctx, begin, 4*time.Second)
		fmt.Printf("  leader killed: another answers after %.2f s, longest silence of the output %.2f s\n", elected.Seconds(), gap.Seconds())
		leader = append(leader, elected.Seconds())
		if err := m.Start(ctx); err != nil {
			return err
		}
		rest(ctx, 2*time.Second)
	}
	slices.Sort(worker)
	slices.Sort(leader)
	fmt.Printf("worker killed to first output of the next attempt, checkpoint every second: median %.2f s, worst %.2f s of %d\n", median(worker), worker[len(worker)-1], len(worker))
	fmt.Printf("leader killed to another that answers: median %.2f s, worst %.2f s of %d\n", median(leader), leader[len(leader)-1], len(leader))
	return nil
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// steadily publishes 20,000 records a second until ctx ends.
func steadily(ctx context.Context, r *rig, topic jetstream.Topic) {
	for ctx.Err() == nil {
		begin := time.Now()
		if err := fill(ctx, r, topic, 2_000, uniformly); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "feed:", err)
		}
		rest(ctx, 100*time.Millisecond-time.Since(begin))
	}
}

// outputs notes when messages of an output came, and of which checkpoint.
type outputs struct{ events chan arrival }

type arrival struct {
	at         time.Time
	checkpoint uint64
}

func watchOutput(ctx context.Context, r *rig, topic jetstream.Topic) (*outputs, error) {
	js, err := natsjs.New(r.conn)
	if err != nil {
		return nil, err
	}
	consumer, err := js.OrderedConsumer(ctx, topic.Stream, natsjs.OrderedConsumerConfig{DeliverPolicy: natsjs.DeliverNewPolicy})
	if err != nil {
		return nil, err
	}
	a := &outputs{events: make(chan arrival, 1<<16)}
	_, err = consumer.Consume(func(m natsjs.Msg) {
		text, _, _ := strings.Cut(m.Headers().Get("Weir-Txn"), ";")
		id, _ := strconv.ParseUint(text, 10, 64) // 0 is below all
		select {
		case a.events <- arrival{time.Now(), id}:
		default:
		}
	})
	return a, err
}

// after does something and gives the time until output of a checkpoint comes that
// cannot have been under way: the one after the next.
func (a *outputs) after(ctx context.Context, do func()) (time.Duration, error) {
	var newest uint64
	for drained := false; !drained; {
		select {
		case e := <-a.events:
			newest = max(newest, e.checkpoint)
		default:
			drained = true
		}
	}
	for newest == 0 { // nothing has come yet
		select {
		case e := <-a.events:
			newest = e.checkpoint
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	begin := time.Now()
	do()
	for {
		select {
		case e := <-a.events:
			if e.checkpoint >= newest+2 {
				return e.at.Sub(begin), nil
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// longest is the longest pause of the output since begin, within a while.
func (a *outputs) longest(ctx context.Context, begin time.Time, within time.Duration) time.Duration {
	end := time.After(within - time.Since(begin))
	last, longest := begin, time.Duration(0)
	for {
		select {
		case e := <-a.events:
			if e.at.After(begin) {
				longest = max(longest, e.at.Sub(last))
				last = e.at
			}
		case <-end:
			return longest
		case <-ctx.Done():
			return longest
		}
	}
}

// leading is the controller that leads, as any of those that answer says; nil if none does.
func leading(ctx context.Context, c *e2e.Cluster) *e2e.Member {
	for i, url := range c.URLs {
		if !c.Controllers[i].Up() {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, time.Second)
		r, err := weirv1connect.NewWorkerServiceClient(http.DefaultClient, url).ListControllers(limited, connect.NewRequest(&weirv1.ListControllersRequest{}))
		cancel()
		if err != nil {
			continue
		}
		for _, m := range r.Msg.GetControllers() {
			for k, u := range c.URLs {
				if m.GetLeads() && m.GetUrl() == u && c.Controllers[k].Up() {
					return c.Controllers[k]
				}
			}
		}
	}
	return nil
}
