package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/weirstream/weir/abi/frame"
	"github.com/weirstream/weir/abi/schema"
	weirv1 "github.com/weirstream/weir/platform/api/weir/v1"
	"github.com/weirstream/weir/platform/connector/jetstream"
	"github.com/weirstream/weir/platform/e2e"
)

const (
	diskSchema = "key:int64,value:int64"
	diskRows   = 4096             // of a frame: 64 KiB
	diskHot    = 100              // one key in so many has nine of ten accesses
	diskQuiet  = 15 * time.Second // longer than from one checkpoint to the next
	// memory of the process: what state on disk may take, and where the collector
	// is to hold the rest.
	diskStateMiB = 160
	diskGoMemory = "GOMEMLIMIT=200MiB"
)

// diskPipeline keeps 104 bytes of accumulators a key and writes two columns.
const diskPipeline = `
pipeline: disk
parallelism: 2
state: {backend: %s}
checkpoint: {interval: 10s}
sources:
  in: {topic: in, format: columns, columns: "` + diskSchema + `"}
operators:
  sums:
    kind: aggregate
    input: in
    key: [key]
    config:
      aggregates: [{fn: sum, column: value, as: a}, {fn: sum, column: value, as: b}, {fn: sum, column: value, as: c}, {fn: sum, column: value, as: d}, {fn: sum, column: value, as: e}, {fn: sum, column: value, as: f}]
  short: {kind: project, input: sums, config: {columns: [key, a]}}
sinks:
  out: {topic: out, input: short, format: columns, key: key, guarantee: at_least_once}
`

// diskRig is a cluster of one worker, which is watched from outside.
type diskRig struct {
	*rig
	worker  *e2e.Member
	in, out jetstream.Topic
	keys    int
	fed     uint64 // records
	most    int64  // bytes resident since reset
}

// runDisk measures state that outgrows memory: updates a second and the memory of
// a worker that keeps it on disk, against one that keeps it in memory; and its
// restart after SIGKILL. Log and controller are other processes.
func runDisk(ctx context.Context, c *config) error {
	for _, backend := range []string{"disk", "memory"} {
		if c.operator != "" && c.operator != backend {
			continue
		}
		if err := diskRun(ctx, c, backend); err != nil {
			return fmt.Errorf("state in %s: %w", backend, err)
		}
	}
	return nil
}

func diskRun(ctx context.Context, c *config, backend string) (err error) {
	r, err := newDiskRig(ctx, c.keys)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.apply(ctx, fmt.Sprintf(diskPipeline, backend)); err != nil {
		return err
	}
	keys := int64(c.keys)
	phases := []struct {
		what    string
		records int
		key     func(*rand.Rand, int) int64
	}{
		// In no order of hashes, as keys come.
		{"each key once", c.keys, func(_ *rand.Rand, i int) int64 { return int64(i) }},
		{"uniform", c.records, func(rng *rand.Rand, _ int) int64 { return rng.Int64N(keys) }},
		{"90 % on 1 %", 3 * c.records, func(rng *rand.Rand, _ int) int64 {
			if rng.IntN(10) > 0 {
				return rng.Int64N(keys / diskHot)
			}
			return rng.Int64N(keys)
		}},
	}
	for _, p := range phases {
		if p.records == 0 {
			continue
		}
		if err := r.phase(ctx, backend, p.what, p.records, p.key); err != nil {
			return err
		}
	}
	return r.restarts(ctx, c, backend)
}

// phase feeds records and measures the middle of their way through the operator.
func (r *diskRig) phase(ctx context.Context, backend, what string, records int, key func(*rand.Rand, int) int64) error {
	if err := r.feed(ctx, records, key); err != nil {
		return err
	}
	before, total := r.fed-uint64(records), uint64(records)
	var from, to time.Time
	var fromCPU, toCPU time.Duration
	var first, last uint64
	checkpoints := map[uint64]float64{} // how long each took
	var misses, hits float64
	r.most = 0
	err := r.until(ctx, "disk", func(s *weirv1.PipelineStatus) bool {
		r.most = max(r.most, resident(r.worker.PID()))
		n := taken(s, "sums") - min(before, taken(s, "sums"))
		if cp := s.LastCheckpoint; cp != nil {
			checkpoints[cp.Id] = float64(cp.DurationMs) / 1000
		}
		if from.IsZero() && n >= total/10 {
			from, first, fromCPU = time.Now(), n, processCPU(r.worker.PID())
			clear(checkpoints)
			misses, hits = r.metric("weir_operator_state_misses_total"), r.metric("weir_operator_state_hits_total")
		}
		if n < total*9/10 {
			return false
		}
		if to.IsZero() {
			to, last, toCPU = time.Now(), n, processCPU(r.worker.PID())
		}
		return n >= total
	})
	if err != nil {
		return err
	}
	misses, hits = r.metric("weir_operator_state_misses_total")-misses, r.metric("weir_operator_state_hits_total")-hits
	var took []float64
	for _, t := range checkpoints {
		took = append(took, t)
	}
	slices.Sort(took)
	if last == first {
		return fmt.Errorf("%s: %d records were gone between two looks; take more by -records", what, records)
	}
	n := float64(last - first)
	fmt.Printf("%-7s %-14s %8.0f updates/s, %5.2f us of CPU each; %.0f %% of keys looked for on disk; at most %d MiB resident, %.0f MiB on disk; %d checkpoints, the longest %.1f s\n", backend, what,
		n/to.Sub(from).Seconds(), (toCPU-fromCPU).Seconds()*1e6/n, 100*misses/max(1, misses+hits), r.most>>20, r.metric("weir_operator_state_disk_bytes")/(1<<20), len(took), quantile(took, 1))
	return nil
}

// restarts kills the process and measures from the start of the next one to the
// first new output, and how long until all state is there.
func (r *diskRig) restarts(ctx context.Context, c *config, backend string) error {
	// While nothing moves no checkpoint is taken: when none has come for longer than
	// their interval, the last one holds everything that was fed.
	var last uint64
	since := time.Now()
	if err := r.until(ctx, "disk", func(s *weirv1.PipelineStatus) bool {
		if id := s.LastCheckpoint.GetId(); id != last || s.LagRecords > 0 {
			last, since = id, time.Now()
		}
		return time.Since(since) > diskQuiet
	}); err != nil {
		return err
	}
	var total uint64
	var took []float64
	var memory []int64
	for range c.rounds {
		last, err := r.topics.GetTopic(ctx, connect.NewRequest(&weirv1.GetTopicRequest{Name: "out"}))
		if err != nil {
			return err
		}
		r.worker.Kill()
		begin := time.Now()
		if err := r.worker.Start(ctx); err != nil {
			return err
		}
		// Everything fed before is in the checkpoint: what comes out is of these.
		if err := r.feed(ctx, frameRows, func(rng *rand.Rand, _ int) int64 { return rng.Int64N(int64(r.keys)) }); err != nil {
			return err
		}
		if err := newOutput(ctx, r.rig, r.out, "key:int64,a:int64", last.Msg.LastSequence); err != nil {
			return err
		}
		took = append(took, time.Since(begin).Seconds())
		memory = append(memory, resident(r.worker.PID())>>20)
		r.most = 0
		if err := r.until(ctx, "disk", func(s *weirv1.PipelineStatus) bool {
			r.most = max(r.most, resident(r.worker.PID()))
			left := uint64(0)
			for _, o := range s.Operators {
				left += o.StateLeftBytes
			}
			total = max(total, s.LastCheckpoint.GetTotalBytes())
			return left == 0 && s.Pipeline.State == "running" && taken(s, "sums") >= frameRows && s.LastCheckpoint.GetCommitted().AsTime().After(begin)
		}); err != nil {
			return err
		}
		fmt.Printf("  %.2f s to the first output, %d MiB resident then; all state was there after %.0f s, at most %d MiB resident\n", took[len(took)-1], memory[len(memory)-1], time.Since(begin).Seconds(), r.most>>20)
	}
	fmt.Printf("%-7s restart with %d keys, %d MiB of files: %.2f s from the start of the worker to the first new output after SIGKILL (median of %d)\n", backend, r.keys, total>>20, median(took), len(took))
	return nil
}

func newDiskRig(ctx context.Context, keys int) (*diskRig, error) {
	base, c, err := clusterOf(ctx, 1, 1, 2, "--state-memory", strconv.Itoa(diskStateMiB))
	if err != nil {
		return nil, err
	}
	r := &diskRig{rig: base, worker: c.Workers[0], keys: keys}
	r.worker.Kill()
	r.worker.Env = append(r.worker.Env, diskGoMemory)
	if err = r.worker.Start(ctx); err == nil {
		r.in, err = r.topic(ctx, "in", weirv1.Layout_LAYOUT_FRAMES)
	}
	if err == nil {
		r.out, err = r.topic(ctx, "out", weirv1.Layout_LAYOUT_FRAMES)
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// feed publishes records in frames of two columns.
func (r *diskRig) feed(ctx context.Context, records int, key func(*rand.Rand, int) int64) error {
	p, err := jetstream.NewPublisher(ctx, r.conn, r.in, jetstream.PublisherOptions{})
	if err != nil {
		return err
	}
	defer p.Close()
	rng := rand.New(rand.NewPCG(r.fed, 2))
	b := frame.NewBuilder(schema.MustParse(diskSchema))
	var enc frame.StoredEncoder
	var msg []byte
	for i := 0; i < records; {
		b.Reset()
		for range min(diskRows, records-i) {
			b.Column(0).AppendInt64(key(rng, i))
			b.Column(1).AppendInt64(rng.Int64N(1 << 40))
			i++
		}
		if msg, err = enc.Append(msg[:0], &frame.Stored{Schema: b.Schema(), Rows: b.Rows(), Columns: b.Columns()}, frame.CodecNone); err != nil {
			return err
		}
		if _, err := p.PublishFrame(ctx, rng.IntN(r.in.Partitions), msg); err != nil {
			return err
		}
	}
	r.fed += uint64(records)
	return p.Flush(ctx)
}

// metric is the sum of a metric over all tasks.
func (r *diskRig) metric(name string) (sum float64) {
	resp, err := http.Get("http://" + r.worker.Flag("--listen") + "/metrics")
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	for line := range linesOf(resp.Body) {
		if strings.HasPrefix(line, name+"{") {
			v, _ := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			sum += v
		}
	}
	return sum
}

// processCPU is the processor time of a process so far.
func processCPU(pid int) time.Duration {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
	const user, system, tick = 11, 12, 10 * time.Millisecond
	u, _ := strconv.ParseInt(fields[user], 10, 64)
	s, _ := strconv.ParseInt(fields[system], 10, 64)
	return time.Duration(u+s) * tick
}
